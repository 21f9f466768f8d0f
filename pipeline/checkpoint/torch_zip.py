"""``torch.save`` files since torch 1.6: a zip archive of one pickle and one record per storage."""

from ascend_migrate.pipeline.checkpoint.archive import Archive
from ascend_migrate.pipeline.checkpoint.contents import Contents
from ascend_migrate.pipeline.checkpoint.faults import FormatError
from ascend_migrate.pipeline.checkpoint.formats import archive_reader
from ascend_migrate.pipeline.checkpoint.pickled import foreign_refusal
from ascend_migrate.pipeline.checkpoint.torch_records import unpickled


@archive_reader("torch-zip", lambda archive: True)
def read(archive: Archive) -> Contents:
    """Opens a zip checkpoint.

    Raises:
        FormatError: damaged, hostile, or another kind of zip file.
    """
    if not archive.top:
        raise FormatError("has no single top folder as torch.save makes it: not a checkpoint")
    if "data.pkl" not in archive.records:
        raise FormatError("is a zip file without data.pkl: not written by torch.save")
    root, used, machine = unpickled(archive)
    return Contents("torch-zip", root, used, foreign_refusal(root, machine))
