"""The ways that users would run the model instead give the vectors that ours do: the same work is timed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from c2llm_lite.benchmarks.peer_models import Llama, Padded, Peer, transformers, write_for_transformers
from c2llm_lite.convert.checkpoint import Checkpoint, open_checkpoint
from c2llm_lite.convert.reference import vectors
from c2llm_lite.text import Tokeniser

TEXTS = ["def read(path):\n    return open(path).read()", "x", "how to read a file in python", "class Stack: pass"]


@pytest.fixture(scope="module")
def checkpoint(checkpoint_folder) -> Checkpoint:
    return open_checkpoint(checkpoint_folder)


@pytest.fixture(scope="module", params=["transformers", "Llama.embed"])
def peer(request, checkpoint, tmp_path_factory) -> Peer:
    folder = tmp_path_factory.mktemp("peers")
    if request.param == "Llama.embed":
        return Llama(checkpoint, folder / "ordinary.gguf", threads=1)
    write_for_transformers(checkpoint, folder / "model")
    return transformers(checkpoint, folder / "model", torch.float32)


def test_a_peer_gives_the_model_s_vectors(peer, checkpoint):
    ids = Tokeniser(checkpoint.tokenizer_file, checkpoint.max_tokens).encode(TEXTS)
    full = vectors(checkpoint, ids)
    batches, least = ((1, 3), 0.99999) if isinstance(peer, Padded) else ((1,), 0.99)
    for batch in batches:
        assert np.sum(peer.embed(TEXTS, batch) * full, axis=1).min() > least
