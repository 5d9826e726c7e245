# Development commands. `make` without a target lists them.

PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS := $(VENV)/peers
CLIENTS := $(VENV)/clients
NPM := $(VENV)/npm
NPM_LOCK := tests/end_to_end/typescript/package-lock.json
MUTATIONS := $(VENV)/mutations
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

REQUIRE_BROWSER ?=
REQUIRE_CLIENTS ?=
REQUIRE_CURL ?=
REQUIRE_ENGINES ?=
REQUIRE_OFFICE ?=
REQUIRE_SYSTEMD ?=
REQUIRE_CEPH ?=
REQUIRE_PROMTOOL ?=
REQUIRE_PGBOUNCER ?=
REQUIRE_POSTFIX ?=
REQUIRE_MARIADB ?=
REQUIRE_NGINX ?=
REQUIRE_NPM ?=
REQUIRE_HAPROXY ?=
REQUIRE_HISTORY ?=
REQUIRE_REDIS ?=
TESTS ?=
JOBS ?= $(if $(TESTS),0,5)
BENCH ?=
CHAOS ?=
unexport PYTHONDONTWRITEBYTECODE
export REQUIRE_BROWSER REQUIRE_CLIENTS REQUIRE_CURL REQUIRE_ENGINES REQUIRE_OFFICE REQUIRE_SYSTEMD REQUIRE_CEPH REQUIRE_PROMTOOL REQUIRE_PGBOUNCER \
	REQUIRE_POSTFIX REQUIRE_MARIADB REQUIRE_NGINX REQUIRE_NPM REQUIRE_HAPROXY REQUIRE_HISTORY REQUIRE_REDIS ONESHOT

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage test-bare chaos soak fuzz bench bench-large clients clients-typescript mutations screenshots openapi check audit format lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## create the virtual environment .venv with everything installed

$(INSTALLED): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || \
		{ echo "Python's venv is missing: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## run one export from request to mail on embedded servers; ONESHOT=1 stops after it
	@$(BIN)/python -m devstack.demo

test: check ## run lint, types, architecture and every test; TESTS=... selects some, JOBS=... in parallel
	$(BIN)/pytest -n $(JOBS) $(TESTS)

coverage: setup ## run every test and measure coverage; fails below 95 % of lines and branches
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(JOBS) $(TESTS)
	$(BIN)/coverage combine --quiet
	@if [ -z "$(TESTS)" ]; then $(BIN)/coverage report; fi

test-bare: setup ## run the tests as on a fresh machine: no curl, `localhost` resolves to ::1 first
	@$(BIN)/python -m tests.bare $(if $(TESTS),TESTS="$(TESTS)") JOBS="$(JOBS)"

chaos: setup ## run 200 exports while services fail, once more during an upgrade, then the tests' long forms; CHAOS="--seed 1" repeats a run
	@$(BIN)/python -m tests.chaos $(CHAOS)
	@if [ -z "$(CHAOS)" ]; then $(BIN)/python -m tests.chaos --upgrade; fi
	@if [ -z "$(CHAOS)" ]; then $(BIN)/pytest -q -n 2 -m slow; fi

SOAK ?=

soak: setup $(PEERS)/.installed ## run load and faults for an hour, and find whether anything grows; SOAK="--minutes 10" for less
	@$(BIN)/python -m tests.soak $(SOAK)

FUZZ_EXAMPLES ?= 900

fuzz: setup ## send 20,000 requests that Schemathesis generates; FUZZ_EXAMPLES=... for each operation
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/pytest -q -s tests/security/test_fuzz.py

bench: setup $(PEERS)/.installed ## run the benchmarks: prints a table, writes benchmarks/results/latest.json; BENCH=... are options
	@$(BIN)/python -m benchmarks $(BENCH)

MEMBERS ?= 50000000

bench-large: setup ## compare a list of 10,000 in a table of 50 million and in a small one; MEMBERS=... for fewer
	@$(BIN)/python -m benchmarks --only scale --runs 7 --members $(MEMBERS) --results benchmarks/results/large $(BENCH)

$(PEERS)/.installed: requirements-bench.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt
	@touch $@

clients: setup $(CLIENTS)/.installed ## install the generator of Python clients, for its test

$(CLIENTS)/.installed: requirements-clients.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-clients.txt
	@touch $@

clients-typescript: $(NPM)/.installed ## install generators of TypeScript clients and linters of OpenAPI, for their tests; needs npm

$(NPM)/.installed: $(NPM_LOCK)
	mkdir -p $(NPM)
	cp $(NPM_LOCK) $(dir $(NPM_LOCK))package.json $(NPM)
	npm ci --prefix $(NPM) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

MODULES ?=

mutations: setup $(MUTATIONS)/.installed ## change the code in one place at a time and see that a test notices; MODULES="links leases" for some
	@$(MUTATIONS)/bin/python -m tests.mutations $(MODULES)

$(MUTATIONS)/.installed: requirements-mutations.txt
	$(PYTHON) -m venv $(MUTATIONS)
	$(MUTATIONS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-mutations.txt
	@touch $@

screenshots: setup ## make the pictures in docs/images again; needs Chromium
	$(BIN)/python -m tests.browser.screenshots

openapi: setup ## write docs/openapi.json again, from the code
	$(BIN)/python -m devstack.openapi

check: setup ## check lint, types and architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: ## check the locked packages for known vulnerabilities; needs uv and the network
	$(UV) tool run pip-audit --disable-pip --require-hashes -r requirements.txt

format: setup ## format the code and fix lint errors
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## upgrade the requirement files; needs uv and npm
	$(LOCK) pyproject.toml --extra otel --group dev --upgrade -o requirements-dev.txt
	$(LOCK) pyproject.toml --extra otel --constraints requirements-dev.txt -o requirements.txt
	echo hatchling | $(LOCK) --constraints requirements-dev.txt -o requirements-build.txt -
	$(LOCK) --group clients --upgrade -o requirements-clients.txt
	$(LOCK) --group mutations --upgrade -o requirements-mutations.txt
	$(LOCK) --group bench --constraints requirements-dev.txt --upgrade -o requirements-bench.txt
	rm $(NPM_LOCK)
	npm install --prefix $(dir $(NPM_LOCK)) --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts

clean: ## remove everything that make created, .venv included
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
