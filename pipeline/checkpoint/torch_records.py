"""What all of torch's zip archives have in common: a pickle that refers to storages."""

from io import BytesIO
from typing import Any

from ascend_migrate.pipeline.checkpoint.archive import Archive
from ascend_migrate.pipeline.checkpoint.contents import Storage
from ascend_migrate.pipeline.checkpoint.faults import FormatError, shown
from ascend_migrate.pipeline.checkpoint.formats import MAX_PICKLE
from ascend_migrate.pipeline.checkpoint.pickled import Machine
from ascend_migrate.pipeline.checkpoint.torch_names import StorageRef, storage_ref
from ascend_migrate.pipeline.dtypes import BY_NAME


def unpickled(archive: Archive) -> tuple[Any, dict[str, Storage], Machine]:
    """Runs ``data.pkl`` as data.

    Returns:
        What it builds, the storages that it uses, and the machine that ran it.

    Raises:
        FormatError: damaged or hostile.
    """
    records = archive.records
    check_byte_order(archive)
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
    return root, used, machine


def check_byte_order(archive: Archive) -> None:
    """Proves that the numbers are little-endian, as they are where nothing is said.

    Raises:
        FormatError: they are not.
    """
    order = archive.records.get("byteorder")
    if order is not None and (order.nbytes > 16 or bytes(order.load()) != b"little"):  # noqa: PLR2004
        raise FormatError(
            "was written on a big-endian machine; save it again on a little-endian one"
        )
