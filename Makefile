# Everything a developer does here. `make` alone lists it.

PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS := $(VENV)/peers
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

REQUIRE_BROWSER ?=
REQUIRE_CEPH ?=
REQUIRE_PROMTOOL ?=
REQUIRE_PGBOUNCER ?=
TESTS ?=
JOBS ?= $(if $(TESTS),0,4)
BENCH ?=
CHAOS ?=
export REQUIRE_BROWSER REQUIRE_CEPH REQUIRE_PROMTOOL REQUIRE_PGBOUNCER ONESHOT

.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos fuzz bench bench-large screenshots check audit format lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## the virtual environment .venv with everything installed

$(INSTALLED): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || \
		{ echo "Python's venv is missing: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## one export from request to mail, on embedded servers; ONESHOT=1 ends after it
	@$(BIN)/python -m devstack.demo

test: check ## lint, types, architecture and every test; TESTS=... names some, JOBS=... run at once
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(JOBS) --dist loadgroup --no-loadscope-reorder $(TESTS)
	$(BIN)/coverage combine --quiet
	@if [ -z "$(TESTS)" ]; then $(BIN)/coverage report; fi

chaos: setup ## 200 exports while everything breaks, about three minutes; CHAOS="--seed 1" throws the same dice
	@$(BIN)/python -m tests.chaos $(CHAOS)

FUZZ_EXAMPLES ?= 900

fuzz: setup ## 20,000 requests that Schemathesis thinks up; FUZZ_EXAMPLES=... for each operation
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/pytest -q -s tests/security/test_fuzz.py

bench: setup $(PEERS)/.installed ## the benchmarks: a table, and benchmarks/results/latest.json; BENCH=... are their options
	@$(BIN)/python -m benchmarks $(BENCH)

MEMBERS ?= 50000000

bench-large: setup ## a list of 10,000 in a table of 50 million and in a small one; MEMBERS=... for fewer
	@$(BIN)/python -m benchmarks --only scale --runs 7 --members $(MEMBERS) --results benchmarks/results/large $(BENCH)

$(PEERS)/.installed: requirements-bench.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt
	@touch $@

screenshots: setup ## the pictures in docs/images, made again; needs Chromium
	$(BIN)/python -m tests.browser.screenshots

check: setup ## lint, types and architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: ## known vulnerabilities of what is locked; asks a public database, needs uv
	$(UV) tool run pip-audit --disable-pip --require-hashes -r requirements.txt

format: setup ## let ruff format and repair
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## new versions into the requirement files; needs uv
	$(LOCK) pyproject.toml --extra otel --group dev --upgrade -o requirements-dev.txt
	$(LOCK) pyproject.toml --extra otel --constraints requirements-dev.txt -o requirements.txt
	echo hatchling | $(LOCK) --constraints requirements-dev.txt -o requirements-build.txt -
	$(LOCK) --group bench --constraints requirements-dev.txt --upgrade -o requirements-bench.txt

clean: ## remove what make made, the environment included
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
