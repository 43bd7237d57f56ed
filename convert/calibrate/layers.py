"""One pass over calibration texts that rounds a backbone's matrices in order.

Each matrix is rounded on the inputs that earlier rounding leaves, which are its inputs when the bundle runs.

The backbone runs at full precision as well. Before a matrix is rounded, it is adjusted to correct the errors of earlier
matrices (asymmetric calibration, arXiv 2504.02692): matrices that read the residual stream reproduce their
full-precision outputs as nearly as their inputs allow; matrices that add to the stream also correct it.

The forward is the reference's (NumPy, fp32), and one layer's weights are in memory at a time. Every text's states are:
five times the hidden width and once the intermediate one, times all tokens, in fp32. Beside them stand a few square
matrices of the width of a matrix's inputs, whatever the number of texts. Finished layers are kept (resume.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from c2llm_lite.pma import Array
from c2llm_lite.progress import bar

from ..checkpoint import Weights
from ..checkpoint.safetensors_file import widen
from ..reference import Layer, final_states, groups, mix, rms_norm, silu
from .gptq import damped
from .resume import Parts, Unfinished

# (the matrix's name, its weights (rows, width), its inputs' second moments (width, width)) -> the weights as rounded,
# and what the bundle holds of them.
Rounding = Callable[[str, Array, Array], tuple[Array, Parts]]
# Puts what the bundle holds of the matrix of this name into it.
Placing = Callable[[str, Parts], None]
MATRICES = 7  # of a layer: q, k, v, o, gate, up, down


@dataclass
class Calibration:
    """Texts to calibrate on, as token ids, and results that one step passes to another.

    progress: show a bar. unfinished: where to keep the rounding, to resume. states: each text's final states at full
    precision, (tokens, hidden) float32, once a forward has made them. origins: where some texts are variants of others,
    the number of the text that each is, or is a variant of.
    """

    texts: Sequence[Sequence[int]]
    progress: bool = False
    unfinished: Unfinished | None = None
    states: list[Array] | None = None
    origins: Sequence[int] | None = None


def round_in_order(checkpoint: Weights, calibration: Calibration, rounding: Rounding, placing: Placing) -> None:
    """Hand every matrix to `rounding`, and its result to `placing`, in the order in which a token meets them.

    Layers that an earlier run kept go to `placing` at once. Sets the calibration's states, if it has none.

    Raises OutputError if what is kept cannot be read or written.
    """
    shape, texts, unfinished = checkpoint.backbone, calibration.texts, calibration.unfinished
    cuts = list(groups([len(text) for text in texts]))
    lengths = [[len(texts[i]) for i in cut] for cut in cuts]
    done = unfinished.layers() if unfinished else 0
    if unfinished and done:
        for number in range(min(done, shape.layers)):
            for name, parts in unfinished.matrices(number).items():
                placing(name, parts)
        if done > shape.layers:  # kept of a deeper backbone: nothing is left to round
            return
        hidden, exact = unfinished.states()
    else:
        table, dtype = checkpoint.stored("embed_tokens.weight")
        hidden = [widen(table[np.concatenate([texts[i] for i in cut])], dtype) for cut in cuts]  # (tokens, hidden)
        exact = [x.copy() for x in hidden]  # the same at full precision
    left = (shape.layers - done) * MATRICES
    with bar("rounding", left, "matrices", show=calibration.progress, every=MATRICES) as advance:
        for number in range(done, shape.layers):
            layer = Layer(checkpoint, number)
            matrices: dict[str, Parts] = {}

            def rounded(
                matrix: str,
                weights: Array,
                moments: Array,
                layer: Layer = layer,
                matrices: dict[str, Parts] = matrices,
            ) -> Array:
                name = f"{layer.name}.{matrix}.weight"
                found, matrices[name] = rounding(name, weights, moments)
                placing(name, matrices[name])
                advance(1)
                return found

            def mixed(inputs: list[Array], *qkv: tuple[Array, Array]) -> list[Array]:
                return [mix(x, cut, qkv, shape) for x, cut in zip(inputs, lengths, strict=True)]

            normed, wanted = ([rms_norm(x, layer.norm1, shape.rms_norm_eps) for x in xs] for xs in (hidden, exact))
            moments = _moments(normed)
            seen = _making_up(normed, wanted, moments)
            whole = layer.q, layer.k, layer.v
            qkv = [
                (rounded(f"self_attn.{name}_proj", weights + weights @ seen, moments), bias)
                for name, (weights, bias) in zip("qkv", whole, strict=True)
            ]
            _add(exact, mixed(wanted, *whole), layer.out)
            inputs = mixed(normed, *qkv)
            _add(hidden, inputs, rounded("self_attn.o_proj", *_mended(layer.out, inputs, hidden, exact)))

            normed, wanted = ([rms_norm(x, layer.norm2, shape.rms_norm_eps) for x in xs] for xs in (hidden, exact))
            moments = _moments(normed)
            seen = _making_up(normed, wanted, moments)
            gate_up = [
                rounded(f"mlp.{name}_proj", weights + weights @ seen, moments)
                for name, weights in (("gate", layer.gate), ("up", layer.up))
            ]
            _add(exact, _gated(wanted, layer.gate, layer.up), layer.down)
            inputs = _gated(normed, *gate_up)
            _add(hidden, inputs, rounded("mlp.down_proj", *_mended(layer.down, inputs, hidden, exact)))
            if unfinished:
                unfinished.keep(number, matrices, (hidden, exact))
    if calibration.states is None:
        calibration.states = final_states(checkpoint, exact, lengths)


def _gated(inputs: list[Array], gate: Array, up: Array) -> list[Array]:
    return [silu(x @ gate.T) * (x @ up.T) for x in inputs]  # (tokens, intermediate)


def _add(stream: list[Array], inputs: list[Array], weights: Array) -> None:
    for x, given in zip(stream, inputs, strict=True):
        x += given @ weights.T


def _making_up(inputs: list[Array], wanted: list[Array], moments: Array) -> Array:
    """M (width, width): x + M·x is as near to the full-precision inputs as a linear map of the inputs x comes."""
    missing = [w - x for w, x in zip(wanted, inputs, strict=True)]
    return _regression(inputs, missing, moments)


def _mended(weights: Array, inputs: list[Array], stream: list[Array], exact: list[Array]) -> tuple[Array, Array]:
    """Weights (hidden, width) that also make up for the stream's errors, and the inputs' second moments (width, width).

    With them the product of `inputs` brings the residual stream nearest to the exact one, which has its own product
    already.
    """
    moments = _moments(inputs)
    missing = [e - (x + given @ weights.T) for e, x, given in zip(exact, stream, inputs, strict=True)]
    return weights + _regression(inputs, missing, moments), moments


def _regression(inputs: list[Array], outputs: list[Array], moments: Array) -> Array:
    """(rows, width), the ridge regression of outputs (tokens, rows) on inputs (tokens, width), damped as GPTQ is."""
    cross = _sum(y.T @ x for x, y in zip(inputs, outputs, strict=True))
    found: Array = np.linalg.solve(damped(moments), cross.T).T.astype(np.float32)
    return found


def _moments(inputs: list[Array]) -> Array:
    """The sum of x·xᵀ over all tokens' inputs: (width, width)."""
    return _sum(x.T @ x for x in inputs)


def _sum(products: Iterator[Array]) -> Array:
    """The sum of at least one product of one shape, two of them in memory at a time: at 7B each takes 1.4 GB."""
    total = next(products)
    for product in products:
        total += product
    return total
