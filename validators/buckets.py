"""Judges a MindIR artifact that is several graphs of fixed sizes: each case by the one it fits."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.mindir_buckets import is_index, read_index
from ascend_migrate.pipeline.mindir_format import Signature, external_files, read_signature
from ascend_migrate.pipeline.records import Artifact, Finding, Outcome
from ascend_migrate.validators.calls import PRESENT
from ascend_migrate.validators.cases import Array, Feeds
from ascend_migrate.validators.closing import Closing
from ascend_migrate.validators.feeds import has_sizes
from ascend_migrate.validators.mindspore_process import CPU, MindSporeProcess, level_of
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

_SHARE = 4
"""A process holds graphs up to this part of its memory: MindSpore takes some three times a file."""


class BucketRunner(Closing):
    """The graphs of an index, each loaded when a case first needs it.

    Args:
        artifact: a MindIR artifact whose entry is an index.
        limits: for loading one graph, and for one run.
        target: MindSpore's device.

    Raises:
        SourceError: the index or a graph was not written by ascend-migrate.
    """

    def __init__(
        self, artifact: Artifact, *, limits: Limits = DEFAULT_LIMITS, target: str = CPU
    ) -> None:
        self._graphs = _Graphs(artifact.path)
        self._limits, self._target = limits, target
        self.name, self.level = f"mindspore-{target.lower()}", level_of(target)
        self._room = limits.bytes_allowed() // _SHARE
        self._runners: dict[Path, MindSporeRunner] = {}
        self._process: MindSporeProcess | None = None
        self.twin = ""

    def close(self) -> None:
        """Ends the process and forgets the graphs."""
        for runner in self._runners.values():
            runner.close()
        self._runners.clear()
        if self._process is not None:
            self._process.close()
            self._process = None

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the graph of these sizes once.

        Raises:
            CheckError: no graph has these sizes, or MindSpore refuses to run it.
            ToolchainError: MindSpore is missing, crashed, or exceeded a limit.
        """
        path = self._graphs.serving(feeds)
        if path is None:
            given = ", ".join(f"{name}{list(array.shape)}" for name, array in feeds.items())
            raise CheckError(f"{self._graphs.index}: no graph for {given}; {self._graphs}")
        runner = self._runners.get(path) or self._load(path)
        outputs = runner.run(feeds)
        self.twin = self.twin or runner.twin
        return outputs

    def _load(self, path: Path) -> MindSporeRunner:
        if sum(map(_size, (*self._runners, path))) > self._room:
            # MindSpore gives no memory back before its process ends.
            self.close()
        self._process = self._process or MindSporeProcess(self._limits, target=self._target)
        self._runners[path] = MindSporeRunner(
            path, limits=self._limits, process=self._process, target=self._target
        )
        return self._runners[path]


class _Graphs:
    """The graphs of an index, and what each takes."""

    def __init__(self, index: Path) -> None:
        self.index = index
        self.buckets = read_index(index)
        self._signatures = {b.file: read_signature(index.parent / b.file) for b in self.buckets}

    def serving(self, feeds: Mapping[str, Array]) -> Path | None:
        """Returns the file of the graph that takes inputs of these sizes."""
        for file, signature in self._signatures.items():
            if _takes(signature, feeds):
                return self.index.parent / file
        return None

    def __str__(self) -> str:
        return f"there are graphs for {', '.join(map(str, self.buckets))}"


def unasked(artifact: Artifact, cases: Iterable[Feeds]) -> Iterator[Finding]:
    """Yields a finding for each graph of an index that no case fits: nothing proves that one."""
    if not is_index(artifact.path):
        return
    graphs = _Graphs(artifact.path)
    asked = {graphs.serving(feeds) for feeds in cases}
    for bucket in graphs.buckets:
        if artifact.root / bucket.file not in asked:
            note = f"no case has the sizes {bucket}, so that nothing proves it; capture them"
            yield Finding(PRESENT, artifact.form, bucket.file, Outcome.NOT_RUN, note=note)


def _takes(signature: Signature, feeds: Mapping[str, Array]) -> bool:
    return all(has_sizes(info, feeds[info.name]) for info in signature.inputs if info.name in feeds)


def _size(graph: Path) -> int:
    files = [graph, *(graph.parent / name for name in external_files(graph))]
    return sum(file.stat().st_size for file in files)
