# Two commands to start with: `make demo` shows the main job, `make test` runs the tests to run after
# each change. Both install what is missing; as root that may be Debian packages, too. tests/README.md
# says what the other targets run.

VENV := .venv
PYTHON := $(VENV)/bin/python

.PHONY: demo test test-rest test-kernel test-vm test-all nightly bench shell clean

demo: $(VENV)/demo
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH"; export PATH; demo/main-job.sh && demo/limits.sh

test: $(VENV)/test
	@$(PYTHON) -m tests quick

# All that `make test` leaves out.
test-rest: $(VENV)/test
	@$(PYTHON) -m tests rest

test-kernel: $(VENV)/test
	@$(PYTHON) -m tests kernel

test-vm: $(VENV)/test
	@$(PYTHON) -m tests.vm

test-all: $(VENV)/test
	@$(PYTHON) -m tests all

nightly: $(VENV)/test
	@$(PYTHON) -m tests nightly

# Writes docs/benchmarks.md: about 20 minutes, and nothing else may run. QUICK=1: about three minutes, which
# measures smaller sizes and writes into build/bench.
bench: $(VENV)/bench
	@$(PYTHON) -m benchmarks $(if $(QUICK),--sizes quick --output build/bench)

shell: $(VENV)/test
	@$(PYTHON) -m tests.vm --shell

# On a terminal pip shows what it downloads; else one line says that it is at work.
PIP = test -t 1 || quiet=--quiet; \
  $(PYTHON) -m pip install $$quiet --disable-pip-version-check --editable

$(VENV)/demo: pyproject.toml | $(VENV)/pip
	@echo "installing pcont into $(VENV)"
	@$(PIP) .
	@touch $@

$(VENV)/test: pyproject.toml | $(VENV)/pip
	@echo "installing pcont and its test tools into $(VENV)"
	@$(PIP) '.[test]'
	@touch $@ $(VENV)/demo

$(VENV)/bench: pyproject.toml | $(VENV)/test
	@echo "installing what the benchmarks need into $(VENV)"
	@$(PIP) '.[test,bench]'
	@touch $@ $(VENV)/test $(VENV)/demo

# Debian keeps venv in a package of its own.
$(VENV)/pip:
	@echo "making the virtual environment $(VENV)"
	@python3 -m venv $(VENV) || { test "$$(id -u)" = 0 && \
	  apt-get update -q && apt-get install -q -y --no-install-recommends python3-venv && \
	  python3 -m venv --clear $(VENV); } || \
	  { echo "python3 cannot make virtual environments: install python3-venv" >&2; exit 1; }
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
