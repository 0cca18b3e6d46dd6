# Everything the project does by hand, by name. `make` alone tells. Works with GNU make 3.81 on Linux and macOS.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest -q
# One worker a processor, each with servers of its own; a worker that has nothing left takes tests from another.
SPREAD := -n logical --dist worksteal
CODE := deploy ledger services workers tests bench
# The first Python that runs and is new enough: `make PYTHON=/path/to/python run` takes another.
ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$p -c '$(ENOUGH)' >/dev/null 2>&1 && { echo $$p; break; }; done)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-fast docs check check-format check-lint check-types check-imports check-domain check-tests \
	soak coverage format bench site pre-commit lock clean install install-dev

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

run: install ## set up what is missing, start everything, record sample favours, print the balances and the addresses
	@$(BIN)/referral-ledger up --demo $(ARGS)

test: install-dev ## set up what is missing and run all tests
	$(PYTEST) $(SPREAD) $(ARGS)

test-fast: install-dev ## run the tests of the domain and of the log that start no server
	$(PYTEST) -m 'not servers and not slow' tests/domain tests/log tests/runtime $(ARGS)

check: check-format check-lint check-types check-imports check-domain check-tests ## all that must hold before a change lands

check-format: install-dev
	$(BIN)/ruff format --check .

check-lint: install-dev
	$(BIN)/ruff check .

check-types: install-dev
	$(BIN)/mypy
	$(BIN)/pyright

check-imports: install-dev
	$(BIN)/lint-imports

# Measuring more than doubles the time. The gate measures the domain, which is the rules; `make coverage` measures all.
check-domain: install-dev
	$(PYTEST) $(SPREAD) --cov=ledger.domain --cov-fail-under=100 tests/domain

check-tests: install-dev
	$(PYTEST) $(SPREAD) --ignore=tests/domain

soak: install-dev ## run all tests, the random ones with many more seeds, commands and examples
	SOAK=1 $(PYTEST) $(SPREAD) $(ARGS)

coverage: install-dev ## run all tests, and measure: 90 % of all branches, 100 % of the domain's
	$(PYTEST) $(SPREAD) --cov --cov-report=
	$(BIN)/coverage report
	$(BIN)/coverage report --include='ledger/domain/*' --fail-under=100

format: install-dev ## format the code and mend what can be mended
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: install-dev ## measure, and print the figures
	$(BIN)/python -m bench $(ARGS)

docs: install ## write the generated pages docs/events.md and docs/settings.md
	$(BIN)/python -m deploy.reference docs

site: install-dev ## build the documentation as a site in site/; a broken link fails
	$(BIN)/python -m deploy.reference.site

pre-commit: install-dev ## run quick checks (format, lint, layers, types) at every commit
	$(BIN)/pre-commit install

lock: $(VENV)/.made ## write both lock files anew from pyproject.toml (UPGRADE=--upgrade takes the newest of everything)
	$(PIP) install --quiet 'uv>=0.9'
	$(LOCK) --output-file requirements.lock
	$(LOCK) --group dev --constraints requirements.lock --output-file requirements-dev.lock

LOCK = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate $(UPGRADE) pyproject.toml --extra embedded --group build

clean: ## remove what can be made again (the demo's data is kept)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .cache build dist site
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# What is installed is marked by a file, so that a second `make` is quick.
install: $(VENV)/.installed ## set up .venv with what running takes

install-dev: $(VENV)/.installed-dev ## set up .venv with what developing takes

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found. Install it, or say where: make PYTHON=/path/to/python3.11 run" >&2; exit 1; }
	@$(PYTHON) -c '$(ENOUGH)' || { echo "$(PYTHON) is not Python 3.11 or newer." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks venv. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# The lock names everything: nothing is left to resolve, and an old pip cannot take a newer release than it names.
$(VENV)/.installed: $(VENV)/.made requirements.lock pyproject.toml
	$(PIP) install --quiet --require-hashes --no-deps -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made requirements-dev.lock pyproject.toml
	$(PIP) install --quiet --require-hashes --no-deps -r requirements-dev.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@
