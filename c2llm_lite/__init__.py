"""C2LLM code embeddings anywhere: one embed() for every engine, the pooling head always in fp32.

>>> import c2llm_lite
>>> with c2llm_lite.load("c2llm-0.5b-q8_0") as model:
...     queries = model.embed(["open a jsonl file"], prompt_name="query")
...     documents = model.embed(functions, prompt_name="document")
>>> similarity = queries @ documents.T
"""

# Nothing but our own module below is imported here, not even typing: `python -m c2llm_lite` runs this file with the
# current folder first on the path, and only then __main__.py, which takes it off.
from . import offline as offline  # first: what is imported after it does not phone home

__all__ = ["Embedder", "__version__", "load"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .embedder import Embedder, load

    __version__: str


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("c2llm-lite")
    if name in __all__:
        from . import embedder

        return getattr(embedder, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
