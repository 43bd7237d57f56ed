"""Crafted and broken input against the whole package: what dies, hangs, leaks foreign exceptions or silently differs."""
