# Two commands do everything on a fresh machine with Python >= 3.11: `make demo` and `make test`.
# Each sets up what it needs itself: .venv/ with the locked dependencies, uv where it is present or can be installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_ARGS ?=
FUZZ_ARGS ?= 1_000_000

# Compiled once and kept: each of the hundred processes that a run starts would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup setup-dev demo programs dist test lint unit real ui faults versions fuzz bench captured recording snapshots lock clean

help: ## this text
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("walmedic needs Python 3.11 or later, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@if command -v uv >/dev/null 2>&1; then uv venv --quiet --seed --python $(PYTHON) $(VENV); else $(PYTHON) -m venv $(VENV); fi
	@command -v uv >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet uv \
	  || echo "uv could not be installed; going on with pip, which is slower"

# $(call install,lock file): the locked packages, then the project itself, editable and without resolving anything again.
define install
	@if command -v uv >/dev/null 2>&1; then UV=uv; elif [ -x $(BIN)/uv ]; then UV=$(BIN)/uv; else UV=; fi; \
	if [ -n "$$UV" ]; then \
	  $$UV pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r $(1) && \
	  $$UV pip install --quiet --python $(BIN)/python --no-deps -e . ; \
	else \
	  $(BIN)/python -m pip install --quiet --require-hashes -r $(1) && \
	  $(BIN)/python -m pip install --quiet --no-deps -e . ; \
	fi || { echo "set-up failed: the packages of $(1) could not be installed into $(VENV); the lines above say which"; exit 1; }
endef

$(VENV)/.demo-ready: pyproject.toml requirements/demo.txt | $(BIN)/python
	$(call install,requirements/demo.txt)
	@touch $@

$(VENV)/.dev-ready: pyproject.toml requirements/dev.txt | $(BIN)/python
	$(call install,requirements/dev.txt)
	@touch $@ $(VENV)/.demo-ready

setup: $(VENV)/.demo-ready ## make .venv/ with all that the demo needs
setup-dev: $(VENV)/.dev-ready ## the same and what the tests need

demo: setup ## a real station, broken as in the incident, and the console on it
	@$(BIN)/walmedic demo

lint: setup-dev ## ruff, mypy strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Redis, Java and all of Python come as wheels; what no wheel brings is installed as root, or named in one sentence.
programs: | $(BIN)/python
	@$(BIN)/python -m tests.programs

# Three workers on two cores, where it takes some 12 minutes: much of what they do is waiting for a server.
test: programs lint ## everything that a change must pass
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not faults" \
	  tests/real tests/versions tests/faults tests/property tests/ui tests/unit $(TEST_ARGS)

unit: setup-dev ## the fast tests alone
	$(BIN)/python -m pytest tests/unit tests/property $(TEST_ARGS)

real: programs setup-dev ## tests on a real QuestDB, Redis, supervisor
	$(BIN)/python -m pytest tests/real $(TEST_ARGS)

ui: setup-dev ## pilot tests and snapshots
	$(BIN)/python -m pytest tests/ui $(TEST_ARGS)

faults: programs setup-dev ## kill -9, I/O errors, power loss at every writing call of every repair; 200 damaged tables; what is long
	$(BIN)/python -m pytest -m faults tests $(TEST_ARGS)
	WALMEDIC_FAULT_KILLS=500 WALMEDIC_FAULT_ERRORS=500 WALMEDIC_FAULT_TABLES=200 WALMEDIC_FAULT_COMPOUND=300 WALMEDIC_FAULT_STATE=150 WALMEDIC_FAULT_OLDER=. \
	  WALMEDIC_FAULT_WIDE=200 WALMEDIC_FAULT_GUARD=100 WALMEDIC_POWER_STATES=160 WALMEDIC_KEYS_AT_RANDOM=2000 WALMEDIC_COPY_SETS=48 \
	  $(BIN)/python -m pytest -m "not faults" tests/faults \
	  tests/real/test_sequencer_repairs.py tests/real/test_compound_damage.py tests/real/test_diagnosis_healthy.py \
	  tests/real/test_repair_state.py tests/real/test_older_files.py tests/real/test_guard.py tests/real/test_generated_damage.py tests/real/test_belonging.py \
	  tests/real/incident/test_interface.py --timeout 7200 $(TEST_ARGS)

versions: programs setup-dev ## every QuestDB from 7.3.10 to 9.3.4: read, damaged, repaired, started (some 30 minutes)
	WALMEDIC_VERSIONS=all $(BIN)/python -m pytest tests/versions --timeout 1200 $(TEST_ARGS)

fuzz: setup-dev ## damaged input for every reader, a million of them (FUZZ_ARGS: number, seed)
	nice -n 15 $(BIN)/python -m tests.property.fuzz $(FUZZ_ARGS)

bench: setup-dev ## the figures of the interface and of the readers, against their limits (some minutes; a quiet machine)
	@failed=0; for each in txn_log check crash_logs hex_keys first_paint at_rest palette guard; do \
	  echo "== $$each"; $(BIN)/python -m benchmarks.$$each || failed=1; done; exit $$failed

captured: programs setup-dev ## bring the values of the UI tests anew from real demo stations (some minutes)
	$(BIN)/python -m tests.ui.captured.capture

recording: programs setup-dev ## record the incident in the console for README (two minutes)
	$(BIN)/python -m tests.recording.record

snapshots: setup-dev ## draw the snapshots anew (look at each before you commit it)
	$(BIN)/python -m pytest tests/ui --snapshot-update $(TEST_ARGS)

dist: setup-dev ## wheel, sdist and one self-contained executable (dist/)
	@contrib/packaging/build.sh

lock: setup-dev ## write requirements/*.txt from pyproject.toml
	@UV=$$(command -v uv || echo $(BIN)/uv); \
	C="$$UV pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml"; \
	$$C -o requirements/runtime.txt && \
	$$C --extra demo -c requirements/runtime.txt -o requirements/demo.txt && \
	$$C --extra demo --group dev -c requirements/demo.txt -o requirements/dev.txt && \
	$$C --group dist -c requirements/runtime.txt -o requirements/dist.txt

clean: ## remove what set-up and tests made
	rm -rf $(VENV) .cache dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
