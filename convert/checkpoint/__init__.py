"""Reading a C2LLM checkpoint: its config, its tensors and, where it comes from a hub, the download.

Reading and writing safetensors are in one place.
"""

from __future__ import annotations

from .checkpoint import PMA, Checkpoint, open_checkpoint
from .weights import Weights, backbone_names

__all__ = ["PMA", "Checkpoint", "Weights", "backbone_names", "open_checkpoint"]
