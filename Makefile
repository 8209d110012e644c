# The two commands of the README. They need Python 3.11+ with venv, and make; nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?= task=image init=he

.PHONY: run test lint types contracts tests docs format clean
.DEFAULT_GOAL := run

# -c constraints.txt: the versions that were tested together
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[samples]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[samples,test]'
	@touch $@

run: $(VENV)/.installed
	$(BIN)/python -m initlab $(ARGS)

test: lint types contracts tests

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-test
	$(BIN)/basedpyright

contracts: $(VENV)/.installed-test
	$(BIN)/lint-imports

# one thread a process: two test processes with two threads each would wait for one another at every small operation
tests: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup $(PYTEST_ARGS)

format: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info
