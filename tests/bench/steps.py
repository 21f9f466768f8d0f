"""One step in a process of its own, so that its memory is its own (see run.py).

python -P -m tests.bench.steps STEP ARGUMENT...

It prints what the step found.
"""

import json
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ascend_migrate.pipeline.records import Artifact, Form

CHECKPOINT, GOLDEN = "checkpoint.safetensors", "golden.safetensors"


def make_bert(folder: str, layers: str) -> str:
    """Writes the checkpoint; returns the number of its parameters and of their bytes."""
    from safetensors.torch import save_file
    from tests.bench.models import bert_base

    state = bert_base(int(layers)).state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, Path(folder) / CHECKPOINT)
    return f"{sum(v.numel() for v in state.values())} {sum(v.nbytes for v in state.values())}"


def make_matmuls(folder: str, count: str, size: str) -> None:
    """Writes an ONNX file with external weights."""
    from tests.bench.models import matmuls

    matmuls(Path(folder), int(count), int(size))


def _source(folder: str, layers: str) -> Any:
    from tests.bench.models import BERT_INPUTS

    from ascend_migrate.flows.sources import open_source
    from ascend_migrate.pipeline.spec import make_spec

    tables = {
        "name": "bert-base",
        "to": ["onnx", "mindir"],
        "inputs": list(BERT_INPUTS),
        "source": {"path": CHECKPOINT},
        "model": {"callable": "tests.bench.models:bert_base", "args": [int(layers)]},
    }
    return open_source(make_spec(tables, subject="bench", base=Path(folder)))


def export(folder: str, layers: str) -> None:
    """From the checkpoint to ONNX and safetensors."""
    (Path(folder) / "onnx").mkdir()
    _source(folder, layers).export(Path(folder) / "onnx", graph=True)


def convert(onnx: str, into: str, limit: str) -> None:
    """From ONNX to MindIR; above ``limit`` bytes of weights in two files, "" for the usual one."""
    from ascend_migrate.converters import onnx_to_mindir
    from ascend_migrate.converters.mindir.load import load
    from ascend_migrate.converters.mindir.lower import lower

    if not limit:
        onnx_to_mindir.convert(Path(onnx), Path(into), inputs=(), parent="bench")
        return
    Path(into).mkdir(exist_ok=True)
    lower(load(Path(onnx)), Path(into), onnx_to_mindir.ENTRY, inline_limit=int(limit))


def capture(folder: str, layers: str) -> None:
    """Runs the original on every case, in float32 and in float64."""
    from ascend_migrate.flows.capturing import capture as captured

    captured(_source(folder, layers).spec, Path(folder) / GOLDEN)


def runs(folder: str, layers: str) -> str:
    """Returns what one run of the original on every case takes: in float32, and in float64."""
    from ascend_migrate.flows.sources import cases_of
    from ascend_migrate.validators.torch_original import TorchOriginal

    source = _source(folder, layers)
    cases = cases_of(source.spec, source.inputs)
    original = TorchOriginal(source.build, source.weights)
    seconds = [_timed(make(), cases) for make in (original.session, original.exact)]
    return json.dumps({"cases": len(cases), "seconds": seconds})


def _timed(session: Callable[..., Any], cases: list[Any]) -> float:
    session(cases[0].feeds)  # what is done once
    started = _used()
    for case in cases:
        session(case.feeds)
    return _used() - started


def judge(form: str, folder: str) -> str:
    """Judges one form against the golden file; returns the outcome and what it took."""
    from ascend_migrate.pipeline.limits import Limits
    from ascend_migrate.validators.judge import judge as judge_artifacts

    paths = ["model.onnx", "model.safetensors"] if form == Form.ONNX else ["model.mindir"]
    artifact = Artifact.of(Form(form), Path(folder) / form, paths, parent="bench")
    started = _used()
    verdict = judge_artifacts(
        [artifact],
        Path(folder) / GOLDEN,
        source_digest="",
        source_weights=None,
        limits=Limits(threads=1),
    )
    return json.dumps({"outcome": verdict.outcome, "seconds": _used() - started})


def run_matmuls(mindir: str, weights: str, count: str, size: str) -> str:
    """Returns the error of MindSpore's answer, relative to the largest number in it."""
    from tests.bench.models import product

    from ascend_migrate.validators.mindspore_runner import MindSporeRunner

    x = np.random.default_rng(1).standard_normal((2, int(size)), dtype=np.float32)
    with MindSporeRunner(Path(mindir)) as runner:
        (found,) = runner.run({"y0": x}).values()
    right = product(Path(weights), int(count), int(size), x)
    return str(np.abs(found - right).max() / np.abs(right).max())


STEPS: Mapping[str, Callable[..., str | None]] = {
    step.__name__: step
    for step in (make_bert, make_matmuls, export, convert, capture, runs, judge, run_matmuls)
}


def main() -> None:
    """Carries out the step that is asked for."""
    said = STEPS[sys.argv[1]](*sys.argv[2:])
    sys.stdout.write(said or "")


def _used() -> float:
    """Returns the seconds of processor time so far, of this process and its ended children."""
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
