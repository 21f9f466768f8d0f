"""Checkpoints of several files: Hugging Face, DCP and DeepSpeed folders that lead elsewhere."""

import json
import os
import pickle
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint
from safetensors.torch import save
from tests.checkpoint.test_deepspeed import write as write_deepspeed
from tests.hostile.case import Case
from tests.hostile.words import GOOD, beside, call, named, program, table, text, zipped

dcp: Any = torch.distributed.checkpoint

Change = Callable[[Path], object]
INDEX = "model.safetensors.index.json"
EVIL = call(named("os", "system"), text("touch canary"))


@cache
def _template(kind: str) -> Path:
    """Writes a good folder once."""
    folder = Path(tempfile.mkdtemp()) / kind
    if kind == "dcp":
        with warnings.catch_warnings(action="ignore"):
            dcp.save({"w": torch.arange(8.0), "v": torch.ones(2, 2), "n": 3}, checkpoint_id=folder)
    elif kind == "hub":
        folder.mkdir()
        for name in "ab":
            (folder / f"{name}.safetensors").write_bytes(save({name: torch.ones(2)}))
        index(folder, {"a": "a.safetensors", "b": "b.safetensors"})
    else:
        write_deepspeed(folder, int(kind[-1]), 2)
    return folder


def index(folder: Path, table: Any, name: str = INDEX) -> None:
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": table}))


def _of(kind: str, change: Change) -> Callable[[Path], None]:
    def write(home: Path) -> None:
        shutil.copytree(_template(kind), home / "evil")
        change(home / "evil")

    return write


def _cases(
    kind: str, threat: str, listed: dict[str, tuple[Change, str]], culprit: str
) -> list[Case]:
    return [
        Case(f"{kind}: {name}", threat, "evil", _of(kind, change), reason, culprit=culprit)
        for name, (change, reason) in listed.items()
    ]


OUTSIDE = "../../secret/outside.safetensors"
"""A good file out of the checkpoint's folder, which nothing may open."""


def _link(name: str, to: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return change


def _both(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def _placing(where: Any, **more: Any) -> Change:
    """An index that places ``a`` in ``where``."""
    return lambda folder: index(folder, {"a": where, "b": "b.safetensors", **more})


def _writing(name: str, content: bytes | str) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def _hub() -> dict[str, tuple[Change, str]]:
    leaves, lacks, damaged = "leaves its folder", "lacks the file", "damaged"
    deep = '{"weight_map":' + '{"a":' * 100_000
    twice = '{"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}'
    return {
        "a shard above the folder": (_placing(OUTSIDE), leaves),
        "a shard above and back": (_placing("../evil/a.safetensors"), leaves),
        "an absolute shard": (_placing("/etc/hostname"), leaves),
        "a shard by backslashes": (_placing("..\\..\\secret\\outside.safetensors"), leaves),
        "a shard with a NUL": (_placing("a.safetensors\0.bin"), leaves),
        "a shard without a name": (_placing(""), leaves),
        "a shard that is the folder": (_placing("."), "no regular file"),
        "a shard that is a number": (_placing(7), "names no file"),
        "a shard that is a list": (_placing(["a.safetensors"]), "names no file"),
        "a shard with a name of 100 000 letters": (_placing("a" * 100_000), lacks),
        "a shard with half a surrogate": (_placing("\ud800"), ""),
        "a shard with terminal codes": (_placing("\x1b[2J\x07\r"), lacks),
        "a shard that is missing": (_placing("c.safetensors"), lacks),
        "a shard that is a link out": (_link("a.safetensors", f"../{OUTSIDE[3:]}"), "leads out"),
        "a shard that is an absolute link": (_link("a.safetensors", "/etc/hostname"), "leads out"),
        "a shard that links to itself": (_link("a.safetensors", "a.safetensors"), lacks),
        "shards that link in a cycle": (
            _both(_link("a.safetensors", "b.safetensors"), _link("b.safetensors", "a.safetensors")),
            lacks,
        ),
        "a shard below a link out": (
            _both(_link("below", "../../secret"), _placing("below/outside.safetensors")),
            "leads out",
        ),
        "a shard that is a folder": (
            _both(lambda f: (f / "c").mkdir(), _placing("c")),
            "no regular file",
        ),
        "a shard that is a pipe": (
            _both(lambda f: os.mkfifo(f / "c"), _placing("c")),
            "no regular file",
        ),
        "a shard that is a device": (
            _both(_link("c", "/dev/zero"), _placing("c")),
            "leads out",
        ),
        "a shard that is the index": (_placing(INDEX), ""),
        "an index that names another index": (
            _both(lambda f: index(f, {"a": INDEX}, "b.index.json"), _placing("b.index.json")),
            "belongs",
        ),
        "a shard that is a pickle": (
            _both(_writing("a.safetensors", beside(EVIL))),
            "belongs",
        ),
        "a shard that is empty": (_writing("a.safetensors", b""), "is empty"),
        "a shard of another version": (
            _writing("a.safetensors", save({"a": torch.ones(2), "c": torch.ones(1)})),
            "elsewhere or nowhere",
        ),
        "a tensor in two shards": (
            _writing("b.safetensors", save({"a": torch.ones(2), "b": torch.ones(1)})),
            "elsewhere or nowhere",
        ),
        "a tensor that no shard has": (
            _placing("a.safetensors", c="a.safetensors"),
            "lacks tensor",
        ),
        "an index that is a list": (_writing(INDEX, "[]"), "weight_map"),
        "an index that is null": (_writing(INDEX, "null"), "weight_map"),
        "an index without its table": (_writing(INDEX, "{}"), "weight_map"),
        "an index whose table is a list": (_writing(INDEX, '{"weight_map": []}'), "weight_map"),
        "an index whose table is empty": (_writing(INDEX, '{"weight_map": {}}'), "weight_map"),
        "an index with a name twice": (_writing(INDEX, twice), "twice"),
        "an index that is cut off": (_writing(INDEX, '{"weight_map": {"a": '), damaged),
        "an index of 100 000 levels": (_writing(INDEX, deep), damaged),
        "an index that is not in UTF-8": (_writing(INDEX, b'{"weight_map": "\xff"}'), damaged),
        "an index that is a pickle": (_writing(INDEX, program(EVIL)), damaged),
        "an index that is empty": (_writing(INDEX, ""), ""),
        "an index above the limit": (
            lambda f: os.truncate(_touched(f / INDEX), (1 << 26) + 1),
            "refused above",
        ),
        "an index that is a link out": (_link(INDEX, "/etc/hostname"), "leads out"),
        "an index that is a pipe": (
            _both(lambda f: (f / INDEX).unlink(), lambda f: os.mkfifo(f / INDEX)),
            "",
        ),
        "a link where the weights belong": (
            _link("model.safetensors", f"../{OUTSIDE[3:]}"),
            "leads out",
        ),
        "evil weights": (
            _both(lambda f: (f / INDEX).unlink(), _writing("pytorch_model.bin", beside(EVIL))),
            "holds Python objects",
        ),
        "an evil shard": (
            _both(
                lambda f: (f / INDEX).unlink(),
                _writing("a.bin", beside(EVIL)),
                lambda f: index(f, {"w": "a.bin"}, "pytorch_model.bin.index.json"),
            ),
            "holds Python objects",
        ),
    }


def _touched(path: Path) -> Path:
    path.touch()
    return path


class _Evil:
    """Pickles to a call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


def _metadata(change: Callable[[Any], Any]) -> Change:
    """Changes the object in ``.metadata``; a new one takes its place if one is returned."""

    def apply(folder: Path) -> None:
        path = folder / ".metadata"
        found = pickle.loads(path.read_bytes())
        path.write_bytes(pickle.dumps(change(found) or found))

    return apply


def _place(**fields: Any) -> Change:
    """Changes the place of the tensor w."""

    def change(found: Any) -> None:
        for where, info in found.storage_data.items():
            if where.fqn == "w":
                for name, value in fields.items():
                    object.__setattr__(info, name, value)

    return _metadata(change)


def _described(**fields: Any) -> Change:
    """Changes the description of the tensor w."""

    def change(found: Any) -> None:
        for name, value in fields.items():
            setattr(found.state_dict_metadata["w"], name, value)

    return _metadata(change)


def _chunk(offsets: tuple[int, ...], sizes: tuple[int, ...]) -> Any:
    kind = torch.distributed.checkpoint.metadata.ChunkStorageMetadata
    return kind(torch.Size(offsets), torch.Size(sizes))


def _part(content: bytes) -> Change:
    """Replaces the bytes of the tensor w."""

    def apply(folder: Path) -> None:
        path = folder / "__0_0.distcp"
        size = path.stat().st_size
        path.write_bytes(path.read_bytes() + content)
        _place(offset=size, length=len(content))(folder)

    return apply


def _dcp() -> dict[str, tuple[Change, str]]:
    leaves, damaged, objects = "leaves its folder", "damaged", "holds Python objects"

    def moved(folder: Path) -> None:
        file, other = folder / "__0_0.distcp", folder.parent.parent / "secret/a.distcp"
        shutil.copy(file, other)
        file.unlink()
        file.symlink_to(other)

    return {
        "metadata that call": (_writing(".metadata", program(EVIL)), objects),
        "metadata with an evil value": (
            _metadata(lambda m: setattr(m, "planner_data", _Evil())),
            objects,
        ),
        "metadata that are a dict": (_writing(".metadata", program(table(w=text("x")))), "belongs"),
        "metadata that are a text": (_writing(".metadata", program(text("x"))), "belongs"),
        "metadata that are empty": (_writing(".metadata", b""), damaged),
        "metadata that are cut off": (
            lambda f: os.truncate(f / ".metadata", 100),
            damaged,
        ),
        "metadata with something behind": (
            lambda f: (f / ".metadata").write_bytes((f / ".metadata").read_bytes() + b"N."),
            "behind the end",
        ),
        "metadata above the limit": (
            lambda f: os.truncate(f / ".metadata", (1 << 26) + 1),
            "refused above",
        ),
        "metadata that are a link out": (_link(".metadata", "/etc/hostname"), "leads out"),
        "metadata that are a folder": (
            _both(lambda f: (f / ".metadata").unlink(), lambda f: (f / ".metadata").mkdir()),
            "no regular file",
        ),
        "metadata that are a pipe": (
            _both(lambda f: (f / ".metadata").unlink(), lambda f: os.mkfifo(f / ".metadata")),
            "no regular file",
        ),
        "a file above the folder": (_place(relative_path=OUTSIDE), leaves),
        "an absolute file": (_place(relative_path="/etc/hostname"), leaves),
        "a file that is a link out": (moved, "leads out"),
        "a file that is missing": (_place(relative_path="x.distcp"), "lacks the file"),
        "a file whose name is a number": (_place(relative_path=7), "no text"),
        "a file whose name is an object": (_place(relative_path=_Evil()), objects),
        "a file that is empty": (_writing("__0_0.distcp", b""), "is empty"),
        "a file that is cut off": (
            lambda f: os.truncate(f / "__0_0.distcp", 900),
            "past the end",
        ),
        "a negative offset": (_place(offset=-8), "past the end"),
        "an offset of 2**63": (_place(offset=2**63), "past the end"),
        "an offset that is text": (_place(offset="0"), damaged),
        "an offset that is a float": (_place(offset=0.5), damaged),
        "a negative length": (_place(length=-1), "past the end"),
        "a length that is short": (_place(length=20), "bytes; damaged"),
        "a part that calls": (_part(beside(EVIL)), ""),
        "a part that is another tensor": (_part(zipped(program(GOOD))), "something else"),
        "a part that is no archive": (_part(bytes(100)), damaged),
        "a size of -1": (_described(size=(-1,)), "natural number"),
        "a size of 2**62": (_described(size=(2**62,)), "not covered"),
        "a size that is text": (_described(size="8"), "natural number"),
        "no parts": (_described(chunks=[]), "not covered"),
        "a part that reaches out": (_described(chunks=[_chunk((1,), (8,))]), ""),
        "a part with a hole before it": (_described(chunks=[_chunk((0,), (4,))]), "not covered"),
        "parts that overlap": (
            _described(chunks=[_chunk((0,), (4,)), _chunk((0,), (4,))]),
            "not covered",
        ),
        "a part of another rank": (_described(chunks=[_chunk((0, 0), (8, 1))]), ""),
        "parts that are no parts": (_described(chunks=[7]), damaged),
        "parts that are a number": (_described(chunks=7), damaged),
        "20 000 empty parts": (
            _described(chunks=[_chunk((0,), (0,)) for _ in range(20_000)]),
            "not covered",
        ),
        "properties that are text": (_described(properties="float32"), damaged),
        "no properties": (_described(properties=None), damaged),
    }


def _state(folder: Path, name: str) -> Path:
    return next((folder / "global_step5").glob(name))


def _saved(pattern: str, change: Callable[[Any], Any]) -> Change:
    """Changes the first file of that name."""

    def apply(folder: Path) -> None:
        path = _state(folder, pattern)
        found = torch.load(path, weights_only=False)
        torch.save(change(found) or found, path)

    return apply


def _deepspeed() -> dict[str, tuple[Change, str]]:
    damaged, leaves = "damaged", "which is no folder"
    model, optimizer = "mp_rank_00_model*", "bf16_zero_pp_rank_0*"

    def replaced(pattern: str, data: bytes) -> Change:
        return lambda folder: _state(folder, pattern).write_bytes(data)

    def flat(value: Any) -> Change:
        key = "single_partition_of_fp32_groups"
        return _saved(optimizer, lambda f: f["optimizer_state_dict"].update({key: value}))

    return {
        "an evil model": (replaced(model, beside(EVIL)), "holds Python objects"),
        "an evil optimizer": (replaced(optimizer, beside(EVIL)), "holds Python objects"),
        "an evil value in the model": (
            _saved(model, lambda f: f.update(x=_Evil())),
            "holds Python objects",
        ),
        "a step above the folder": (_writing("latest", "../evil"), leaves),
        "an absolute step": (_writing("latest", "/etc"), leaves),
        "a step that is this folder": (_writing("latest", "."), leaves),
        "a step with a NUL": (_writing("latest", "a\0b"), leaves),
        "a step with terminal codes": (_writing("latest", "\x1b[2J"), leaves),
        "a step that is not in UTF-8": (_writing("latest", b"\xff\xfe"), damaged),
        "a step that is missing": (_writing("latest", "global_step9"), "not there"),
        "a step that is a link": (
            _both(_link("step", "global_step5"), _writing("latest", "step")),
            "not there",
        ),
        "a step of a gigabyte": (
            lambda f: os.truncate(f / "latest", 1 << 30),
            leaves,
        ),
        "latest as a link out": (_link("latest", "/etc/hostname"), "leads out"),
        "a model that is a link out": (
            lambda f: _link(_state(f, model).name, "/etc/hostname")(f / "global_step5"),
            "leads out",
        ),
        "no model": (lambda f: _state(f, model).unlink(), "model_states"),
        "a rank that is missing": (lambda f: _state(f, optimizer).unlink(), "rank"),
        "a model that is a list": (_saved(model, lambda f: [1]), "no dict"),
        "a model without its module": (
            _saved(model, lambda f: f.pop("module") and f),
            "lacks module",
        ),
        "sizes that are negative": (
            _saved(model, lambda f: f.update(param_shapes=[{"a": (-1,)}])),
            "param_shapes",
        ),
        "sizes of 2**62": (
            _saved(model, lambda f: f.update(param_shapes=[{"a": (2**62,)}, {}])),
            "too short",
        ),
        "sizes that are text": (
            _saved(model, lambda f: f.update(param_shapes="x")),
            "param_shapes",
        ),
        "sizes that are fewer": (_saved(model, lambda f: f.update(param_shapes=[{}, {}])), damaged),
        "a stage of 7": (
            _saved(optimizer, lambda f: f["optimizer_state_dict"].update(zero_stage=7)),
            "ZeRO stage",
        ),
        "a world of 2**40 ranks": (
            _saved(optimizer, lambda f: f["optimizer_state_dict"].update(partition_count=2**40)),
            "ranks",
        ),
        "partitions that are short": (flat([torch.ones(3), torch.ones(3)]), damaged),
        "partitions that are no tensors": (flat(["x", "y"]), "no flat tensor"),
        "partitions of two axes": (flat([torch.ones(3, 3)] * 2), "no flat tensor"),
        "partitions that are a text": (flat("x"), "lacks"),
    }


def cases() -> list[Case]:
    """Returns all of them."""
    return [
        *_cases("hub", "Hugging Face folders", _hub(), "evil"),
        *_cases("dcp", "distributed checkpoints", _dcp(), "evil"),
        *_cases("deepspeed 2", "DeepSpeed folders", _deepspeed(), "evil"),
    ]
