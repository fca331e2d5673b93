"""Tables of numbers: those of the methods, the same however often the run was interrupted."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import sys
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from niftis import small_cases, write_cases, write_image
from pyarrow.parquet import ParquetWriter, read_table

from confseg import CLS, Case, ConfidenceSets, Margin, fields
from confseg.cli import main, score
from confseg.journal import Journal
from confseg.metrics import dice
from confseg.parquet import write_parquet
from confseg.rows import Columns, row_of_numbers

CASES = small_cases(8, seed=5)


@pytest.fixture
def folder(tmp_path) -> Path:
    write_cases(tmp_path, CASES, groups="AB")
    return tmp_path


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The cases that were read, in their order."""
    names: list[str] = []

    def read(row, reading):
        names.append(row.case)
        return original(row, reading)

    original = score.read_case
    monkeypatch.setattr(score, "read_case", read)
    return names


def run(folder: Path, *more: str) -> int:
    return main(["score", str(folder / "cases.csv"), "-o", str(folder / "t.csv"), *more])


def table(folder: Path) -> dict[str, list[str]]:
    with (folder / "t.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [row[name] for row in rows] for name in rows[0]}


def numbers(folder: Path, name: str) -> list[float]:
    return [float(text) for text in table(folder)[name]]


def test_the_numbers_are_those_of_the_methods(folder):
    assert run(folder, "--fields", "logit", "distance", "mass") == 0
    found = table(folder)
    assert list(found) == Columns(fields=("logit", "distance", "mass")).names()
    assert found["case"] == [case.name for case in CASES]
    assert found["patient"] == [case.patient for case in CASES]
    assert found["group"] == list("ABABABAB")
    for eps in (0.0, 0.1, 0.3):
        expected = CLS(eps, 0.2).calibrate(CASES).critical_values_
        assert numbers(folder, f"outer_identity_{eps:g}") == expected.tolist()
    for metric in ("mm", "cross", "cube"):
        expected = Margin(0.2, coverage=0.9, metric=metric).calibrate(CASES).critical_values_
        assert numbers(folder, f"margin_{metric}_0.9") == expected.tolist()
    for name, field in {
        "logit": fields.logit,
        "distance": fields.signed_distance(),
        "mass": fields.cumulative_mass,
    }.items():
        sets = ConfidenceSets(0.2, inner=field, outer=field).calibrate(CASES)
        assert numbers(folder, f"inner_{name}") == sets.critical_values_.inner.tolist()
        assert numbers(folder, f"outer_{name}") == sets.critical_values_.outer.tolist()
    assert numbers(folder, "dice") == [dice(c.score >= 0.5, c.truth) for c in CASES]
    assert numbers(folder, "lesion_volume") == [6.0 * c.truth.sum() for c in CASES]
    assert numbers(folder, "predicted_voxels") == [(c.score >= 0.5).sum() for c in CASES]


def test_the_table_says_where_it_comes_from(folder):
    settings = "--eps 0.1 --coverages --metrics mm cube --margins 2 0.5 --fields"
    assert run(folder, *settings.split()) == 0
    sizes = [f"grown_{metric}_{margin}" for metric in ("mm", "cube") for margin in ("2", "0.5")]
    assert list(table(folder))[10:] == ["outer_identity_0.1", *sizes]
    said = json.loads((folder / "t.provenance.json").read_text())
    assert said["command"].startswith("confseg score ")
    assert said["rows"] == len(CASES)
    for key, name in (("table_sha256", "t.csv"), ("cases_sha256", "cases.csv")):
        assert said[key] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert not (folder / "t.csv.journal").exists()


def test_parquet_holds_what_csv_holds(folder):
    assert run(folder) == 0
    parquet = folder / "p.parquet"
    assert main(["score", str(folder / "cases.csv"), "-o", str(parquet)]) == 0
    found, columns = read_table(parquet), Columns()
    assert found.column_names == columns.names()
    kinds = {str: "string", int: "int64", float: "double"}
    assert [str(kind) for kind in found.schema.types] == [
        kinds[kind] for kind in columns.types().values()
    ]
    for name, kind in columns.types().items():
        assert found[name].to_pylist() == [kind(text) for text in table(folder)[name]]
    said = json.loads((folder / "p.provenance.json").read_text())
    assert said["table_sha256"] == hashlib.sha256(parquet.read_bytes()).hexdigest()
    assert said["rows"] == len(CASES)


def test_parquet_has_a_type_for_every_column_and_gaps_where_csv_has(tmp_path):
    case = Case(np.zeros((4, 4)), np.zeros((4, 4), bool), name='a "quoted", name')
    row = row_of_numbers(case, columns := Columns(margins=(2.0,)))
    for name, entry in zip(columns.names(), row, strict=True):
        assert isinstance(entry, columns.types()[name]) or entry == ""
    with (tmp_path / "t.parquet").open("wb") as stream:
        write_parquet(stream, columns.types(), [score._csv(row)] * 20_001)
    (first, *_, last) = read_table(tmp_path / "t.parquet").to_pylist()
    assert list(first.values())[:10] == ['a "quoted", name', "", "", 16, None, 0, 0, 0, 0, ANY]
    assert np.isnan(first["dice"])
    assert first["outer_identity_0"] == np.inf
    assert str(last) == str(first)


def test_the_table_gives_the_cutoff_of_the_command(folder, monkeypatch):
    page = (Path(__file__).parents[1] / "book/at_scale.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(folder)
    assert main(["score", "cases.csv", "-o", "archive.parquet"]) == 0
    found: dict[str, object] = {}
    exec(code[1].replace("alpha=0.1", "alpha=0.2"), found)
    assert found["cutoff"] == CLS(0.1, 0.2).calibrate(CASES).cutoff_


def test_parquet_is_written_whole_or_not_at_all(folder, monkeypatch, capsys):
    def breaks(*_):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(ParquetWriter, "write_batch", breaks)
        assert main(["score", str(folder / "cases.csv"), "-o", str(folder / "p.parquet")]) == 1
    assert "the disk is full" in capsys.readouterr().err
    left = {path.name for path in folder.iterdir()}
    assert left == {"cases.csv", "scores", "truths", "p.parquet.journal"}


def test_parquet_is_refused_where_it_cannot_be_written(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    before = sorted(folder.rglob("*"))
    assert main(["score", str(folder / "cases.csv"), "-o", str(folder / "p.parquet")]) == 1
    assert "pip install 'confseg[parquet]'" in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_several_processes_give_the_same_table(folder):
    assert run(folder) == 0
    alone = (folder / "t.csv").read_bytes()
    assert run(folder, "--n-jobs", "2") == 0
    assert (folder / "t.csv").read_bytes() == alone


def test_an_interrupted_run_goes_on(folder, monkeypatch, capsys, reads):
    original = score.read_case

    def interrupted(row, reading):
        if row.case == CASES[5].name:
            raise KeyboardInterrupt
        return original(row, reading)

    with monkeypatch.context() as patch:
        patch.setattr(score, "read_case", interrupted)
        assert run(folder) == 130
    assert not (folder / "t.csv").exists()
    # A line cut off by a crash is made again.
    journal = folder / "t.csv.journal"
    journal.write_bytes(journal.read_bytes()[:-7])
    # A case whose file has changed is made again.
    write_image(folder / "scores/5-1.nii.gz", CASES[2].score)
    reads.clear()
    assert run(folder) == 0
    assert reads == ["5-1", "5-4", "5-5", "5-6", "5-7"]
    assert "3 of 8 cases were done before" in capsys.readouterr().err
    resumed = (folder / "t.csv").read_bytes()
    assert run(folder) == 0
    assert (folder / "t.csv").read_bytes() == resumed


def test_faults_are_told_and_the_rest_is_kept(folder, capsys, reads):
    good = (folder / "scores/5-3.nii.gz").read_bytes()
    for name in ("5-3", "5-6"):
        (folder / f"scores/{name}.nii.gz").write_bytes(good[:100])
    assert run(folder) == 1
    told = capsys.readouterr().err
    assert "2 of 8 cases failed; t.csv was not written, and the others need not" in told
    assert "case '5-3': " in told
    assert "scores/5-6.nii.gz cannot be read" in told
    assert not (folder / "t.csv").exists()
    for name in ("5-3", "5-6"):
        (folder / f"scores/{name}.nii.gz").write_bytes(good)
    reads.clear()
    assert run(folder) == 0
    assert reads == ["5-3", "5-6"]


def test_other_settings_start_anew(folder, capsys, reads):
    (folder / "scores/5-7.nii.gz").write_bytes(b"")
    assert run(folder) == 1
    capsys.readouterr()
    reads.clear()
    assert run(folder, "--eps", "0.5") == 1
    assert "earlier run with other settings left is dropped" in capsys.readouterr().err
    assert len(reads) == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--eps", "1"], "the tolerated miss fraction must lie in [0, 1), found 1.0"),
        (["--eps", "0.1", "0.1"], "columns that come twice: ['outer_identity_0.1']"),
        (["--coverages", "0"], "a coverage must lie in (0, 1], found 0.0"),
        (["--margins", "-1"], "a margin must not be negative, found -1.0"),
        (["--threshold", "nan"], "threshold must be finite"),
        (["-o", "t.txt"], "t.txt: expected a name that ends in .csv or .parquet"),
        (["--labels", "2"], "8 of 8 cases failed"),
    ],
)
def test_bad_settings_are_refused(folder, capsys, words, message):
    assert run(folder, *words) == 1
    assert message in capsys.readouterr().err
    assert not (folder / "t.csv").exists()


def test_cases_without_lesion_or_prediction_have_their_numbers():
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    names = Columns().names()
    nothing = dict(
        zip(names, row_of_numbers(Case(np.zeros((4, 4)), empty), Columns()), strict=True)
    )
    assert nothing["voxel_mm3"] == ""
    assert nothing["outer_identity_0.1"] == np.inf
    assert nothing["margin_mm_1"] == 0
    assert np.isnan(nothing["dice"])
    missed = dict(zip(names, row_of_numbers(Case(np.zeros((4, 4)), full), Columns()), strict=True))
    assert missed["margin_cube_0.9"] == np.inf
    assert missed["outer_logit"] == -np.inf
    with pytest.raises(ValueError, match="must be finite"):
        row_of_numbers(Case(np.full((4, 4), np.nan), full), Columns())
    with pytest.raises(ValueError, match="unknown fields"):
        Columns(fields=("guess",))


def test_two_runs_may_write_one_journal(tmp_path):
    path = tmp_path / "a.journal"
    with Journal(path, "s") as one, Journal(path, "s") as two:
        for i in range(20):
            (one if i % 2 else two)[f"{i}"] = "é" * i
        assert all(one[f"{i}"] == "é" * i for i in range(1, 20, 2))
        with Journal(path, "s") as three:
            assert all(three[f"{i}"] == "é" * i for i in range(20))
            assert "20" not in three
        one.remove()
    assert not path.exists()


def test_a_run_with_other_settings_takes_nothing_from_one_that_goes_on(tmp_path):
    path = tmp_path / "a.journal"
    with Journal(path, "s") as one:
        one["a"] = "of one"
        with Journal(path, "t") as two:
            assert two.dropped and "a" not in two
            two["a"] = "of two"
            one["b"] = "of one, later"
            assert [one["a"], one["b"], two["a"]] == ["of one", "of one, later", "of two"]
        with Journal(path, "t") as three:
            assert three["a"] == "of two" and "b" not in three
