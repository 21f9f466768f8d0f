"""The stage store: each finished stage is a folder named by the digest of what it was made from.

A stage is written in a temporary folder, which is renamed into place when all of it is on the
disk; ``record.json`` inside says what is complete. So a stage is there in full or not at all, and
running a migration again takes up what is finished::

    root/<stage>-<64 hex digits>/record.json   what was made, with the digest of every file
                                 ...           the files
    root/.lock-<64 hex digits>                 held while one process makes that stage
"""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline import durable
from ascend_migrate.pipeline.digest import canonical_json, json_digest
from ascend_migrate.pipeline.errors import StoreError
from ascend_migrate.pipeline.records import FileEntry

RECORD = "record.json"
SCHEMA = "ascend-migrate/stage/1"


@dataclass(frozen=True, slots=True)
class StageResult:
    """A finished stage.

    Attributes:
        path: the folder that holds its files.
        record: the JSON-ready data that the work returned.
        reused: whether it was there already.
        note: what was wrong with an earlier result that had to be set aside; mostly empty.
    """

    path: Path
    record: Mapping[str, Any]
    reused: bool
    note: str = ""


def tool_version() -> str:
    """Returns the version of this package: another version never reuses a stage of this one."""
    from importlib.metadata import version

    return version("ascend-migrate")


def stage_key(stage: str, inputs: Mapping[str, str], params: Mapping[str, Any]) -> str:
    """Returns the digest of everything that a stage's result depends on.

    Args:
        stage: its name.
        inputs: digests of what it reads, by role.
        params: JSON-ready settings.

    Raises:
        StoreError: a setting cannot be written as JSON.
    """
    document = {
        "tool": tool_version(),
        "stage": stage,
        "inputs": dict(inputs),
        "params": dict(params),
    }
    try:
        return json_digest(document)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"stage {stage}: its settings cannot be written as JSON: {error}"
        ) from error


class StageStore:
    """Finished stages in the folder ``root``, which is made at the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(
        self,
        stage: str,
        *,
        inputs: Mapping[str, str],
        params: Mapping[str, Any],
        work: Callable[[Path], Mapping[str, Any]],
    ) -> StageResult:
        """Returns the stage's result, made by ``work`` unless it is there already and intact.

        Args:
            stage: its name.
            inputs: digests of what it reads, by role.
            params: JSON-ready settings.
            work: writes files into the folder that it is given, and returns JSON-ready data.

        Raises:
            StoreError: the store cannot be read or written.
        """
        key = stage_key(stage, inputs, params)
        final = self.root / f"{stage}-{key.removeprefix('sha256:')}"
        durable.make_folder(self.root)
        # Two processes that want the same stage do the work once: the second finds it finished.
        with durable.locked(self.root / f".lock-{key.removeprefix('sha256:')}"):
            durable.sweep(self.root)
            note = ""
            if final.is_dir():
                found, note = _read(final, key)
                if found is not None:
                    return StageResult(final, found, reused=True)
                note = f"{final.name}: {note}; set aside and made again"
                self._set_aside(final)
            return StageResult(final, self._make(final, key, work), reused=False, note=note)

    def _make(
        self, final: Path, key: str, work: Callable[[Path], Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        with durable.storing(final), durable.temporary_folder(self.root) as folder:
            data = dict(work(folder))
            paths = sorted(
                p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()
            )
            if RECORD in paths:
                raise StoreError(f"{final.name}: {RECORD} is the store's own name; use another")
            entries = [FileEntry.of(folder, path).to_json() for path in paths]
            document = {"schema": SCHEMA, "key": key, "data": data, "files": entries}
            try:
                text = canonical_json(document)
            except (TypeError, ValueError) as error:
                raise StoreError(f"{final.name}: its result is not JSON: {error}") from error
            durable.write_file(folder / RECORD, text)
            durable.publish_folder(folder, final)
        # What a second run will read, so that both runs go on with the same data.
        result: Mapping[str, Any] = json.loads(text)["data"]
        return result

    def _set_aside(self, final: Path) -> None:
        aside = self.root / f"damaged-{secrets.token_hex(4)}-{final.name}"
        with durable.storing(final):
            final.rename(aside)
            durable.sync_folder(self.root)


def _read(folder: Path, key: str) -> tuple[Mapping[str, Any] | None, str]:
    """Returns the data of a finished stage, or None and what is wrong with it."""
    try:
        document = json.loads((folder / RECORD).read_bytes())
        if document["schema"] != SCHEMA or document["key"] != key:
            return None, f"{RECORD} belongs to another stage or release"
        entries = [FileEntry.from_json(item) for item in document["files"]]
        data: Mapping[str, Any] = dict(document["data"])
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        return None, f"{RECORD} cannot be read ({type(error).__name__})"
    for entry in entries:
        path = folder / entry.path
        # Size first: it costs nothing, and finds every file that was cut short.
        if not path.is_file() or path.stat().st_size != entry.size:
            return None, f"{entry.path} is missing or has another size"
        if FileEntry.of(folder, entry.path) != entry:
            return None, f"{entry.path} has other bytes than recorded"
    return data, ""
