"""What fewer components and smaller forms of the vectors cost in retrieval: the price of `dim=` and `precision=`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from c2llm_lite.pma import Array
from c2llm_lite.vectors import encode, normalize

from .retrieval import DEPTH, per_query, ranked

WIDTHS = (512, 256, 128)  # and the whole
MEASURE, TOP = "ndcg@10", 10


def prices(queries: Array, documents: Array, relevant: Sequence[Mapping[int, int]]) -> dict[str, dict[str, float]]:
    """NDCG@10 by width and form: {"576": {"float32": …, "int8": …, "binary": …, …}, …}.

    queries (q, d) and documents (n, d): normalized.
    """
    whole = queries.shape[1]
    found = {}
    for width in (whole, *(width for width in WIDTHS if width < whole)):
        narrow = normalize(queries[:, :width]), normalize(documents[:, :width])
        rankings = {form: ranked(scores(*narrow))[:, :TOP] for form, scores in FORMS.items()}
        found[str(width)] = {
            form: float(per_query(ranking, relevant)[MEASURE].mean()) for form, ranking in rankings.items()
        }
    return found


def _float32(queries: Array, documents: Array) -> Array:
    return queries @ documents.T


def _int8(queries: Array, documents: Array) -> Array:
    """Cosines of the int8 vectors."""
    return _float32(*(normalize(encode(vectors, "int8").astype(np.float32)) for vectors in (queries, documents)))


def _binary(queries: Array, documents: Array) -> Array:
    """Components whose signs agree less those whose signs differ."""
    signs = [np.where(vectors > 0, np.float32(1), np.float32(-1)) for vectors in (queries, documents)]
    return signs[0] @ signs[1].T


def _rescored(queries: Array, documents: Array) -> Array:
    """The DEPTH best by signs, ranked by the float32 query against the document's int8 vector; the rest below."""
    first = ranked(_binary(queries, documents))
    exact = queries @ normalize(encode(documents, "int8").astype(np.float32)).T
    scores = np.full_like(exact, -np.inf)
    np.put_along_axis(scores, first, np.take_along_axis(exact, first, axis=1), axis=1)
    return scores


FORMS: dict[str, Callable[[Array, Array], Array]] = {
    "float32": _float32,
    "int8": _int8,
    "binary": _binary,
    f"binary, {DEPTH} rescored": _rescored,
}
