"""Keeping a registry in order: reading all of it, and collecting what nothing needs."""

from dataclasses import dataclass
from typing import Any

from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.digest import file_digest
from ascend_migrate.pipeline.errors import StoreError
from ascend_migrate.pipeline.oci_layout import INDEX_TYPE, Descriptor, OciLayout, children
from ascend_migrate.pipeline.oci_manifest import MANIFEST_TYPE
from ascend_migrate.pipeline.reference import is_digest
from ascend_migrate.pipeline.registry_index import RegistryIndex

_MANIFESTS = {MANIFEST_TYPE, INDEX_TYPE}


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed.

    Attributes:
        files: how many.
        size: their bytes.
    """

    files: int
    size: int


def collect(layout: OciLayout) -> Collected:
    """Removes every blob that the index does not lead to, and what dead publishers left.

    Raises:
        StoreError: a manifest cannot be read (then nothing is removed), or a file not removed.
    """
    if not layout.root.is_dir():
        return Collected(0, 0)
    with layout.collecting(), layout.changing():
        index = RegistryIndex(layout.read_index())
        orphans = index.drop_orphans()
        live = {d["digest"] for d in _reachable(layout, index.entries)}
        if orphans:
            layout.write_index(index.entries)
        files, size = durable.sweep(layout.root)
        with durable.storing(layout.blobs):
            for path in sorted(layout.blobs.glob("*")):
                digest = f"sha256:{path.name}"
                if is_digest(digest) and digest not in live:
                    files, size = files + 1, size + path.stat().st_size
                    path.unlink()
    return Collected(files, size)


def layout_problems(layout: OciLayout) -> list[str]:
    """Reads index, manifests and every blob; returns one line for each fault."""
    if not layout.root.is_dir():
        return [f"{layout.root}: is not there, so nothing was verified; check the path"]
    problems: list[str] = []
    try:
        reached = _reachable(layout, layout.read_index(), problems)
    except StoreError as error:
        return [str(error)]
    for descriptor in {(d["digest"], d["size"]): d for d in reached}.values():
        try:
            layout.check_blob(descriptor)
        except StoreError as error:
            problems.append(str(error))
    listed = {d["digest"] for d in reached}
    for path in sorted(layout.blobs.glob("*")):
        digest = f"sha256:{path.name}"
        if not is_digest(digest) or not path.is_file():
            problems.append(f"{path}: is no blob; remove it")
        elif digest not in listed:
            state = "intact" if file_digest(path) == digest else "damaged"
            problems.append(f"{path}: nothing lists it ({state}); remove it with `gc`")
    return problems


def _reachable(
    layout: OciLayout, entries: list[Descriptor], problems: list[str] | None = None
) -> list[Descriptor]:
    """Returns all descriptors that the index leads to.

    Args:
        layout: where the manifests are.
        entries: of the index.
        problems: collects what cannot be read; None means that it is raised.
    """
    # Not by digest alone: one entry may call a blob a manifest, and another call it something else.
    found: dict[tuple[str, int, str], Descriptor] = {}
    waiting: list[Any] = list(entries)
    while waiting:
        item = waiting.pop()
        key = (item["digest"], item["size"], item["mediaType"])
        if key in found:
            continue
        found[key] = item
        if item["mediaType"] not in _MANIFESTS:
            continue
        try:
            manifest = layout.read_manifest(item)
        except StoreError as error:
            if problems is None:
                raise
            problems.append(str(error))
            continue
        waiting += children(manifest, layout.blob(item["digest"]))
    return list(found.values())
