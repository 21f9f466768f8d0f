"""Asks an .om file on an Ascend device everything that a golden file asks; writes the answers.

This file is copied into the folders that `--bundle` makes, and is all that the machine with the
device needs beside CANN: Python 3.7, NumPy and ais_bench (whose InferSession loads an .om file).
It has never met a device: not verified on device.

    python3 run_om.py model.om MODE golden.safetensors answers.safetensors [DEVICE]

MODE says how the sizes were given to ATC: static, dymbatch, dymdims or dymshape. The answers are
CASE/first/NAME and CASE/later/NAME; the metadata say who gave them, and to which inputs.
"""

from __future__ import annotations  # Python 3.7 reads the types below as texts

import glob
import hashlib
import json
import os
import struct
import sys
from typing import Any

import numpy as np

FIRST, LATER = "first", "later"
"""The turns: every case is asked once more after all others."""

SCHEMA = "ascend-migrate/answers/1"

_TYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BOOL": np.bool_,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8,
}  # fmt: skip
"""Element types by their names in a safetensors header; bfloat16 is no type of NumPy."""


_OUTPUT_BYTES = 1 << 28
"""Room for one output where its size is only known after the run."""


def read(path: str, group: str = "") -> dict[str, np.ndarray[Any, Any]]:
    """Returns the arrays of a safetensors file by name, of a GROUP of CASE/GROUP/NAME or all."""
    data = _bytes(path)
    size = struct.unpack("<Q", data[:8])[0]
    arrays = {}
    for name, item in _header(data).items():
        if group and _parts(name)[1] != group:
            continue
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
    with open(path + ".new", "wb") as file:  # noqa: PTH123 - as old a Python as CANN's
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blocks))
    os.replace(path + ".new", path)  # noqa: PTH105


def cases(arrays: dict[str, np.ndarray[Any, Any]]) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Returns the inputs of each case, by its number: CASE/input/NAME in a golden file."""
    found: dict[int, dict[str, np.ndarray[Any, Any]]] = {}
    for name, array in arrays.items():
        case, group, rest = _parts(name)
        if group == "input":
            found.setdefault(int(case), {})[rest] = array
    return [found[case] for case in sorted(found)]


def feeds_digest(feeds: Any) -> str:
    """Returns the digest of the inputs of one case: names, types, sizes and bytes."""
    found = hashlib.sha256()
    for name in sorted(feeds):
        array = np.asarray(feeds[name], order="C")
        found.update(json.dumps([name, array.dtype.name, list(array.shape)]).encode("utf-8"))
        found.update(array.tobytes())
    return found.hexdigest()


def spoken(name: str, known: set[str]) -> str:
    """Returns the output's own name: ATC may call it NODE:NUMBER:NAME."""
    short = name.split(":", 2)[-1]
    return short if name not in known and short in known else name


def who(model: str, golden: str, device: str) -> dict[str, str]:
    """Returns what says whose answers these are: the files by their digests, and who gave them."""
    import acl  # of CANN itself

    return {
        "schema": SCHEMA,
        "om": _digest(model),
        "golden": _digest(golden),
        "runtime": f"ais_bench {_version('ais_bench')}".strip(),
        "soc": acl.get_soc_name() or "",
        "cann": _cann(),
        "device": f"{acl.get_soc_name() or 'unknown'} number {device}",
    }


def main(model: str, mode: str, golden: str, answers: str, device: str = "0") -> None:
    """Runs every case twice, the second time after all others, as the judgement wants it."""
    try:
        import acl  # noqa: F401 - of CANN itself
        from ais_bench.infer.interface import InferSession
    except ImportError as error:
        said = f"{error}; run `source .../set_env.sh` of CANN, and install ais_bench"
        raise SystemExit(said) from None
    try:
        named = [_parts(name) for name in _header(_bytes(golden))]
        asked = cases(read(golden, "input"))
    except (OSError, ValueError, LookupError, struct.error) as error:
        raise SystemExit(f"{golden}: cannot be read ({error}); copy it again") from None
    session = InferSession(int(device), model)
    inputs = [item.name for item in session.get_inputs()]
    known = {name for _, group, name in named if group == "own"}
    outputs = [spoken(item.name, known) for item in session.get_outputs()]
    found = {}
    for turn in (FIRST, LATER):
        for number, feeds in enumerate(asked):
            lost = sorted(set(feeds) - set(inputs))
            if lost:
                raise SystemExit(f"{model}: has no input {lost[0]}, which {golden} asks")
            given = [np.asarray(feeds[name], order="C") for name in inputs if name in feeds]
            results = session.infer(given, mode=mode, custom_sizes=_OUTPUT_BYTES)
            for name, array in zip(outputs, results):  # noqa: B905 - Python 3.7
                found[f"{number}/{turn}/{name}"] = np.asarray(array)
    about = who(model, golden, device)
    about["cases"] = json.dumps([feeds_digest(feeds) for feeds in asked])
    write(answers, found, about)


def _parts(name: str) -> tuple[str, str, str]:
    """Returns CASE, GROUP and NAME; of what belongs to no case only the last."""
    parts = name.split("/", 2)
    if len(parts) < 3 or not parts[0].isdigit():  # noqa: PLR2004
        return "", "", name
    return parts[0], parts[1], parts[2]


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read()


def _header(data: bytes) -> dict[str, Any]:
    size = struct.unpack("<Q", data[:8])[0]
    header: dict[str, Any] = json.loads(data[8 : 8 + size].decode("utf-8"))
    header.pop("__metadata__", None)
    return header


def _digest(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:  # noqa: PTH123
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return "sha256:" + found.hexdigest()


def _version(package: str) -> str:
    """Returns what is installed; '' where nothing tells, as under Python 3.7."""
    try:
        from importlib.metadata import version
    except ImportError:
        return ""
    try:
        return version(package)
    except ImportError:  # it is on the path, but not installed
        return ""


def _cann() -> str:
    """Returns the version of the CANN that is set up here, by its install record; '' if unknown."""
    root = os.environ.get("ASCEND_TOOLKIT_HOME") or os.environ.get("ASCEND_HOME_PATH") or ""
    for folder in (root, os.path.join(root, "*-linux")):  # noqa: PTH118
        for path in sorted(glob.glob(os.path.join(folder, "ascend_*_install.info"))):  # noqa: PTH118, PTH207
            for line in _bytes(path).decode("utf-8", "replace").splitlines():
                if line.startswith("version="):
                    return line[len("version=") :].strip()
    return ""


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6):
        raise SystemExit("run_om.py MODEL.om MODE GOLDEN ANSWERS [DEVICE]")
    main(*sys.argv[1:])
