"""``torch.export`` programs (.pt2): their weights only, without running a byte of them.

``torch.export.load`` runs pickles that such a file brings along. This reader opens the two tables
of weights and constants, which are JSON, and the raw records that they name, and nothing else.
Layout: torch/export/pt2_archive (constants.py, _package.py) and torch/_export/serde/schema.py.
"""

from typing import Any

from ascend_migrate.pipeline.checkpoint.archive import Archive, open_archive
from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown, strict_json
from ascend_migrate.pipeline.checkpoint.folders import renamed
from ascend_migrate.pipeline.checkpoint.formats import MAX_PICKLE, archive_reader
from ascend_migrate.pipeline.checkpoint.pickled import foreign_refusal
from ascend_migrate.pipeline.checkpoint.torch_records import check_byte_order, unpickled
from ascend_migrate.pipeline.checkpoint.views import Unsupported, View
from ascend_migrate.pipeline.dtypes import BY_NAME

_REMEDY = "save the state_dict() of the original module and migrate that file"

_SAID = "an exported program: its weights are read, its graph is not"

_TABLES = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")

_OLD = ("serialized_state_dict.pt", "serialized_constants.pt")
"""Before torch 2.8: archives of ``torch.save`` inside the archive."""

# ScalarType of torch/_export/serde/schema.py.
_DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu",
    34: "uint32",
    35: "uint64",
}
_STRIDED = 7
"""Layout.Strided of the same file."""


def _is_export(archive: Archive) -> bool:
    names = archive.records.keys()
    return any(
        name in names
        for name in ("archive_format", "models/model.json", "serialized_exported_program.json")
    )


@archive_reader("torch-export", _is_export)
def read(archive: Archive) -> Contents:
    """Reads the parameters, buffers and constants of an exported program.

    Raises:
        FormatError: damaged or hostile.
    """
    if _OLD[0] in archive.records:
        return _read_old(archive)
    if _TABLES[0] not in archive.records:
        raise FormatError(f"is a torch.export archive without a table of raw weights; {_REMEDY}")
    check_byte_order(archive)
    root: dict[str, View | Unsupported] = {}
    storages: dict[str, Storage] = {}
    notes = [_SAID]
    for table in _TABLES:
        if table not in archive.records:
            continue
        folder = table.rpartition("/")[0]
        for name, entry in _entries(archive.records[table]):
            if name in root:
                raise FormatError(f"the name {shown(name)} is a weight and a constant; refused")
            value = _tensor(name, entry, folder)
            if value is None and table == _TABLES[0]:
                raise FormatError(f"does not describe the weight {shown(name)}; damaged")
            if value is None:
                notes.append(f"{shown(name)} is a constant that is no tensor, and is left out")
                continue
            root[name] = value
            if isinstance(value, View):
                if value.storage not in archive.records:
                    raise FormatError(f"lacks the record {shown(value.storage)}; get a fresh copy")
                storages[value.storage] = archive.records[value.storage]
    return Contents("torch-export", root, storages, "", tuple(notes))


def _read_old(archive: Archive) -> Contents:
    root: dict[str, Any] = {}
    storages: dict[str, Storage] = {}
    for record in (name for name in _OLD if name in archive.records):
        tree, used, machine = unpickled(open_archive(archive.records[record].load()))
        if refusal := foreign_refusal(tree, machine):
            raise FormatError(f"its record {record} {refusal}")
        if not isinstance(tree, dict) or set(tree) & set(root):
            raise FormatError(f"its record {record} holds no dict, or a name of another; damaged")
        root |= renamed(tree, record)
        storages |= {f"{record}:{name}": storage for name, storage in used.items()}
    return Contents("torch-export", root, storages, "", (_SAID,))


def _entries(record: Storage) -> list[tuple[str, dict[str, Any]]]:
    if record.nbytes > MAX_PICKLE:
        raise FormatError(f"declares an index of {record.nbytes} bytes; refused above {MAX_PICKLE}")
    table = strict_json(bytes(record.load()))
    config = table.get("config") if isinstance(table, dict) else None
    if not isinstance(config, dict) or not all(isinstance(e, dict) for e in config.values()):
        raise FormatError("has a table of weights that is none; damaged")
    return list(config.items())


def _tensor(name: str, entry: dict[str, Any], folder: str) -> View | Unsupported | None:
    path, meta = entry.get("path_name"), entry.get("tensor_meta")
    if not isinstance(path, str):
        raise FormatError(f"names no record for tensor {shown(name)}; damaged")
    if entry.get("use_pickle") is not False:
        return Unsupported(f"is kept as a pickle of Python objects; {_REMEDY}")
    if meta is None:
        return None
    dtype = _DTYPES.get(meta["dtype"], "")
    if dtype not in BY_NAME or meta["layout"] != _STRIDED:
        return Unsupported(f"has an element type or layout that is not read; {_REMEDY}")
    shape, stride = (tuple(_number(n) for n in meta[key]) for key in ("sizes", "strides"))
    device = meta["device"]
    index = device.get("index")
    return View(
        f"{folder}/{path}",
        dtype,
        shape,
        stride,
        _number(meta["storage_offset"]),
        str(device["type"])[:16] + (f":{index}" if type(index) is int else ""),
    )


def _number(value: Any) -> int:
    number = value.get("as_int") if isinstance(value, dict) else None
    if type(number) is not int or number < 0:
        raise FormatError("has a weight whose size, stride or offset is no natural number")
    return number
