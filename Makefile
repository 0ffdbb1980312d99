# Everything sets itself up: the Python environment always, Debian packages of real peers where it may.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test seeds soak peers check clean

demo: $(STAMP)
	$(BIN)/redoubt demo

test: $(STAMP) peers check
	$(BIN)/pytest -n 2 --dist worksteal

check: $(STAMP)
	$(BIN)/ruff check src tests
	$(BIN)/mypy

# 1,500 seeds of one network in the simulator, and as many of several: two of three under IPsec, so a thousand each.
# `make test` runs the first of each.
seeds: $(STAMP)
	REDOUBT_SEEDS=1500 $(BIN)/pytest tests/lab/test_seeds.py -n 2 --dist worksteal

# A day of 10,000 phones that re-register over ESP, and of 500 behind NATs with all of SIP; 100,000 registrations of
# strangers. `make test` plays a part of each. Says what happened, with figures.
soak: $(STAMP)
	REDOUBT_SOAK_PHONES=10000 $(BIN)/pytest tests/gm/test_soak.py -s
	REDOUBT_SIP_SOAK_PHONES=500 $(BIN)/pytest tests/network/test_gm_day.py -s
	REDOUBT_FLOOD=100000 $(BIN)/pytest tests/network/test_gm_flood.py -s

# Other people's software that tests run against, where this user may install packages; says which tests lack it else.
peers:
	@tests/peers/install.sh

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up the Python environment in $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Redoubt needs Python 3.11 or later; call make with PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info src/*.egg-info
