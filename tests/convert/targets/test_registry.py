"""Every target by its name, and what its entry says of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from c2llm_lite.bundle import open_bundle
from c2llm_lite.convert.calibrate.grids import GRIDS
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.convert.targets import registry
from c2llm_lite.errors import CheckpointError

FULL_PRECISION = {"gguf:f32", "gguf:f16", "gguf:bf16", "openvino:fp32", "torch:fp32", "torch:bf16"}
ROUNDED_ON_TEXTS = {"gguf:q4_0", "gguf:iq4_nl", "gguf:int4", "gguf:int5", "openvino:int4", "bnb:nf4"}
PLAIN = {"gguf:q4_1", "gguf:q4_k", "gguf:q3_k", "gguf:q5_0", "gguf:q5_k"}


def test_a_target_comes_back_from_its_name():
    for target in registry.TARGETS:
        assert registry.parse(str(target)) is target
    assert str(registry.parse("openvino:int8-static")) == "openvino:int8-static"


@pytest.mark.parametrize("text", ["q8_0", "gguf:", "gguf", ":q8_0", "", "tensorrt:int8"])
def test_what_names_no_family_is_not_a_target(text):
    with pytest.raises(ValueError, match="is not a target; pass FAMILY:KIND, such as gguf:q8_0"):
        registry.parse(text)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("gguf:q2_k", "f32, f16, bf16, q8_0, q6_k, q5_k, q5_0, q4_1, q4_k, q4_0, iq4_nl, q3_k, int4, int5"),
        ("openvino:int3", "int8, int8-static, int4, fp32"),
        ("torch:fp8", "fp32, bf16"),
        ("bnb:fp4", "int8, nf4"),
    ],
)
def test_an_unknown_kind_is_refused_with_those_of_its_family(text, kinds):
    with pytest.raises(CheckpointError, match=f"{text} is not a target of this package; choose one of {kinds}$"):
        registry.parse(text)


def test_traits():
    def having(trait) -> set[str]:
        return {str(target) for target in registry.TARGETS if trait(target)}

    every = having(lambda target: True)
    eight = {"gguf:q8_0", "openvino:int8", "openvino:int8-static"}
    assert having(lambda target: target.quantized) == every - FULL_PRECISION
    assert having(lambda target: target.should_have_texts) == ROUNDED_ON_TEXTS | PLAIN
    assert registry.parse("gguf:int5").bits == 5
    assert having(lambda target: target.rounded_on_texts) == ROUNDED_ON_TEXTS | eight | {"gguf:q6_k"}
    assert having(lambda target: target.smoothed == "always") == {"openvino:int8", "bnb:int8"}
    assert having(lambda target: target.smoothed == "on texts") == {"gguf:q8_0"}
    assert having(lambda target: target.needs_texts) == {"openvino:int8-static"}
    engines = {"gguf": "llama_cpp", "openvino": "openvino", "torch": "torch", "bnb": "torch"}
    assert all(target.engine == engines[target.family] for target in registry.TARGETS)


def test_activations_that_share_a_scale(checkpoint_folder):
    backbone = open_checkpoint(checkpoint_folder).backbone  # rows of 64 and 128
    for name, group in (("gguf:q8_0", GRIDS["q8_0"].block), ("openvino:int8", 64), ("bnb:int8", None)):
        assert registry.parse(name).activation_group(backbone) == group


def test_no_engine_or_exporter_is_imported_to_read_a_name():
    heavy = {"torch", "transformers", "bitsandbytes", "openvino", "nncf", "optimum", "llama_cpp", "gguf"}
    code = "import sys; from c2llm_lite.convert.targets import registry; registry.parse('gguf:q8_0')"
    code += f"; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_available_gives_every_target_that_fits(checkpoint_folder):
    found = registry.available(open_checkpoint(checkpoint_folder))
    assert {str(one.target) for one in found} == {str(t) for t in registry.TARGETS if not t.kind.endswith("_k")}
    assert all(abs(one.bits - one.target.bits) < 3 for one in found)


def test_a_bundle_s_size_is_known_before_it_is_made(checkpoint_folder, f32_bundle):
    sizes = {str(one.target): one.size for one in registry.available(open_checkpoint(checkpoint_folder))}
    made = sum(record.size for record in open_bundle(f32_bundle).manifest.files.values())
    assert sizes["gguf:f32"] == pytest.approx(made, rel=0.1)
    assert sizes["gguf:q4_0"] < sizes["gguf:q8_0"] < sizes["gguf:f16"]
