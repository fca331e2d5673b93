"""The report: it says what was calibrated, sees what is wrong, and asks for nothing else."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.figure import Figure
from niftis import small_cases, write_cases, write_image

from confseg import CLS, Case, ConfidenceSets
from confseg.cli import main
from confseg.report import checks, figures

CASES = small_cases(40, seed=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_cases(folder, CASES, groups="AB")
    return folder


def report(folder: Path, out: Path, *words: str, method: str = "cls") -> int:
    """Calibrate and report."""
    own = ["--eps=0.1"] if method == "cls" else []
    cases, calibration = str(folder / "cases.csv"), str(out / "a.json")
    words = ("calibrate", method, cases, "--alpha=0.1", *own, "-o", calibration, *words)
    assert main(words) == 0
    return main(["report", calibration, cases, "-o", str(out / "a.html")])


class Reader(HTMLParser):
    """The text of a page, its attributes, and whether every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(folder: Path) -> Reader:
    page = Reader((folder / "a.html").read_text())
    assert page.open == []
    return page


def test_a_report_says_what_was_calibrated(folder, tmp_path):
    assert report(folder, tmp_path) == 0
    page, method = read(tmp_path), CLS.from_json(tmp_path / "a.json")
    assert method.statement() in page.text
    assert f" identity >= {method.cutoff_!r} " in page.text
    assert "37 of 40 0.9 0.9024" in page.text
    assert repr(method) in page.text
    assert "960 to 960, median 960" in page.text
    assert "Voxel spacing (mm) 2, 1, 3 " in page.text
    volumes = [case.truth.sum() * 6 / 1000 for case in CASES]
    assert f"Volume of a lesion (mL) {min(volumes):.4g} to {max(volumes):.4g}, med" in page.text
    assert "of each case the cut-off" in page.text
    assert "Scores: mask" in page.text and "outer" not in page.text
    assert "since calibration unchanged" in page.text
    assert "All scores are distinct" in page.text
    assert "Every case is of another patient" in page.text
    assert "No group keeps the promise more rarely" in page.text
    worst = CASES[int(method.nonconformity_.argmax())]
    assert f"Score maps of {worst.name}, " in (tmp_path / "a.html").read_text()
    images = [value for name, value in page.attributes if name == "src"]
    assert len(images) == 2
    assert all(image.startswith("data:image/png;base64,") for image in images)


def test_a_report_of_other_cases(tmp_path):
    """Patients, fields with parameters, cases without lesion, voxels of two sizes."""
    empty = Case(CASES[0].score, CASES[0].truth & False, name="none", patient="nobody")
    manifest = write_cases(tmp_path, [*CASES[:12], empty])
    for part in ("scores", "truths"):
        path = tmp_path / part / "none.nii.gz"
        write_image(path, np.asarray(nib.load(path).dataobj), np.diag([2, 1.5, 3, 1]))
    words = ["--control=outer", "--outer=distance", "--per=worst"]
    assert report(tmp_path, tmp_path, *words, method="sets") == 0
    page, lesions = read(tmp_path), [int(case.truth.sum()) for case in CASES[:12]]
    assert "outer distance (threshold 0.5, metric mm, signed True) >= " in page.text
    assert "of each patient the cut-off at which the promise is just kept" in page.text
    assert f"Voxels of a lesion {min(lesions)} to {max(lesions)}, median" in page.text
    assert "Voxel spacing (mm) 2, 1 to 1.5, 3 " in page.text
    write_image(tmp_path / "scores/6-0.nii.gz", CASES[0].score[..., 0], unit="unknown")
    write_image(tmp_path / "truths/6-0.nii.gz", CASES[0].truth[..., 0] * 1.0, unit="unknown")
    head, first, *_ = manifest.read_text().splitlines()
    manifest.write_text("\n".join([head, first]))
    assert report(tmp_path, tmp_path) == 0
    assert "Voxel spacing" not in read(tmp_path).text


def test_broken_promises_come_first_whatever_the_scale_of_their_side(folder, tmp_path):
    """Scores of the inner side lie in [0, 1], those of the outer one in [-1, 0]."""
    weights = ["--alpha=0.2", "--control=weighted", "--weights", "0.08", "0.12"]
    fields = ["--inner=identity", "--outer=mass"]
    assert report(folder, tmp_path, *weights, *fields, method="sets") == 0
    method = ConfidenceSets.from_json(tmp_path / "a.json")
    broken = {case.name for case in CASES if not method.complies(case)}
    rows = re.findall(
        r"<tr><td>(6-\d+)</td>.*?<td>(yes|no)</td>", (tmp_path / "a.html").read_text()
    )
    assert len(rows) == 10
    assert {name for name, kept in rows[: len(broken)] if kept == "no"} == broken
    assert 2 < len(broken) < 10
    assert {kept for _, kept in rows[len(broken) :]} == {"yes"}


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("sets", []),
        ("sets", ["--control=weighted", "--weights", "0.05", "0.05"]),
        ("margin", ["--side=both"]),
        ("cls", ["--by-group"]),
        ("cls", ["--per=worst"]),
        ("cls", ["--per=draw"]),
    ],
)
def test_every_calibration_has_its_report(folder, tmp_path, method, words):
    assert report(folder, tmp_path, *words, method=method) == 0
    page = read(tmp_path)
    assert page.text.count("What is promised") == (2 if words == ["--by-group"] else 1)


def test_a_page_asks_for_nothing_else(folder, tmp_path):
    assert report(folder, tmp_path) == 0
    page = (tmp_path / "a.html").read_text()
    text = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]*", "", page)
    assert not re.search(r"https?:|//|@import|url\(|<script|<link", text)
    assert "default-src 'none'" in text
    assert "@media print" in text


def test_names_are_text_and_not_markup(tmp_path):
    case = small_cases(1, seed=7)[0]
    renamed = Case(case.score, case.truth, case.spacing, "<b>&$1_$", "<i>")
    write_cases(tmp_path, [renamed, *small_cases(9, seed=8)])
    assert report(tmp_path, tmp_path) == 0
    assert "<b>&$1_$ <i>" in read(tmp_path).text


@pytest.mark.parametrize("words", [[], ["--per=worst"]])
@pytest.mark.parametrize("entry", ["2026-01-{:02}", "{}"], ids=["dates", "numbers"])
def test_drift_is_looked_for_along_a_column(tmp_path, capsys, entry, words):
    """The list is in no order, but the worse a case the later it was taken."""
    manifest = write_cases(tmp_path, CASES[:24])
    scores = CLS(0.1, 0.1).calibrate(CASES[:24]).nonconformity_
    head, *lines = manifest.read_text().splitlines()
    taken = [entry.format(1 + rank) for rank in scores.argsort().argsort()]
    lines = [f"{line},{when}" for line, when in zip(lines, taken, strict=True)]
    manifest.write_text("\n".join([f"{head},taken", *lines]))
    assert report(tmp_path, tmp_path, *words) == 0
    assert "grow or fall in the order of the list of cases did not win" in read(tmp_path).text
    again = ["report", str(tmp_path / "a.json"), str(manifest), "-o", str(tmp_path / "a.html")]
    assert main([*again, "--order", "taken"]) == 0
    assert "The scores change in the order of 'taken': they grow" in read(tmp_path).text
    capsys.readouterr()
    assert main([*again, "--order", "date"]) == 1
    assert "--order date: expected one of the columns case, patient, group, taken" in told(capsys)
    assert main([*again, "--order", "patient"]) == 1
    assert "found '6p0' in case '6-0'" in told(capsys)
    manifest.write_text(re.sub(",[^,]*$", ",", manifest.read_text().strip(), count=1))
    assert main([*again, "--order", "taken"]) == 1
    assert "--order taken: there is nothing in this column in 1 of 24 cases: 6-23" in told(capsys)


@pytest.mark.parametrize(
    ("entries", "wrong"),
    [(["9", "10", "unknown"], "unknown"), (["2026-01-31", "31.01.2026", "2026"], "31.01.2026")],
)
def test_an_order_that_is_none_is_refused_before_anything_is_read(
    tmp_path, capsys, monkeypatch, entries, wrong
):
    manifest = write_cases(tmp_path, CASES[:12])
    assert report(tmp_path, tmp_path) == 0
    head, *lines = manifest.read_text().splitlines()
    taken = [*entries, *entries[:1] * 9]
    lines = [f"{line},{when}" for line, when in zip(lines, taken, strict=True)]
    manifest.write_text("\n".join([f"{head},taken", *lines]))
    capsys.readouterr()
    monkeypatch.setattr("confseg.cli.evaluate.read_case", None)
    again = ["report", str(tmp_path / "a.json"), str(manifest), "-o", str(tmp_path / "a.html")]
    assert main([*again, "--order", "taken"]) == 1
    assert f"expected numbers, or dates such as 2026-01-31, found '{wrong}'" in told(capsys)


def test_a_case_that_was_copied_is_told(tmp_path):
    """Under another name, with copies of its files, it counts as independent."""
    copy = dataclasses.replace(CASES[3], name="again", patient="another")
    write_cases(tmp_path, [*CASES[:12], copy])
    assert report(tmp_path, tmp_path) == 0
    page = read(tmp_path)
    assert "Ties look 2 of 13 scores equal another, none at the quantile." in page.text
    assert "But 6-3 and again also have one size of image, lesion and regions" in page.text


def test_cases_that_changed_are_refused(tmp_path, capsys):
    write_cases(tmp_path, CASES[:12])
    assert report(tmp_path, tmp_path) == 0
    write_image(tmp_path / "scores/6-4.nii.gz", CASES[20].score)
    capsys.readouterr()
    words = ["report", str(tmp_path / "a.json"), str(tmp_path / "cases.csv"), "-o"]
    assert main([*words, str(tmp_path / "b.html")]) == 1
    assert re.search(r"'6-4' was calibrated with the mask score .* now give", told(capsys))
    write_cases(tmp_path, CASES[:11])
    assert main([*words, str(tmp_path / "b.html")]) == 1
    assert "'6-11' was calibrated, but is not among the cases" in told(capsys)
    write_cases(tmp_path, CASES[:13])
    assert main([*words, str(tmp_path / "b.html")]) == 1
    assert "'6-12' is among the cases, but was not calibrated" in told(capsys)
    assert not (tmp_path / "b.html").exists()


def told(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_checks_see_what_is_wrong_and_only_that():
    rng = np.random.default_rng(0)
    scores, names = rng.normal(size=200), [f"c{i}" for i in range(200)]
    assert not checks.ties(scores, 0.1, []).found
    assert checks.ties(scores.round(1), 0.1, []).found
    assert not checks.outliers(scores, names).found
    odd = scores.copy()
    odd[[3, 5]] = (50, np.inf)
    assert "2 scores lie" in checks.outliers(odd, names).text
    assert checks.outliers(odd, names).text.endswith(
        "c5, c3. They count as they are; look at these cases."
    )
    assert not checks.outliers(np.repeat([0.0, 1.0], [150, 50]), names).found
    group = ["A", "B"] * 100
    assert not checks.groups(scores, 0.1, group).found
    assert checks.groups(scores + 2 * (np.arange(200) % 2), 0.1, group).found
    assert not checks.groups(scores, 0.1, [""] * 200).found
    assert not checks.order(scores, names, "by date").found
    assert "change by date: they grow" in checks.order(np.sort(scores), names, "by date").text
    assert "they fall" in checks.order(np.sort(scores)[::-1], names, "by date").text
    assert checks.patients(["a", "a", "b"], "case").found
    assert checks.patients(["", "a", "b"], "case").found
    assert not checks.patients(["a", "b"], "case").found
    assert not checks.patients(["a", "a"], "worst").found
    assert checks.left_out(2, "cases").found


def test_figures_of_other_shapes():
    flat = Case(np.eye(6), np.eye(6) > 0, name="flat")
    line = Case(np.ones(4), np.ones(4) > 0)
    assert "flat" in figures.slices([(flat, {"outer": flat.truth})], {})
    assert "counted from 1" not in figures.slices([(flat, {"outer": flat.truth})], {})
    text = figures.score_histogram(np.array([1, np.inf]), np.inf, "outer", "case")
    assert "1 more are infinite" in text
    with pytest.raises(ValueError, match="two or three axes"):
        figures.slices([(line, {"outer": line.truth})], {})


def test_a_slice_is_named_as_people_count():
    truth = np.zeros((4, 5, 8), dtype=bool)
    truth[:, :, 4] = True
    case = Case(truth * 1.0, truth, (1, 1, 3), name="scan")
    ax = Figure().subplots()
    figures._show(ax, case, {"outer": truth & False}, {})
    title = "".join(map(ax.get_title, ("left", "center")))  # where the style in use puts it
    assert title == "scan\nslice 5 of 8 along axis 3"
    assert "counted from 1" in figures.slices([(case, {"outer": truth})], {})
