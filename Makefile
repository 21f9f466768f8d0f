# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint zoo faults conformance clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    migrate a real checkpoint, publish it, and use what was published"
	@echo "make test    lint, types, layers and the test suite"
	@echo "make lint    only ruff, mypy and import-linter"
	@echo "make zoo     migrate the six public models (slow)"
	@echo "make faults  kill, fill the disk, race (slow)"
	@echo "make conformance  ONNX's own backend tests through MindIR and MindSpore (slow)"

# pip, not uv or poetry: a CPU build of torch that is already at hand is then used.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]" --group dev
	@# attacut's own pins would pull numpy 1; its code runs with the versions here.
	$(BIN)/python -m pip install --quiet --no-deps attacut==1.0.6
	touch $@

demo: .venv/installed
	$(BIN)/python -P examples/attacut/demo.py

test: lint
	$(BIN)/pytest -m "not zoo and not faults"

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/lint-imports

.venv/zoo: .venv/installed
	$(BIN)/python -m pip install --quiet "transformers<5" packaging
	@# The rest without what they depend on: only their networks and weights are used.
	$(BIN)/python -m pip install --quiet --no-deps rxnmapper==0.4.3 silero-vad==6.2.3 \
	    wordllama==0.4.0.post1 beatnet==1.1.3
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation deepcr==0.3.1
	touch $@

zoo: .venv/zoo
	$(BIN)/pytest -m zoo

faults: .venv/installed
	$(BIN)/pytest -m faults

# PYTHONPATH and not -m alone: -P keeps our folder validators/ from hiding PyPI's package.
conformance: .venv/installed
	PYTHONPATH=. $(BIN)/python -P -m tests.conformance.run --write

clean:
	rm -rf .venv build demo-out *.egg-info
