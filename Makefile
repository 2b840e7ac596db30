# `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH := .venv-bench
SIZE ?= full

# Compiled modules are kept: importing this stack anew takes ten seconds more.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup sweep test lint types contracts check format lock clean bench bench-gpu pretrain

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with everything in it.

$(READY): requirements.lock pyproject.toml Makefile
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "eif_lab needs Python 3.11 or newer, got " + sys.version.split()[0] + ". Try make PYTHON=python3.11.")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip sync --quiet requirements.lock
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet --no-deps -e .
	touch $@

sweep: $(READY) ## Run the main job: two models, two methods, verdicts.
	$(BIN)/python -m eif_lab -m model=cnn,phi3 method=lora,full

pretrain: $(READY) ## Make phi3-tiny anew (about 40 minutes on two quiet cores); FLAGS="--output DIR" to put it elsewhere.
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m eif_lab.pretrain $(FLAGS)

bench: $(BENCH)/.ready ## Compare with the floor, loops and other libraries; FLAGS=--quick to try it.
	$(BENCH)/bin/python -m benchmarks $(FLAGS)

$(BENCH)/.ready: $(READY)
	$(BIN)/uv venv --quiet --allow-existing $(BENCH)
	VIRTUAL_ENV=$(abspath $(BENCH)) $(BIN)/uv pip sync --quiet requirements.lock
	VIRTUAL_ENV=$(abspath $(BENCH)) $(BIN)/uv pip install --quiet --constraint requirements.lock -e '.[bench]'
	touch $@

bench-gpu: $(READY) ## Likewise on an accelerator, at the size of Phi-3-mini; SIZE=small to try it anywhere.
	$(BIN)/python -m benchmarks.gpu --size $(SIZE) $(FLAGS)

test: $(READY) ## Run the tests.
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(READY) ## Check style.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## Check types.
	$(BIN)/mypy

contracts: $(READY) ## Check that the rooms import one way.
	$(BIN)/lint-imports

check: lint types contracts test ## Lint, types, import contracts, tests.

format: $(READY) ## Put the code into the project's style.
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

lock: ## Pin the versions anew (needs uv on the path).
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url --output-file requirements.lock pyproject.toml

clean: ## Remove caches and what runs wrote; .venv stays.
	rm -rf outputs/cache outputs/runs outputs/sweeps .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
