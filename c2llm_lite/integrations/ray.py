"""Embeddings as a column of a Ray dataset: embed_column() and ship(), from c2llm_lite.bulk.ray.

`embed_dataset`, its earlier name, differed in meaning from the command of that name. It is kept for one release.
"""

from __future__ import annotations

import warnings
from typing import Any

from ..errors import MissingDependencyError

try:
    from ..bulk.ray.dataset import embed_column
    from ..bulk.ray.nodes import Shipped, ship
except ImportError as error:
    raise MissingDependencyError(error.name or "ray", "ray", "c2llm_lite.integrations.ray") from error

__all__ = ["Shipped", "embed_column", "embed_dataset", "ship"]


def embed_dataset(*arguments: Any, **settings: Any) -> Any:
    """embed_column(), under its earlier name."""
    warnings.warn("embed_dataset is called embed_column now", DeprecationWarning, stacklevel=2)
    return embed_column(*arguments, **settings)
