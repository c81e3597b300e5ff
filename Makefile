# Two commands matter: `make demo` and `make test`. Both set everything up the first time.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CACHE := $(or $(ALLOD_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/allod)
export ALLOD_TOOLS ?= $(CACHE)/tools
KUBO := $(ALLOD_TOOLS)/kubo-v0.43.0/ipfs
ANVIL := $(ALLOD_TOOLS)/anvil-1.7.1
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo up test check bench clean setup tools web

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
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes --compile-bytecode -r constraints.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-build-isolation --no-deps -e .
	@touch $@

# Real nodes, into a folder that every clone shares. What cannot be had is said; the tests that need it are skipped then.
tools: ## Get the real nodes: anvil (from npm) and kubo (built with Go, some minutes, once)
	@if [ -x "$(KUBO)" ]; then :; \
	elif command -v go >/dev/null 2>&1; then \
		echo "Building kubo once: downloads about 300 MB of Go modules, takes some minutes."; \
		deploy/tools/kubo.sh "$(KUBO)"; \
	else command -v ipfs >/dev/null 2>&1 || echo "kubo is missing: install Go 1.21 or newer and run make again, or put ipfs on PATH."; fi
	@if [ -e "$(ANVIL)/.ready" ]; then :; \
	elif command -v npm >/dev/null 2>&1; then \
		mkdir -p "$(ANVIL)" && cp deploy/tools/package*.json "$(ANVIL)" && \
		(cd "$(ANVIL)" && npm ci --ignore-scripts --silent --no-audit --no-fund) && touch "$(ANVIL)/.ready"; \
	else command -v anvil >/dev/null 2>&1 || echo "anvil is missing: install Node 20 or newer (with npm) and run make again."; fi

# The page, built into allod/static. Rebuilt only when its sources changed.
WEB := $(shell find web -name node_modules -prune -o -name build -prune -o -type f -print 2>/dev/null)
web: allod/static/index.html ## Build the page into allod/static

allod/static/index.html: web/node_modules/.ready $(WEB)
	@cd web && npm run --silent build -- --logLevel warn && npm run --silent vectors -- --logLevel error
	@touch $@

web/node_modules/.ready: web/package.json web/package-lock.json web/.npmrc
	@command -v npm >/dev/null 2>&1 && node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)' || { \
		echo "The page needs Node 20.19 or newer with npm to be built. Install it and run make again."; exit 1; }
	@cd web && npm ci --ignore-scripts --silent --no-audit --no-fund
	@touch $@

demo: .venv/.ready $(if $(filter real,$(NODES)),tools) ## The whole loop once, on play money (DATA=path: your own files; NODES=real: on real nodes)
	@$(BIN)/allod demo $(if $(DATA),--data "$(DATA)") $(if $(NODES),--nodes "$(NODES)")

up: .venv/.ready web ## The server with the owner's page, and all it needs, on play money (DEMO=1: with a demo owner and trainer; PORT=8600)
	@$(BIN)/allod up $(if $(PORT),--port "$(PORT)") $(if $(DEMO),--demo)

check: .venv/.ready web/node_modules/.ready ## Lint, types and layers
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@cd web && npm run --silent check -- --output human

# Only root may install, so only root does; for anyone else the tests that need it are skipped, which they say.
.PHONY: postgres
postgres:
	@if command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "Installing PostgreSQL for the tests."; apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install postgresql >/dev/null; \
	else echo "PostgreSQL is missing; for its tests: sudo apt-get install postgresql"; fi

.PHONY: chromium
chromium:
	@if command -v chromium >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "Installing Chromium for the tests."; apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install chromium >/dev/null; \
	else echo "Chromium is missing; for its tests: sudo apt-get install chromium"; fi

# kubo takes minutes to build on a new machine: it is built beside the tests that do not need it.
test: check postgres chromium web ## Check everything and run all tests
	@mkdir -p "$(ALLOD_TOOLS)"; nice -n 19 $(MAKE) -s tools > "$(ALLOD_TOOLS)/log" 2>&1 & \
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadscope -m "not needs_nodes" $(ARGS); first=$$?; \
	wait || cat "$(ALLOD_TOOLS)/log"; \
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadscope -m needs_nodes $(ARGS); second=$$?; \
	if [ -n "$(ARGS)" ] && [ $$second = 5 ]; then second=0; fi; [ $$first = 0 ] && [ $$second = 0 ]

bench: .venv/.ready ## Measure what we promise; writes bench/out/bench.json
	@$(BIN)/python -m bench

clean: ## Remove caches, builds and the virtual environment; never a vault
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis bench/out dist build web/node_modules web/build allod/static
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
