"""The gate opens for a complete proof of exactly these files, and for nothing less."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascend_migrate.pipeline.errors import ExitCode, PublicationRefusedError
from ascend_migrate.pipeline.gate import KERNELS, ORIGIN, admit
from ascend_migrate.pipeline.records import FileEntry, Finding, Form, Outcome, Verdict

GRAPH = ("outputs.close", "outputs.present", "calls.repeatable", "weights.ledger")
FILES = {
    Form.SAFETENSORS: (FileEntry("model.safetensors", "sha256:1", 10),),
    Form.ONNX: (
        FileEntry("model.onnx", "sha256:2", 20),
        FileEntry("model.safetensors", "sha256:1", 10),
    ),
    Form.ONNX_CANN: (
        FileEntry("model.cann.onnx", "sha256:4", 25),
        FileEntry("model.safetensors", "sha256:1", 10),
    ),
    Form.MINDIR: (FileEntry("model.mindir", "sha256:3", 30),),
    Form.OM: (FileEntry("model.om", "sha256:5", 35), FileEntry("om.json", "sha256:6", 5)),
    Form.TORCH_NPU: (
        FileEntry("model.safetensors", "sha256:1", 10),
        FileEntry("torch_npu.json", "sha256:7", 15),
    ),
}
PROOF = (
    Finding("weights.equal", Form.SAFETENSORS, "w", Outcome.PASS),
    *(
        Finding(check, form, "y", Outcome.PASS, *((0.5, 1.0) if check == GRAPH[0] else ()))
        for form in (Form.ONNX, Form.ONNX_CANN, Form.MINDIR, Form.OM)
        for check in GRAPH
    ),
    Finding(ORIGIN, Form.OM, "model.om", Outcome.PASS),
    Finding("weights.equal", Form.TORCH_NPU, "w", Outcome.PASS),
)
PROVED = Verdict("sha256:s", "sha256:g", FILES, PROOF)

Subjects = Mapping[Form, Sequence[FileEntry]]


def reasons(verdict: Verdict, subjects: Subjects = FILES) -> tuple[str, ...]:
    try:
        admit(verdict, subjects=subjects, name="toy")
    except PublicationRefusedError as error:
        return error.reasons
    return ()


def without(form: Form, check: str) -> Verdict:
    kept = [f for f in PROOF if (f.form, f.check) != (form, check)]
    return replace(PROVED, findings=tuple(kept))


def with_finding(finding: Finding) -> Verdict:
    return replace(PROVED, findings=(*PROOF, finding))


def test_a_complete_proof_opens_it() -> None:
    assert reasons(PROVED) == ()


@pytest.mark.parametrize("form", Form)
def test_one_form_alone(form: Form) -> None:
    alone = {form: FILES[form]}
    findings = tuple(f for f in PROOF if f.form is form)
    assert reasons(replace(PROVED, subjects=alone, findings=findings), alone) == ()


REFUSED: dict[str, tuple[Verdict, Subjects, str]] = {
    "nothing": (replace(PROVED, subjects={}, findings=()), {}, "there is nothing to publish"),
    "nothing judged": (replace(PROVED, findings=()), FILES, "onnx: nothing was checked"),
    "no files": (PROVED, {**FILES, Form.ONNX: ()}, "onnx: has no files"),
    "form not judged": (
        replace(PROVED, subjects={f: FILES[f] for f in FILES if f is not Form.MINDIR}),
        FILES,
        "mindir: the verdict does not judge this form",
    ),
    "form not given": (
        PROVED,
        {f: FILES[f] for f in FILES if f is not Form.MINDIR},
        "mindir: judged, but not among the files to publish",
    ),
    "other digest": (
        PROVED,
        {**FILES, Form.MINDIR: (FileEntry("model.mindir", "sha256:9", 30),)},
        "mindir: model.mindir is not the file that was judged (sha256:9, 30 bytes; judged: "
        "sha256:3, 30 bytes)",
    ),
    "other size": (
        PROVED,
        {**FILES, Form.MINDIR: (FileEntry("model.mindir", "sha256:3", 31),)},
        "mindir: model.mindir is not the file that was judged (sha256:3, 31 bytes",
    ),
    "file more": (
        PROVED,
        {**FILES, Form.MINDIR: (*FILES[Form.MINDIR], FileEntry("x.so", "sha256:8", 1))},
        "mindir: x.so is not named in the verdict",
    ),
    "file less": (
        PROVED,
        {**FILES, Form.ONNX: FILES[Form.ONNX][:1]},
        "onnx: model.safetensors was judged, but is missing",
    ),
    "file twice": (
        PROVED,
        {**FILES, Form.MINDIR: FILES[Form.MINDIR] * 2},
        "mindir: model.mindir is named more than once",
    ),
    "no source": (replace(PROVED, source=""), FILES, "the verdict does not name its source"),
    "no golden": (
        replace(PROVED, golden=""),
        FILES,
        "onnx: the verdict does not name the outputs that it was judged against",
    ),
    "no number": (
        replace(PROVED, findings=tuple(replace(f, measured=None) for f in PROOF)),
        FILES,
        "mindir: no number was measured",
    ),
    "over the limit": (
        with_finding(Finding("outputs.close", Form.ONNX, "z", Outcome.PASS, 2.0, 1.0)),
        FILES,
        "onnx: outputs.close on z is called passed, but is not (measured 2, allowed 1)",
    ),
    "NaN": (
        with_finding(Finding("outputs.close", Form.ONNX, "z", Outcome.PASS, float("nan"), 1.0)),
        FILES,
        "onnx: outputs.close on z is called passed, but is not (measured nan, allowed 1)",
    ),
    "failed": (
        with_finding(Finding("outputs.close", Form.ONNX, "z", Outcome.FAIL, 2.0, 1.0, "far")),
        FILES,
        "onnx: outputs.close on z failed (measured 2, allowed 1): far",
    ),
    "not run": (
        with_finding(Finding("outputs.close", Form.ONNX, "z", Outcome.NOT_RUN)),
        FILES,
        "onnx: outputs.close on z was not run: no reason given",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_less_is_refused(name: str) -> None:
    verdict, subjects, reason = REFUSED[name]
    assert any(found.startswith(reason) or reason in found for found in reasons(verdict, subjects))


@pytest.mark.parametrize(("form", "check"), [(f.form, f.check) for f in PROOF])
def test_no_check_can_be_left_out(form: Form, check: str) -> None:
    said = reasons(without(form, check))
    alone = form in (Form.SAFETENSORS, Form.TORCH_NPU)  # the only check that they have
    wanted = "nothing was checked" if alone else f"{check} was not carried out"
    assert f"{form}: {wanted}" in said


def test_one_line_carries_every_reason() -> None:
    with pytest.raises(PublicationRefusedError) as caught:
        admit(replace(PROVED, source="", findings=PROOF[1:]), subjects=FILES, name="toy")
    assert caught.value.exit_code is ExitCode.REFUSED
    assert str(caught.value) == (
        "toy refused: mindir: the verdict does not name its source; om: the verdict does not name "
        "its source; onnx: the verdict does not name its source; onnx-cann: the verdict does not "
        "name its source; safetensors: nothing was checked; torch-npu: the verdict does not name "
        "its source"
    )


def test_a_form_that_no_check_proves() -> None:
    with pytest.raises(PublicationRefusedError, match="onnx: no check is known that proves"):
        admit(PROVED, subjects=FILES, required={Form.SAFETENSORS: {"weights.equal"}})


def test_thousands_of_reasons_are_counted() -> None:
    bad = tuple(Finding("c", Form.ONNX, f"t{n}", Outcome.FAIL) for n in range(5000))
    said = reasons(replace(PROVED, findings=(*PROOF, *bad)))
    assert len(said) == 21
    assert said[-1] == "and 4980 more"


@given(outcomes=st.tuples(*[st.sampled_from(Outcome)] * len(PROOF)))
def test_only_passes_open_it(outcomes: tuple[Outcome, ...]) -> None:
    pairs = zip(PROOF, outcomes, strict=True)
    verdict = replace(PROVED, findings=tuple(replace(f, outcome=o) for f, o in pairs))
    assert (reasons(verdict) == ()) == (set(outcomes) == {Outcome.PASS})


checks = st.sampled_from([*GRAPH, "weights.equal", "speed"])
limits = st.sampled_from([(None, None), (0.5, 1.0), (1.0, 1.0)])
sound = st.builds(
    lambda check, form, outcome, numbers: Finding(check, form, "t", outcome, *numbers),
    checks,
    st.sampled_from(Form),
    st.sampled_from([Outcome.PASS] * 6 + [Outcome.FAIL, Outcome.NOT_RUN]),
    limits,
)


@given(more=st.lists(sound, max_size=4), data=st.data())
def test_removing_a_pass_never_opens_it(more: list[Finding], data: st.DataObject) -> None:
    findings = data.draw(st.lists(st.sampled_from([*PROOF, *more]), unique=True))
    before = reasons(replace(PROVED, findings=tuple(findings)))
    passes = [f for f in findings if f.outcome is Outcome.PASS]
    gone = data.draw(st.sets(st.sampled_from(passes)) if passes else st.just(set()))
    after = reasons(replace(PROVED, findings=tuple(f for f in findings if f not in gone)))
    assert after or not before


PLACES = [(form, at) for form, files in FILES.items() for at in range(len(files))]


def thinned(gone: set[tuple[Form, int]]) -> dict[Form, tuple[FileEntry, ...]]:
    return {
        form: tuple(file for at, file in enumerate(files) if (form, at) not in gone)
        for form, files in FILES.items()
    }


@given(
    judged=st.sets(st.sampled_from(PLACES)),
    given_=st.sets(st.sampled_from(PLACES)),
    forms=st.sets(st.sampled_from(Form)),
)
def test_removing_a_subject_never_opens_it(
    judged: set[tuple[Form, int]], given_: set[tuple[Form, int]], forms: set[Form]
) -> None:
    """Neither in the verdict, nor among the files, nor in both: each form keeps all its files."""
    verdict = replace(PROVED, subjects=thinned(judged))
    files = {form: kept for form, kept in thinned(given_).items() if form not in forms}
    emptied = any(not kept for kept in thinned(given_).values())
    opens = reasons(verdict, files) == ()
    assert opens == (judged == given_ and not forms and not emptied)


@given(outcome=st.sampled_from([Outcome.FAIL, Outcome.NOT_RUN]), finding=sound)
def test_nothing_makes_up_for_a_failure(outcome: Outcome, finding: Finding) -> None:
    bad = replace(finding, outcome=outcome)
    assert reasons(with_finding(bad))
    assert reasons(replace(PROVED, findings=(*PROOF, bad, *PROOF)))


WAIVED = Finding(KERNELS, Form.MINDIR, "RmsNorm", Outcome.WAIVED, note="no kernel")


def test_a_waived_form_is_proved_by_its_weights_alone() -> None:
    ledger = [f for f in PROOF if f.form is not Form.MINDIR or f.check == "weights.ledger"]
    waived = replace(PROVED, findings=(*ledger, WAIVED))
    assert waived.outcome is Outcome.WAIVED
    assert reasons(waived) == ()
    unwaived = replace(PROVED, findings=(*ledger, replace(WAIVED, outcome=Outcome.NOT_RUN)))
    assert "mindir: runtime.kernels on RmsNorm was not run: no kernel" in reasons(unwaived)
    assert "mindir: outputs.close was not carried out" in reasons(unwaived)


def test_a_compiled_file_cannot_be_waived() -> None:
    ledger = [f for f in PROOF if f.form is not Form.OM or f.check.startswith("weights.")]
    waived = replace(PROVED, findings=(*ledger, replace(WAIVED, form=Form.OM)))
    assert reasons(waived) == (
        "om: calls.repeatable was not carried out",
        "om: outputs.close was not carried out",
        "om: outputs.present was not carried out",
        "om: no number was measured",
        "om: runtime.kernels on RmsNorm is waived, which no om can be",
    )


def test_a_waiver_does_not_excuse_the_weights() -> None:
    others = [f for f in PROOF if f.form is not Form.MINDIR]
    assert reasons(replace(PROVED, findings=(*others, WAIVED))) == (
        "mindir: weights.ledger was not carried out",
    )


@pytest.mark.parametrize("check", GRAPH)
def test_no_other_check_can_be_waived(check: str) -> None:
    waived = with_finding(Finding(check, Form.MINDIR, "y", Outcome.WAIVED))
    assert reasons(waived) == (
        f"mindir: {check} on y is waived, which only runtime.kernels can be",
    )


def test_a_waiver_does_not_excuse_a_difference() -> None:
    fail = Finding("outputs.close", Form.MINDIR, "y", Outcome.FAIL, 2.0, 1.0, "differs")
    verdict = replace(PROVED, findings=(*PROOF, WAIVED, fail))
    assert verdict.outcome is Outcome.FAIL
    assert len(reasons(verdict)) == 1
