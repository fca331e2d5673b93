"""Manifests: what is read is what was written, and every mistake is told with its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from confseg.manifest import COLUMNS, Row, Rule, read_manifest, write_manifest

HEADER = ",".join(COLUMNS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / name).touch()
    return tmp_path


def write(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "cases.csv"
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def test_what_was_written_is_read(folder):
    rows = [
        Row("1", "P, the first", "A", folder / "a.nii.gz", folder / "b.nii.gz", Rule("label == 2")),
        Row("2", truth=folder / "b.nii.gz"),
        Row("3", score=Path("/elsewhere/score.nii.gz")),
    ]
    path = folder / "cases.csv"
    write_manifest(path, rows[:2])
    assert read_manifest(path) == rows[:2]
    write_manifest(path, rows[2:])
    assert "/elsewhere/score.nii.gz" in path.read_text()


def test_paths_count_from_the_manifest(folder, monkeypatch):
    path = write(folder, HEADER, "1,,,a.nii.gz,b.nii.gz,label > 0")
    monkeypatch.chdir("/")
    assert read_manifest(path)[0].score == folder / "a.nii.gz"


def test_other_columns_are_kept_and_their_order_is_free(folder):
    path = write(folder, f"center,{HEADER}", "Utrecht,1,p,g,,b.nii.gz,label >= 2")
    (row,) = read_manifest(path)
    assert row.extra == {"center": "Utrecht"}
    assert (row.case, row.patient, row.group) == ("1", "p", "g")
    write_manifest(path, [row])
    assert read_manifest(path) == [row]


def test_spreadsheets_are_forgiven_their_habits(folder):
    path = write(folder, HEADER, " 1 ,,,,b.nii.gz,", "", ",,,,,", encoding="utf-8-sig")
    (row,) = read_manifest(path)
    assert (row.case, row.rule) == ("1", Rule("label > 0"))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], r"lacks the columns \['case', .*found \[\]"),
        (["case,patient", "1,2"], r"lacks the columns \['group', 'score', 'truth', 'rule'\]"),
        ([HEADER.replace(",", ";")], "semicolons"),
        ([f"{HEADER},case"], r"twice: \['case'\]"),
        ([HEADER], "no cases"),
        ([HEADER, "1,,,,b.nii.gz"], "line 2: 5 fields, expected 6"),
        ([HEADER, ",,,,b.nii.gz,"], "line 2: the case has no name"),
        ([HEADER, "1,,,,b.nii.gz,label < 1"], "line 2: the label rule must read like"),
        ([HEADER, "1,,,,b.nii.gz,label >= 0"], "takes the background"),
        ([HEADER, "1,,,,b.nii.gz,", "1,,,,a.nii.gz,"], "case '1' comes 2 times"),
        ([HEADER, '1,"a', "b,,,,"], "no CSV file"),
        ([HEADER, "1,,,b.nii.gz,b.nii.gz,"], "case '1': one file is both score and truth"),
        (
            [HEADER, "1,,,a.nii.gz,b.nii.gz,", "2,,,a.nii.gz,b.nii.gz,"],
            "case '2' has the files and the rule of case '1'",
        ),
    ],
)
def test_mistakes_are_told_with_their_line(folder, lines, words):
    path = write(folder, *lines)
    with pytest.raises(ValueError, match=words) as error:
        read_manifest(path)
    assert str(path) in str(error.value)


def test_files_may_be_shared_where_the_cases_differ(folder):
    """Two readers, each compared with the other; or two classes of one label image."""
    lines = ["1,,,a.nii.gz,b.nii.gz,", "2,,,b.nii.gz,a.nii.gz,", "3,,,a.nii.gz,b.nii.gz,label > 1"]
    assert len(read_manifest(write(folder, HEADER, *lines))) == 3


@pytest.mark.parametrize("other", ["../data/{}", "{folder}/{}", "linked_{}"])
def test_a_case_that_comes_again_by_another_path_is_told(tmp_path, monkeypatch, other):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a.nii", "b.nii"):
        (folder / name).touch()
        (folder / f"linked_{name}").symlink_to(name)
    a, b = (other.format(name, folder=folder) for name in ("a.nii", "b.nii"))
    monkeypatch.chdir(tmp_path)
    manifest = Path("data/cases.csv")
    write(folder, HEADER, "1,,,a.nii,b.nii,", f"2,,,{a},{b},")
    with pytest.raises(ValueError, match="case '2' has the files and the rule of case '1'"):
        read_manifest(manifest)
    write(folder, HEADER, f"1,,,a.nii,{a},")
    with pytest.raises(ValueError, match="case '1': one file is both score and truth"):
        read_manifest(manifest)


@pytest.mark.parametrize("lines", [["case,score", "1,a.nii.gz"], [HEADER, "1,,,a.nii.gz,no.nii,"]])
def test_without_truths_a_name_and_a_score_are_enough(folder, lines):
    path = write(folder, *lines)
    assert read_manifest(path, truths=False) == [Row("1", score=folder / "a.nii.gz")]
    with pytest.raises((ValueError, FileNotFoundError)):
        read_manifest(path)
    path = write(folder, "case,file", "1,a.nii.gz")
    with pytest.raises(
        ValueError, match=r"lacks the columns \['score'\], found \['case', 'file'\]"
    ):
        read_manifest(path, truths=False)


def test_another_encoding_is_told(folder):
    path = write(folder, HEADER, "Müller,,,,b.nii.gz,", encoding="latin-1")
    with pytest.raises(ValueError, match="no CSV file in UTF-8"):
        read_manifest(path)


def test_missing_files_are_listed_and_counted(folder):
    path = write(folder, HEADER, *(f"{i},,,{i}.nii,b.nii.gz," for i in range(8)))
    with pytest.raises(FileNotFoundError, match=r"(?s)case '0'.*0\.nii.*case '4'.*and 3 more"):
        read_manifest(path)
    with pytest.raises(FileNotFoundError):
        read_manifest(folder / "none.csv")


def test_needed_files_must_be_named(folder):
    path = write(folder, HEADER, "1,,,,b.nii.gz,")
    assert len(read_manifest(path, needed=["truth"])) == 1
    with pytest.raises(ValueError, match="line 2: case '1' has no score"):
        read_manifest(path, needed=["score", "truth"])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no cases"),
        ([Row("1"), Row("1")], "'1' comes twice"),
        ([Row("1"), Row("2", extra={"x": "1"})], r"'2' has the extra columns \['x'\]"),
    ],
)
def test_what_could_not_be_read_is_not_written(tmp_path, rows, words):
    with pytest.raises(ValueError, match=words):
        write_manifest(tmp_path / "cases.csv", rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "lesion"),
    [("label > 0", {1, 2, 3}), ("label >= 2", {2, 3}), ("label == 2", {2}), ("label>1", {2, 3})],
)
def test_rules(text, lesion):
    labels = np.arange(4, dtype=np.uint8)
    assert set(labels[Rule(text).mask(labels)].tolist()) == lesion
