"""What a checkpoint can be converted to: registry.py lists the targets, each other module writes one family."""
