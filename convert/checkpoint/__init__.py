"""Reading a C2LLM checkpoint: its config, its tensors and, where it comes from a hub, the download.

Writing safetensors stands beside reading it.
"""

from __future__ import annotations

from .checkpoint import PMA, Checkpoint, open_checkpoint

__all__ = ["PMA", "Checkpoint", "open_checkpoint"]
