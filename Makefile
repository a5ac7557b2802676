# The two commands: `make demo` and `make test`. Both make .venv first; nothing is installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo

.PHONY: demo test lint audit install clean

demo: $(VENV)/.installed
	@rm -rf $(DEMO)
	@$(BIN)/sparring train digits --out $(DEMO) --budget 60s
	@echo "the film of the run: $(DEMO)/progress.gif"

test: lint
	$(BIN)/pytest -rs --cov --cov-report=term:skip-covered

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: $(VENV)/.installed
	$(BIN)/python bench/audit.py

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sparring needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# Without its dependencies: it asks for torchvision, which the tests replace by a stub of the few names that it needs.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt torch-fidelity
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
