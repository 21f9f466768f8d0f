"""Asks an .om file on an Ascend device everything that a golden file asks; writes the answers.

This file is copied into the folders that `--bundle` makes, and is all that the machine with the
device needs beside CANN: Python 3.7, NumPy and ais_bench (whose InferSession loads an .om file).
It has never met a device: not verified on device.

    python3 run_om.py model.om MODE golden.safetensors answers.safetensors [DEVICE]

MODE says how the sizes were given to ATC: static, dymbatch, dymdims or dymshape.
"""

from __future__ import annotations  # Python 3.7 reads the types below as texts

import json
import struct
import sys
from typing import Any

import numpy as np

_TYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BOOL": np.bool_,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8,
}  # fmt: skip
"""Element types by their names in a safetensors header; bfloat16 is no type of NumPy."""


_OUTPUT_BYTES = 1 << 28
"""Room for one output where its size is only known after the run."""


def read(path: str) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the arrays of a safetensors file by name."""
    with open(path, "rb") as file:  # noqa: PTH123 - as old a Python as CANN's
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size].decode("utf-8"))
    header.pop("__metadata__", None)
    arrays = {}
    for name, item in header.items():
        begin, end = item["data_offsets"]
        if item["dtype"] not in _TYPES:
            raise SystemExit(f"{path}: {name} is {item['dtype']}, which is not read here")
        flat: np.ndarray[Any, Any] = np.frombuffer(
            data[8 + size + begin : 8 + size + end], _TYPES[item["dtype"]]
        )
        arrays[name] = flat.reshape(item["shape"])
    return arrays


def write(path: str, arrays: dict[str, np.ndarray[Any, Any]], about: dict[str, str]) -> None:
    """Writes arrays and a text for each key of ``about`` as a safetensors file."""
    names = {np.dtype(kind).name: name for name, kind in _TYPES.items()}
    header: dict[str, Any] = {"__metadata__": about}
    blocks, place = [], 0
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        block = array.tobytes()
        header[name] = {
            "dtype": names[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [place, place + len(block)],
        }
        blocks.append(block)
        place += len(block)
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blocks))


def cases(arrays: dict[str, np.ndarray[Any, Any]]) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Returns the inputs of each case, by its number: CASE/input/NAME in a golden file."""
    found: dict[int, dict[str, np.ndarray[Any, Any]]] = {}
    for name, array in arrays.items():
        case, group, rest = name.split("/", 2)
        if group == "input":
            found.setdefault(int(case), {})[rest] = array
    return [found[case] for case in sorted(found)]


def main(model: str, mode: str, golden: str, answers: str, device: str = "0") -> None:
    """Runs every case twice, the second time after all others, as the judgement wants it."""
    from ais_bench.infer.interface import InferSession

    session = InferSession(int(device), model)
    inputs = [item.name for item in session.get_inputs()]
    outputs = [item.name for item in session.get_outputs()]
    asked = cases(read(golden))
    found = {}
    for turn in ("first", "later"):
        for number, feeds in enumerate(asked):
            given = [np.asarray(feeds[name], order="C") for name in inputs if name in feeds]
            results = session.infer(given, mode=mode, custom_sizes=_OUTPUT_BYTES)
            for name, array in zip(outputs, results):  # noqa: B905 - Python 3.7
                found[f"{number}/{turn}/{name}"] = np.asarray(array)
    write(answers, found, {"runtime": "ais_bench", "outputs": json.dumps(outputs)})


if __name__ == "__main__":
    main(*sys.argv[1:])
