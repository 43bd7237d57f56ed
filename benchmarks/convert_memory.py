"""How much memory a conversion of the 7B takes: `python -m c2llm_lite.benchmarks.convert_memory FOLDER [TARGET]`.

A checkpoint in C2LLM-7B's shapes, of random weights, is written to FOLDER shard by shard (24 GB of disk are needed, and
freed at the end), and converted in a child process whose anonymous memory is sampled: what the process holds, without
the pages of mapped files, which the system drops when it wants them back.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from c2llm_lite import pma
from c2llm_lite.bundle import Backbone
from c2llm_lite.convert.safetensors_writer import Tensor, write_safetensors

from .hardware import stamp
from .nf4_memory import C2LLM_7B

RESULT = Path(__file__).parent / "results" / "convert_memory_7b.json"
LIMIT = 3e9  # bytes
LAYERS_A_SHARD = 4
INTERVAL = 0.02  # seconds between samples
BLOCK = np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32)
CONVERT = """
import sys
from c2llm_lite.convert import convert
convert(*sys.argv[1:], target_probes=False)
"""


def write_checkpoint(folder: Path, shape: Backbone) -> None:
    """A checkpoint of random bf16 weights in C2LLM's names, one tensor in memory at a time."""
    hidden = shape.hidden
    config = {
        "model_type": "c2llm",
        "hidden_size": hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocab,
        "max_position_embeddings": shape.max_positions,
        "rope_theta": shape.rope_theta,
        "rms_norm_eps": shape.rms_norm_eps,
        "tie_word_embeddings": shape.tied,
        "compress_dim": hidden,
        "pma_num_heads": 32,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer = Tokenizer(WordLevel({"?": 0, "def": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    weight_map: dict[str, str] = {}
    for number, shapes in enumerate(_shards(shape), start=1):
        file = f"model-{number:05}.safetensors"
        tensors = (Tensor(name, "BF16", _draw(size)) for name, size in shapes.items())
        write_safetensors(folder / file, tensors, len(shapes))
        weight_map |= dict.fromkeys(shapes, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")


def convert(source: Path, output: Path, target: str) -> tuple[int, float]:
    """Convert in a child process: the peak of its anonymous memory in bytes, and the seconds taken."""
    start, peak = time.monotonic(), 0
    with subprocess.Popen([sys.executable, "-c", CONVERT, source, output, target]) as child:
        while child.poll() is None:
            peak = max(peak, _anonymous(child.pid))
            time.sleep(INTERVAL)
    if child.returncode != 0:
        raise SystemExit(f"the conversion failed: exit {child.returncode}")
    return peak, time.monotonic() - start


def main(folder: str, target: str = "gguf:q8_0") -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        source, output = Path(place, "checkpoint"), Path(place, "bundle")
        source.mkdir()
        write_checkpoint(source, C2LLM_7B)
        stored = sum(file.stat().st_size for file in source.iterdir())
        peak, seconds = convert(source, output, target)
        result = {
            "measured": "peak anonymous memory (RssAnon, sampled) of convert() without target probes",
            "target": target,
            "backbone": asdict(C2LLM_7B),
            "checkpoint_bytes": stored,
            "bundle_bytes": sum(file.stat().st_size for file in output.iterdir()),
            "peak_anonymous_bytes": peak,
            "limit_bytes": int(LIMIT),
            "seconds": round(seconds),
            "hardware": stamp(),
        }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(
        f"{target}: peak {peak / 1e9:.2f} GB of anonymous memory in {seconds:.0f} s; the limit is {LIMIT / 1e9:.0f} GB"
    )
    if peak > LIMIT:
        raise SystemExit(1)


def _shards(shape: Backbone) -> Iterator[dict[str, tuple[int, ...]]]:
    """The shapes of each shard's tensors, by the names the checkpoint gives them."""
    hidden, kv, table = shape.hidden, shape.kv_heads * shape.head_dim, (shape.vocab, shape.hidden)
    rows = {"self_attn.q_proj": hidden, "self_attn.k_proj": kv, "self_attn.v_proj": kv}
    layer: dict[str, tuple[int, ...]] = {f"{name}.weight": (count, hidden) for name, count in rows.items()}
    layer |= {f"{name}.bias": (count,) for name, count in rows.items()}
    layer |= {"self_attn.o_proj.weight": (hidden, hidden), "mlp.down_proj.weight": (hidden, shape.intermediate)}
    layer |= {f"mlp.{part}_proj.weight": (shape.intermediate, hidden) for part in ("gate", "up")}
    layer |= {f"{place}_layernorm.weight": (hidden,) for place in ("input", "post_attention")}
    yield {"plm_model.model.embed_tokens.weight": table}
    for first in range(0, shape.layers, LAYERS_A_SHARD):
        numbers = range(first, min(first + LAYERS_A_SHARD, shape.layers))
        yield {f"plm_model.model.layers.{i}.{name}": size for i in numbers for name, size in layer.items()}
    last: dict[str, tuple[int, ...]] = {"plm_model.model.norm.weight": (hidden,)}
    if not shape.tied:
        last["plm_model.lm_head.weight"] = table
    matrices = [name for name in pma.TENSORS if ".fc_" in name and name.endswith("weight")]
    head: dict[str, tuple[int, ...]] = dict.fromkeys(pma.TENSORS, (hidden,))
    head |= {"S": (1, 1, hidden)} | dict.fromkeys(matrices, (hidden, hidden))
    yield last | {f"mha_pma.{name}": size for name, size in head.items()}


def _draw(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """bf16 bits at the scale of trained weights: one random block over and over, in place of minutes of drawing."""
    values = BLOCK / np.float32(shape[-1] ** 0.5) if len(shape) == 2 else 1 + np.float32(0.1) * BLOCK
    return np.resize((values.view(np.uint32) >> 16).astype(np.uint16), shape)


def _anonymous(process: int) -> int:
    """RssAnon of a process in bytes; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
