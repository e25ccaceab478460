# Everything a newcomer needs: `make demo` and `make test` set themselves up.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0
export TF_CPP_MIN_LOG_LEVEL := 3

.PHONY: help demo test check format config bench privacy-utility leaderboard privacy-table cold-start slow clean

help:
	@echo "make demo    federated against centralised on MovieLens-100K, with a report"
	@echo "make test    set up, static checks, quick tests"
	@echo "make check   static checks alone: ruff, mypy, import-linter"
	@echo "make slow    tests that take minutes, into experiments/results/slow/tests.json"
	@echo "make bench   all speed figures, into experiments/results (about an hour)"
	@echo "make privacy-utility  accuracy against epsilon, clients and bytes (skips what is there)"
	@echo "make leaderboard  search, three seeds and page of every method (DATA=ml-100k METHODS=\"fedmf ease\"; hours)"
	@echo "make privacy-table  which protection goes with which method, each cell run"
	@echo "make cold-start  new users, items and merchants: all strategies, and the page (some hours)"
	@echo "make format  format the code and sort imports"
	@echo "make config  write the schema into pyproject.toml for flwr run"

# Stamps, not directories, say that an installation is complete.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/.demo-installed: pyproject.toml | $(BIN)/python
	$(PIP) --editable ".[report,baselines,privacy]"
	@touch $@

$(VENV)/.dev-installed: pyproject.toml | $(BIN)/python
	$(PIP) --upgrade "pip>=25.1"
	$(PIP) --editable ".[ray,report,baselines,privacy,tune]" --group dev
	@touch $@ $(VENV)/.demo-installed

demo: $(VENV)/.demo-installed
	$(BIN)/fedrec compare experiments/quickstart.toml --overwrite

# Two processes of one thread each: most of a test is Python, and a file stays in one process.
test: check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev-installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

config: $(VENV)/.dev-installed
	$(BIN)/python -m fedrec.engine.apps --write pyproject.toml

slow: $(VENV)/.dev-installed
	$(BIN)/python experiments/slow_tests.py --json experiments/results/slow/tests.json

bench: $(VENV)/.dev-installed
	$(BIN)/python experiments/speed.py --json experiments/results/speed.json
	$(BIN)/python experiments/secure_speed.py --json experiments/results/secure/speed.json
	$(BIN)/fedrec bench W1 W2 W3 W4 W5 --json experiments/results/bench/workloads.json
	$(BIN)/fedrec bench catalogue --json experiments/results/bench/catalogue.json
	$(BIN)/fedrec bench sharding --json experiments/results/bench/sharding.json
	$(BIN)/fedrec estimate --check --json experiments/results/bench/estimate.json
	$(BIN)/python experiments/tables.py --write

privacy-utility: $(VENV)/.dev-installed
	$(BIN)/python experiments/privacy_utility.py
	$(BIN)/python experiments/tables.py --write

leaderboard: $(VENV)/.dev-installed
	$(PIP) --editable ".[tune]"
	$(BIN)/python experiments/leaderboard.py $(METHODS) $(addprefix --data ,$(DATA))

privacy-table: $(VENV)/.dev-installed
	$(BIN)/python experiments/privacy_table.py

cold-start: $(VENV)/.dev-installed
	$(BIN)/python experiments/cold_start.py --json experiments/results/cold_start/users.json
	$(BIN)/python experiments/cold_start_items.py --json experiments/results/cold_start/items.json
	$(BIN)/python experiments/cold_start_merchants.py --json experiments/results/cold_start/merchants.json
	$(BIN)/python experiments/cold_start_joins.py --json experiments/results/cold_start/joins.json
	$(BIN)/python experiments/cold_start_boost.py --json experiments/results/cold_start/boost.json
	$(BIN)/python experiments/cold_start_page.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
