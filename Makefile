# Needs only make and python3 (3.11 or newer, with venv). Another Python: make setup PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" --python-version 3.11
# Kernels first, on all cores: each of the processes would wait for them, or compile them too.
TEST := $(BIN)/pricer doctor --store memory: && $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

.PHONY: help setup demo test check docs e2e bench coverage wheel lock clean deploy

help:
	@echo "make setup     make .venv with what pricing needs"
	@echo "make demo      price a million options and a book, query them, validate the kernels"
	@echo "make test      run the tests"
	@echo "make check     formatting, lint, types, imports, dependencies, spelling, tests"
	@echo "make docs      build the site of docs/ into build/site"
	@echo "make e2e       run the container image against an AWS on this machine; needs root"
	@echo "make coverage  run the tests and report the lines they miss"
	@echo "make bench     time pricer against QuantLib, measure its errors; writes docs/"
	@echo "make wheel     build a wheel and a source archive into dist/"
	@echo "make lock      resolve and lock the requirements anew"
	@echo "make deploy    add the CDK to .venv and deploy to AWS what docs/aws.md describes, by pricer deploy"
	@echo "make clean     remove .venv and everything built"

setup: $(VENV)/run.stamp
	@echo "ready: $(BIN)/pricer"

demo: $(VENV)/run.stamp
	@$(BIN)/python examples/demo.py

test: $(VENV)/dev.stamp
	@$(TEST)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .
	$(BIN)/codespell
	$(TEST)

docs: $(VENV)/dev.stamp
	@$(BIN)/mkdocs build --strict
	@echo "built: build/site/index.html"

e2e: $(VENV)/dev.stamp
	@tests/cloud/prepare.sh
	@PYTHONPATH=tests unshare --net --pid --fork --mount-proc --kill-child \
	$(BIN)/python -m cloud.e2e

coverage: $(VENV)/dev.stamp
	@$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered

bench: $(VENV)/bench.stamp $(VENV)/dev.stamp
	@$(BIN)/python tests/benchmarks/bench.py
	@$(BIN)/python tests/benchmarks/contracts.py
	@$(BIN)/python tests/benchmarks/monte_carlo.py
	@$(BIN)/python tests/benchmarks/implied.py
	@$(BIN)/python tests/benchmarks/merton.py
	@$(BIN)/python tests/benchmarks/accuracy.py

wheel: $(VENV)/run.stamp
	@$(BIN)/python -m hatchling build

# Choices: make deploy ARGS="--stack Mine -c architecture=arm64"
deploy: $(VENV)/dev.stamp
	@$(BIN)/pricer deploy $(ARGS)

lock: $(VENV)/run.stamp
	@$(PIP) install uv
	$(COMPILE) --upgrade --group build pyproject.toml -o requirements/run.txt
	$(COMPILE) --upgrade --all-extras --group dev pyproject.toml -c requirements/run.txt -o requirements/dev.txt
	$(COMPILE) --upgrade --group bench pyproject.toml -c requirements/run.txt -o requirements/bench.txt
	$(COMPILE) --upgrade --group pyproject.toml:worker -c requirements/run.txt -o requirements/worker.txt
	$(COMPILE) --upgrade --group pyproject.toml:rie --no-deps -o requirements/rie.txt

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/run.stamp: requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	sys.exit(None if v >= (3, 11) else "pricer needs Python 3.11 or newer; $(PYTHON) is %d.%d" % v[:2])'
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt requirements/rie.txt
	@echo "adding what the tests need to $(VENV)"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --require-hashes --no-deps -r requirements/rie.txt
	@touch $@

$(VENV)/bench.stamp: $(VENV)/run.stamp requirements/bench.txt
	@echo "adding what the benchmarks need to $(VENV)"
	@$(PIP) install --require-hashes -r requirements/bench.txt
	@touch $@
