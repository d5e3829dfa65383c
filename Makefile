# Everything a developer or CI does is one of these; `make demo` and `make test` set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TIERS ?= tests/acceptance tests/contract tests/faults tests/storage tests/buildpacks
# Each has its own base images and services; more of them than two make these more often than they save time.
WORKERS ?= 2
FUZZTIME ?= 20s
.DEFAULT_GOAL := help
# What is compiled once serves all the interpreters that the tests start: without, half of the unit tests' time goes into it.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help setup demo check test conformance fuzz stops bench docs dist lock clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(VENV)/.ready ## a virtual environment with locked dependencies, and the Go programs

$(VENV)/.ready: requirements/dev.lock pyproject.toml launcher/hatch_build.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "packrunner needs Python 3.11 or newer: make PYTHON=python3.x" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "this Python cannot make virtual environments: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

launcher: setup
	@$(BIN)/python launcher/hatch_build.py
	@$(BIN)/python -m compileall -q packrunner

demo: setup launcher ## build a sample application with the embedded engine, start it, fetch a page
	@$(BIN)/python samples/demo.py

check: setup launcher ## formatting, lint, types, import order, unit tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -n auto tests/unit

test: check ## everything; tiers whose service is missing are skipped and say why
	cd launcher && ../$(BIN)/python hatch_build.py --test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TIERS)

conformance: setup launcher ## run the tests that prove items of the specification, print which proves what
	@$(BIN)/python -m tests.conformance

fuzz: setup ## fuzz the Go programs, each target for FUZZTIME (20s)
	@$(BIN)/python launcher/hatch_build.py --fuzz $(FUZZTIME)

stops: setup launcher ## stop every long command at random moments and look at what is left (an hour; CASES="build dev" for some)
	@$(BIN)/python -m tests.stops $(CASES)

bench: setup launcher ## time packrunner beside the peers on this machine
	@$(BIN)/python -m benchmarks $(CASES)

docs: setup ## write the generated reference pages
	$(BIN)/python -m packrunner.cli.manual docs/reference

dist: setup ## wheel and source archive, with the wheel's content checked
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python tests/wheel_content.py dist/*.whl

lock: ## resolve the dependencies anew
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --group dev --group build pyproject.toml -o requirements/dev.lock

clean: ## remove what was made here (not the user's images: packrunner prune --all)
	rm -rf $(VENV) dist build out packrunner/_bin .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
