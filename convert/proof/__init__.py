"""Evidence that a conversion is right: probes, full-precision vectors, and the checkpoint's own variant of the head."""
