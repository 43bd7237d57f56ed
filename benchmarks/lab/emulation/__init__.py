"""Runs bundles on emulated processors, and compares their vectors with this machine's and with full precision."""
