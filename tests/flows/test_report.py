"""The pages made from a verdict: nothing is lost, nothing in it is taken for markup."""

import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ascend_migrate.flows import report_html, report_text
from ascend_migrate.pipeline.errors import ExitCode
from ascend_migrate.pipeline.records import FileEntry, Finding, Form, Outcome, Verdict

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>{{ 7 * 7 }}"
DIGEST = "sha256:" + "0" * 64


class Tags(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def verdict(*findings: Finding, name: str = "toy", level: str = "cpu") -> Verdict:
    return Verdict(
        source=DIGEST,
        golden=DIGEST,
        subjects={Form.ONNX: (FileEntry(name, DIGEST, 1234567),)},
        findings=findings,
        level=level,
        context={
            "name": name,
            "source": name,
            "model": name,
            "inputs": [name],
            "cases": [name],
            "source_notes": [name],
            "notes": {"onnx": [name]},
            "no_float64_twin": name,
            "original": {name: name},
            "versions": {name: name},
        },
    )


def finding(outcome: Outcome, measured: float | None = None, **more: object) -> Finding:
    texts = {"check": "outputs.close", "subject": "y", "note": "because", **more}
    allowed = None if measured is None else 1e-6
    return Finding(
        str(texts["check"]), Form.ONNX, str(texts["subject"]), outcome, measured, allowed,
        str(texts["note"]),
    )  # fmt: skip


def seen(judged: Verdict) -> Tags:
    page = Tags()
    page.feed(report_html.render(judged))
    return page


def test_hostile_names_stay_text() -> None:
    bad = finding(Outcome.FAIL, 1.0, check=HOSTILE, subject=HOSTILE, note=HOSTILE)
    page = seen(verdict(bad, bad, name=HOSTILE))
    assert not page.tags & {"script", "img", "iframe", "object", "link", "a", "form"}
    assert not {name for name in page.attributes if name.startswith("on")} | {"src", "href"} & (
        page.attributes
    )
    assert page.text.count(HOSTILE) >= 10  # escaped everywhere, lost nowhere


def test_page_needs_nothing_from_outside() -> None:
    page = report_html.render(verdict(finding(Outcome.PASS, 1e-7)))
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page
    assert "url(" not in page


@pytest.mark.parametrize(
    ("measured", "allowed", "percent"),
    [
        (None, None, None),
        (0.5, None, None),
        (0.5, 0.0, None),
        (0.0, 1.0, 0.0),
        (0.25, 1.0, 25.0),
        (2.0, 1.0, 100.0),
        (float("inf"), 1.0, 100.0),
        (float("nan"), 1.0, 0.0),
    ],
)
def test_bars(measured: float | None, allowed: float | None, percent: float | None) -> None:
    item = Finding("outputs.close", Form.ONNX, "y", Outcome.FAIL, measured, allowed)
    page = report_html.render(verdict(item))
    assert ("<svg" in page) == (percent is not None)
    if percent is not None:
        assert f'<rect width="{percent:.1f}"' in page
    assert "None" not in seen(verdict(item)).text


def test_level_and_outcome_are_said() -> None:
    passed = finding(Outcome.PASS, 1e-7)
    assert "Proved equivalent on the CPU; not verified on device." in seen(verdict(passed)).text
    ledger = seen(verdict(passed, level="ledger")).text
    assert "no output was compared" in ledger
    assert "Not verified on device." in ledger
    device = seen(verdict(passed, level="device")).text
    assert "Not verified" not in device
    failed = seen(verdict(finding(Outcome.FAIL, 1.0))).text
    assert "Not equivalent to the original." in failed
    assert "Proved" not in failed


def test_text_lists_what_did_not_pass_once_and_not_without_end() -> None:
    many = [finding(Outcome.FAIL, 1.0, subject=f"y{i}") for i in range(30)]
    text = report_text.verdict(verdict(finding(Outcome.PASS, 1e-7, check="outputs.peak"), *many))
    lines = text.splitlines()
    assert lines[0] == "FAIL: not equivalent to the original"
    wanted = "FAIL: onnx outputs.close y0: 1 measured, 1e-06 allowed; because"
    assert lines.count(wanted) == 1
    assert sum(line.startswith("FAIL: onnx") for line in lines) == 20
    assert lines[-1] == "and 10 more; the report has all"
    assert "see below (the worst of 30 findings)" in text
    page = seen(verdict(*many))
    assert all(f"y{i}" in page.text for i in range(30))


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome.PASS, Outcome.PASS], ExitCode.OK),
        ([Outcome.PASS, Outcome.NOT_RUN], ExitCode.UNABLE),
        ([Outcome.NOT_RUN, Outcome.FAIL], ExitCode.REFUSED),
        ([], ExitCode.UNABLE),
    ],
)
def test_exit_code_of_a_verdict(outcomes: list[Outcome], code: ExitCode) -> None:
    assert report_text.exit_code(verdict(*map(finding, outcomes))) is code


def test_every_check_is_explained() -> None:
    from ascend_migrate.pipeline.gate import REQUIRED_CHECKS

    assert set().union(*REQUIRED_CHECKS.values()) <= set(report_text.MEANINGS)


@pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed")
def test_renders_in_a_browser(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    bad = finding(Outcome.FAIL, 1.0, note=HOSTILE)
    page.write_text(report_html.render(verdict(bad, finding(Outcome.PASS, 1e-7), name=HOSTILE)))
    picture = tmp_path / "report.png"
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    options += "--disable-background-networking --disable-component-update --disable-sync "
    options += "--window-size=1200,1600"
    subprocess.run(
        [CHROMIUM, *options.split(), f"--user-data-dir={tmp_path / 'profile'}",
         f"--screenshot={picture}", page.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG\r\n")
    assert data[16:24] == (1200).to_bytes(4) + (1600).to_bytes(4)
    assert len(data) > 20_000  # an empty page of this size has 9,000 bytes
