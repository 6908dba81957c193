# Everything a person does here: `make demo`, `make test`; the rest are their parts.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# One more than the usual two processors: the end-to-end tests wait for more than half of their time.
PYTEST_WORKERS ?= 3
TESTS = $(BIN)/python -m pytest -m "not long" -n $(PYTEST_WORKERS) --dist loadfile --max-worker-restart 0
.DEFAULT_GOAL := help
# Without its compiled modules every process of Suanli spends a second more on its start.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup demo torch test tests test-long check lint types imports protos lock tools bench clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## Make .venv with the locked versions of everything but PyTorch

$(VENV)/.ready: requirements.lock pyproject.toml suanli/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Suanli needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Say which to use: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot make a virtual environment. On Debian: apt-get install python3-venv"; exit 1; }
	@echo "Installing the locked dependencies into $(VENV) ..."
	@# uv takes a tenth of pip's time. What it does not get, from where pip was told to look, pip gets.
	@$(PIP) "$$(grep '^uv==' requirements.lock)"
	@index="$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}"; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python $${index:+--default-index "$$index"} \
	  $${PIP_FIND_LINKS:+--find-links "$$PIP_FIND_LINKS"} -r requirements.lock 2>/dev/null || $(PIP) -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e ./suanli -e .
	@touch $@
	@echo "Ready. Next: make demo (the main job, with its bill and proof), make test, or $(BIN)/suanli --help"

demo: setup ## Run the main job: two firms, three nodes, a bill, and its proof
	@$(BIN)/suanli demo $(DEMO)

torch: setup ## Find or install a PyTorch for the demo's job (make demo does so itself)
	@$(BIN)/python -m scheduler.demo.torch_env

tools: setup ## Fetch Debian's Prometheus into .tools (for the tests of the dashboard)
	@$(BIN)/python deploy/fetch_prometheus.py

test: setup tools check ## Run every check and every test but the long ones
	@$(MAKE) --no-print-directory tests

tests: setup tools
	@# Several tests at a time on few cores make waits long: what failed in company (status 1) is run once more alone, and
	@# then it counts. A test that stands still ends its worker, says where, and ends the run (status 3); since others
	@# were not run then, all are, once.
	@$(TESTS); status=$$?; if [ $$status -eq 3 ]; then $(TESTS); status=$$?; fi; \
	if [ $$status -eq 1 ]; then $(BIN)/python -m pytest -m "not long" --last-failed --last-failed-no-failures none; \
	else exit $$status; fi

test-long: setup tools ## Run what is long by nature
	@$(BIN)/python -m pytest -m long

check: lint types imports ## Lint, types and layers

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/buf lint protos

types: setup
	@$(BIN)/mypy

imports: setup
	@$(BIN)/lint-imports --no-cache | tail -n 12

protos: setup ## Generate the wire's Python code again
	@$(BIN)/python protos/generate.py

lock: setup ## Choose versions anew
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --upgrade --no-header \
	  --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-package suanli \
	  pyproject.toml suanli/pyproject.toml -o requirements.lock

bench: setup ## Measure the demo cluster
	@$(BIN)/python -m benchmarks.demo

clean: ## Remove what the other goals made
	rm -rf $(VENV) .demo-venv .demo .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis
