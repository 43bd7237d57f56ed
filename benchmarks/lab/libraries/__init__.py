"""Installs this package beside other releases of its libraries, and on each Python, and runs its tests there."""
