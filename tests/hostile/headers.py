"""safetensors and GGUF files whose headers lie."""

import json
import struct
from typing import Any

from tests.checkpoint.test_gguf import gguf
from tests.hostile.case import Case, from_bytes

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def packed(text: bytes | str, data: bytes = bytes(8), length: int | None = None) -> bytes:
    spelled = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(spelled) if length is None else length) + spelled + data


def of(entry: Any = None, data: bytes = bytes(8), **more: Any) -> bytes:
    """A file with the tensor w, changed as said, and more."""
    changed = {**ENTRY, **entry} if isinstance(entry, dict) else entry
    return packed(json.dumps({"w": ENTRY if entry is None else changed, **more}), data)


def _two(first: list[int], second: list[int], data: int = 16) -> bytes:
    return of({"data_offsets": first}, bytes(data), x={**ENTRY, "data_offsets": second})


def _safetensors() -> dict[str, tuple[bytes, str]]:
    natural, span, damaged = "no natural numbers", "its offsets span", "damaged"
    lacks = "lacks dtype, shape or data_offsets"
    return {
        "no length": (b"\x10\0\0\0", ""),
        "only a length": (struct.pack("<Q", 16), ""),
        "a header of 2**63 bytes": (packed(b"{}", length=2**63), "declares a header"),
        "a header of 2**64 - 1 bytes": (packed(b"{}", length=2**64 - 1), "declares a header"),
        "a header longer than the file": (packed(b"{}", length=1000), "declares a header"),
        "a header above the limit": (packed(b"{}", length=100_000_001), "declares a header"),
        "a header of no bytes": (packed(b""), ""),
        "a header that is a list": (packed("[]"), ""),
        "a header that is text": (packed('"w"'), ""),
        "a header that begins with blanks": (packed("  " + json.dumps({"w": ENTRY})), "begin with"),
        "a header with a byte order mark": (packed("\ufeff" + json.dumps({"w": ENTRY})), ""),
        "a header in UTF-16": (packed(json.dumps({"w": ENTRY}).encode("utf-16-le")), ""),
        "a header that is not in UTF-8": (packed(b'{"\xff\xfe": 1}'), damaged),
        "a header with junk behind it": (packed(json.dumps({"w": ENTRY}) + "x"), damaged),
        "a header with NULs behind it": (packed(json.dumps({"w": ENTRY}) + "\0\0"), damaged),
        "a header that is cut off": (packed('{"w": {"dtype": "F32", "shape": ['), damaged),
        "a header 100 000 lists deep": (packed('{"w":' + "[" * 100_000), damaged),
        "a header 100 000 tables deep": (packed('{"w":' * 100_000), damaged),
        "a name twice": (packed(f'{{"w":{json.dumps(ENTRY)},"w":{json.dumps(ENTRY)}}}'), "twice"),
        "a key of a tensor twice": (
            packed('{"w":{"dtype":"F32","dtype":"F64","shape":[2],"data_offsets":[0,8]}}'),
            "twice",
        ),
        "a name with half a surrogate": (
            packed(f'{{"\\ud800":{json.dumps(ENTRY)}}}'),
            "no valid text",
        ),
        "no tensors": (packed("{}", b""), "no dict of tensors"),
        "a tensor that is a number": (of(7), lacks),
        "a tensor that is null": (packed('{"w":null}'), lacks),
        "a tensor with a key more": (of({"code": "x"}), lacks),
        "a tensor without a shape": (packed('{"w":{"dtype":"F32","data_offsets":[0,8]}}'), lacks),
        "an unknown element type": (of({"dtype": "F128"}), "element type"),
        "an element type that is a number": (of({"dtype": 32}), "element type"),
        "an element type in small letters": (of({"dtype": "f32"}), "element type"),
        "an element type that is a table": (of({"dtype": {}}), "element type"),
        "a size that is NaN": (of({"shape": [float("nan")]}), natural),
        "a size that is Infinity": (of({"shape": [float("inf")]}), natural),
        "a size that is a float": (of({"shape": [2.0]}), natural),
        "a size that is true": (of({"shape": [True, 2]}), natural),
        "a size that is text": (of({"shape": ["2"]}), natural),
        "a size that is negative": (of({"shape": [-2]}), natural),
        "two sizes that are negative": (of({"shape": [-1, -2]}), natural),
        "a size of 2**64": (of({"shape": [2**64]}), natural),
        "a size of 100 000 digits": (packed('{"w":{"shape":[' + "9" * 100_000 + "]}}"), damaged),
        "sizes whose product overflows to the right one": (of({"shape": [2**63, 2**62, 4]}), ""),
        "sizes whose product is 0 modulo 2**64": (
            of({"shape": [2**32, 2**32], "data_offsets": [0, 0]}, b""),
            span,
        ),
        "an empty tensor of 2**62 rows and more": (
            of({"shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}, b""),
            "",
        ),
        "a shape that is a number": (of({"shape": 2}), natural),
        "65 axes": (of({"shape": [1] * 64 + [2]}), "65 sizes"),
        "a shape that needs more bytes": (of({"shape": [3]}), span),
        "a shape that needs fewer bytes": (of({"shape": [1]}), span),
        "offsets that are reversed": (of({"data_offsets": [8, 0]}), span),
        "offsets that are floats": (of({"data_offsets": [0.0, 8.0]}), natural),
        "offsets that are true": (of({"data_offsets": [False, 8]}), natural),
        "offsets that are negative": (of({"data_offsets": [-8, 0]}), natural),
        "three offsets": (of({"data_offsets": [0, 4, 8]}), natural),
        "offsets beyond 64 bits": (of({"data_offsets": [2**64, 2**64 + 8]}), natural),
        "offsets past the end": (of({"data_offsets": [2**40, 2**40 + 8]}), ""),
        "data that are cut off": (of(data=bytes(7)), "cut off"),
        "data behind the last tensor": (of(data=bytes(9)), "behind its last"),
        "tensors that overlap": (_two([0, 8], [4, 12], 12), "overlaps"),
        "tensors over the same bytes": (_two([0, 8], [0, 8], 8), "overlaps"),
        "a hole between tensors": (_two([0, 8], [16, 24], 24), "hole"),
        "a hole at the beginning": (_two([8, 16], [16, 24], 24), "hole"),
        "metadata that are a list": (of(__metadata__=[]), "__metadata__"),
        "metadata with a number": (of(__metadata__={"a": 1}), "__metadata__"),
        "metadata with a table": (of(__metadata__={"a": {"b": "c"}}), "__metadata__"),
        "metadata that are null": (of(__metadata__=None), "__metadata__"),
        "ties that are no JSON": (of(__metadata__={"ascend_migrate.tied": "{"}), damaged),
        "ties that are a list": (of(__metadata__={"ascend_migrate.tied": "[]"}), "not a table"),
        "a tie to what is not there": (
            of(__metadata__={"ascend_migrate.tied": '{"a":"b"}'}),
            "ties",
        ),
        "a tie that hides a tensor": (
            of(__metadata__={"ascend_migrate.tied": '{"w":"w"}'}),
            "ties",
        ),
        "ties in a cycle": (of(__metadata__={"ascend_migrate.tied": '{"a":"b","b":"a"}'}), "ties"),
        "ties that are null": (of(__metadata__={"ascend_migrate.tied": "null"}), "not a table"),
        "a bool that is 2": (
            of({"dtype": "BOOL", "shape": [8], "data_offsets": [0, 8]}, b"\0\1\2\0\0\0\0\0"),
            "neither 0 nor 1",
        ),
        "100 000 empty tensors and a hole": (
            packed(
                json.dumps(
                    {
                        str(n): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
                        for n in range(100_000)
                    }
                )
            ),
            "behind its last",
        ),
    }


TENSOR = ("w", [4], 0, bytes(16))


def _number(at: int, form: str, value: int) -> bytes:
    """A good file with one number changed."""
    data = bytearray(gguf([TENSOR]))
    struct.pack_into(form, data, at, value)
    return bytes(data)


def _entry(name: bytes, sizes: list[int], kind: int, offset: int, rank: int | None = None) -> bytes:
    """A file that says so of its one tensor."""
    listed = struct.pack("<Q", len(name)) + name
    listed += struct.pack("<I", len(sizes) if rank is None else rank)
    listed += struct.pack(f"<{len(sizes)}QIQ", *sizes, kind, offset)
    head = b"GGUF" + struct.pack("<I2Q", 3, 1, 0) + listed
    return head + bytes(-len(head) % 32) + bytes(64)


def _value(kind: int, value: bytes, key: bytes = b"k", times: int = 1) -> bytes:
    """A file with one value of metadata."""
    one = struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value
    return b"GGUF" + struct.pack("<I2Q", 3, 0, times) + one * times


def _gguf() -> dict[str, tuple[bytes, str]]:
    good = gguf([TENSOR])
    damaged, past, misplaced = "damaged", "past its end", "misplaced"
    return {
        "only a magic number": (b"GGUF", damaged),
        "version 1": (_number(4, "<I", 1), "version 1"),
        "a big-endian file": (_number(4, ">I", 3), "big-endian"),
        "2**63 tensors": (_number(8, "<Q", 2**63), "more than"),
        "3 000 000 tensors": (_number(8, "<Q", 3_000_000), ""),
        "2**64 - 1 entries of metadata": (_number(16, "<Q", 2**64 - 1), "more than"),
        "3 000 000 entries of metadata": (_number(16, "<Q", 3_000_000), ""),
        "a file that is cut off": (good[:-1], "cut off"),
        "a list that is cut off": (good[:40], damaged),
        "a key of 2**63 bytes": (b"GGUF" + struct.pack("<I3Q", 3, 0, 1, 2**63), past),
        "a key that is not in UTF-8": (_value(4, bytes(4), b"\xff\xfe"), damaged),
        "a key twice": (_value(4, bytes(4), times=2), "twice"),
        "a value of an unknown type": (_value(99, bytes(8)), "unknown type"),
        "a text of 2**62 bytes": (_value(8, struct.pack("<Q", 2**62)), past),
        "an array of 2**62 numbers": (_value(9, struct.pack("<IQ", 4, 2**62)), past),
        "an array of 2**62 texts": (_value(9, struct.pack("<IQ", 8, 2**62)), "more than"),
        "an array of arrays": (_value(9, struct.pack("<IQ", 9, 1) * 1000), "nests"),
        "an array of an unknown type": (_value(9, struct.pack("<IQ", 77, 1)), "unknown type"),
        "an alignment of 0": (_value(4, bytes(4), b"general.alignment"), "alignment"),
        "an alignment of 3": (_value(4, b"\3\0\0\0", b"general.alignment"), "alignment"),
        "an alignment of 2 GiB": (_value(4, b"\0\0\0\x80", b"general.alignment"), "alignment"),
        "an alignment that is text": (_value(8, bytes(8), b"general.alignment"), "alignment"),
        "five axes": (_entry(b"w", [1] * 5, 0, 0), "5 axes"),
        "2**31 axes": (_entry(b"w", [1], 0, 0, rank=2**31), "axes"),
        "sizes whose product overflows": (_entry(b"w", [2**33, 2**33], 0, 0), misplaced),
        "an empty tensor of 2**63 columns": (_entry(b"w", [0, 2**63], 0, 0), ""),
        "a tensor past the end": (_entry(b"w", [4], 0, 2**40), misplaced),
        "a tensor that is not aligned": (_entry(b"w", [4], 0, 4), misplaced),
        "an offset of 2**64 - 32": (_entry(b"w", [4], 0, 2**64 - 32), misplaced),
        "rows of half a block": (_entry(b"w", [16], 8, 0), "whole number"),
        "a block type without axes": (_entry(b"w", [], 8, 0), "whole number"),
        "an element type that is not there": (_entry(b"w", [4], 4, 0), "quantised as"),
        "an element type of the future": (_entry(b"w", [4], 999, 0), "quantised as"),
        "a tensor twice": (gguf([TENSOR, TENSOR]), "twice"),
        "a name of control characters": (_entry(b"\x1b[2J\x07", [4], 0, 4), misplaced),
    }


def cases() -> list[Case]:
    """Returns all of them."""
    safetensors = {f"safetensors: {name}": value for name, value in _safetensors().items()}
    return [
        *from_bytes("safetensors headers", "evil.safetensors", safetensors),
        *from_bytes("GGUF headers", "evil.gguf", {f"GGUF: {n}": v for n, v in _gguf().items()}),
    ]
