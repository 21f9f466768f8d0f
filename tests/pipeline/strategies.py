"""Random records for hypothesis."""

from hypothesis import strategies as st

from ascend_migrate.pipeline.records import FileEntry, Finding, Form, Outcome, Verdict

text = st.text(st.characters(codec="utf-8"), max_size=8)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
forms = st.sampled_from(Form)
digests = st.integers(0, 2**256 - 1).map(lambda n: f"sha256:{n:064x}")
files = st.builds(FileEntry, text, digests, st.integers(0, 2**63))
findings = st.builds(Finding, text, forms, text, st.sampled_from(Outcome), numbers, numbers, text)
verdicts = st.builds(
    Verdict,
    source=digests,
    golden=digests,
    subjects=st.dictionaries(forms, st.lists(files, max_size=3).map(tuple)),
    findings=st.lists(findings, max_size=5).map(tuple),
    level=st.sampled_from(["ledger", "cpu"]),
    context=st.dictionaries(text, text | st.integers() | st.lists(text), max_size=3),
)
