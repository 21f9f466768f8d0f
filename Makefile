# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: bench-validation demo test lint zoo zoo-page zoo-preflight faults precision power device conformance cann bench bench-convert bench-export fuzz clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    migrate a real checkpoint, publish it, and use what was published"
	@echo "make test    lint, types, layers and the test suite"
	@echo "make lint    only ruff, mypy and import-linter"
	@echo "make zoo     migrate six public models and all architectures of docs/zoo.md (slow)"
	@echo "make zoo-page  the same architectures, and write docs/zoo.md"
	@echo "make zoo-preflight  the same before CANN's rules, and write docs/preflight-zoo.md (slow)"
	@echo "make faults  kill, fill the disk, race (slow)"
	@echo "make precision  whole models in float16 and bfloat16, and faults in them (slow)"
	@echo "make power   plant faults in correct conversions, judge them, and write docs/power.md (slow)"
	@echo "make device  the real onnxruntime-cann without CANN, in an environment of its own (slow)"
	@echo "make conformance  ONNX's own backend tests through MindIR and MindSpore (slow)"
	@echo "make cann    ONNX's own backend tests through the rewriting for CANN (slow)"
	@echo "make fuzz    coverage-guided fuzzing of the readers, FUZZ_SECONDS each (slow)"
	@echo "make bench   what BERT-base and a model above 2 GiB cost, against bars (slow, 5 GB of disk)"
	@echo "make bench-validation  what a verdict costs: a small BERT's time, 2 GiB's memory (slow, 6 GB of disk)"
	@echo "make bench-convert  what a conversion costs beside cp and torch (slow, 20 GB of disk)"
	@echo "make bench-export  what the export of a decoder of 2 GiB costs beside torch (slow, 6 GB of disk)"

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
	$(BIN)/pytest -m "not zoo and not faults and not precision and not power and not cann_wheel"

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

zoo-page: .venv/zoo
	PYTHONPATH=. $(BIN)/python -P -m tests.zoo.run

# What was exported stays in build/zoo: the first run takes 25 minutes, the next one two.
zoo-preflight: .venv/zoo
	PYTHONPATH=. $(BIN)/python -P -m tests.zoo.preflight_run

faults: .venv/installed
	$(BIN)/pytest -m faults

precision: .venv/installed
	$(BIN)/pytest -m precision

# All, so that one bar that is missed does not hide another.
power: .venv/zoo
	$(BIN)/pytest -m power
	PYTHONPATH=. $(BIN)/python -P -m tests.power.false_alarms; alarms=$$?; \
	PYTHONPATH=. $(BIN)/python -P -m tests.power.located; places=$$?; \
	PYTHONPATH=. $(BIN)/python -P -m tests.power.run && exit $$((alarms + places))

device: .venv/installed
	$(BIN)/pytest -m cann_wheel

# PYTHONPATH and not -m alone: -P keeps our folder validators/ from hiding PyPI's package.
conformance: .venv/installed
	PYTHONPATH=. $(BIN)/python -P -m tests.conformance.run --write

cann: .venv/installed
	PYTHONPATH=. $(BIN)/python -P -m tests.cann.run --write

.venv/fuzz: .venv/installed
	$(BIN)/python -m pip install --quiet atheris==3.0.0
	touch $@

# Hypothesis first: what it finds, it finds in minutes and makes small.
FUZZ_SECONDS ?= 1800
fuzz: .venv/fuzz
	FUZZ_EXAMPLES=5000 $(BIN)/pytest tests/fuzz
	PYTHONPATH=. $(BIN)/python -P -m tests.fuzz.run $(FUZZ_SECONDS)

bench: .venv/zoo
	PYTHONPATH=. $(BIN)/python -P -m tests.bench.run

bench-validation: .venv/zoo
	PYTHONPATH=. $(BIN)/python -P -m tests.bench.validation

bench-convert: .venv/installed
	PYTHONPATH=. $(BIN)/python -P -m tests.bench.convert

bench-export: .venv/installed
	PYTHONPATH=. $(BIN)/python -P -m tests.bench.export

clean:
	rm -rf .venv build demo-out fuzz-corpus fuzz-findings *.egg-info
