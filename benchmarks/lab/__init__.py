"""Experiments on this package: peers, ablations, load tests. Run from a checkout; not in the wheel."""
