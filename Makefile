# All that one does with a clone of this repository. `make` lists it.
#
# .venv/.server and .venv/.development are stamps: what a lock pins is installed
# anew only when the lock has changed.

PYTHON ?= python3
WORKERS := -n 3 --dist worksteal  # also on two cores: most tests wait for servers
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALL := $(PIP) install --require-hashes
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

.DELETE_ON_ERROR:
.PHONY: help serve test check format bench fuzz wheel lock clean

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: .venv/.server ## start a server: make serve FLAGS="--listen 127.0.0.1:9000"
	@$(BIN)/python -m compileall -q src  # compiled in the server, it would stay in its memory
	@$(BIN)/encke serve $(FLAGS)

test: .venv/.development ## run all tests: make test FLAGS="tests/wire -x"
	@.ci/packages
	$(BIN)/python -m compileall -q src
	$(BIN)/python -m pytest $(WORKERS) $(FLAGS)

check: .venv/.development ## lint, format, types, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.development ## put the sources into the form that `make check` wants
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: .venv/.development ## measure: sending, memory, connecting, beside others
	@.ci/packages
	@$(BIN)/python -m compileall -q src
	$(BIN)/python -m bench send
	$(BIN)/python -m bench memory
	$(BIN)/python -m bench connect

fuzz: .venv/.development ## feed every decoder with nonsense: make fuzz SECONDS=60
	$(BIN)/python -m fuzz --seconds $(or $(SECONDS),20)

wheel: .venv/.server ## build the package, into dist/
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .

lock: .venv/.development ## pin the newest versions: requirements.lock, requirements-dev.lock
	PATH="$(CURDIR)/$(BIN):$$PATH" $(COMPILE) --upgrade --group build \
		--output-file requirements.lock pyproject.toml
	PATH="$(CURDIR)/$(BIN):$$PATH" $(COMPILE) --upgrade --group build --group dev \
		--constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

clean: ## remove what was built, the virtual environment too
	rm -rf .venv build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Encke needs Python 3.11 or newer; \
	name one: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo 'Python lacks venv; on Debian: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.server: requirements.lock pyproject.toml | .venv/bin/python
	$(INSTALL) --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.development: requirements-dev.lock .venv/.server
	$(INSTALL) --requirement requirements-dev.lock
	@touch $@
