"""Hugging Face folders: read as the libraries wrote them, refused when index and shards differ."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.checkpoint.reference import (
    BASE,
    assert_equal,
    assert_refused,
    bits,
    payload,
    plain_pickle,
)

from ascend_migrate.pipeline.checkpoint import describe, open_checkpoint
from ascend_migrate.pipeline.digest import file_digest

STATE = {"a.weight": BASE, "a.bias": BASE[0].bfloat16(), "b.weight": BASE.half().contiguous()}
SHARDS = ("model-00001-of-00002", "model-00002-of-00002")
INDEX = "model.safetensors.index.json"
BIN_INDEX = "pytorch_model.bin.index.json"


def single(folder: Path, name: str) -> None:
    save = save_file if name.endswith("safetensors") else torch.save
    save(STATE, folder / name)


def sharded(folder: Path, suffix: str = ".safetensors") -> dict[str, Any]:
    """Writes two shards and their index, and returns the index."""
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    save = save_file if suffix == ".safetensors" else torch.save
    parts = (["a.weight", "a.bias"], ["b.weight"])
    table: dict[str, str] = {}
    for shard, names in zip(SHARDS, parts, strict=True):
        save({name: STATE[name] for name in names}, folder / f"{shard}{suffix}")
        table |= dict.fromkeys(names, f"{shard}{suffix}")
    index = {"metadata": {"total_size": 1}, "weight_map": table}
    (folder / f"{stem}{suffix}.index.json").write_text(json.dumps(index, indent=2))
    return index


WRITERS: dict[str, Callable[[Path], Any]] = {
    "safetensors": lambda f: single(f, "model.safetensors"),
    "bin": lambda f: single(f, "pytorch_model.bin"),
    "diffusers": lambda f: single(f, "diffusion_pytorch_model.safetensors"),
    "adapter": lambda f: single(f, "adapter_model.bin"),
    "legacy bin": lambda f: torch.save(
        STATE, f / "pytorch_model.bin", _use_new_zipfile_serialization=False
    ),
    "safetensors shards": sharded,
    "bin shards": lambda f: sharded(f, ".bin"),
    "safetensors named bin": lambda f: save_file(STATE, f / "pytorch_model.bin"),
}


def booby_trapped(folder: Path) -> None:
    """What lies beside the weights in a real folder, each a canary here."""
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (folder / name).write_bytes(plain_pickle(payload(folder)))
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize("name", WRITERS)
def test_each_layout(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    booby_trapped(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.format == "hugging-face"
    assert_equal(checkpoint, STATE)
    assert not (tmp_path / "canary").exists()
    found = describe(tmp_path)
    assert found["problem"] == ""
    assert found["bytes"] >= sum(len(bits(t)) for t in STATE.values())


@pytest.mark.parametrize("name", [INDEX, BIN_INDEX])
def test_the_index_itself_is_a_source(tmp_path: Path, name: str) -> None:
    sharded(tmp_path, ".bin" if "bin" in name else ".safetensors")
    assert_equal(open_checkpoint(tmp_path / name), STATE)


def test_what_transformers_writes(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8
    )
    model = transformers.BertModel(config)
    for safe in (True, False):
        model.save_pretrained(tmp_path / str(safe), safe_serialization=safe, max_shard_size="500KB")
        checkpoint = open_checkpoint(tmp_path / str(safe))
        assert len(list((tmp_path / str(safe)).glob("*-of-*"))) > 1
        assert_equal(checkpoint, dict(model.state_dict()))


def test_tied_tensors_of_a_bin_shard_stay_tied(tmp_path: Path) -> None:
    torch.save({"a": BASE, "b": BASE}, tmp_path / "x.bin")
    torch.save({"c": BASE}, tmp_path / "y.bin")
    table = {"a": "x.bin", "b": "x.bin", "c": "y.bin"}
    (tmp_path / BIN_INDEX).write_text(json.dumps({"weight_map": table}))
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.shared == (("a", "b"),)
    assert_equal(checkpoint, {"a": BASE, "b": BASE, "c": BASE})


def test_safetensors_come_first_and_that_is_said(tmp_path: Path) -> None:
    single(tmp_path, "model.safetensors")
    (tmp_path / "pytorch_model.bin").write_bytes(plain_pickle(payload(tmp_path)))
    checkpoint = open_checkpoint(tmp_path)
    assert_equal(checkpoint, STATE)
    assert any("not read" in n and "pytorch_model.bin" in n for n in checkpoint.notes)


def test_the_digest_covers_every_file_that_is_read(tmp_path: Path) -> None:
    sharded(tmp_path)
    before = open_checkpoint(tmp_path).digest
    booby_trapped(tmp_path)
    assert open_checkpoint(tmp_path).digest == before
    for path in [tmp_path / INDEX, *(tmp_path / f"{s}.safetensors" for s in SHARDS)]:
        old = path.read_bytes()
        path.write_bytes(old.replace(b'"total_size": 1', b'"total_size": 2', 1))
        if path.name != INDEX:
            path.write_bytes(old[:-1] + bytes([old[-1] ^ 1]))
        assert open_checkpoint(tmp_path).digest != before
        path.write_bytes(old)
    assert open_checkpoint(tmp_path).digest == before
    assert file_digest(tmp_path / INDEX) != before


def hub_cache(root: Path, writer: Callable[[Path], Any]) -> Path:
    """Lays files out as huggingface_hub does: snapshots/<revision>/x -> ../../blobs/<digest>."""
    blobs, snapshot = root / "models--o--m/blobs", root / "models--o--m/snapshots/0123abcd"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    writer(snapshot)
    for path in list(snapshot.iterdir()):
        blob = blobs / file_digest(path).removeprefix("sha256:")
        path.rename(blob)
        path.symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


@pytest.mark.parametrize("name", WRITERS)
def test_hub_cache(tmp_path: Path, name: str) -> None:
    snapshot = hub_cache(tmp_path, WRITERS[name])
    assert_equal(open_checkpoint(snapshot), STATE)
    linked = tmp_path / "linked"
    linked.symlink_to(snapshot)
    assert_equal(open_checkpoint(linked), STATE)


def test_links_and_folders_inside_are_followed(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    (tmp_path / "deep/er").mkdir(parents=True)
    first, second = (f"{s}.safetensors" for s in SHARDS)
    (tmp_path / first).rename(tmp_path / "deep/er" / first)
    (tmp_path / first).symlink_to(f"deep/er/{first}")
    (tmp_path / second).rename(tmp_path / "deep" / second)
    index["weight_map"]["b.weight"] = f"./deep/{second}"
    (tmp_path / INDEX).write_text(json.dumps(index))
    assert_equal(open_checkpoint(tmp_path), STATE)


def with_index(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    def write(folder: Path) -> None:
        index = sharded(folder)
        index = change(index) or index
        text = index if isinstance(index, str) else json.dumps(index)
        (folder / INDEX).write_text(text)

    return write


def placed(place: str) -> Callable[[Path], Any]:
    return with_index(lambda i: i["weight_map"].update({"b.weight": place}))


def outside(link: Callable[[Path, Path], Any]) -> Callable[[Path], Any]:
    """A shard that is a link to a file beside the folder."""

    def write(folder: Path) -> None:
        sharded(folder)
        shard = folder / f"{SHARDS[1]}.safetensors"
        secret = folder.parent / "secret.safetensors"
        shutil.move(shard, secret)
        link(shard, secret)

    return write


def with_shard(data: bytes | Callable[[Path], bytes]) -> Callable[[Path], Any]:
    def write(folder: Path) -> None:
        sharded(folder)
        content = data if isinstance(data, bytes) else data(folder)
        (folder / f"{SHARDS[1]}.safetensors").write_bytes(content)

    return write


def twice(folder: Path) -> None:
    sharded(folder)
    save_file({n: STATE[n] for n in ("b.weight", "a.bias")}, folder / f"{SHARDS[1]}.safetensors")


def fifo(folder: Path) -> None:
    sharded(folder)
    (folder / f"{SHARDS[1]}.safetensors").unlink()
    os.mkfifo(folder / f"{SHARDS[1]}.safetensors")


def unequal(folder: Path) -> None:
    sharded(folder)
    save_file({"other": BASE}, folder / f"{SHARDS[1]}.safetensors")


def loop(folder: Path) -> None:
    sharded(folder)
    (folder / f"{SHARDS[1]}.safetensors").unlink()
    (folder / f"{SHARDS[1]}.safetensors").symlink_to(f"{SHARDS[1]}.safetensors")


def fake_cache(folder: Path) -> None:
    """The names of the Hub's layout, but the link leads beside the blobs."""
    outside(lambda shard, secret: shard.symlink_to(secret))(folder)


def evil_bin(folder: Path) -> None:
    sharded(folder, ".bin")
    torch.save({"b.weight": BASE, "x": payload(folder)}, folder / f"{SHARDS[1]}.bin")


def torch_bytes(folder: Path) -> bytes:
    torch.save({"b.weight": BASE}, folder / "other")
    return (folder / "other").read_bytes()


def dangling(folder: Path) -> None:
    single(folder, "pytorch_model.bin")
    (folder / "model.safetensors").symlink_to("gone")


HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "climbing": (placed("../secret.safetensors"), "leaves its folder"),
    "climbing inside": (placed("x/../../secret.safetensors"), "leaves its folder"),
    "absolute": (placed("/etc/passwd"), "leaves its folder"),
    "backslash": (placed("..\\secret.safetensors"), "leaves its folder"),
    "nul": (placed("x\0y"), "leaves its folder"),
    "empty name": (placed(""), "leaves its folder"),
    "the folder": (placed("."), "no regular file"),
    "long name": (placed("x" * 5000), "lacks the file"),
    "missing shard": (placed("absent.safetensors"), "lacks the file 'absent.safetensors'"),
    "index as shard": (placed(INDEX), "where one of safetensors belongs"),
    "fifo": (fifo, "no regular file"),
    "loop of links": (loop, "lacks the file"),
    "link outside": (outside(lambda s, t: s.symlink_to(t)), "out of its folder"),
    "tensor not in shard": (
        with_index(lambda i: i["weight_map"].update({"ghost": f"{SHARDS[1]}.safetensors"})),
        "lacks tensor 'ghost'",
    ),
    "tensor not in index": (
        with_index(lambda i: i["weight_map"].pop("a.bias") and None),
        "holds tensor 'a.bias'",
    ),
    "tensor in two shards": (twice, "places elsewhere"),
    "other shard": (unequal, "lacks tensor 'b.weight'"),
    "no map": (with_index(lambda i: {"metadata": {}}), "no weight_map"),
    "empty map": (with_index(lambda i: {"weight_map": {}}), "no weight_map"),
    "map is a list": (with_index(lambda i: {"weight_map": ["a"]}), "no weight_map"),
    "shard is a number": (with_index(lambda i: i["weight_map"].update(x=1)), "names no file"),
    "no table": (with_index(lambda i: "[1]"), "no weight_map"),
    "not json": (with_index(lambda i: "{"), "damaged"),
    "nested": (with_index(lambda i: '{"weight_map":' + "[" * 200_000), "damaged"),
    "duplicate tensor": (
        with_index(lambda i: '{"weight_map":{"a":"x.bin","a":"y.bin"}}'),
        "'a' occurs twice",
    ),
    "duplicate map": (
        with_index(lambda i: '{"weight_map":{},"weight_map":{"a":"b"}}'),
        "'weight_map' occurs twice",
    ),
    "huge": (with_index(lambda i: " " * (1 << 26) + json.dumps(i)), "refused above"),
    "long number": (with_index(lambda i: '{"weight_map":' + "1" * 10000 + "}"), "damaged"),
    "not utf-8": (
        lambda f: (sharded(f), (f / INDEX).write_bytes(b'{"weight_map":{"\xff":"a"}}')),
        "damaged",
    ),
    "surrogate": (with_index(lambda i: i["weight_map"].update({"\ud800": "x"})), "lacks the file"),
    "pickle as shard": (
        with_shard(lambda f: plain_pickle(payload(f))),
        "bare pickle",
    ),
    "torch as safetensors": (with_shard(torch_bytes), "where one of safetensors"),
    "broken zip": (with_shard(b"PK\3\4" + bytes(600)), "damaged"),
    "empty shard": (with_shard(b""), "is empty"),
    "cut shard": (
        with_shard(lambda f: (f / f"{SHARDS[1]}.safetensors").read_bytes()[:-1]),
        "is cut off",
    ),
    "lfs pointer": (with_shard(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "payload in bin": (evil_bin, "posix.system"),
    "pickle as the model": (
        lambda f: (f / "pytorch_model.bin").write_bytes(plain_pickle(payload(f))),
        "bare pickle",
    ),
    "dangling model": (
        dangling,
        "lacks the file 'model.safetensors'",
    ),
    "model outside": (
        lambda f: (f / "model.safetensors").symlink_to("/etc/hostname"),
        "out of its folder",
    ),
    "nothing": (lambda f: None, "is a folder"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_folder(tmp_path: Path, name: str) -> None:
    make, reason = HOSTILE[name]
    folder = tmp_path / "model"
    folder.mkdir()
    make(folder)
    message = assert_refused(folder, reason)
    assert message.startswith(str(folder))


def test_a_link_out_of_a_cache_is_refused(tmp_path: Path) -> None:
    snapshot = hub_cache(tmp_path, sharded)
    shard = snapshot / f"{SHARDS[1]}.safetensors"
    secret = tmp_path / "secret"
    shard.resolve().rename(secret)
    shard.unlink()
    shard.symlink_to(secret)
    assert_refused(snapshot, "out of its folder")


def test_blobs_that_are_a_link_are_no_way_out(tmp_path: Path) -> None:
    snapshot = hub_cache(tmp_path, sharded)
    blobs = snapshot.parent.parent / "blobs"
    blobs.rename(tmp_path / "elsewhere")
    blobs.symlink_to(tmp_path / "elsewhere")
    assert_refused(snapshot, "out of its folder")


@pytest.mark.timeout(20)
def test_a_pipe_and_a_device_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.pt")
    assert_refused(tmp_path / "model.pt", "a device or a pipe")
