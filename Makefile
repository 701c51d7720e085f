# Everything starts from a fresh clone and Python 3.11; no compiler and no system package is needed.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: help install pretrain test test-all check format bench clean

help:
	@echo "make pretrain   train the demo model and write runs/demo/report.html"
	@echo "make test       the default tests        make test-all   the slow and multi-process ones too"
	@echo "make check      ruff, mypy, architecture make bench      measure this machine"

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --editable '.[all,dev]'
	touch $(READY)

pretrain: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" deepspeed recipes/pretrain.py $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -q --durations=10 $(ARGS)

test-all: $(READY)
	$(BIN)/python -m pytest -q --durations=20 -m 'not gpu' $(ARGS)

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/architecture

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)
	$(BIN)/python tools/bench.py $(ARGS)

clean:
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
