# `make run` and `make test` are all that is needed. PYTHON=… chooses the Python that .venv is made
# with; settings are given as in `make run PORT=8001`, and ARGS='-k name' goes to pytest.

.PHONY: run simulator test test-e2e test-thorough test-browser test-sentinel chaos simulation bench check lock clean

# Evaluated when used: the first that is new enough.
FIND_PYTHON = for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	"$$python" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' 2>/dev/null && break; \
	python=; \
	done; \
	test -n "$$python" || { \
	echo "Python 3.11 or newer is needed; install it, or name one: make PYTHON=/path/to/python3" >&2; \
	exit 1; }

VENV_PYTHON = .venv/bin/python
# To compile all tests in each process of each run takes a third of a minute.
PYTEST = PYTHONDONTWRITEBYTECODE= $(VENV_PYTHON) -m pytest
# PIP_USER: a habit for installations of one's own, which does not fit a virtual environment.
INSTALL = @$(FIND_PYTHON); PIP_USER=0 "$$python" install.py
LOCK = $(VENV_PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

run:
	$(INSTALL) requirements.txt
	@exec $(VENV_PYTHON) -m app.cli run

simulator:
	$(INSTALL) requirements.txt
	@exec $(VENV_PYTHON) -m simulator

test:
	$(INSTALL) requirements-dev.txt
	@$(PYTEST) -q -n auto --dist loadfile \
	-m "not browser and not sentinel and not thorough and not e2e" $(ARGS)

# The whole service on real processes, where time has to pass: quotas, track records, webhooks.
test-e2e:
	$(INSTALL) requirements-dev.txt
	@$(PYTEST) -q -n auto --dist loadfile -m e2e $(ARGS)

# What takes long and finds little: the API as schemathesis tries it, quotas of more sizes.
test-thorough:
	$(INSTALL) requirements-dev.txt
	@$(PYTEST) -q -m thorough $(ARGS)

test-browser:
	$(INSTALL) requirements-dev.txt
	@command -v chromium >/dev/null || { \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y chromium >/dev/null; \
	else echo "A browser is needed: install the package chromium" >&2; exit 1; fi; }
	@$(PYTEST) -q -m browser $(ARGS)

# A minute: failovers of real servers. `python -m tests.sentinel` makes as many as it is told to.
test-sentinel:
	$(INSTALL) requirements-dev.txt
	@$(PYTEST) -q -m sentinel $(ARGS)

# Some 20 minutes; ARGS='--short' takes three.
chaos:
	$(INSTALL) requirements-dev.txt
	@exec $(VENV_PYTHON) -m tests.chaos $(ARGS)

# As many schedules as it is told to; ARGS='--mutations' plants faults, and has to find them all.
simulation:
	$(INSTALL) requirements-dev.txt
	@exec $(VENV_PYTHON) -m tests.simulation $(ARGS)

# Some three minutes; ARGS=--long takes longer, and ARGS=sending measures one part of it.
bench:
	$(INSTALL) requirements-bench.txt
	@exec $(VENV_PYTHON) -m bench $(ARGS)

check:
	$(INSTALL) requirements-dev.txt
	@$(VENV_PYTHON) -m ruff check --quiet .
	@$(VENV_PYTHON) -m ruff format --quiet --check .
	@$(VENV_PYTHON) -m mypy

# UPGRADE=1 takes the newest versions; otherwise what is locked stays, where it can.
lock:
	$(INSTALL) requirements-dev.txt
	@$(LOCK) --output-file requirements.txt requirements.in >/dev/null
	@$(LOCK) --output-file requirements-dev.txt requirements-dev.in >/dev/null
	@$(LOCK) --output-file requirements-bench.txt requirements-bench.in >/dev/null
	@$(LOCK) --output-file requirements-store.txt requirements-store.in >/dev/null

clean:
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
