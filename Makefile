# Two commands matter: `make demo` and `make test`. Both set everything up the first time.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help demo test check bench clean setup

help: ## Say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: .venv/.ready ## Make .venv with the exact versions of constraints.txt

.venv/.ready: constraints.txt constraints-uv.txt pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or newer is missing. Install it (Debian: apt-get install python3 python3-venv) and run make again."; exit 1; fi
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$(PYTHON) comes without venv. Install it (Debian: apt-get install python3-venv) and run make again."; exit 1; fi
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		echo "Setting up .venv once: downloads about 2.8 GB (most of it torch with its CUDA libraries), needs 6 GB of disk."; \
		rm -rf .venv && $(PYTHON) -m venv .venv; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r constraints-uv.txt
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r constraints.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-build-isolation --no-deps -e .
	@touch $@

demo: .venv/.ready ## Run the whole loop once, on play money: seal, consent, release, train, pay, verify
	@$(BIN)/allod demo $(if $(DATA),--data "$(DATA)")

check: .venv/.ready ## Lint, types and layers
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

test: check ## Check everything and run all tests
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadgroup $(ARGS)

bench: .venv/.ready ## Measure what we promise; writes bench/out/bench.json
	@$(BIN)/python -m bench

clean: ## Remove caches, builds and the virtual environment; never a vault
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis bench/out dist build
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
