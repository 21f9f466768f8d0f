"""Odd but valid files: what looks like an attack, or is rare, and must keep every byte."""

import io
import json
import os
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_safetensors
from tests.checkpoint.archives import unpack
from tests.checkpoint.test_gguf import gguf
from tests.hostile import archives, parallel_twins, words
from tests.hostile.archives import Entry, build
from tests.hostile.headers import packed
from torch import nn

State = dict[str, torch.Tensor]
BASE = torch.arange(64, dtype=torch.float32)
SPECIAL = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45, 3.4e38])


@dataclass(frozen=True, slots=True)
class Twin:
    """An odd file, and what its tensors are by the reference reader or by construction."""

    name: str
    file: str
    write: Callable[[Path], object]
    expected: Callable[[Path], State]
    arguments: tuple[str, ...] = ()


def _saved(state: Any, expected: State | None = None, **options: Any) -> tuple[Any, Any]:
    """A file of torch.save, and what torch.load says of it."""

    def write(path: Path) -> None:
        torch.save(state, path, **options)

    def load(path: Path) -> State:
        return dict(torch.load(path, weights_only=True)) if expected is None else expected

    return write, load


def _is(data: Callable[[], bytes], **expected: torch.Tensor) -> tuple[Any, Any]:
    """A file of these bytes, and these tensors."""
    return lambda path: path.write_bytes(data()), lambda path: expected


def _torch_states() -> dict[str, tuple[Any, Any]]:
    whole = BASE.clone()
    plain = {"w": whole, "b": whole[:3].clone()}
    hooked = nn.Parameter(whole.clone())
    chosen = {"model": plain, "epoch": 3, "args": {"lr": 0.1}, "history": [1, 2.5, None, "x"]}
    dtypes = (
        *(torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16),
        *(torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
        *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
    )
    made = {
        **{f"a {str(d)[6:]} tensor": _saved({"w": whole[:9].to(d)}) for d in dtypes},
        "a bool tensor": _saved({"w": whole > 3}),
        "a complex64 tensor": _saved({"w": torch.complex(whole, -whole)}),
        "NaN, infinity, -0 and the smallest number": _saved({"w": SPECIAL}),
        "a 0-d tensor": _saved({"w": torch.tensor(7), "v": whole[3]}),
        "an empty tensor": _saved({"w": torch.empty(0, 3), "v": whole, "u": whole[:0]}),
        "a tensor of 64 axes": _saved({"w": whole[:1].reshape([1] * 64)}),
        "a transposed view": _saved({"w": whole.view(8, 8).t()}),
        "a view with steps": _saved({"w": whole.view(8, 8)[::2, 1::3]}),
        "a channels_last tensor": _saved(
            {"w": whole.view(2, 2, 4, 4).contiguous(memory_format=torch.channels_last)}
        ),
        "an expanded row": _saved({"w": whole[:4].expand(8, 4)}),
        "a conjugate view": _saved(
            {"w": torch.complex(whole, whole).conj()},
            {"w": torch.complex(whole, whole).conj().resolve_conj()},
        ),
        "a negative view": _saved(
            {"w": torch.complex(whole, whole).conj().imag},
            {"w": torch.complex(whole, whole).conj().imag.resolve_neg()},
        ),
        "tied tensors": _saved({"w": whole, "v": whole}),
        "overlapping views": _saved({"w": whole[:40], "v": whole[20:]}),
        "a view at the end of its storage": _saved({"w": whole[63:]}),
        "an OrderedDict": _saved(OrderedDict(plain)),
        "a defaultdict": _saved(defaultdict(dict, plain), plain),
        "parameters": _saved({"w": nn.Parameter(whole), "b": nn.Buffer(whole[:2])}, None),
        "a parameter with attributes": _saved({"w": hooked}),
        "a tensor that wants a gradient": _saved({"w": whole.clone().requires_grad_()}),
        "a nested state": _saved(chosen, plain),
        "a state with a version table": _saved(nn.Linear(3, 2).state_dict()),
        "names with dots, blanks and slashes": _saved({"a.b c/d\\e": whole, "..": whole[:2]}),
        "names of other scripts": _saved({"größe": whole, "权重": whole[:2], "🙂": whole[:3]}),
        "a name of control characters": _saved({"a\x1b[2J\n\0b": whole}),
        "a name of 10 000 letters": _saved({"a" * 10_000: whole}),
        "names that look like code": _saved({"os.system": whole, "__reduce__": whole[:2]}),
        "names that only differ in form": _saved({"\u00e9": whole, "e\u0301": whole[:2]}),
        "1 000 tensors": _saved({str(n): whole[n % 64] for n in range(1000)}),
        "protocol 3": _saved(plain, plain, pickle_protocol=3),
        "protocol 4": _saved(plain, plain, pickle_protocol=4),
        "protocol 5": _saved(plain, plain, pickle_protocol=5),
        "a legacy file": _saved(plain, _use_new_zipfile_serialization=False),
        "a legacy file of protocol 4": _saved(
            plain, plain, pickle_protocol=4, _use_new_zipfile_serialization=False
        ),
        "a legacy file of views": _saved(
            {"w": whole[5:9], "v": whole.view(8, 8).t(), "u": whole[3]},
            _use_new_zipfile_serialization=False,
        ),
        "a legacy file of nothing but an empty tensor": _saved(
            {"w": torch.empty(0)}, _use_new_zipfile_serialization=False
        ),
    }
    hooked.note = "a text"  # type: ignore[attr-defined]
    return made


def _pickled() -> dict[str, tuple[Any, Any]]:
    """Programs that other picklers write."""
    text, tensor, program, zipped = words.text, words.tensor, words.program, words.zipped
    zeros = torch.zeros(words.NUMEL)
    proto0 = (
        b"(dp0\nS'w'\np1\nctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\n"
        b"S'0'\nS'cpu'\nI64\ntQI0\n(I64\nt(I1\ntI00\nccollections\nOrderedDict\n(tRtRs."
    )
    spare = words.named("evil.optim", "Sharded") + b")\x81" + words.table(lr=text("0.1")) + b"b"
    return {
        "protocol 0": _is(lambda: zipped(proto0), w=zeros),
        "protocol 1": _is(lambda: zipped(b"}(" + text("w") + tensor() + b"u."), w=zeros),
        "entries set one by one": _is(
            lambda: zipped(
                program(b"}" + text("w") + tensor() + b"s" + text("v") + tensor() + b"s")
            ),
            w=zeros,
            v=zeros,
        ),
        "a memo that is full": _is(
            lambda: zipped(
                program(
                    b"".join(b"Nr" + n.to_bytes(4, "little") + b"0" for n in range(3000))
                    + words.table(w=tensor())
                )
            ),
            w=zeros,
        ),
        "values that are pushed and popped": _is(
            lambda: zipped(program(b"N0(NNN1" + words.table(w=tensor()))), w=zeros
        ),
        "an instance of an unknown class beside the state": _is(
            lambda: zipped(program(words.table(state_dict=words.table(w=tensor()), x=spare))),
            w=zeros,
        ),
        "lists 300 deep beside the state": _is(
            lambda: zipped(
                program(words.table(model=words.table(w=tensor()), x=b"](" * 300 + b"e" * 300))
            ),
            w=zeros,
        ),
        "2**40 paths beside the state": _is(
            lambda: zipped(
                program(
                    b"]q\0"
                    + b"".join(b"0](h%ch%ceq%c" % (n, n, n + 1) for n in range(40))
                    + b"0"
                    + words.table(model=words.table(w=tensor()), x=b"h\x28")
                )
            ),
            w=zeros,
        ),
        "a dict that holds itself beside the state": _is(
            lambda: zipped(
                program(
                    words.table(model=words.table(w=tensor()), x=b"}q\0(" + text("a") + b"h\0u")
                )
            ),
            w=zeros,
        ),
        "a number of 255 bytes beside the state": _is(
            lambda: zipped(
                program(words.table(model=words.table(w=tensor()), x=b"\x8a\xff" + b"\1" * 255))
            ),
            w=zeros,
        ),
        "sizes in a list": _is(
            lambda: zipped(program(words.table(w=tensor(shape=b"](K\x40e", stride=b"](K\1e")))),
            w=zeros,
        ),
        "sizes as torch.Size": _is(
            lambda: zipped(
                program(
                    words.table(
                        w=tensor(shape=words.call(words.named("torch", "Size"), b"(K\x40t"))
                    )
                )
            ),
            w=zeros,
        ),
        "a tensor of torch 0.1": _is(
            lambda: words.legacy(
                words.table(
                    w=words.call(
                        words.named("torch._utils", "_rebuild_tensor"),
                        words.old_storage(),
                        words.whole(0),
                        words.sizes(64),
                        words.sizes(1),
                    )
                ),
                data=BASE.numpy().tobytes(),
            ),
            w=BASE,
        ),
        "a legacy storage view": _is(
            lambda: words.legacy(
                words.table(
                    w=tensor(
                        words.old_storage(
                            view=words.tup(text("v"), words.whole(8), words.whole(4))
                        ),
                        shape=words.sizes(4),
                    )
                ),
                data=BASE.numpy().tobytes(),
            ),
            w=BASE[8:12],
        ),
    }


def _zips() -> dict[str, tuple[Any, Any]]:
    plain = {"w": BASE, "b": BASE[:3].clone()}

    def repacked(change: Callable[[dict[str, bytes]], Any]) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            torch.save(plain, path)
            path.write_bytes(change(unpack(path)))

        return write

    def zip64(records: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for name, data in records.items():
                with file.open(zipfile.ZipInfo(name), "w", force_zip64=True) as stream:
                    stream.write(data)
        return buffer.getvalue()

    def streamed(records: dict[str, bytes]) -> bytes:
        """Sizes and checksums behind the data, as a writer that cannot seek leaves them."""

        class Pipe(io.RawIOBase):
            data = b""

            def writable(self) -> bool:
                return True

            def write(self, data: Any) -> int:
                self.data += bytes(data)
                return len(data)

        pipe = Pipe()
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in records.items():
                file.writestr(name, data)
        return pipe.data

    def entries(records: dict[str, bytes], **more: Any) -> list[Entry]:
        return [Entry(name.encode(), data, **more) for name, data in records.items()]

    ways: dict[str, Callable[[dict[str, bytes]], bytes]] = {
        "deflated": archives.deflated,
        "in zip64": zip64,
        "written to a pipe": streamed,
        "with a comment": lambda r: build(entries(r), comment=b"a comment"),
        "with extra fields": lambda r: build(
            entries(r, extra=b"UT\5\0\1abcd", local_extra=b"FB\3\0ZZZ")
        ),
        "in another order": lambda r: build(entries(dict(reversed(r.items())))),
        "under another folder": lambda r: build(
            entries({f"größe/{n.partition('/')[2]}": d for n, d in r.items()}, flags=0x800)
        ),
        "with a byte order": lambda r: build(
            entries({**r, f"{next(iter(r)).partition('/')[0]}/byteorder": b"little"})
        ),
        "without a byte order": lambda r: build(
            entries({n: d for n, d in r.items() if not n.endswith("byteorder")})
        ),
        "with records that nothing uses": lambda r: build(
            entries({**r, f"{next(iter(r)).partition('/')[0]}/data/99": b"spare"})
        ),
        "not aligned": lambda r: build(entries(r, local_extra=b"FB\1\0Z")),
    }
    return {f"a zip {how}": (repacked(change), lambda path: plain) for how, change in ways.items()}


def _others() -> dict[str, tuple[str, Any, Any]]:
    """Files and folders of other formats, with their names."""
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(3, ">i4"), "c": np.zeros((0, 2))}
    arrays["d"] = np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3))
    as_torch = {
        name: torch.from_numpy(np.ascontiguousarray(a.astype(a.dtype.newbyteorder("=")))).reshape(
            a.shape
        )
        for name, a in arrays.items()
    }
    header = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    two = torch.zeros(2)

    def hub(home: Path) -> None:
        """The layout of the Hub's cache: links from a snapshot to blobs beside it."""
        snapshot, blobs = home / "snapshots/abc", home / "blobs"
        snapshot.mkdir(parents=True)
        blobs.mkdir()
        for name in "ab":
            (blobs / name).write_bytes(save_safetensors({name: BASE}))
            (snapshot / f"{name}.safetensors").symlink_to(f"../../blobs/{name}")
        table = {name: f"{name}.safetensors" for name in "ab"}
        (blobs / "c").write_text(json.dumps({"weight_map": table}))
        (snapshot / "model.safetensors.index.json").symlink_to("../../blobs/c")

    def sub(home: Path) -> None:
        """Shards in a folder of their own, and a hard link."""
        (home / "parts").mkdir(parents=True)
        (home / "parts/a..b.safetensors").write_bytes(save_safetensors({"a": BASE}))
        (home / "parts/c").write_bytes(save_safetensors({"b": BASE}))
        os.link(home / "parts/c", home / "c.safetensors")
        table = {"a": "parts/a..b.safetensors", "b": "c.safetensors"}
        (home / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))

    def npz(write: Any) -> Callable[[Path], object]:
        return lambda path: write(path, **arrays)

    both = {"a": BASE, "b": BASE}
    return {
        "stored arrays": ("x.npz", npz(np.savez), lambda path: as_torch),
        "deflated arrays": ("x.npz", npz(np.savez_compressed), lambda path: as_torch),
        "a padded header": (
            "x.safetensors",
            *_is(lambda: packed(json.dumps(header) + " " * 500), w=two),
        ),
        "a header of other spelling": (
            "x.safetensors",
            *_is(lambda: packed(json.dumps(header, indent=4).replace('"w"', '"\\u0077"')), w=two),
        ),
        "tensors in another order than their names": (
            "x.safetensors",
            *_is(
                lambda: packed(
                    json.dumps(
                        {
                            "a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
                            "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                        }
                    ),
                    np.array([1, 2], np.float32).tobytes(),
                ),
                a=torch.tensor([2.0]),
                b=torch.tensor([1.0]),
            ),
        ),
        "numbers that are not aligned": (
            "x.safetensors",
            *_is(
                lambda: packed(
                    json.dumps(
                        {
                            "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
                            "b": {"dtype": "F64", "shape": [1], "data_offsets": [1, 9]},
                        }
                    ),
                    b"\7" + np.array([3.5]).tobytes(),
                ),
                a=torch.tensor([7], dtype=torch.uint8),
                b=torch.tensor([3.5], dtype=torch.float64),
            ),
        ),
        "empty tensors in one place": (
            "x.safetensors",
            lambda path: path.write_bytes(
                save_safetensors(
                    {"a": torch.empty(0), "b": torch.empty(3, 0), "c": torch.tensor(1)}
                )
            ),
            lambda path: {"a": torch.empty(0), "b": torch.empty(3, 0), "c": torch.tensor(1)},
        ),
        "metadata of any text": (
            "x.safetensors",
            lambda path: path.write_bytes(save_safetensors({"w": BASE}, {"os.system": "\x1b[2J"})),
            lambda path: {"w": BASE},
        ),
        "safetensors under a torch name": (
            "x.bin",
            lambda path: path.write_bytes(save_safetensors({"w": BASE})),
            lambda path: {"w": BASE},
        ),
        "a GGUF file of 0-d and plain tensors": (
            "x.gguf",
            *_is(
                lambda: gguf([("w", [32, 2], 0, BASE.numpy().tobytes()), ("n", [], 27, bytes(8))]),
                w=BASE.view(2, 32),
                n=torch.tensor(0),
            ),
        ),
        "the Hub's cache": (
            "snapshots/abc",
            lambda path: hub(path.parent.parent),
            lambda path: both,
        ),
        "shards in a folder below": ("hub", sub, lambda path: both),
    }


def twins() -> list[Twin]:
    """Returns all of them."""
    found = [
        Twin(name, "x.pt", write, expected)
        for table in (_torch_states(), _pickled(), _zips())
        for name, (write, expected) in table.items()
    ]
    found += [
        Twin(name, file, write, expected)
        for table in (_others(), parallel_twins.ranks())
        for name, (file, write, expected) in table.items()
    ]
    return found
