"""An OCI image layout folder: blobs by digest, and one index that is replaced atomically.

::

    root/oci-layout             says what the folder is
    root/index.json             every manifest, by digest and name; written last
    root/blobs/sha256/<hex>     manifests, configs and files
    root/.tmp-*                 work in progress, locked by whoever makes it
    root/.lock-blobs            shared by publishers, held alone by the collection of garbage
    root/.lock-index            held alone while index.json is read, changed and replaced

Everything read is untrusted: sizes are compared before digests, digests before use.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.digest import bytes_digest, canonical_json, file_digest
from ascend_migrate.pipeline.errors import StoreError
from ascend_migrate.pipeline.reference import is_digest

Descriptor = dict[str, Any]
"""OCI's pointer to a blob: mediaType, digest, size, and optional annotations."""

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
LAYOUT = canonical_json({"imageLayoutVersion": "1.0.0"})

MAX_LAYOUT = 64 << 10
MAX_INDEX = 16 << 20
"""Some 20,000 versions."""
MAX_MANIFEST = 4 << 20
"""Remote registries refuse larger manifests."""

_CHUNK = 8 << 20
"""Bytes copied, then hashed, at a time: small enough to be still in the page cache."""

_NO_KERNEL_COPY = {errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM}
"""What copy_file_range answers where the file systems cannot do it."""


class OciLayout:
    """The layout in the folder ``root``; reading takes no lock and writes nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs" / "sha256"

    def create(self) -> None:
        """Makes an empty layout where there is none."""
        durable.make_folder(self.blobs)
        index, layout = self.root / "index.json", self.root / "oci-layout"
        with self.changing():
            # Where there is a layout, a missing index was lost: an empty one would hide that.
            if layout.exists():
                return
            if not index.exists():
                self.write_index([])
            durable.write_file(layout, LAYOUT)

    def publishing(self) -> AbstractContextManager[None]:
        """Keeps blobs that no index names yet from being collected."""
        return durable.locked(self.root / ".lock-blobs", shared=True)

    def collecting(self) -> AbstractContextManager[None]:
        """Waits until no publisher is at work, and keeps new ones waiting."""
        return durable.locked(self.root / ".lock-blobs")

    def changing(self) -> AbstractContextManager[None]:
        """Must be held from reading the index to replacing it."""
        return durable.locked(self.root / ".lock-index")

    def read_index(self) -> list[Descriptor]:
        """Returns the descriptors in index.json; none if there is no layout yet.

        Raises:
            StoreError: a part of the layout is missing or malformed.
        """
        index, layout = self.root / "index.json", self.root / "oci-layout"
        with durable.storing(self.root):
            if not index.exists() and not layout.exists():
                return []
        manifests = parse_object(_read(index, MAX_INDEX), index).get("manifests")
        if not isinstance(manifests, list):
            raise StoreError(f"{index}: has no list of manifests; restore it from a copy")
        # Whoever is killed in `create` leaves an empty index without oci-layout.
        if manifests or layout.exists():
            version = parse_object(_read(layout, MAX_LAYOUT), layout).get("imageLayoutVersion")
            if version != "1.0.0":
                raise StoreError(f"{layout}: layout version {version!r} is not 1.0.0")
        for item in manifests:
            check_descriptor(item, index)
        return manifests

    def write_index(self, manifests: Sequence[Descriptor]) -> None:
        """Replaces index.json; hold `changing`, and have every blob on the disk before."""
        document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": list(manifests)}
        data = canonical_json(document)
        if len(data) > MAX_INDEX:
            raise StoreError(f"{self.root / 'index.json'}: is full; start another registry")
        durable.write_file(self.root / "index.json", data)

    def blob(self, digest: str) -> Path:
        """Returns where the blob is; only a well-formed digest ever becomes a path."""
        if not is_digest(digest):
            raise StoreError(f"{self.root}: {digest!r} is not a sha256 digest")
        return self.blobs / digest.removeprefix("sha256:")

    def check_blob(self, descriptor: Descriptor) -> None:
        """Compares a blob with its descriptor: the size, then every byte.

        Raises:
            StoreError: it is missing or differs.
        """
        path = self.blob(descriptor["digest"])
        self._check_size(path, descriptor)
        try:
            found = file_digest(path)
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
        if found != descriptor["digest"]:
            raise StoreError(f"{path}: its bytes have the digest {found}; restore it from a copy")

    def read_blob(self, descriptor: Descriptor, limit: int = MAX_MANIFEST) -> bytes:
        """Returns the bytes of a blob after comparing size and digest.

        Raises:
            StoreError: it is missing, differs, or is larger than ``limit``.
        """
        path = self.blob(descriptor["digest"])
        if descriptor["size"] > limit:
            raise StoreError(
                f"{path}: {descriptor['size']} bytes are more than the {limit} allowed"
            )
        self._check_size(path, descriptor)
        data = _read(path, limit)
        if bytes_digest(data) != descriptor["digest"]:
            raise StoreError(f"{path}: its bytes have another digest; restore it from a copy")
        return data

    def read_manifest(self, descriptor: Descriptor) -> dict[str, Any]:
        """Returns the manifest of a descriptor, all descriptors in it being well-formed."""
        path = self.blob(descriptor["digest"])
        manifest = parse_object(self.read_blob(descriptor), path)
        for item in children(manifest, path):
            check_descriptor(item, path)
        return manifest

    def _check_size(self, path: Path, descriptor: Descriptor) -> None:
        try:
            size = path.stat().st_size
        except OSError as error:
            raise StoreError(f"{path}: the blob is missing: {error.strerror}") from error
        _check_file(path)
        if size != descriptor["size"]:
            raise StoreError(f"{path}: has {size} bytes instead of {descriptor['size']}")


class Staging:
    """Blobs in a new folder on the layout's file system, until all are known to be right."""

    def __init__(self, layout: OciLayout, folder: Path) -> None:
        self._layout = layout
        self._folder = folder
        with durable.storing(folder):
            folder.mkdir()

    def add_file(self, source: Path) -> tuple[str, int]:
        """Copies a file; returns digest and size of the bytes that were really written."""
        with durable.storing(source):
            temporary = self._folder / "incoming"
            digest, size = copy_hashed(source, temporary)
            temporary.rename(self._folder / digest.removeprefix("sha256:"))
        return digest, size

    def add_bytes(self, data: bytes) -> tuple[str, int]:
        """Adds a small blob; returns its digest and size."""
        digest = bytes_digest(data)
        durable.write_file(self._folder / digest.removeprefix("sha256:"), data)
        return digest, len(data)

    def read(self, digest: str, limit: int) -> bytes:
        """Returns staged bytes, which must not be more than ``limit``."""
        return _read(self._folder / digest.removeprefix("sha256:"), limit)

    def commit(self) -> None:
        """Moves every staged blob to its place; replaces one that is there but damaged."""
        with durable.storing(self._layout.blobs):
            for staged in sorted(self._folder.iterdir()):
                target = self._layout.blobs / staged.name
                if not (target.is_file() and file_digest(target) == f"sha256:{staged.name}"):
                    staged.rename(target)
            # Also for blobs that another process moved here and may not have synced yet.
            durable.sync_folder(self._layout.blobs)


def copy_hashed(source: Path, target: Path) -> tuple[str, int]:
    """Copies to a new file, sharing blocks where the file system can, and syncs it.

    Returns:
        Digest and size of what was written, read back from ``target``.
    """
    state = hashlib.sha256()
    size = 0
    reader = os.open(source, os.O_RDONLY)
    try:
        writer = durable.create_file(target)
        try:
            while count := _copy_some(reader, writer, size):
                for block in _blocks(writer, size, count):
                    state.update(block)
                size += count
            os.fsync(writer)
        finally:
            os.close(writer)
    finally:
        os.close(reader)
    return f"sha256:{state.hexdigest()}", size


def children(manifest: Mapping[str, Any], where: Path) -> list[Any]:
    """Returns what a manifest or a nested index points to, apart from its subject."""
    found: list[Any] = [manifest["config"]] if "config" in manifest else []
    for key in ("layers", "manifests"):
        items = manifest.get(key, [])
        if not isinstance(items, list):
            raise StoreError(f"{where}: {key} is not a list")
        found += items
    return found


def check_descriptor(item: Any, where: Path) -> None:
    """Raises a StoreError naming ``where`` unless ``item`` is a well-formed descriptor."""
    if not isinstance(item, dict) or not is_digest(item.get("digest")):
        raise StoreError(f"{where}: holds a descriptor without a sha256 digest")
    if not isinstance(item.get("mediaType"), str):
        raise StoreError(f"{where}: {item['digest']} has no media type")
    size, notes = item.get("size"), item.get("annotations", {})
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise StoreError(f"{where}: {item['digest']} has no size")
    if not isinstance(notes, dict) or not all(isinstance(v, str) for v in notes.values()):
        raise StoreError(f"{where}: the annotations of {item['digest']} are not text")


def parse_object(data: bytes, where: Path) -> dict[str, Any]:
    """Returns a JSON object, or raises a StoreError that names ``where``."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{where}: is not JSON ({error}); restore it from a copy") from error
    if not isinstance(document, dict):
        raise StoreError(f"{where}: is not a JSON object; restore it from a copy")
    return document


def _copy_some(reader: int, writer: int, offset: int) -> int:
    try:
        count = os.copy_file_range(reader, writer, _CHUNK, offset, offset)
    except OSError as error:
        if error.errno not in _NO_KERNEL_COPY:
            raise
        count = 0
    if count:
        return count
    # Nothing copied is the end of the file, or a file system that answers 0 (procfs, FUSE).
    data = os.pread(reader, _CHUNK, offset)
    return os.pwrite(writer, data, offset) if data else 0


def _blocks(descriptor: int, offset: int, count: int) -> Iterator[bytes]:
    end = offset + count
    while offset < end:
        block = os.pread(descriptor, min(1 << 20, end - offset), offset)
        if not block:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        yield block
        offset += len(block)


def _check_file(path: Path) -> None:
    """Refuses pipes and devices, which would be read forever."""
    if path.exists() and not path.is_file():
        raise StoreError(f"{path}: is no regular file; restore it from a copy")


def _read(path: Path, limit: int) -> bytes:
    _check_file(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be read: {error.strerror}; restore it from a copy"
        ) from error
    if len(data) > limit:
        raise StoreError(f"{path}: is larger than the {limit} bytes allowed")
    return data
