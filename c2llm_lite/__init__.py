"""C2LLM code embeddings anywhere: one embed() for every engine, the pooling head always in fp32.

>>> import c2llm_lite
>>> with c2llm_lite.load("c2llm-0.5b-q8_0") as model:
...     queries = model.embed(["open a jsonl file"], prompt_name="query")
...     documents = model.embed(functions, prompt_name="document")
>>> similarity = queries @ documents.T
"""

__all__ = ["Embedder", "load"]

# Nothing is imported here, not even typing: `python -m c2llm_lite` runs this file with the current folder first on the
# path, and only then __main__.py, which takes it off.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from .embedder import Embedder, load


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import embedder

    return getattr(embedder, name)
