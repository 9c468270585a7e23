# Every target does its own set-up in .venv, so each works on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench docs clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

$(STAMP): pyproject.toml requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $@

setup: $(STAMP)  ## create .venv with every locked package (CPU build of torch)

demo: setup  ## the shipped codec beside Opus, then quantizers compared, on clips that ship here; prints where the report is
	$(BIN)/vqkit demo

# many tests start processes: without bytecode each would compile vqkit anew, for two seconds
test: setup  ## run the test suite
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n 2

check: setup  ## ruff, mypy, import layering, forbidden packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/test_layering.py tests/test_dependencies.py

bench: setup  ## speed against peers, as ratios within one run
	$(BIN)/python benchmarks/speed.py --out runs/speed

docs: setup  ## run every code block of the docs pages
	$(BIN)/python -m pytest -q tests/test_docs.py

clean:  ## remove the environment and what the tools wrote
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist
