"""C2LLM code embeddings anywhere: one embed() for every engine, the pooling head always in fp32.

>>> import c2llm_lite
>>> functions = ["def read_lines(path): return [json.loads(line) for line in open(path)]"]
>>> with c2llm_lite.load("c2llm-q8") as model:
...     queries = model.embed(["open a jsonl file"], prompt_name="query")
...     documents = model.embed(functions, prompt_name="document")
>>> similarity = queries @ documents.T
"""

# Import only our own module below here, not even typing: `python -m c2llm_lite` runs this file with the current folder
# first on the path, before __main__.py removes it.
from . import offline as offline  # first: it stops telemetry of libraries imported later

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
