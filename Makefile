# Two commands do everything on a fresh machine: `make demo` and `make test`.
#   PYTHON=python3.12       which Python (3.11 or newer) makes the environment
#   VENV=.venv              where it lies
#   QLIB_PYTHON=python3.12  which Python (3.11 or 3.12) makes the environment of make test-qlib; its own is .venv-qlib
#   TORCH_INDEX=address     a package index to take torch from: on Linux, PyTorch's CPU index (docs/getting-started.md, "Install")
# pip's own variables and configuration files are respected; where they name a source of packages, it is the only one.

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
TORCH_INDEX ?=
QLIB_VENV := .venv-qlib
QLIB_PYTHON ?= $(BIN)/python

.PHONY: demo test test-long test-qlib lint format types imports docs bench check install install-dev clean help
.DEFAULT_GOAL := help

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: install  ## Set up, forecast the simulated sample, draw out/forecast.png
	$(BIN)/kronos forecast --demo --plot out/forecast.png

test: install-dev  ## Set up and run the tests, one process a core
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not long"

test-long: install-dev  ## Run what takes a minute by its nature: a soak and a fuzzing of the server, its load
	$(BIN)/python -m pytest -n auto -m long

test-qlib: install-dev  ## Check our Qlib folders against the real Qlib, set up in .venv-qlib
	@case "$$($(QLIB_PYTHON) -c 'import sys; print(sys.version_info < (3, 13))')" in \
	True) $(MAKE) --no-print-directory $(QLIB_VENV)/.installed && \
		KRONOS_QLIB_PYTHON="$(CURDIR)/$(QLIB_VENV)/bin/python" $(BIN)/python -m pytest -m qlib ;; \
	False) echo "Qlib has no wheel for Python 3.13 and newer: skipped; say make test-qlib QLIB_PYTHON=python3.12" ;; \
	*) exit 2 ;; esac

lint: install-dev  ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install-dev  ## Mend style where that is safe
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install-dev  ## Strict types
	$(BIN)/mypy

imports: install-dev  ## Who may import whom
	$(BIN)/lint-imports

docs: install-dev  ## Build the documentation site into site/; a broken link or anchor is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: install-dev  ## Measure, and write docs/performance.md and its pages on data, training and serving
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.data
	$(BIN)/python -m benchmarks training
	$(BIN)/python -m benchmarks.serving

check: lint types imports docs test test-long  ## Everything that must hold

install: $(VENV)/.installed  ## Set up what forecasting needs

install-dev: $(VENV)/.installed-dev  ## Set up what development needs

clean:  ## Remove the environment and what was built
	rm -rf $(VENV) $(QLIB_VENV) build dist out site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Kronos needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# PyPI's torch for Linux is the CUDA build, gigabytes larger than the CPU build on PyTorch's own index.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@if test -n "$(TORCH_INDEX)"; then \
		$(PIP) install --quiet --constraint constraints.txt --index-url "$(TORCH_INDEX)" --no-deps torch; fi
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# pyqlib declares 190 packages; those pinned here are what it imports, so pip is told not to look for the others.
$(QLIB_VENV)/.installed: constraints-qlib.txt
	$(QLIB_PYTHON) -m venv $(QLIB_VENV)
	$(QLIB_VENV)/bin/python -m pip install --quiet --no-deps --requirement constraints-qlib.txt
	@touch $@
