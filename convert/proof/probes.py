"""The texts and vectors by which a bundle verifies itself on any machine.

Each probe is stored with its full-precision vector and with the vector that the target gave when the bundle was made.
The latter is computed in a child process: its memory is not the converter's, and a crash there is an error here.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from c2llm_lite import bundle as bundles
from c2llm_lite.embedder import load
from c2llm_lite.pma import Array
from c2llm_lite.text import DOCUMENT_PROMPT, QUERY_PROMPTS, TextTokenizer
from c2llm_lite.verify import probe_vectors

from .. import reference
from ..checkpoint import Checkpoint
from ..checkpoint.safetensors_writer import Tensor, write_safetensors
from . import child

TEXTS = (
    f"{QUERY_PROMPTS['CodeSearchNetRetrieval']}\nread a file line by line and return those lines that match a regular "
    "expression, with their numbers, without loading the whole file into memory",
    f"{QUERY_PROMPTS['SyntheticText2SQL']}\nWhich three customers spent the most in the second quarter of 2024, and in "
    "which city did each of them place the largest single order?",
    DOCUMENT_PROMPT + "def matching_lines(path, pattern):\n"
    "    seen = re.compile(pattern)\n"
    "    with open(path, encoding='utf-8') as lines:\n"
    "        for number, line in enumerate(lines, start=1):\n"
    "            if seen.search(line):\n"
    "                yield number, line.rstrip('\\n')\n",
    DOCUMENT_PROMPT + "func (q *Queue[T]) Pop() (item T, ok bool) {\n"
    "\tq.mu.Lock()\n\tdefer q.mu.Unlock()\n"
    "\tif len(q.items) == 0 {\n\t\treturn item, false\n\t}\n"
    "\titem, q.items = q.items[0], q.items[1:]\n\treturn item, true\n}\n",
    DOCUMENT_PROMPT
    + "SELECT c.name, SUM(o.total) AS spent\nFROM customers AS c JOIN orders AS o ON o.customer = c.id\n"
    "WHERE o.placed >= '2024-04-01' AND o.placed < '2024-07-01'\nGROUP BY c.id ORDER BY spent DESC LIMIT 3;\n",
    DOCUMENT_PROMPT + "/* Größter gemeinsamer Teiler — 最大公约数 */\n"
    "unsigned long gcd(unsigned long a, unsigned long b)\n"
    "{\n    while (b != 0) {\n        unsigned long rest = a % b;\n        a = b;\n        b = rest;\n    }\n"
    "    return a;\n}\n",
)


def token_ids(checkpoint: Checkpoint) -> list[list[int]]:
    """The probes' texts as the model takes them."""
    return TextTokenizer(checkpoint.tokenizer_file, checkpoint.max_tokens).encode(TEXTS)


def reference_probes(checkpoint: Checkpoint) -> tuple[tuple[bundles.Probe, ...], Array, reference.Largest]:
    """The probes without this target's cosines, their full-precision vectors (n, d), and the largest values there."""
    largest = reference.Largest()
    ids = token_ids(checkpoint)
    probes = tuple(bundles.Probe(text, len(tokens), None) for text, tokens in zip(TEXTS, ids, strict=True))
    return probes, reference.vectors(checkpoint, ids, largest), largest


def write(folder: Path, full: Array, target: Array | None) -> None:
    """Write the probes' vectors (n, d) at full precision, and the target's if they are known."""
    vectors = {bundles.REFERENCE_VECTORS: full} | ({} if target is None else {bundles.TARGET_VECTORS: target})
    tensors = (Tensor(name, "F32", values) for name, values in vectors.items())
    write_safetensors(folder / bundles.PROBES, tensors, len(vectors))


def target_vectors(folder: Path) -> Array:
    """The probes' vectors (n, d) as the bundle in `folder` gives them, one at a time, in a child process.

    Raises CannotRunHereError if this machine lacks what that takes, BundleError if the bundle fails.
    """
    remedy = "--no-target-probes converts without running it"
    vectors = child.run(__name__, str(folder), what="on its probes", remedy=remedy)
    manifest = bundles.open_bundle(folder).manifest
    return np.frombuffer(vectors, np.float32).reshape(len(manifest.probes), manifest.width)


def _main(folder: str) -> None:
    """Write the bundle's probe vectors to standard output, raw fp32."""
    with child.reported(), load(folder, cache=False) as model:
        sys.stdout.buffer.write(probe_vectors(model).tobytes())


if __name__ == "__main__":
    _main(sys.argv[1])
