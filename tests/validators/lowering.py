"""Models under a policy of a lower precision: exported, judged, and spoiled."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from tests.architectures import saved
from torch import Tensor, nn

from ascend_migrate.converters import onnx_to_mindir, torch_to_onnx
from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.checkpoint import Checkpoint
from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.mindir_format import DATA_TYPES
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import Artifact, Finding, Form, Outcome, Verdict
from ascend_migrate.validators.cases import make_cases
from ascend_migrate.validators.golden import capture
from ascend_migrate.validators.judge import judge
from ascend_migrate.validators.torch_original import TorchOriginal

HALF = Precision("float16")


@dataclass(frozen=True)
class Lowered:
    """A model with its lowered artifacts and its golden file."""

    artifacts: dict[Form, Artifact]
    golden: Path
    checkpoint: Checkpoint


class Mlp(nn.Module):
    """Three layers with activations of three kinds, and a constant that no binary type holds."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 5)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.tanh(self.layers(x) * 0.3)
        return y


class Loud(nn.Module):
    """Reaches 1e6 on the way, which its normalisation brings back."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.amplifier = Amplifier()
        self.norm = nn.LayerNorm(16)
        self.last = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.norm(self.amplifier(self.first(x))))
        return y


class Amplifier(nn.Module):
    """Multiplies."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 30000.0 * 8.0


def lowered(
    make: Callable[[], nn.Module],
    inputs: Sequence[str],
    folder: Path,
    policy: Precision = HALF,
    forms: Sequence[Form] = (Form.ONNX,),
) -> Lowered:
    """Takes a model through capture, export and conversion."""
    folder.mkdir(exist_ok=True)
    build, checkpoint, specs = saved(make, inputs, folder / "model.safetensors")
    golden = folder / "golden.safetensors"
    cases = make_cases(specs, seed=0, count=4)
    original = TorchOriginal(build, checkpoint)
    capture(original, cases, golden, source=checkpoint.digest, precision=policy)
    made = torch_to_onnx.convert(
        build(),
        specs,
        folder,
        precision=policy,
        runnable=Form.ONNX in forms,
        weights=folder / "model.safetensors",
        parent=checkpoint.digest,
    )
    artifacts = {Form.ONNX: made}
    if Form.MINDIR in forms:
        artifacts[Form.MINDIR] = onnx_to_mindir.convert(
            made.path, folder, inputs=specs, parent=made.digest
        )
    return Lowered({form: artifacts[form] for form in forms}, golden, checkpoint)


def copied(artifact: Artifact, folder: Path) -> Artifact:
    """Returns a copy that may be spoiled."""
    shutil.copytree(artifact.root, folder / "copy")
    return replace(artifact, root=folder / "copy")


def judged(model: Lowered, artifact: Artifact) -> Verdict:
    """Judges one artifact as it is on disk now."""
    paths = [artifact.entry, *(f.path for f in artifact.files)]
    now = Artifact.of(artifact.form, artifact.root, paths, parent="")
    return judge(
        [now],
        model.golden,
        source_digest=model.checkpoint.digest,
        source_weights=model.checkpoint,
        source_tensor=model.checkpoint.read,
    )


def faults(verdict: Verdict) -> Iterator[Finding]:
    """Yields what did not pass."""
    return (f for f in verdict.findings if f.outcome is not Outcome.PASS)


def failed(verdict: Verdict) -> set[str]:
    """Returns the names of the checks that failed."""
    return {f.check for f in verdict.findings if f.outcome is Outcome.FAIL}


def change_weight(
    artifact: Artifact, name: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Changes the weight ``name``; its element type stays."""
    if artifact.form is Form.ONNX:
        model = onnx.load(artifact.path)
        tensor = next(t for t in model.graph.initializer if t.name == name)
        old = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(change(old).astype(old.dtype), name))
        onnx.save(model, artifact.path)
        return
    graph = pb.ModelProto.FromString(artifact.path.read_bytes())
    parameter = next(t for t in graph.graph.parameter if t.name.endswith(f":{name}"))
    spelled = {code: dtype for dtype, code in DATA_TYPES.items()}
    kind = numpy_dtype(spelled[parameter.data_type])
    old = np.frombuffer(parameter.raw_data, kind).reshape(parameter.dims)
    parameter.raw_data = change(old).astype(kind).tobytes()
    artifact.path.write_bytes(graph.SerializeToString(deterministic=True))
