# Set-up needs Python 3.11 or newer with its venv module, and nothing else: everything goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TORCH := $(shell grep '^torch==' requirements.lock)

.DEFAULT_GOAL := help
.PHONY: help install demo bench test check lint types contract pytest test-repeat fuzz docs lock clean

help:
	@echo "make demo      train a controller for the bundled model, compare it with the baselines, write a report"
	@echo "make test      linter, types, import contract and tests (make check is the same)"
	@echo "make test-repeat  five whole test runs: few and many threads, beside busy loops, in a random order"
	@echo "make fuzz      bad command lines, bad calls and damaged files by the hundreds; some ten minutes"
	@echo "make bench     speed, side by side with the bare model and with peers; some eight minutes"
	@echo "make install   set up $(VENV) only"
	@echo "make docs      renew the generated pages: docs/environments and docs/benchmark.md"
	@echo "make lock      renew requirements.lock with the newest versions that pyproject.toml allows (torch stays)"
	@echo "make clean     remove $(VENV) and the caches"

install: $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/tidal demo

bench: $(INSTALLED)
	$(BIN)/python benchmarks/speed/speed.py

test check: lint types contract pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/mypy

contract: $(INSTALLED)
	$(BIN)/lint-imports

pytest: $(INSTALLED)
	$(BIN)/pytest -n 2 --durations 10

test-repeat: $(INSTALLED)
	$(BIN)/python benchmarks/reliability/repeat_tests.py

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz

docs: $(INSTALLED)
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/make_benchmark_page.py

# torch comes first, alone and by exact version: a resolver left to choose may fetch gigabytes of another build.
$(INSTALLED): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Tidal Gym needs Python 3.11 or newer. $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Name a newer one: make PYTHON=python3.12 $(or $(MAKECMDGOALS),install)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint requirements.lock $(TORCH)
	$(BIN)/python -m pip install --constraint requirements.lock hatchling setuptools
	$(BIN)/python -m pip install --constraint requirements.lock --use-pep517 --no-build-isolation --editable '.[dev]'
	@touch $@

# The CUDA libraries of one build of torch, and the +cpu of another, hold for one platform and stay out.
lock:
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip install $(TORCH) hatchling
	build/lock/bin/python -m pip install --use-pep517 --no-build-isolation --editable '.[dev]'
	{ grep '^#' requirements.lock; build/lock/bin/python -m pip freeze --all \
		| grep -v -E '^(#|-e |pip==|nvidia-|cuda-|triton==)' | sed 's/+[a-z0-9]*$$//'; } > build/requirements.lock
	mv build/requirements.lock requirements.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
