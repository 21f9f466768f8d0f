"""One step in a process of its own (see validation.py); prints what it found.

python -P -m tests.bench.validation_steps STEP FOLDER
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ascend_migrate.flows import steps, steps_single
from ascend_migrate.flows.sources import cases_of, open_source
from ascend_migrate.pipeline import apart
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS
from ascend_migrate.pipeline.spec import MigrationSpec, make_spec

_SMALL: Mapping[str, Any] = {
    "name": "small-bert",
    "to": ["safetensors", "onnx"],
    "registry": "registry",
    "inputs": [
        "input_ids=int64[batch=1..2,time=8..32]:0..999",
        "attention_mask=int64[batch,time]:0..1",
        "token_type_ids=int64[batch,time]:0..1",
    ],
    "source": {"path": "small.safetensors"},
    "model": {"callable": "tests.bench.models:small_bert"},
    "validation": {"threads": 1},
}

_MEDIUM: Mapping[str, Any] = {
    **_SMALL,
    "name": "medium-bert",
    "inputs": [
        "input_ids=int64[batch=1..2,time=8..32]:0..30521",
        *_SMALL["inputs"][1:],
    ],
    "model": {"callable": "tests.bench.models:bert_base"},
}

_DECODER: Mapping[str, Any] = {
    "name": "decoder",
    "to": ["onnx"],
    "registry": "registry",
    "inputs": ["ids=int64[batch=1..2,time=4..16]:0..31999"],
    "source": {"path": "decoder.pt"},
    "model": {"callable": "decoder:Decoder"},
    "validation": {"cases": 1, "threads": 1},
}

_IMPORTED = (
    *("torch", "torch._dynamo", "torch._export", "torch._functorch.aot_autograd", "torch._refs"),
    *("torch._decomp.decompositions", "torch.export._trace", "torch.onnx._internal.exporter._core"),
    *("onnx", "onnxruntime", "onnxscript.optimizer", "onnxscript.version_converter", "pydantic"),
    *("transformers.models.bert.modeling_bert", "jinja2"),
)
"""Libraries, which are not counted: they are imported whatever the model."""


def _spec(tables: Mapping[str, Any], folder: str) -> MigrationSpec:
    return make_spec(tables, subject="bench", base=Path(folder))


def small_bert(folder: str) -> str:
    """Returns the processor time of each step of a migration, and the wall time of judging."""
    from tests.bench.models import small_bert as made

    return _migrated(folder, _SMALL, made())


def medium_bert(folder: str) -> str:
    """The same for BERT-base."""
    from tests.bench.models import bert_base

    return _migrated(folder, _MEDIUM, bert_base())


def _migrated(folder: str, tables: Mapping[str, Any], model: Any) -> str:
    from safetensors.torch import save_file
    from tests.bench.models import nothing

    state = model.state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, Path(folder) / "small.safetensors")
    del model, state
    for name in _IMPORTED:
        import_module(name)
    apart.call(nothing, "imports", DEFAULT_LIMITS, _IMPORTED)
    cpu: dict[str, float] = {}
    wall: dict[str, float] = {}
    begun: list[tuple[str, float, float]] = []

    def step(line: str) -> None:
        now = time.monotonic(), _used()
        if begun:
            name, since, used = begun.pop()
            cpu[name] = cpu.get(name, 0.0) + now[1] - used
            wall[name] = wall.get(name, 0.0) + now[0] - since
        begun.append((line, *now))

    done = steps.migrate(steps.open_workspace(_spec(tables, folder), step))
    step("end")
    return json.dumps({
        "outcome": done.verdict.outcome,
        "cases": len(done.verdict.context["cases"]),
        "seconds": cpu,
        "wall": {"onnx": wall["judge onnx"]},
    })  # fmt: skip


def small_runs(folder: str) -> str:
    """Returns the wall time of one run of the original on all cases, in float32 and float64."""
    return _plain_runs(folder, _SMALL)


def medium_runs(folder: str) -> str:
    """The same for BERT-base."""
    return _plain_runs(folder, _MEDIUM)


def _plain_runs(folder: str, tables: Mapping[str, Any]) -> str:
    from ascend_migrate.flows.sources import CheckpointSource
    from ascend_migrate.validators.torch_original import TorchOriginal

    source = open_source(_spec(tables, folder))
    if not isinstance(source, CheckpointSource):
        raise TypeError("a checkpoint is no graph")
    cases = cases_of(source.spec, source.inputs)
    original = TorchOriginal(source.build, source.weights)
    seconds = []
    for make in (original.session, original.exact):
        session = make()
        session(cases[0].feeds)  # what is done once
        started = time.monotonic()
        for case in cases:
            session(case.feeds)
        seconds.append(time.monotonic() - started)
    return json.dumps({"seconds": seconds})


def make_decoder(folder: str) -> str:
    """Writes the checkpoint; returns the bytes of its weights."""
    import torch
    from tests.bench.decoder import Decoder

    torch.manual_seed(0)
    state = Decoder().state_dict()
    torch.save(state, Path(folder) / "decoder.pt")
    return str(sum(tensor.nbytes for tensor in state.values()))


def export_decoder(folder: str) -> None:
    """Writes ONNX and safetensors."""
    into = Path(folder) / "onnx"
    into.mkdir()
    open_source(_spec(_DECODER, folder)).export(into, graph=True)


def capture_decoder(folder: str) -> None:
    """Records the original, in a process of its own, whose memory counts as well."""
    steps_single.capture(_spec(_DECODER, folder), Path(folder) / steps.GOLDEN, lambda _line: None)


def judge_decoder(folder: str) -> str:
    """Judges the graph against the golden file; returns the outcome."""
    graph, golden = Path(folder) / "onnx/model.onnx", Path(folder) / steps.GOLDEN
    verdict = steps_single.validate(graph, golden, None, lambda _line: None)
    return str(verdict.outcome)


STEPS: Mapping[str, Callable[[str], str | None]] = {
    step.__name__: step
    for step in (
        small_bert,
        small_runs,
        medium_bert,
        medium_runs,
        make_decoder,
        export_decoder,
        capture_decoder,
        judge_decoder,
    )
}


def _used() -> float:
    """Returns the processor time so far of this process and its children, running or ended."""
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return own + sum(map(_used_by, _children(os.getpid())))


def _children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def _used_by(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        return own + sum(map(_used_by, _children(pid)))
    except OSError:  # it has ended
        return 0.0


if __name__ == "__main__":
    sys.stdout.write(STEPS[sys.argv[1]](sys.argv[2]) or "")
