"""``torch.save`` files since torch 1.6: a zip archive of one pickle and one record per storage."""

from io import BytesIO
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint.archive import Archive, open_archive
from ascend_migrate.pipeline.checkpoint.contents import Contents, Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.formats import MAX_PICKLE, reader
from ascend_migrate.pipeline.checkpoint.pickled import Machine, foreign_refusal
from ascend_migrate.pipeline.checkpoint.torch_names import StorageRef, storage_ref
from ascend_migrate.pipeline.dtypes import BY_NAME

_TORCHSCRIPT = (
    "is a TorchScript archive: a compiled program, not a state dict; get the Python class and save "
    "its state_dict(), or export the ScriptModule to ONNX with torch.onnx.export(..., "
    "dynamo=False) on the machine where it is used and migrate that .onnx file"
)
_EXPORTED = (
    "is a torch.export archive: opening one runs code from it; save the state_dict() of the "
    "original module and migrate that file"
)


@reader("torch-zip", lambda head: head.startswith(b"PK\3\4"))
def read(path: Path) -> Contents:
    """Opens a zip checkpoint.

    Raises:
        FormatError: damaged, hostile, or another kind of zip file.
    """
    archive = open_archive(path)
    names = archive.records.keys()
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        return _read(archive, "torchscript", _TORCHSCRIPT)
    if "data.pkl" not in names:
        if any(
            name.endswith(("archive_format", "serialized_exported_program.json", "model.json"))
            for name in names
        ):
            return Contents("torch-export", {}, {}, _EXPORTED)
        raise FormatError("is a zip file without data.pkl: not written by torch.save")
    return _read(archive, "torch-zip", "")


def _read(archive: Archive, kind: str, refusal: str) -> Contents:
    records = archive.records
    order = records.get("byteorder")
    if order is not None and (order.nbytes > 16 or bytes(order.load()) != b"little"):  # noqa: PLR2004
        raise FormatError(
            "was written on a big-endian machine; save it again on a little-endian one"
        )
    if "data.pkl" not in records:
        return Contents(kind, {}, {}, refusal)
    program = records["data.pkl"]
    if program.nbytes > MAX_PICKLE:
        raise FormatError(
            f"declares a pickle of {program.nbytes} bytes; refused above {MAX_PICKLE}"
        )
    used: dict[str, Storage] = {}

    def persistent(pid: Any) -> StorageRef:
        ref = storage_ref(pid)
        record = records.get(f"data/{ref.key}")
        declared = ref.numel * BY_NAME[ref.dtype].itemsize
        if record is None:
            raise FormatError(f"lacks the storage {shown(ref.key)}; get a fresh copy")
        if record.nbytes != declared:
            raise FormatError(
                f"storage {shown(ref.key)} declares {declared} bytes and has {record.nbytes}"
            )
        used[ref.key] = record
        return ref

    machine = Machine(persistent)
    stream = BytesIO(program.load())
    root = machine.run(stream)
    if stream.read(1):
        raise FormatError("has bytes behind the end of its pickle; refused")
    return Contents(kind, root, used, refusal or foreign_refusal(root, machine.foreign))
