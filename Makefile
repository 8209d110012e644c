# The two commands of the README. They need Python 3.11+ with venv, and make; nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?= task=image init=he
# processes that test
WORKERS ?= 2

.PHONY: run check fast test lint types contracts tests docs format clean
.PHONY: audit
.PHONY: server env backup restore
.DEFAULT_GOAL := run

# -c constraints.txt: the versions that were tested together
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

# --group needs pip 25.1
$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[samples]' --group test
	@touch $@

$(VENV)/.installed-server: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[server]'
	@touch $@

run: $(VENV)/.installed
	$(BIN)/python -m initlab $(ARGS)

# what to run while one writes: everything that starts no process and computes for seconds only
check: $(VENV)/.installed-test
	$(MAKE) --no-print-directory -j 2 lint contracts
	$(MAKE) --no-print-directory -j 2 types fast

test: lint types contracts tests

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-test
	$(BIN)/basedpyright

contracts: $(VENV)/.installed-test
	$(BIN)/lint-imports

# one thread a process: two test processes with two threads each would wait for one another at every small operation;
# modules are compiled once, also where the shell says not to keep that
tests: $(VENV)/.installed-test
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --durations=25 --durations-min=10 $(PYTEST_ARGS)

# two workers: the types are checked beside them, and take less than half of the time
fast: $(VENV)/.installed-test
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup -m "not process and not slow" $(PYTEST_ARGS)

# the builder of the site needs nothing of initlab
$(VENV)/.installed-docs: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group docs
	@touch $@

# the site, in build/site; a page or a link that does not exist is an error
docs: $(VENV)/.installed-docs
	$(BIN)/python docs/make_api.py --check
	$(BIN)/python -m zensical build --strict --clean

# a server for a team, without containers; POSTGRES=1: on PostgreSQL instead of SQLite; SERVER='port=5001 home=DIR'
server: $(VENV)/.installed-server
	$(BIN)/python -m initlab server $(if $(POSTGRES),postgres=true) $(SERVER)

# secrets for docker-compose.yml; never overwrites
env:
	$(PYTHON) deploy/make_env.py

# of docker-compose.yml's stack; SERVER_HOME=.initlab/server for that of `make server`
backup:
	$(PYTHON) deploy/backup.py backup $(TO) $(if $(SERVER_HOME),--home=$(SERVER_HOME))

restore:
	$(PYTHON) deploy/backup.py restore $(FROM) $(if $(SERVER_HOME),--home=$(SERVER_HOME))

format: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# asks the advisory database for every pinned package; --strict: what could not be looked up is no good answer
audit: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9'
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info
