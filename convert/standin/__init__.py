"""The stand-in checkpoint: a trained model in C2LLM's format that needs no download."""
