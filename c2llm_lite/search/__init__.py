"""Finds code in a folder: in words, by an example, or duplicates.

>>> import c2llm_lite
>>> from c2llm_lite.search import Index
>>> with c2llm_lite.load("c2llm-q8") as model, Index(model, "src") as index:
...     index.update(progress=True)
...     for hit in index.search("open a jsonl file and read all lines", count=5):
...         print(f"{hit.path}:{hit.line}", hit.symbol, hit.score)
"""

from __future__ import annotations

from .database import BusyError
from .hits import Duplicate, Hit
from .index import Index
from .update import Update

__all__ = ["BusyError", "Duplicate", "Hit", "Index", "Update"]
