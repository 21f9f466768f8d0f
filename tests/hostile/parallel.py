"""Megatron folders and the layers of DeepSpeed pipelines that lie about their ranks, or call."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tests.checkpoint.test_megatron import HIDDEN, INNER, whole, write
from tests.hostile.case import Case
from tests.hostile.folders import EVIL, OUTSIDE
from tests.hostile.headers import of
from tests.hostile.words import GOOD, beside, program, raw_zip, table, text, zipped

Change = Callable[[Path], object]
LATEST = "latest_checkpointed_iteration.txt"
ITERATION = "iter_0000120"
RANK = f"{ITERATION}/mp_rank_01/model_optim_rng.pt"
ROWS = "mlp.linear_fc1.weight"
FULL = torch.ones(INNER // 2, HIDDEN)
LAYER = "layer_02-model_01-model_states.pt"


def layers(folder: Path) -> None:
    """A pipeline of two layers with two tensor-parallel ranks each."""
    folder.mkdir()
    for layer in (1, 2):
        for rank in (0, 1):
            rows = torch.full((2, 4), float(rank))
            part = {"mlp.dense_h_to_4h.weight": rows, "norm.weight": torch.ones(4)}
            torch.save(part, folder / f"layer_{layer:02}-model_{rank:02}-model_states.pt")
    torch.save({"module": None}, folder / "mp_rank_00_model_states.pt")


@cache
def _template(kind: str) -> Path:
    folder = Path(tempfile.mkdtemp()) / kind
    if kind == "megatron":
        write(folder, whole(gated=False), 2, 1)
    else:
        layers(folder)
    return folder


def _of(kind: str, change: Change) -> Change:
    def make(home: Path) -> None:
        shutil.copytree(_template(kind), home / "evil")
        change(home / "evil")

    return make


def _put(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def _saved(name: str, change: Callable[[dict[str, Any]], object]) -> Change:
    """Changes what one file holds; a new dict takes its place if one is returned."""

    def apply(folder: Path) -> None:
        found = torch.load(folder / name, weights_only=False)
        new = change(found)
        torch.save(new if isinstance(new, dict) else found, folder / name)

    return apply


def _link(name: str, to: str) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(to)

    return change


def _pipe(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def _gone(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def _renamed(name: str, new: str) -> Change:
    return lambda folder: (folder / name).rename(folder / new)


def _copied(name: str, new: str) -> Change:
    def change(folder: Path) -> None:
        kind = shutil.copytree if (folder / name).is_dir() else shutil.copy
        kind(folder / name, folder / new)

    return change


def _model(**tensors: Any) -> Change:
    return _saved(RANK, lambda rank: rank["model"].update(tensors))


def _in_both(**tensors: Any) -> Change:
    def change(folder: Path) -> None:
        for rank in (0, 1):
            name = f"{ITERATION}/mp_rank_0{rank}/model_optim_rng.pt"
            _saved(name, lambda held: held["model"].update(tensors))(folder)

    return change


def _megatron() -> dict[str, tuple[Change, str]]:
    number, part = "no number", f"decoder.layers.0.{ROWS}"
    deep = b"".join(b"}(" + text("a") for _ in range(100)) + GOOD + b"u" * 100
    return {
        "a latest iteration above the folder": (_put(LATEST, b"../../secret"), number),
        "a latest iteration that is absolute": (_put(LATEST, b"/etc"), number),
        "a latest iteration of 100 000 digits": (_put(LATEST, b"1" * 100_000), number),
        "a latest iteration that is no text": (_put(LATEST, b"\xff\xfe"), "damaged"),
        "a latest iteration with terminal codes": (_put(LATEST, b"\x1b[2J"), number),
        "a latest iteration that is empty": (_put(LATEST, b""), number),
        "a latest iteration that is not there": (_put(LATEST, b"7"), "not there"),
        "a latest iteration that is a pipe": (_pipe(LATEST), "is a folder"),
        "a latest iteration that is a link out": (
            _link(LATEST, OUTSIDE),
            "leads out",
        ),
        "an iteration that is a link out": (_link(ITERATION, "../../secret"), "not there"),
        "a rank that is a link out": (
            _link(f"{ITERATION}/mp_rank_01", "../../../secret"),
            "lacks the file",
        ),
        "a file that is a link out": (_link(RANK, f"../../{OUTSIDE}"), "leads out"),
        "a file that is a pipe": (_pipe(RANK), "no regular file"),
        "a rank that is missing": (
            lambda folder: shutil.rmtree(folder / ITERATION / "mp_rank_00"),
            "lacks some",
        ),
        "a rank a million ranks away": (
            _renamed(f"{ITERATION}/mp_rank_01", f"{ITERATION}/mp_rank_999999"),
            "lacks some",
        ),
        "a rank in two spellings": (
            _copied(f"{ITERATION}/mp_rank_01", f"{ITERATION}/mp_rank_001"),
            "twice",
        ),
        "experts in folders of their own": (
            _renamed(f"{ITERATION}/mp_rank_01", f"{ITERATION}/mp_rank_01_000_000"),
            "experts",
        ),
        "a rank that calls": (_put(RANK, beside(EVIL)), "holds Python objects"),
        "a rank whose arguments call": (
            _put(RANK, zipped(program(table(model=table(w=GOOD), args=EVIL)))),
            "holds Python objects",
        ),
        "a rank that is a bare pickle": (_put(RANK, program(EVIL)), "bare pickle"),
        "a rank that is cut off": (
            lambda folder: os.truncate(folder / RANK, 1000),
            "damaged",
        ),
        "a rank that is another format": (
            _put(RANK, of()),
            "where one of",
        ),
        "a rank without a model": (_saved(RANK, lambda r: {"args": r["args"]}), "no model"),
        "a model that is a list": (
            _saved(RANK, lambda r: {**r, "model": [1, 2]}),
            "in some ranks and not in rank 1",
        ),
        "a model 100 levels deep": (
            _put(RANK, zipped(program(table(model=deep)))),
            "levels deep",
        ),
        "a tensor that only one rank has": (_model(extra=torch.ones(3)), "extra"),
        "a tensor of other sizes in one rank": (_model(**{part: torch.ones(3, 3)}), part),
        "a tensor of another type in one rank": (_model(**{part: torch.ones(6, 8).half()}), part),
        "a copy that differs in one bit": (
            _model(**{"decoder.final_layernorm.weight": torch.zeros(8)}),
            "decoder.final_layernorm.weight",
        ),
        "layers that are not counted from 0": (
            _in_both(**{f"decoder.layers.7.{ROWS}": FULL}),
            "not from 0 on",
        ),
        "two spellings of one layer": (_in_both(**{f"decoder.layers.00.{ROWS}": FULL}), "twice"),
        "arguments of more ranks": (
            _saved(RANK, lambda r: setattr(r["args"], "tensor_model_parallel_size", 2**40)),
            "tensor_model_parallel_size",
        ),
        "arguments of experts": (
            _saved(RANK, lambda r: setattr(r["args"], "expert_model_parallel_size", 2)),
            "expert_model_parallel_size",
        ),
        "a version before 2.0": (
            _saved(RANK, lambda r: r.update(checkpoint_version=1.0)),
            "of version 1.0",
        ),
        "a version that is no number": (
            _saved(RANK, lambda r: r.update(checkpoint_version=float("nan"), model=7)),
            "in some ranks and not in rank 1",
        ),
    }


def _layers() -> dict[str, tuple[Change, str]]:
    return {
        "a layer that calls": (_put(LAYER, beside(EVIL)), "holds Python objects"),
        "a layer that is a bare pickle": (_put(LAYER, program(EVIL)), "bare pickle"),
        "a layer that is a link out": (_link(LAYER, f"../{OUTSIDE[3:]}"), "leads out"),
        "a layer that is a pipe": (_pipe(LAYER), "no regular file"),
        "a layer that is empty": (_put(LAYER, b""), "empty"),
        "a layer whose rank is missing": (_gone(LAYER), "lacks the file of a rank"),
        "a layer in two spellings": (
            _copied(LAYER, "layer_002-model_01-model_states.pt"),
            "twice",
        ),
        "a layer of an unknown kind": (
            _copied(LAYER, "layer_02-expert_7-model_states.pt"),
            "unknown kind",
        ),
        "a layer 99 999": (_copied(LAYER, "layer_99999-model_01-model_states.pt"), "lacks"),
        "a layer that is a list": (_put(LAYER, zipped(program(b"]" + b"K\1a"))), "no dict"),
        "a layer that is cut off": (lambda folder: os.truncate(folder / LAYER, 500), "damaged"),
        "a layer that lies about its storage": (
            _put(LAYER, raw_zip({"a/data.pkl": program(table(w=GOOD)), "a/data/0": b"1"})),
            "declares 256 bytes and has 1",
        ),
        "a copy that differs": (
            _saved(LAYER, lambda state: state.update({"norm.weight": torch.zeros(4)})),
            "norm.weight",
        ),
        "a tensor that only one rank has": (
            _saved(LAYER, lambda state: state.update({"more": torch.zeros(4)})),
            "more",
        ),
        "a tensor of another type in one rank": (
            _saved(LAYER, lambda state: state.update({"norm.weight": torch.ones(4).half()})),
            "norm.weight",
        ),
    }


def _cases(kind: str, threat: str, listed: Mapping[str, tuple[Change, str]]) -> list[Case]:
    return [
        Case(f"{kind}: {name}", threat, "evil", _of(kind, change), reason, culprit="evil")
        for name, (change, reason) in listed.items()
    ]


def cases() -> list[Case]:
    """Returns all of them."""
    return [
        *_cases("megatron", "Megatron folders", _megatron()),
        *_cases("layers", "DeepSpeed folders", _layers()),
    ]
