# Everything that CI does and a developer needs. From a fresh clone: `make demo`, `make test`.
# ARGS goes on to the command: make demo ARGS=--json, make bench ARGS=--quick.

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest

# docs/adr/0006-no-telemetry.md
export ORT_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo serve bench test check lint soak locks images-lint clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# --- Set-up: done once, and again when a lock or pyproject.toml changes ---

$(BIN)/python:
	@python=$$(sh deploy/find-python.sh) && echo "$$python -m venv $(VENV)" && "$$python" -m venv $(VENV)

$(VENV)/.cpu: requirements/cpu.lock pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --no-deps --require-hashes -r requirements/cpu.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.lock pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --no-deps --require-hashes -r requirements/dev.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.cpu

setup: $(VENV)/.dev ## Install what development needs into .venv

# --- Run ---

demo: $(VENV)/.cpu ## Play whole lessons on real faces and write the report
	@$(BIN)/benren models pull open >&2
	$(BIN)/benren demo $(ARGS)

serve: $(VENV)/.cpu ## Run both services on this machine
	$(BIN)/benren serve $(ARGS)

bench: $(VENV)/.dev ## Measure this machine: stages, peers, service, error rates (docs/benchmarks.md)
	$(PYTEST) benchmarks -q -p no:cacheprovider $(BENCHMARK)
	$(BIN)/benren bench $(ARGS)

# --- Prove ---

lint: $(VENV)/.dev ## Style, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint ## lint, and the unit tests that take no time
	$(PYTEST) tests/unit -q -m "not slow" $(ARGS)

test: lint ## lint, and every test, file by file on all processors
	$(PYTEST) -n auto --dist loadfile --benchmark-disable $(ARGS)

soak: $(VENV)/.dev ## What takes an hour: chance instead of fixed seeds, kill loops, long runs
	$(PYTEST) -m soak $(ARGS)
	BENREN_KILLS=100 $(PYTEST) tests/integration -k kill -m "not soak" $(ARGS)
	$(PYTEST) --hypothesis-profile=soak -m "not models and not faces and not soak" $(ARGS)

# --- Release ---

locks: ## Compile requirements/*.lock again (ARGS=--upgrade renews the versions; needs uv)
	deploy/locks.sh $(ARGS)

images-lint: ## hadolint on both Dockerfiles, from a virtual environment of its own
	deploy/lint-images.sh

clean: ## Remove what can be made again
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
