"""Training of the stand-in checkpoint's pooling head. Run from a checkout; not in the wheel."""
