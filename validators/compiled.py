"""What is judged of a compiled file beside its answers: nobody but its chip can read the file.

om.json names the graph that it was made from, by digests. The weights of that graph are accounted
for as in any form; what the compiler made of them shows in the answers of the device alone.
"""

from dataclasses import replace

from ascend_migrate.pipeline.cann.om_file import IDENTITY, OmFile, graph_of, read_om
from ascend_migrate.pipeline.errors import EvidenceError, SourceError
from ascend_migrate.pipeline.gate import ORIGIN
from ascend_migrate.pipeline.records import Artifact, Finding, Form, Outcome
from ascend_migrate.validators import lowered
from ascend_migrate.validators.golden import Golden


def seen_through(
    artifact: Artifact, truth: Golden | None
) -> tuple[list[Finding], Artifact | None, Golden | None]:
    """Returns what stands for an artifact that cannot be read; any other stands for itself.

    Returns:
        What was found of it, the graph that holds its weights, and what it is to be judged by.

    Raises:
        SourceError, EvidenceError: as `origin` and `fitting`.
    """
    if artifact.form is not Form.OM:
        return [], artifact, truth
    found, graph = origin(artifact)
    return [found], graph, truth and fitting(artifact, graph, truth)


def origin(artifact: Artifact) -> tuple[Finding, Artifact | None]:
    """Looks for the graph that a file was compiled from.

    Returns:
        What was found, and the graph as an artifact; None where it is not at hand.

    Raises:
        SourceError: om.json is missing or damaged.
    """
    said = read_om(artifact.path)
    form, entry = artifact.form, artifact.entry
    own = {file.path: file.digest for file in artifact.files if file.path != IDENTITY}
    if own != dict(said.files):
        note = f"{IDENTITY} is about another file than {entry}; compile it again"
        return Finding(ORIGIN, form, entry, Outcome.FAIL, note=note), None
    try:
        graph = graph_of(said)
    except SourceError as error:
        note = f"its own weights cannot be read, and those of the graph neither: {error}"
        return Finding(ORIGIN, form, entry, Outcome.NOT_RUN, note=note), None
    note = (
        f"its own weights cannot be read; those of {said.graph}, which {IDENTITY} says it was made "
        f"from ({said.made_from[said.graph]}), are, and the answers are its own"
    )
    return Finding(ORIGIN, form, entry, Outcome.PASS, note=note), graph


def fitting(artifact: Artifact, graph: Artifact | None, truth: Golden) -> Golden:
    """Returns what an artifact is to be judged by: the limits of what it computes in.

    A mode that lowers types has the noise of that type, measured on the original, if the golden
    file has it. A file that lowers nothing has the limits of the model's own types, even where the
    golden file knows what a lower one would cost.

    Raises:
        EvidenceError: the golden file does not know what the mode costs.
    """
    said = read_om(artifact.path)
    policy = truth.precision
    if said.lowered is not None:
        if policy is not None and policy.dtype == said.lowered:
            return truth
        raise EvidenceError(
            f"{artifact.path}: computes in {said.lowered} ({_mode(said)}), and the golden file "
            "does not say what that costs; capture it from a specification with "
            f'[precision] type = "{said.lowered}"'
        )
    if policy is None or (graph is not None and lowered.is_lowered(graph, policy)):
        return truth
    cases = tuple(replace(case, low=None) for case in truth.cases)
    return replace(truth, precision=None, cases=cases)


def _mode(said: OmFile) -> str:
    return f"precision mode {said.asked['precision_mode']}"
