# Each target does what it needs first. Options of the program go in ARGS:
#   make backtest ARGS="--data data --symbols BTC-USDT-PERP --timeframe 1h"
# Written for GNU make 3.81 (macOS) and newer.

PY := .venv/bin/python
WITH_ENV := sh scripts/with-env.sh
UNIT_TESTS := $(wildcard tests/architecture tests/unit tests/property)
LONG_TESTS := $(patsubst %,tests/integration/test_%.py,wire_faults faults live_equality crash_points \
	thirty_days live_command wire_crash wire_emergency wire_outage)
INTEGRATION_TESTS := $(LONG_TESTS) $(wildcard tests/scenario tests/contract) \
	$(filter-out $(LONG_TESTS),$(sort $(wildcard tests/integration/test_*.py)))
DOCTESTS := bot ops
# Workers take a file at a time, in the order given; there is one more of them than cores on the
# smallest machine, for every other second of a test is spent waiting for a process. ARGS="-n 0" does
# without. LONG_TESTS come first, so that the workers end together.
PYTEST := $(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help

##@ Set up

.PHONY: setup install validate-config
setup: .venv/.stamp ## Create .venv from requirements.lock, hashes checked

install: setup ## The same as setup

validate-config: setup ## Check a configuration file; CONFIG=config/paper.yml
	@$(WITH_ENV) $(PY) -m bot validate-config "$(or $(CONFIG),config/paper.yml)"

##@ Trade

.PHONY: paper-trade live
paper-trade: setup ## Trade an embedded market with simulated money, no keys; options in ARGS
	@$(WITH_ENV) $(PY) -m bot paper $(ARGS)

live: setup ## Trade with real money; asks first. ARGS="--credentials DIR --override-reason TEXT"
	@$(WITH_ENV) $(PY) -m bot live $(ARGS)

##@ Research

.PHONY: backtest stress optimize
# Without options there is nothing to run, so nothing is set up either.
ifeq ($(strip $(ARGS)),)
backtest: ## Run strategies over recorded candles; options in ARGS
	@echo 'backtest: expected options in ARGS, was nothing. For example:' >&2
	@echo '  make backtest ARGS="--data DIR --symbols BTC-USDT-PERP,ETH-USDT-PERP --timeframe 1h' \
		'--start 2024-01-01 --end 2025-01-01 --balance 10000"' >&2
	@echo 'All options: make backtest ARGS=--help' >&2
	@exit 2
else
backtest: setup
	@$(WITH_ENV) $(PY) -m ops backtest $(ARGS)
endif

stress: WILL = run 500 seeded fault scenarios through the real engine and report each failure
stress: ## Run the fault scenarios (not built yet)

optimize: WILL = search strategy parameters walk-forward and write optimization_results.json
optimize: ## Search strategy parameters (not built yet)

##@ Release

.PHONY: go-nogo release
go-nogo: WILL = collect the evidence and print the GO/NO-GO scorecard
go-nogo: ## Decide whether to go live, on evidence (not built yet)

release: WILL = build and sign a release file for the hosts
release: ## Build and sign a release (not built yet)

stress optimize go-nogo release:
	@echo 'make $@: not built yet, nothing was done. It will $(WILL).' >&2
	@exit 1

##@ Check

.PHONY: test test-unit test-integration chaos faults lint bench mutants
test: setup ## All tests; ARGS goes to pytest
	@$(PYTEST) $(INTEGRATION_TESTS) $(UNIT_TESTS) $(DOCTESTS) $(ARGS)

test-unit: setup ## The fast tests: architecture, unit, property
	@$(PYTEST) $(UNIT_TESTS) $(DOCTESTS) $(ARGS)

test-integration: setup ## The rest: scenario, contract, integration
	@$(PYTEST) $(INTEGRATION_TESTS) $(ARGS)

chaos: setup ## 1,100 random kills, every crash point, more faults and markets (10 to 45 minutes)
	@CHAOS=10 $(PYTEST) tests/integration/test_wire_crash.py tests/integration/test_live_equality.py \
		tests/integration/test_crash_points.py tests/integration/test_faults.py \
		tests/integration/test_real_kills.py \
		-o faulthandler_timeout=7200 $(ARGS)

faults: setup ## The live bot against every fault of the wire, as a matrix (10 to 30 minutes)
	@$(PY) scripts/fault_matrix.py $(ARGS)

lint: setup ## ruff, mypy, yamllint, shellcheck
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m yamllint --strict .
	.venv/bin/shellcheck scripts/*.sh .ci/run

mutants: setup ## Break the code on purpose and see whether a test notices
	@$(PY) scripts/mutants.py $(ARGS)

bench: setup .venv-bench/.stamp ## Measure the backtest beside its peers
	@$(PY) -m ops.research.bench --peer-python .venv-bench/bin/python $(ARGS)

##@ Maintain

.PHONY: lock help FORCE
lock: ## Rewrite the locks from requirements/*.in; ARGS=--upgrade for newer versions
	@sh scripts/lock.sh $(ARGS)

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'ARGS="options" go to the program; PYTHON=/path/to/python decides what .venv is made with.'

# An environment whose interpreter went away with a system upgrade is built again.
.venv/.stamp: requirements.lock scripts/setup.sh $(shell test -x .venv/bin/python || echo FORCE)
	@sh scripts/setup.sh .venv requirements.lock

.venv-bench/.stamp: requirements-bench.lock scripts/setup.sh $(shell test -x .venv-bench/bin/python || echo FORCE)
	@sh scripts/setup.sh .venv-bench requirements-bench.lock
