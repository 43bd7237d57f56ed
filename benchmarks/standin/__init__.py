"""Training of the stand-in checkpoint, backbone and head. Run from a checkout; not in the wheel."""
