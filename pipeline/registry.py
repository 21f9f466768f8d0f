"""The model registry: versions in an OCI image layout, each with the evidence that admitted it.

publish copies and hashes every file, asks the gate about the digests that it found, and enters
the model and its evidence in index.json in one replacement. Whatever happens before that
replacement leaves nothing that can be resolved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline import durable, evidence, gate
from ascend_migrate.pipeline import oci_manifest as oci
from ascend_migrate.pipeline.digest import canonical_json
from ascend_migrate.pipeline.errors import (
    EvidenceError,
    MigrationError,
    PublicationRefusedError,
    SpecError,
    StoreError,
)
from ascend_migrate.pipeline.oci_layout import (
    MAX_MANIFEST,
    Descriptor,
    OciLayout,
    Staging,
    copy_hashed,
)
from ascend_migrate.pipeline.records import Artifact, FileEntry, Form, Verdict
from ascend_migrate.pipeline.reference import check_alias, check_name
from ascend_migrate.pipeline.registry_index import Publication, RegistryIndex
from ascend_migrate.pipeline.registry_upkeep import Collected, collect, layout_problems

__all__ = ["Collected", "OciRegistry", "Publication"]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A version with its manifests read and compared with their digests."""

    publication: Publication
    model: oci.ModelFiles
    layers: tuple[Descriptor, ...]
    verdict: Verdict


class OciRegistry:
    """The registry in the folder ``root``, which is made by the first publication."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._layout = OciLayout(root)

    def publish(
        self,
        name: str,
        artifacts: Sequence[Artifact],
        verdict: Verdict,
        evidence: Mapping[str, Path],
    ) -> Publication:
        """Publishes ``artifacts`` if ``verdict`` proves exactly their files.

        Args:
            name: of the model.
            artifacts: one for each form; a path that two of them share must be the same file.
            verdict: the proof.
            evidence: files to keep beside it; ``report.json`` must hold ``verdict``.

        Returns:
            The new version, or the one that holds the same content already.

        Raises:
            SpecError: the name is malformed.
            PublicationRefusedError: the gate said no, or a file is not the one that was judged.
            EvidenceError: the report is missing or holds another verdict.
            StoreError: the registry cannot be read or written.
        """
        check_name(name)
        model = _model_files(name, artifacts, verdict)
        gate.admit(verdict, subjects={a.form: a.files for a in artifacts}, name=name)
        _check_evidence_names(evidence)
        self._layout.create()
        with self._layout.publishing():
            durable.sweep(self.root)
            with durable.temporary_folder(self.root) as folder:
                files = Staging(self._layout, folder / "model")
                _stage_model(files, name, artifacts)
                config = oci.model_config(model)
                subject = _stage_manifest(files, oci.model_manifest(model), config)
                proofs = Staging(self._layout, folder / "evidence")
                proof = _stage_evidence(proofs, verdict, evidence, subject)
                files.commit()
                existing = _find(RegistryIndex(self._layout.read_index()), name, subject)
                if existing is not None and self._is_proved(existing):
                    return existing
                proofs.commit()
                return self._enter(name, subject, proof)

    def _enter(self, name: str, subject: Descriptor, proof: Descriptor) -> Publication:
        with self._layout.changing():
            index = RegistryIndex(self._layout.read_index())
            existing = _find(index, name, subject)
            if existing is None:
                done = index.add_version(name, subject, proof, _now())
            elif self._is_proved(existing):
                return existing
            else:
                done = index.renew_evidence(existing, proof)
            self._layout.write_index(index.entries)
            return done

    def _is_proved(self, publication: Publication) -> bool:
        try:
            self.gate(f"{publication.name}@{publication.digest}")
        except MigrationError:
            return False
        return True

    def resolve(self, ref: str) -> Publication:
        """Returns the version that ``ref`` means; NAME alone is its newest version.

        Raises:
            SpecError: ``ref`` is malformed or names nothing.
            StoreError: the registry cannot be read.
        """
        return RegistryIndex(self._layout.read_index()).resolve(ref)

    def list(self) -> tuple[Publication, ...]:
        """Returns every version, by name and number."""
        return tuple(RegistryIndex(self._layout.read_index()).publications())

    def gate(self, ref: str) -> Publication:
        """Returns the version if it is proved, having read every byte of it.

        Raises:
            SpecError: ``ref`` is malformed or names nothing.
            EvidenceError: the evidence is missing or altered.
            PublicationRefusedError: the files are not those that were judged, or did not pass.
            StoreError: the registry cannot be read.
        """
        opened = self._open(ref)
        name = f"{opened.publication.name}:{opened.publication.version}"
        faults = self._blob_faults(opened.layers)
        if faults:
            raise PublicationRefusedError(name, faults)
        gate.admit(opened.verdict, subjects=opened.model.subjects(), name=name)
        return opened.publication

    def promote(self, ref: str, alias: str) -> Publication:
        """Lets ``alias`` name the version ``ref`` if the gate admits it; raises like `gate`."""
        check_alias(alias)
        admitted = self.gate(ref)
        with self._layout.changing():
            index = RegistryIndex(self._layout.read_index())
            if index.point(alias, admitted, _now()):
                self._layout.write_index(index.entries)
            return index.resolve(f"{admitted.name}@{admitted.digest}")

    def rollback(self, alias: str) -> Publication:
        """Lets ALIAS or NAME:ALIAS name again what it named before; raises like `gate`."""
        with self._layout.changing() if self.root.is_dir() else durable.storing(self.root):
            index = RegistryIndex(self._layout.read_index())
            tag, before = index.former(alias)
            self.gate(f"{before.name}@{before.digest}")
            index.step_back(tag, before, _now())
            self._layout.write_index(index.entries)
            return index.resolve(f"{before.name}@{before.digest}")

    def show(self, ref: str) -> dict[str, Any]:
        """Returns names, files, entries, source and verdict of a version, as JSON-ready data."""
        opened = self._open(ref)
        files = [
            f.to_json() | {"forms": [str(form) for form in opened.model.forms[f.path]]}
            for f in opened.model.files
        ]
        return opened.publication.to_json() | {
            "files": files,
            "entries": {str(form): path for form, path in opened.model.entries.items()},
            "source": opened.model.source,
            "verdict": opened.verdict.to_json(),
        }

    def verify(self, ref: str | None = None) -> tuple[str, ...]:
        """Reads every byte of a version, or of the whole registry.

        Returns:
            One line for each fault; none means that every digest is right.

        Raises:
            SpecError: ``ref`` is malformed or names nothing.
        """
        if ref is None:
            problems = layout_problems(self._layout)
            try:
                names = [f"{p.name}:{p.version}" for p in self.list()]
            except StoreError:
                return tuple(problems)
        else:
            problems, names = [], [ref]
        for name in names:
            try:
                self.gate(name)
            except MigrationError as error:
                # A name that a user asked for is the user's fault, one in the index is damage.
                if ref is not None and isinstance(error, SpecError):
                    raise
                problems.append(str(error))
        return tuple(dict.fromkeys(problems))

    def gc(self) -> Collected:
        """Removes blobs that no manifest needs, and what dead publishers left.

        Raises:
            StoreError: the registry is damaged (then nothing is removed) or cannot be written.
        """
        return collect(self._layout)

    def pull(self, ref: str, into: Path, form: Form | None = None) -> Path:
        """Writes the files of a version into the new folder ``into``, each compared.

        Args:
            ref: which version.
            into: must not exist, or be empty; it appears when it is complete.
            form: only the files of this form; None means all of them.

        Returns:
            ``into``.

        Raises:
            SpecError: the version has no such form, or ``into`` holds something.
            StoreError: a file is damaged, or ``into`` cannot be written.
        """
        model = self._open(ref).model
        if form is not None and form not in model.entries:
            has = ", ".join(sorted(model.entries))
            raise SpecError(ref, [f"has no form {form}; it has: {has}"])
        with durable.storing(into):
            if into.exists() and (not into.is_dir() or any(into.iterdir())):
                raise SpecError(str(into), ["exists already; name a folder that does not"])
        durable.make_folder(into.absolute().parent)
        with durable.temporary_folder(into.absolute().parent) as folder:
            for file in model.files if form is None else model.subjects()[form]:
                self._write_out(file, folder / file.path)
            durable.publish_folder(folder, into.absolute())
        return into

    def _write_out(self, file: FileEntry, target: Path) -> None:
        blob = self._layout.blob(file.digest)
        with durable.storing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if copy_hashed(blob, target) != (file.digest, file.size):
                raise StoreError(f"{blob}: its bytes have another digest; restore it from a copy")

    def _open(self, ref: str) -> _Opened:
        """Reads both manifests and the report of a version, each compared with its digest."""
        index = RegistryIndex(self._layout.read_index())
        found = index.resolve(ref)
        where = f"{found.name}:{found.version}"
        entry = index.entry(found.name, found.version)
        if entry is None:
            raise SpecError(ref, ["no such version"])
        manifest = self._layout.read_manifest(entry)
        model = oci.read_model(manifest, where)
        proof = self._read_evidence(index, found, where)
        layers = (manifest["config"], *manifest["layers"], proof["config"], *proof["layers"])
        report = next((x for x in proof["layers"] if _title(x) == oci.REPORT), None)
        if report is None:
            raise EvidenceError(f"{where}: its evidence has no {oci.REPORT}; publish it again")
        try:
            data = self._layout.read_blob(report, evidence.MAX_BYTES)
        except StoreError as error:
            raise EvidenceError(f"{where}: {error}") from error
        return _Opened(found, model, layers, evidence.decode(data, f"{where} {oci.REPORT}"))

    def _read_evidence(
        self, index: RegistryIndex, found: Publication, where: str
    ) -> dict[str, Any]:
        entry = next((e for e in index.entries if e["digest"] == found.evidence_digest), None)
        if entry is None:
            raise EvidenceError(f"{where}: its evidence is missing; publish it again")
        try:
            proof = self._layout.read_manifest(entry)
        except StoreError as error:
            raise EvidenceError(f"{where}: {error}") from error
        subject = proof.get("subject")
        if proof.get("artifactType") != oci.EVIDENCE_TYPE or not isinstance(subject, dict):
            raise EvidenceError(f"{where}: {found.evidence_digest} is not evidence")
        if subject.get("digest") != found.digest:
            raise EvidenceError(f"{where}: its evidence is about {subject.get('digest')}")
        if "config" not in proof or "layers" not in proof:
            raise EvidenceError(f"{where}: {found.evidence_digest} holds nothing")
        return proof

    def _blob_faults(self, layers: Sequence[Descriptor]) -> Sequence[str]:
        faults = []
        for layer in layers:
            try:
                self._layout.check_blob(layer)
            except StoreError as error:
                faults.append(str(error))
        return faults


def _model_files(name: str, artifacts: Sequence[Artifact], verdict: Verdict) -> oci.ModelFiles:
    """Joins the artifacts' files; the same path must be the same file everywhere."""
    files: dict[str, FileEntry] = {}
    forms: dict[str, tuple[Form, ...]] = {}
    faults = []
    for artifact in artifacts:
        for file in artifact.files:
            if files.setdefault(file.path, file) != file:
                faults.append(f"{file.path} is two different files; give one form its own folder")
            forms[file.path] = (*forms.get(file.path, ()), artifact.form)
        if artifact.entry not in {f.path for f in artifact.files}:
            faults.append(f"{artifact.form}: its entry {artifact.entry} is not among its files")
    if len({a.form for a in artifacts}) != len(artifacts):
        faults.append("a form is given more than once")
    faults += oci.path_faults(list(files))
    if faults:
        raise PublicationRefusedError(name, faults)
    return oci.ModelFiles(
        files=tuple(files[path] for path in sorted(files)),
        forms={path: tuple(sorted(needed)) for path, needed in forms.items()},
        entries={a.form: a.entry for a in artifacts},
        source=verdict.source,
    )


def _check_evidence_names(files: Mapping[str, Path]) -> None:
    if oci.REPORT not in files:
        raise EvidenceError(f"the evidence has no {oci.REPORT}; make it with `validate`")
    wrong = [name for name in files if "/" in name or oci.path_faults([name])]
    if wrong:
        raise EvidenceError(f"evidence names must be plain file names, not {wrong[0]!r}")


def _stage_model(staging: Staging, name: str, artifacts: Sequence[Artifact]) -> None:
    """Copies every file once; what was copied must be what was judged."""
    faults = []
    done: set[Path] = set()
    for artifact in artifacts:
        for file in artifact.files:
            path = artifact.root / file.path
            if path in done:
                continue
            done.add(path)
            if staging.add_file(path) != (file.digest, file.size):
                faults.append(f"{artifact.form}: {path} was changed after it was judged")
    if faults:
        raise PublicationRefusedError(name, faults)


def _stage_evidence(
    staging: Staging, verdict: Verdict, files: Mapping[str, Path], subject: Descriptor
) -> Descriptor:
    entries = {name: FileEntry(name, *staging.add_file(path)) for name, path in files.items()}
    data = staging.read(entries[oci.REPORT].digest, evidence.MAX_BYTES)
    stated = evidence.decode(data, str(files[oci.REPORT]))
    if canonical_json(stated.to_json()) != canonical_json(verdict.to_json()):
        raise EvidenceError(f"{files[oci.REPORT]}: holds another verdict than the one given")
    golden = entries.get(oci.GOLDEN)
    if golden is not None and golden.digest != verdict.golden:
        raise EvidenceError(f"{files[oci.GOLDEN]}: is not what the outputs were judged against")
    manifest = oci.evidence_manifest(list(entries.values()), subject)
    return _stage_manifest(staging, manifest, oci.EMPTY)


def _stage_manifest(staging: Staging, manifest: bytes, config: bytes) -> Descriptor:
    if len(manifest) > MAX_MANIFEST:
        raise StoreError(f"the manifest has {len(manifest)} bytes; registries take {MAX_MANIFEST}")
    staging.add_bytes(config)
    staging.add_bytes(manifest)
    return oci.descriptor_of(manifest, oci.MANIFEST_TYPE)


def _find(index: RegistryIndex, name: str, subject: Descriptor) -> Publication | None:
    return next(
        (p for p in index.publications() if p.name == name and p.digest == subject["digest"]), None
    )


def _title(layer: Descriptor) -> str:
    return str(layer.get("annotations", {}).get(oci.TITLE, ""))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
