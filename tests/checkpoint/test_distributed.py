"""Distributed checkpoints: parts of real ranks put together, and no pickle of theirs executed."""

import pickle
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint
from tests.checkpoint import ranks
from tests.checkpoint.reference import BASE, Runs, assert_equal, assert_refused, payload
from torch import nn
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from ascend_migrate.pipeline.checkpoint import distributed, mapped, open_checkpoint
from ascend_migrate.pipeline.checkpoint.boxes import Box, check_cover
from ascend_migrate.pipeline.checkpoint.faults import FormatError


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks") / "out"
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "tests.checkpoint.ranks", str(folder)],
        check=True,
        timeout=120,
        capture_output=True,
        cwd=Path(__file__).parents[2],
    )
    return folder


def test_parts_of_four_ranks(written: Path) -> None:
    checkpoint = open_checkpoint(written / "tensors")
    assert checkpoint.format == "torch-dcp"
    assert checkpoint.key == "model"
    assert len(list((written / "tensors").glob("*.distcp"))) == ranks.RANKS
    assert_equal(checkpoint, ranks.tensors())


def test_parts_that_are_larger_than_what_is_held(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "_WOVEN", 16)
    monkeypatch.setattr(mapped, "PIECE", 10)
    assert_equal(open_checkpoint(written / "tensors"), ranks.tensors())


def test_fsdp2(written: Path) -> None:
    assert_equal(open_checkpoint(written / "fsdp"), dict(ranks.model().state_dict()))


# Untyped in torch's own stubs.
dcp: Any = torch.distributed.checkpoint


def save(state: dict[str, Any], folder: Path) -> Path:
    with warnings.catch_warnings(action="ignore"):
        dcp.save(state, checkpoint_id=folder)
    return folder


ODD = {
    "turned": BASE.T,
    "part": BASE[1:3, ::2],
    "empty": torch.empty(0, 3),
    "bool": BASE > 0,
    "fp8": BASE.to(torch.float8_e4m3fn),
    "uint16": torch.arange(4).to(torch.uint16),
    "complex": torch.complex(BASE, BASE),
    "scalar": torch.tensor(1, dtype=torch.int8),
    "parameter": nn.Parameter(BASE.clone()),
    "a.b.c": BASE[0],
    "größe": BASE[1],
}


def test_against_the_reference_reader(tmp_path: Path) -> None:
    state = {"model": ODD, "optimizer": {"state": {0: {"exp": BASE}}, "param_groups": [{"lr": 1}]}}
    folder = save(state, tmp_path / "d")
    dcp_to_torch_save(folder, tmp_path / "a.pt")
    reference = torch.load(tmp_path / "a.pt", weights_only=False)["model"]
    checkpoint = open_checkpoint(folder)
    assert_equal(checkpoint, reference)
    assert_equal(checkpoint, ODD)
    assert any("optimizer" in line for line in checkpoint.extra)


def test_flat_states(tmp_path: Path) -> None:
    assert_equal(open_checkpoint(save(ODD, tmp_path / "d")), ODD)


def test_lists_inside(tmp_path: Path) -> None:
    state = {"model": {"w": BASE}, "history": [BASE, {"x": BASE}], "step": 5}
    assert_equal(open_checkpoint(save(state, tmp_path / "d")), {"w": BASE})


def test_the_digest_covers_all_files(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    shutil.copytree(written / "fsdp", folder)
    before = open_checkpoint(folder).digest
    (folder / "more.txt").write_text("x")
    assert open_checkpoint(folder).digest == before
    path = folder / "__3_0.distcp"
    path.write_bytes(path.read_bytes() + b"x")
    assert open_checkpoint(folder).digest != before


def metadata(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Changes the metadata object of a checkpoint of our own."""

    def apply(folder: Path) -> None:
        path = folder / ".metadata"
        found = pickle.loads(path.read_bytes())
        path.write_bytes(pickle.dumps(change(found) or found))

    return apply


def place(**fields: Any) -> Callable[[Path], None]:
    def change(found: Any) -> None:
        for info in found.storage_data.values():
            for name, value in fields.items():
                object.__setattr__(info, name, value)

    return metadata(change)


def entry(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return metadata(lambda found: change(found.state_dict_metadata["w"]) and None)


def outside(folder: Path) -> None:
    (folder / "__0_0.distcp").rename(folder.parent / "secret")
    place(relative_path="../secret")(folder)


def linked(folder: Path) -> None:
    (folder / "__0_0.distcp").rename(folder.parent / "secret")
    (folder / "__0_0.distcp").symlink_to("../secret")


def flipped(folder: Path) -> None:
    path = folder / "__0_0.distcp"
    data = bytearray(path.read_bytes())
    data[data.index(BASE.numpy().tobytes())] ^= 1
    path.write_bytes(data)


def evil_part(folder: Path) -> None:
    """The part's own pickle, which the reference reads with weights_only or without."""
    torch.save(payload(folder), folder / "__0_0.distcp")
    place(offset=0, length=(folder / "__0_0.distcp").stat().st_size)(folder)


def other_part(folder: Path) -> None:
    torch.save(BASE.double(), folder / "__0_0.distcp")
    place(offset=0, length=(folder / "__0_0.distcp").stat().st_size)(folder)


def doubled(folder: Path) -> None:
    """Two places for one part, which are one key to Python and two in the pickle."""

    def change(found: Any) -> None:
        index, info = next(iter(found.storage_data.items()))
        found.storage_data[type(index)("z", index.offset)] = info

    metadata(change)(folder)
    path = folder / ".metadata"
    path.write_bytes(path.read_bytes().replace(b"\x8c\x01z", b"\x8c\x01w"))


def huge(found: Any) -> None:
    found.size = torch.Size([2**30, 2**30])
    found.chunks[0] = type(found.chunks[0])(torch.Size([0, 0]), found.size)


HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "payload as metadata": (
        lambda f: (f / ".metadata").write_bytes(pickle.dumps(payload(f))),
        "posix.system",
    ),
    "payload in metadata": (
        metadata(lambda m: setattr(m, "planner_data", Runs(exec, "open('canary', 'w')"))),
        "builtins.exec",
    ),
    "payload in the parts": (evil_part, "posix.system"),
    "climbing": (outside, "leaves its folder"),
    "absolute": (place(relative_path="/etc/passwd"), "leaves its folder"),
    "link": (linked, "out of its folder"),
    "no file": (place(relative_path="gone.distcp"), "lacks the file"),
    "file is a number": (place(relative_path=5), "no text"),
    "no metadata": (lambda f: (f / ".metadata").write_bytes(b""), "damaged"),
    "cut metadata": (
        lambda f: (f / ".metadata").write_bytes((f / ".metadata").read_bytes()[:-9]),
        "damaged",
    ),
    "long metadata": (
        lambda f: (f / ".metadata").write_bytes((f / ".metadata").read_bytes() + b"x"),
        "behind the end",
    ),
    "metadata is a dict": (metadata(lambda m: {"a": 1}), "where a Metadata belongs"),
    "huge metadata": (
        lambda f: (f / ".metadata").write_bytes(bytes(2**26 + 1)),
        "refused above",
    ),
    "compressed": (place(transform_descriptors=["zstd"]), "compressed"),
    "past the end": (place(offset=10**9), "past the end"),
    "negative": (place(offset=-5), "past the end"),
    "not a number": (place(offset="x"), "damaged"),
    "cut file": (
        lambda f: (f / "__0_0.distcp").write_bytes((f / "__0_0.distcp").read_bytes()[:-99]),
        "past the end",
    ),
    "empty file": (lambda f: (f / "__0_0.distcp").write_bytes(b""), "is empty"),
    "flipped bit": (flipped, "checksum"),
    "another tensor": (other_part, "something else"),
    "another size": (
        entry(lambda e: setattr(e, "size", torch.Size([8, 8]))),
        "not covered",
    ),
    "no parts": (entry(lambda e: e.chunks.clear()), "not covered"),
    "part out of it": (
        entry(lambda e: setattr(e.chunks[0], "sizes", torch.Size([7, 8]))),
        "reaches out",
    ),
    "part of another rank": (
        entry(lambda e: setattr(e.chunks[0], "sizes", torch.Size([48]))),
        "another rank",
    ),
    "part elsewhere": (
        entry(lambda e: setattr(e.chunks[0], "offsets", torch.Size([1, 0]))),
        "no place",
    ),
    "declared huge": (
        entry(huge),
        "declares a part",
    ),
    "no place": (metadata(lambda m: m.storage_data.clear()), "no place"),
    "two places": (doubled, "twice"),
    "two entries in one place": (
        metadata(lambda m: m.planner_data.update(w=("x",), v=("x",))),
        "two entries",
    ),
    "path through a tensor": (
        metadata(lambda m: m.planner_data.update(w=("x",), v=("x", "y"))),
        "through a tensor",
    ),
    "unknown type": (
        entry(lambda e: setattr(e.properties, "dtype", torch.quint8)),
        "'torch.quint8'",
    ),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_checkpoint(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, reason = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    folder = save({"w": BASE, "v": BASE}, tmp_path / "d")
    make(folder)
    message = assert_refused(folder, reason)
    assert message.startswith(str(folder))
    assert not list(tmp_path.rglob("canary"))


def test_plain_values_are_never_opened(tmp_path: Path) -> None:
    folder = save({"w": BASE, "v": BASE[0], "step": 3}, tmp_path / "d")
    found = pickle.loads((folder / ".metadata").read_bytes())
    info = next(i for k, i in found.storage_data.items() if k.fqn == "step")
    path = folder / info.relative_path
    data = bytearray(path.read_bytes())
    evil = pickle.dumps(payload(tmp_path))
    data[info.offset : info.offset + info.length] = evil.ljust(info.length, b"\0")
    path.write_bytes(data)
    checkpoint = open_checkpoint(folder)
    assert_equal(checkpoint, {"w": BASE, "v": BASE[0]})
    assert checkpoint.extra
    assert not (tmp_path / "canary").exists()


COVERS: dict[str, tuple[tuple[int, ...], list[Box], str]] = {
    "whole": ((3, 4), [Box((0, 0), (3, 4))], ""),
    "scalar": ((), [Box((), ())], ""),
    "two scalars": ((), [Box((), ()), Box((), ())], "not covered"),
    "rows": ((3, 4), [Box((2, 0), (1, 4)), Box((0, 0), (2, 4))], ""),
    "grid": ((2, 2), [Box((i, j), (1, 1)) for i in (0, 1) for j in (0, 1)], ""),
    "brick wall": (
        (2, 4),
        [Box((0, 0), (1, 3)), Box((0, 3), (1, 1)), Box((1, 0), (1, 1)), Box((1, 1), (1, 3))],
        "",
    ),
    "gap and overlap of rows": ((4, 2), [Box((0, 0), (2, 2)), Box((1, 0), (2, 2))], "overlap"),
    "gap and overlap of blocks": (
        (2, 2),
        [Box((0, 0), (1, 2)), Box((0, 1), (2, 1))],
        "overlap",
    ),
    "gap": ((4,), [Box((0,), (1,)), Box((2,), (2,))], "not covered"),
    "outside": ((4,), [Box((2,), (4,))], "reaches out"),
    "rank": ((4,), [Box((0, 0), (4, 1))], "another rank"),
    "nothing": ((4,), [], "not covered"),
    "empty": ((0, 4), [Box((0, 0), (0, 4))], ""),
}


@pytest.mark.parametrize("name", COVERS)
def test_covers(name: str) -> None:
    shape, boxes, reason = COVERS[name]
    if not reason:
        check_cover("w", shape, boxes)
        return
    with pytest.raises(FormatError, match=reason):
        check_cover("w", shape, boxes)
