"""Six public models from small packages, through the command line as a user runs it.

Every pass is compared once more without the judge: the package's own network, filled by torch or
by safetensors, against the files that came out of the registry.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from tests.zoo.requests import HERE, PASSING, REFUSED, STATE_ON_SELF, Request, installed

from ascend_migrate.pipeline.inputs import dynamic_dims, parse_inputs
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

pytestmark = pytest.mark.zoo

COMMAND = Path(sys.executable).with_name("ascend-migrate")
Arrays = dict[str, np.ndarray[Any, Any]]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def versions(folder: Path) -> Any:
    return json.loads(run(folder, "list", "--json").stdout)


@pytest.mark.parametrize("name", PASSING)
def test_a_correct_model_is_proved_and_published(name: str, tmp_path: Path) -> None:
    request = PASSING[name]
    spec = request.write(name, tmp_path)
    done = run(tmp_path, "migrate", str(spec), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["outcome"] == "pass"
    assert sorted(result["verdict"]["subjects"]) == sorted(request.to)
    assert result["published"]["name"] == name
    assert run(tmp_path, "gate", name).returncode == 0
    pulled = tmp_path / "pulled"
    assert run(tmp_path, "pull", name, "-o", str(pulled)).returncode == 0
    if "onnx" in request.to:
        check_computes_the_same(name, request, pulled)
    if "safetensors" in request.to:
        check_weights(request, pulled / "model.safetensors")


def test_state_on_self_fails_and_publishes_nothing(tmp_path: Path) -> None:
    spec = STATE_ON_SELF.write("beatnet", tmp_path)
    done = run(tmp_path, "migrate", str(spec), "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert (result["outcome"], result["published"]) == ("fail", None)
    failed = {
        (f["form"], f["check"]): f["note"]
        for f in result["verdict"]["findings"]
        if f["outcome"] == "fail"
    }
    for form in ("onnx", "mindir"):
        assert "make that state an input and an output" in failed[form, "calls.repeatable"]
    assert versions(tmp_path) == []


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_what_to_do(name: str, tmp_path: Path) -> None:
    request, said = REFUSED[name]
    done = run(tmp_path, "migrate", str(request.write("refused", tmp_path)))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    for part in said:
        assert part in done.stderr
    assert versions(tmp_path) == []


def check_computes_the_same(name: str, request: Request, pulled: Path) -> None:
    """Compares the published graphs with the package's own network at three sizes."""
    inputs, faults = parse_inputs(request.inputs)
    assert faults == ()
    rng = np.random.default_rng(7)
    dims = dynamic_dims(inputs)
    sizes = [
        {dim.name: dim.low for dim in dims.values()},
        {dim.name: dim.high for dim in dims.values()},
        {dim.name: (dim.low + dim.high) // 2 for dim in dims.values()},
    ]
    original = scripted if "silero" in name else network(request)
    onnx = onnxruntime.InferenceSession(str(pulled / "model.onnx"))
    names = [output.name for output in onnx.get_outputs()]
    with MindSporeRunner(pulled / "model.mindir") as mindir:
        for chosen in sizes:
            feeds: Arrays = {}
            for item in inputs:
                low, high, shape = item.low, item.high, item.sizes(chosen)
                assert low is not None
                assert high is not None
                if item.dtype == "int64":
                    feeds[item.name] = np.asarray(rng.integers(int(low), int(high) + 1, shape))
                else:
                    feeds[item.name] = rng.uniform(low, high, shape).astype(item.dtype)
            wanted = original(feeds)
            assert_near(wanted, dict(zip(names, onnx.run(names, feeds), strict=True)))
            assert_near(wanted, mindir.run(feeds))


def assert_near(wanted: list[np.ndarray[Any, Any]], found: Mapping[str, Any]) -> None:
    """A plain tolerance, far above rounding and far below any fault of a conversion."""
    assert len(found) == len(wanted)
    for one, other in zip(wanted, found.values(), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        share = 2e-3 if one.dtype == np.float16 else 1e-4
        np.testing.assert_allclose(other, one, rtol=0, atol=share * float(np.abs(one).max()))


def network(request: Request) -> Any:
    """Returns the package's network as a function of arrays, filled without our code."""
    module, _, attribute = request.model.partition(":")
    found = spec_from_file_location(module, HERE / f"{module}.py")
    assert found is not None
    assert found.loader is not None
    code = module_from_spec(found)
    found.loader.exec_module(code)
    model = getattr(code, attribute)()
    state = weights(request)
    model.to(next(iter(state.values())).dtype)
    fit = model.load_state_dict(state, strict=False)
    assert fit.missing_keys == []
    assert len(fit.unexpected_keys) == (2 if request.allow_unexpected else 0)
    model.eval()

    def call(feeds: Arrays) -> list[np.ndarray[Any, Any]]:
        with torch.no_grad():
            result = model(**{key: torch.from_numpy(array) for key, array in feeds.items()})
        tensors = [result] if isinstance(result, torch.Tensor) else list(result.values())
        return [tensor.numpy() for tensor in tensors]

    return call


def scripted(feeds: Arrays) -> list[np.ndarray[Any, Any]]:
    """Runs the vendor's TorchScript, of which the ONNX file holds the part for 16 kHz."""
    audio, state, *_ = (torch.from_numpy(array) for array in feeds.values())
    with torch.no_grad():
        return [tensor.numpy() for tensor in script()._model(audio, state)]


def script() -> Any:
    load: Any = torch.jit.load  # not typed
    return load(str(installed("silero_vad/data/silero_vad.jit")), map_location="cpu")


def weights(request: Request) -> dict[str, torch.Tensor]:
    path = installed(request.source)
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".jit":
        state = script().state_dict()
        return {name: tensor for name, tensor in state.items() if name.startswith("_model.")}
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def check_weights(request: Request, published: Path) -> None:
    """Compares the published weights with the checkpoint's, bit for bit; ties are stored once."""
    found, wanted = load_file(published), weights(request)
    assert set(found) <= set(wanted)
    for name, tensor in found.items():
        assert tensor.dtype == wanted[name].dtype
        assert torch.equal(tensor, wanted[name])
    kept = {tensor.data_ptr() for tensor in wanted.values()}
    assert len(found) == len(kept)
