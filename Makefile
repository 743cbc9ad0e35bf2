# Both commands set up all they need: a virtual environment in .venv with the tested versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow launch lint docs format up clean

demo: $(READY)  ## Learn from sample videos (or VIDEOS=folder WATCH=file-or-folder) and show it
	$(BIN)/aela demo $(if $(VIDEOS),--videos "$(VIDEOS)") $(if $(WATCH),--watch "$(WATCH)") $(ARGS)

test: lint docs  ## Lint, types, import contracts, documentation, tests
	$(BIN)/pytest -n 3 --dist loadfile -m "not slow" $(ARGS)  # of the live page, most is waiting

test-slow: $(READY)  ## The tests that take minutes
	$(BIN)/pytest -m slow $(ARGS)

launch: $(READY)  ## Load the code location, and make a sample partition with Dagster's command lines
	.ci/launch

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

docs: $(READY)  ## The documentation, into build/site; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(READY)  ## Bring the code into the project's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

up: $(READY)  ## Open the UI and watch the inbox
	$(BIN)/aela up

clean:
	rm -rf $(VENV) demo/data demo/videos .pytest_cache .ruff_cache

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "AELA needs Python 3.11, 3.12 or 3.13; choose one with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e ".[nursery,dev]"
	touch $(READY)
