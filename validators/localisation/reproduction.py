"""A wrong step on its own: a folder that shows the fault without this project."""

import re
from pathlib import Path

import numpy as np

from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.localisation.steps import Alone

_ONNX = '''\
"""{about}, alone. Needs numpy and onnxruntime."""
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("step.onnx", providers=["CPUExecutionProvider"])
(made,) = session.run([{tensor!r}], dict(np.load("inputs.npz")))
found, expected = np.load("found.npy"), np.load("expected.npy")
print("from what the artifact computed:", np.abs(made - found).max())
print("sizes:", made.shape, "and those of the original:", expected.shape)
if made.shape == expected.shape:
    print("from what the original computes:", np.abs(made - expected).max())
'''

_MINDIR = '''\
"""{about}, alone. Needs numpy and mindspore."""
import mindspore
import numpy as np

graph = mindspore.nn.GraphCell(mindspore.load("step.mindir"))
given = np.load("inputs.npz")
(made,) = graph(*(mindspore.Tensor(given[name]) for name in {inputs!r}))
found, expected = np.load("found.npy"), np.load("expected.npy")
print("from what the artifact computed:", np.abs(made.asnumpy() - found).max())
print("sizes:", made.shape, "and those of the original:", expected.shape)
if made.shape == expected.shape:
    print("from what the original computes:", np.abs(made.asnumpy() - expected).max())
'''

_SCRIPTS = {".onnx": _ONNX, ".mindir": _MINDIR}


def write_reproduction(
    into: Path, alone: Alone, *, about: str, tensor: str, found: Array, expected: Array
) -> None:
    """Writes the folder ``into``: step.onnx or step.mindir, its arrays, and run.py.

    Args:
        into: is made.
        alone: the step with its weights, and what it reads.
        about: what the step is; goes into the script, in which it can close no string.
        tensor: name of what is wrong.
        found: what the artifact made.
        expected: what the original makes.
    """
    into.mkdir(parents=True, exist_ok=True)
    (into / f"step{alone.suffix}").write_bytes(alone.model)
    arrays = {name: np.ascontiguousarray(array) for name, array in alone.inputs.items()}
    np.savez(into / "inputs.npz", allow_pickle=False, **arrays)
    np.save(into / "found.npy", found, allow_pickle=False)
    np.save(into / "expected.npy", expected, allow_pickle=False)
    said = re.sub(r"[^\w ./:%-]", "_", about, flags=re.ASCII)
    script = _SCRIPTS[alone.suffix].format(about=said, tensor=tensor, inputs=list(alone.inputs))
    (into / "run.py").write_text(script, encoding="utf-8")
