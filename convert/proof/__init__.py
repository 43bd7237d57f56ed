"""Evidence that a conversion is right: probes, comparison with the checkpoint, and the head variant it was trained with."""
