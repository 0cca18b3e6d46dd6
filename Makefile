# Commands for people who run or change the project. `make` lists them. Needs GNU make 3.81, on Linux or macOS.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest -q
# One test process per processor, each with its own servers. A process without tests takes some from another.
SPREAD := -n logical --dist worksteal
# The tests start hundreds of processes. An empty value means that Python keeps compiled modules for the next process.
export PYTHONDONTWRITEBYTECODE :=
CODE := deploy ledger services workers tests bench
# The first Python found that is new enough. `make PYTHON=/path/to/python run` uses another one.
ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$p -c '$(ENOUGH)' >/dev/null 2>&1 && { echo $$p; break; }; done)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-fast docs check check-format check-lint check-types check-imports check-domain check-tests \
	soak coverage format bench site pre-commit lock clean install install-dev

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

run: install ## start Postgres, NATS, the API and the workers; record sample data; print balances and addresses
	@$(BIN)/referral-ledger up --demo $(ARGS)

test: install-dev ## run all tests
	$(PYTEST) $(SPREAD) $(ARGS)

test-fast: install-dev ## run the tests of domain, log and runtime that start no server
	$(PYTEST) -m 'not servers and not slow' tests/domain tests/log tests/runtime $(ARGS)

check: check-format check-lint check-types check-imports check-domain check-tests ## run every check that a change must pass

check-format: install-dev
	$(BIN)/ruff format --check .

check-lint: install-dev
	$(BIN)/ruff check .

check-types: install-dev
	$(BIN)/mypy
	$(BIN)/pyright

check-imports: install-dev
	$(BIN)/lint-imports

# Coverage more than doubles the time. This gate measures it for the domain only; `make coverage` does for all code.
check-domain: install-dev
	$(PYTEST) $(SPREAD) --cov=ledger.domain --cov-fail-under=100 tests/domain

check-tests: install-dev
	$(PYTEST) $(SPREAD) --ignore=tests/domain

soak: install-dev ## run all tests, and the random ones with many more seeds, commands and examples
	SOAK=1 $(PYTEST) $(SPREAD) $(ARGS)

coverage: install-dev ## run all tests, and require a branch coverage of 90 %, and of 100 % for the domain
	$(PYTEST) $(SPREAD) --cov --cov-report=
	$(BIN)/coverage report
	$(BIN)/coverage report --include='ledger/domain/*' --fail-under=100

format: install-dev ## format the code, and fix what the linter can fix
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: install-dev ## measure the speed on this machine
	$(BIN)/python -m bench $(ARGS)

docs: install ## write the generated pages docs/events.md and docs/settings.md
	$(BIN)/python -m deploy.reference docs

site: install-dev ## build the documentation as a site in site/; a broken link fails
	$(BIN)/python -m deploy.reference.site

pre-commit: install-dev ## run quick checks (format, lint, layers, types) at every commit
	$(BIN)/pre-commit install

lock: $(VENV)/.made ## write both lock files from pyproject.toml (UPGRADE=--upgrade takes the newest versions)
	$(PIP) install --quiet 'uv>=0.9'
	$(LOCK) --output-file requirements.lock
	$(LOCK) --group dev --constraints requirements.lock --output-file requirements-dev.lock

LOCK = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate $(UPGRADE) pyproject.toml --extra embedded --group build

clean: ## remove everything that is generated, except the data of `make run`
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .cache build dist site
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A file marks each finished installation, so that a second `make` is quick.
install: $(VENV)/.installed ## set up .venv for running

install-dev: $(VENV)/.installed-dev ## set up .venv for developing

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found. Install it, or name it: make PYTHON=/path/to/python3.11 run" >&2; exit 1; }
	@$(PYTHON) -c '$(ENOUGH)' || { echo "$(PYTHON) is not Python 3.11 or newer." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks venv. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# The lock names every package with its hash. So pip resolves nothing, and cannot install another release.
$(VENV)/.installed: $(VENV)/.made requirements.lock pyproject.toml
	$(PIP) install --quiet --require-hashes --no-deps -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made requirements-dev.lock pyproject.toml
	$(PIP) install --quiet --require-hashes --no-deps -r requirements-dev.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@
