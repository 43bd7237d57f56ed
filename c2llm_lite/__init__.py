"""C2LLM code embeddings anywhere: one embed() for every engine, the pooling head always in fp32.

>>> import c2llm_lite
>>> with c2llm_lite.load("c2llm-0.5b-q8_0") as model:
...     queries = model.embed(["open a jsonl file"], prompt_name="query")
...     documents = model.embed(functions, prompt_name="document")
>>> similarity = queries @ documents.T
"""

from __future__ import annotations

from importlib.metadata import version as _version

from . import offline as offline  # first: what is imported after it does not phone home
from .embedder import Embedder, load

__all__ = ["Embedder", "__version__", "load"]
__version__ = _version("c2llm-lite")
