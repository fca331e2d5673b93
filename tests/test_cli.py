"""The command line: from NIfTI files to masks that keep their promise."""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from niftis import AFFINE, small_cases, write_cases, write_image

from confseg import (
    CLS,
    Case,
    ConfidenceSets,
    Margin,
    Mondrian,
    __version__,
    compliance_law,
    fields,
    storage,
)
from confseg.cli import main
from confseg.saved import read_saved

CALIBRATION, NEW = small_cases(30, seed=1), small_cases(40, seed=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder of calibration cases and one of new ones."""
    folder = tmp_path_factory.mktemp("data")
    write_cases(folder / "old", CALIBRATION, groups="AB")
    write_cases(folder / "new", NEW, groups="AB")
    return folder


def cls(data: Path, out: Path, *more: str) -> Path:
    """Calibrate CLS and give the file."""
    words = ["calibrate", "cls", data / "old/cases.csv", "--eps=0.1", "--alpha=0.1", "-o", out]
    assert main([*map(str, words), *more]) == 0
    return out


def refused(capsys, status: int = 1) -> str:
    """What was told of a command that did not succeed."""
    told = capsys.readouterr()
    assert told.out == ""
    assert "Traceback" not in told.err
    return told.err


def run(*words: object) -> int:
    return main([str(word) for word in words])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_plan(capsys):
    assert run("plan", "--alpha", 0.1) == 0
    assert capsys.readouterr().out.startswith("60 independent calibration cases")
    assert run("plan", "--alpha", 0.1, "--cases", 99) == 0
    assert "between 0.8467 and 0.9442 with a probability of 0.9" in capsys.readouterr().out
    assert run("plan", "--alpha", 1.5) == 1
    assert "alpha must lie strictly between 0 and 1, found 1.5" in refused(capsys)
    assert run("plan", "--alpha", 0.1, "--cases", 8) == 1
    assert "at least 9 are needed" in refused(capsys)
    assert run("plan", "--alpha", 0.1, "--cases", 60, "--confidence", 1.5) == 1
    assert "confidence must lie strictly between 0 and 1, found 1.5" in refused(capsys)
    assert run("plan", "--alpha", 0.1, "--cases", 60, "--tolerance", 0.02) == 1
    assert "--tolerance asks for a number of cases" in refused(capsys)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["cls", "--eps=0.1"], CLS(0.1, 0.1)),
        (["cls", "--eps=0.2", "--rate=fdp"], CLS(0.2, 0.1, rate="fdp")),
        (["sets"], ConfidenceSets(0.1)),
        (
            ["sets", "--control=weighted", "--weights", "0.04", "0.06", "--outer=distance"],
            ConfidenceSets(0.1, "weighted", outer=fields.signed_distance(), weights=(0.04, 0.06)),
        ),
        (["sets", "--false=0.1", "--miss=0.2"], ConfidenceSets(0.1, false=0.1, miss=0.2)),
        (["margin", "--coverage=0.9"], Margin(0.1, coverage=0.9)),
        (["margin", "--side=both", "--metric=cube"], Margin(0.1, metric="cube", side="both")),
    ],
)
def test_calibrations_are_those_of_python(data, tmp_path, capsys, words, expected):
    out = tmp_path / "a.json"
    assert run("calibrate", *words, data / "old/cases.csv", "--alpha=0.1", "-o", out) == 0
    expected.calibrate(CALIBRATION)
    assert capsys.readouterr().out == f"{expected.statement()}\nWritten to {out}.\n"
    # The file serves Python as well.
    again = type(expected).from_json(out)
    assert again.statement() == expected.statement()
    np.testing.assert_array_equal(again.nonconformity_, expected.nonconformity_)
    stored = json.loads(out.read_text())
    assert stored["reading"] == {"channel": None, "labels": None, "rules": ["label > 0"]}
    assert stored["provenance"]["command"].startswith("confseg calibrate")


def test_patients_are_counted_if_asked(data, tmp_path, capsys):
    manifest = data / "old/cases.csv"
    text = re.sub(r"1p(\d+)", lambda found: f"P{int(found[1]) // 2}", manifest.read_text())
    (data / "old/pairs.csv").write_text(text)
    words = ["cls", data / "old/pairs.csv", "--eps=0.1", "--alpha=0.1", "-o", tmp_path / "a.json"]
    assert run("calibrate", *words) == 0
    assert "15 patients have more than one case" in capsys.readouterr().err
    assert run("calibrate", *words, "--per=worst") == 0
    told = capsys.readouterr()
    assert "Calibrated on 15 patients, each by the worst of its cases" in told.out
    assert told.err == ""


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["cls", "--eps=0.1"], ["mask"]),
        (["sets"], ["inner", "outer"]),
        (["sets", "--control=inner"], ["inner"]),
        (["margin"], ["outer"]),
    ],
)
def test_masks_are_those_of_python(data, tmp_path, words, names):
    out, masks = tmp_path / "a.json", tmp_path / "masks"
    assert run("calibrate", *words, data / "old/cases.csv", "--alpha=0.1", "-o", out) == 0
    assert run("predict", out, data / "new/cases.csv", "-o", masks) == 0
    method = read_saved(out).method
    for case in NEW:
        for name in names:
            image = nib.load(masks / f"{case.name}_{name}.nii.gz")
            np.testing.assert_array_equal(image.affine, AFFINE)
            side = "outer" if name == "mask" else name
            expected = method._predict(side, case.score, case.spacing)
            np.testing.assert_array_equal(np.asarray(image.dataobj), expected)
    about = json.loads((masks / "predictions.json").read_text())
    assert about["masks"] == len(list(masks.glob("*.nii.gz"))) == len(NEW) * len(names)
    assert about["calibration_sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert about["statement"] == method.statement()
    assert about["masks_sha256"] == {
        mask.name: hashlib.sha256(mask.read_bytes()).hexdigest() for mask in masks.glob("*.nii.gz")
    }


def test_folders_serve_as_well_as_a_manifest(data, tmp_path):
    a = cls(data, tmp_path / "a.json")
    b, old, new = tmp_path / "b.json", data / "old", data / "new"
    words = ["cls", old / "scores", old / "truths", "--eps=0.1", "--alpha=0.1", "-o", b]
    assert run("calibrate", *words) == 0
    assert CLS.from_json(a).cutoff_ == CLS.from_json(b).cutoff_
    assert run("predict", b, new / "scores", "-o", tmp_path / "b") == 0
    assert run("predict", a, new / "cases.csv", "-o", tmp_path / "a", "--n-jobs", 2) == 0
    for file in (tmp_path / "a").glob("*.nii.gz"):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_nnunet_folders(tmp_path, capsys):
    """Softmax in .npz with a segmentation beside; the channel is that of the label rule."""
    for part in ("scores", "truths"):
        (tmp_path / part).mkdir()
    for case in CALIBRATION:
        lesion = case.score / 2
        classes = np.stack([1 - case.score, case.score - lesion, lesion])
        path = tmp_path / "scores" / f"{case.name}.npz"
        np.savez_compressed(path, probabilities=classes.transpose(0, 3, 2, 1))
        write_image(path.with_suffix(".nii.gz"), classes.argmax(axis=0).astype(np.uint8))
        write_image(tmp_path / "truths" / f"{case.name}.nii.gz", 2 * case.truth.astype(np.uint8))
    folders = (tmp_path / "scores", tmp_path / "truths")
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    words = ["--eps=0.1", "--alpha=0.1", "--rule=label == 2", "--labels", "2"]
    assert run("calibrate", "cls", *folders, *words, "-o", a) == 0
    assert run("calibrate", "cls", *folders, *words, "-o", b, "--channel=2") == 0
    expected = CLS(0.1, 0.1).calibrate(CALIBRATION).cutoff_ / 2
    assert CLS.from_json(a).cutoff_ == CLS.from_json(b).cutoff_ == expected
    # Rule and channel come with the calibration.
    assert run("predict", b, tmp_path / "scores", "-o", tmp_path / "masks") == 0
    mask = nib.load(tmp_path / "masks" / f"{CALIBRATION[0].name}_mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), CALIBRATION[0].score / 2 >= expected)
    shutil.copy(tmp_path / "scores/1-0.nii.gz", tmp_path / "scores/other.nii.gz")
    capsys.readouterr()
    assert run("predict", b, tmp_path / "scores", "-o", tmp_path / "masks") == 1
    assert "holds .npz files, but none of: other" in refused(capsys)


def test_groups(data, tmp_path, capsys):
    out = cls(data, tmp_path / "a.json", "--by-group")
    expected = Mondrian(CLS(0.1, 0.1), lambda score, spacing: "A").calibrate(CALIBRATION[::2])
    assert read_saved(out).method.methods_["A"].cutoff_ == expected.methods_["A"].cutoff_
    capsys.readouterr()
    assert run("evaluate", out, data / "new/cases.csv", "-o", tmp_path / "t.csv") == 0
    assert re.findall(r"Group '(.)':\nmask: \d+ of (20) cases", capsys.readouterr().out) == [
        ("A", "20"),
        ("B", "20"),
    ]
    assert run("predict", out, data / "new/scores", "-o", tmp_path / "masks") == 1
    assert "is of group '', calibrated were ['A', 'B']" in refused(capsys)


def test_evaluation_counts_and_tabulates(data, tmp_path, capsys):
    out = cls(data, tmp_path / "a.json")
    method = CLS.from_json(out)
    capsys.readouterr()
    assert run("evaluate", out, data / "new/cases.csv", "-o", tmp_path / "t.csv") == 0
    told = capsys.readouterr().out
    kept = sum(method.complies(case) for case in NEW)
    low, high = compliance_law(30, 0.1, 40).interval(0.9)
    assert f"mask: {kept} of 40 cases keep the promise" in told
    assert f"between {low:.0f} and {high:.0f} in nine evaluations out of ten" in told
    rows = table(tmp_path / "t.csv")
    assert [row["case"] for row in rows] == [case.name for case in NEW]
    for row, case in zip(rows, NEW, strict=True):
        mask = method.predict(case.score)
        assert int(row["complies"]) == method.complies(case)
        assert int(row["mask_voxels"]) == mask.sum()
        assert int(row["mask_missed"]) == (case.truth & ~mask).sum()
        assert (row["patient"], int(row["lesion_voxels"])) == (case.patient, case.truth.sum())


@pytest.mark.parametrize(
    ("per", "named"),
    [("case", "case '1-0'"), ("worst", "patient '1p0'"), ("draw", r"case '1-\d'")],
)
def test_evaluation_refuses_what_calibrated(tmp_path, capsys, per, named):
    out, old = tmp_path / "a.json", write_cases(tmp_path, CALIBRATION)
    # Two cases of each patient.
    paired = re.sub(r"1p(\d+)", lambda found: f"1p{int(found[1]) // 2}", old.read_text())
    old.write_text(paired)
    words = ["--control=weighted", "--weights", "0.04", "0.06", "--alpha=0.1", "--per", per]
    assert run("calibrate", "sets", old, *words, "-o", out) == 0
    capsys.readouterr()
    assert run("evaluate", out, old, "-o", tmp_path / "t.csv") == 1
    assert re.search(f"{named} was part of the calibration", refused(capsys))
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "scores/1-3.nii.gz").unlink(), r"case '1-3': no score file .*1-3.nii.gz"),
        (lambda f: (f / "cases.csv").unlink(), r"cases.csv: No such file"),
        (
            lambda f: (f / "truths/1-3.nii.gz").write_bytes(b"\x1f\x8b" + b"0" * 50),
            r"case '1-3': .*truths/1-3.nii.gz cannot be read",
        ),
        (
            lambda f: write_image(f / "truths/1-3.nii.gz", np.ones((12, 10, 8)), np.eye(4)),
            r"case '1-3': .*scores/1-3.nii.gz and .*truths/1-3.nii.gz have one shape but other aff",
        ),
        (
            lambda f: write_image(f / "truths/1-3.nii.gz", np.ones((12, 10, 9))),
            r"case '1-3': .*have the shapes \(12, 10, 8\) and \(12, 10, 9\)",
        ),
        (
            lambda f: write_image(f / "scores/1-3.nii.gz", np.full((12, 10, 8), -4.0)),
            r"case '1-3': probabilities must lie in \[0, 1\], found .* -4.0; are they logits\?",
        ),
        (
            lambda f: write_image(f / "scores/1-3.nii.gz", np.full((12, 10, 8), np.nan)),
            r"case '1-3': the score must be finite",
        ),
        (
            lambda f: write_image(f / "truths/1-3.nii.gz", np.full((12, 10, 8), 7.0)),
            r"truths/1-3.nii.gz: expected labels among \[0, 1\], found \[7",
        ),
        (
            lambda f: (f / "cases.csv").write_text(
                (f / "cases.csv").read_text().replace("1-4,", "1-3,")
            ),
            r"cases.csv:\n  case '1-3' comes 2 times",
        ),
    ],
)
def test_bad_calibration_cases_leave_nothing_behind(tmp_path, capsys, spoil, message):
    write_cases(tmp_path, CALIBRATION[:10])
    spoil(tmp_path)
    words = ["--eps=0.1", "--alpha=0.1", "--labels", "1", "-o", tmp_path / "a.json"]
    assert run("calibrate", "cls", tmp_path / "cases.csv", *words) == 1
    assert re.search(message, refused(capsys))
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("more", [[], ["--by-group"], ["--per=draw"]])
def test_calibration_goes_on_where_it_stopped(tmp_path, capsys, monkeypatch, more):
    write_cases(tmp_path, CALIBRATION, groups="AB")
    words = ["sets", tmp_path / "cases.csv", "--alpha=0.2", "--control=joint", *more]
    assert run("calibrate", *words, "-o", tmp_path / "whole.json") == 0
    assert run_twice(words, "calibrate", tmp_path / "a.json", monkeypatch) == 12
    assert "18 of 30 cases were done before" in capsys.readouterr().err
    whole, again = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("whole", "a"))
    for stored in (whole, again):
        del stored["provenance"], stored["sha256"]
    assert again == whole


def test_evaluation_goes_on_where_it_stopped(data, tmp_path, capsys, monkeypatch):
    a, new = cls(data, tmp_path / "a.json"), data / "new/cases.csv"
    assert run("evaluate", a, new, "-o", tmp_path / "whole.csv") == 0
    whole = capsys.readouterr().out.splitlines()
    assert run_twice([a, new], "evaluate", tmp_path / "b.csv", monkeypatch) == 22
    assert capsys.readouterr().out.splitlines()[:-1] == whole[-2:-1]
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    # Numbers of another calibration do not count.
    cls(data, tmp_path / "a.json", "--alpha=0.2")
    capsys.readouterr()
    assert run_twice([a, new], "evaluate", tmp_path / "b.csv", monkeypatch) == 22
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "b.csv", "whole.csv"}


def run_twice(words: list[object], command: str, out: Path, monkeypatch) -> int:
    """Run a command that is interrupted after 18 cases, and go on: how many cases are read then."""
    module = importlib.import_module(f"confseg.cli.{command}")
    original, read = module.read_case, []

    def reading(row, how):
        read.append(row.case)
        if len(read) == 19:
            raise KeyboardInterrupt
        return original(row, how)

    with monkeypatch.context() as patch:
        patch.setattr(module, "read_case", reading)
        assert run(command, *words, "-o", out) == 130
        assert out.with_name(f"{out.name}.journal").exists()
        interrupted = len(read)
        assert run(command, *words, "-o", out) == 0
    assert not out.with_name(f"{out.name}.journal").exists()
    return len(read) - interrupted


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["old/cases.csv", "old/truths"], "no folder of truths goes with it"),
        (["old/scores"], "expected a folder of truths after it"),
        (
            ["old/scores", "new/truths"],
            r"30 of 30 cases of .*scores are not in .*truths: 1-0, .* and 25 more",
        ),
        (["old/scores", "old"], "are not in"),
        (["old/scores", "nowhere"], "there is no folder .*nowhere"),
        (["old", "old/truths"], "holds no .npz, .nii or .nii.gz files"),
        (["old/cases.csv", "--rule=label > 0"], "a manifest has a rule for each case"),
        (["old/cases.csv", "--by-group", "--per=draw"], "does not go with --per"),
        (["old/cases.csv", "--alpha=2"], "alpha must lie strictly between 0 and 1, found 2.0"),
        (["old/cases.csv", "-o", "old"], "expected a name that ends in .json"),
        (["old/cases.csv", "-o", "a.txt"], "expected a name that ends in .json"),
        (["old/cases.csv", "-o", "nowhere/a.json"], "there is no folder nowhere to write to"),
        (["old/cases.csv", "--channel=1"], "holds one map, so there is no channel 1"),
    ],
)
def test_commands_that_make_no_sense_are_refused(data, monkeypatch, capsys, words, message):
    monkeypatch.chdir(data)
    before = sorted(data.rglob("*"))
    assert run("calibrate", "cls", "--eps=0.1", "--alpha=0.1", "-o", "a.json", *words) == 1
    assert re.search(message, refused(capsys))
    assert sorted(data.rglob("*")) == before


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert raised.value.code == 0
    assert capsys.readouterr().out == f"confseg {__version__}\n"


def test_every_option_is_explained_with_its_default():
    for parser in parsers(importlib.import_module("confseg.cli.main")._parser()):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                continue
            told = action.help or ""
            assert told, f"{parser.prog} {action.dest}"
            usual = action.default
            if action.option_strings and usual not in (None, False, argparse.SUPPRESS):
                shown = usual if isinstance(usual, tuple) else (usual,)
                text = " ".join(x if isinstance(x, str) else f"{x:g}" for x in shown) or "none"
                assert re.search(rf"\(default:? {re.escape(text)}[;)]", told), told


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands and of their methods."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command
                yield from parsers(command)


@pytest.mark.parametrize("words", [[], ["calibrate"], ["calibrate", "cls"], ["guess"]])
def test_commands_that_are_not_understood(capsys, words):
    with pytest.raises(SystemExit) as raised:
        main(words)
    assert raised.value.code == 2
    assert "usage: confseg" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("{}", "not a confseg calibration"),
        ('{"format": "confseg calibration by group"}', "the contents do not match their checksum"),
        ("RCPS", "calibration of 'RCPS', expected one of"),
        ("weighted", "weighted for one new case; only Python can use it"),
        ("own", r"your own field '.*' .*cannot hold|cannot hold"),
        ("altered", "the contents do not match their checksum"),
    ],
)
def test_other_calibration_files_are_refused(data, tmp_path, capsys, text, message):
    path = tmp_path / "a.json"
    if text == "own":
        ConfidenceSets(0.1, inner=lambda score, spacing: score).calibrate(CALIBRATION).to_json(path)
    elif text == "altered":
        cls(data, path)
        path.write_text(path.read_text().replace('"eps": 0.1', '"eps": 0.2'))
    elif text in ("RCPS", "weighted"):
        data_of_it = json.loads(cls(data, path).read_text())
        data_of_it |= {"method": "RCPS"} if text == "RCPS" else {"weights": [1.0] * 30}
        path.write_text(json.dumps({**data_of_it, "sha256": storage.digest(data_of_it)}))
    else:
        path.write_text(text)
    capsys.readouterr()
    assert run("predict", path, data / "new/cases.csv", "-o", tmp_path / "masks") == 1
    assert re.search(message, refused(capsys))
    assert not (tmp_path / "masks").exists()


def test_predictions_that_fail_are_all_told(data, tmp_path, capsys):
    write_cases(tmp_path, NEW[:4])
    for name in ("2-1", "2-3"):
        write_image(tmp_path / f"scores/{name}.nii.gz", np.full((12, 10, 8), 9.0))
    out = cls(data, tmp_path / "a.json")
    capsys.readouterr()
    assert run("predict", out, tmp_path / "cases.csv", "-o", tmp_path / "masks") == 1
    told = refused(capsys)
    assert "2 of 4 cases failed; predictions.json was not written, and the others" in told
    assert "case '2-1': probabilities must lie in [0, 1]" in told
    assert "case '2-3'" in told
    assert sorted(f.name for f in (tmp_path / "masks").iterdir()) == [
        "2-0_mask.nii.gz",
        "2-2_mask.nii.gz",
        "predictions.json.journal",
    ]


def test_a_case_that_does_not_fit_into_memory_does_not_stop_the_others(
    data, tmp_path, capsys, monkeypatch
):
    module, out = importlib.import_module("confseg.cli.predict"), cls(data, tmp_path / "a.json")
    read_score = module.read_score

    def reading(path, rule, channel):
        if path.name == "2-1.nii.gz":
            raise MemoryError
        return read_score(path, rule, channel)

    monkeypatch.setattr(module, "read_score", reading)
    capsys.readouterr()
    assert run("predict", out, data / "new/cases.csv", "-o", tmp_path / "masks") == 1
    told = refused(capsys)
    assert f"1 of {len(NEW)} cases failed" in told
    assert "case '2-1': MemoryError" in told
    assert len(list((tmp_path / "masks").glob("*.nii.gz"))) == len(NEW) - 1


def test_a_mistake_of_ours_is_told_as_one_and_does_not_stop_the_others(
    data, tmp_path, capsys, monkeypatch
):
    module, out = importlib.import_module("confseg.cli.predict"), cls(data, tmp_path / "a.json")
    write_mask = module.write_mask

    def writing(path, mask, like):
        if path.name.startswith("2-1_"):
            raise IndexError("list index out of range")
        write_mask(path, mask, like)

    monkeypatch.setattr(module, "write_mask", writing)
    capsys.readouterr()
    assert run("predict", out, data / "new/cases.csv", "-o", tmp_path / "masks") == 1
    told = capsys.readouterr().err
    assert f"1 of {len(NEW)} cases failed" in told
    assert "case '2-1': Traceback (most recent call last):" in told
    assert "in writing" in told
    assert told.endswith("IndexError: list index out of range\n")
    assert len(list((tmp_path / "masks").glob("*.nii.gz"))) == len(NEW) - 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((12, 10, 8), np.nan), "the score must be finite, found 960 NaN"),
        (np.full((12, 10, 8), np.inf), "the score must be finite, found 960 NaN"),
        (np.full((12, 10, 8), -4.0), "found values from -4.0 to -4.0; are they logits?"),
        (np.full((12, 10, 8), 255, np.uint8), "whole numbers from 255 to 255 are no score map"),
    ],
    ids=["NaN", "infinity", "logits", "integers"],
)
def test_what_is_wrong_with_values_is_told_with_case_and_file(tmp_path, capsys, values, message):
    manifest = write_cases(tmp_path, CALIBRATION[:10])
    broken = write_image(tmp_path / "scores/1-3.nii.gz", values)
    words = ["--eps=0.1", "--alpha=0.1", "-o", tmp_path / "a.json"]
    assert run("calibrate", "cls", manifest, *words) == 1
    *_, line = refused(capsys).splitlines()
    assert line.strip().startswith("case '1-3': ")
    assert message in line
    assert line.count(str(broken)) == 1
    assert "truths" not in line


def test_cases_without_lesion_are_told_and_left_out(data, tmp_path, capsys):
    empty = [Case(case.score, case.truth & False, case.spacing, case.name) for case in NEW[:3]]
    write_cases(tmp_path, [*CALIBRATION[:20], *empty])
    words = ["--eps=0.1", "--alpha=0.1", "-o", tmp_path / "a.json"]
    assert run("calibrate", "cls", tmp_path / "cases.csv", *words) == 0
    told = capsys.readouterr()
    assert told.err.startswith("confseg: 3 of 23 cases have an empty truth and were left out")
    assert "(3 without lesion were left out" in told.out
    write_cases(tmp_path, [*NEW[3:20], *empty])
    assert (
        run("evaluate", tmp_path / "a.json", tmp_path / "cases.csv", "-o", tmp_path / "t.csv") == 0
    )
    told = capsys.readouterr()
    assert "3 of 20 cases have no lesion and do not count." in told.out
    assert "of 17 cases keep the promise" in told.out
    assert sum(int(row["left_out"]) for row in table(tmp_path / "t.csv")) == 3
    words = ["--eps=0.1", "--alpha=0.1", "--empty=refuse", "-o", tmp_path / "b.json"]
    assert run("calibrate", "cls", tmp_path / "cases.csv", *words) == 1
    assert "3 cases have an empty truth, first '2-0'" in capsys.readouterr().err
    assert run("calibrate", "cls", data / "old/cases.csv", *words) == 0
    words = [tmp_path / "b.json", tmp_path / "cases.csv", "-o", tmp_path / "t.csv"]
    assert run("evaluate", *words) == 1
    assert "case '2-0' has no lesion, which this calibration refuses" in capsys.readouterr().err


def test_too_few_cases_are_told(tmp_path, capsys):
    write_cases(tmp_path, CALIBRATION[:8])
    words = ["--eps=0.1", "--alpha=0.1", "-o", tmp_path / "a.json"]
    assert run("calibrate", "cls", tmp_path / "cases.csv", *words) == 0
    assert (
        "8 calibration cases are too few: the outer region is the whole" in capsys.readouterr().err
    )
    write_cases(tmp_path, NEW[:5])
    assert (
        run("evaluate", tmp_path / "a.json", tmp_path / "cases.csv", "-o", tmp_path / "t.csv") == 0
    )
    told = capsys.readouterr().out
    assert "5 of 5 cases keep the promise" in told
    assert "The set is trivial and always keeps it" in told


@pytest.mark.parametrize("per", ["worst", "draw"])
def test_patients_are_evaluated_as_they_were_calibrated(tmp_path, capsys, per):
    for part, cases in (("old", CALIBRATION), ("new", NEW)):
        path = write_cases(tmp_path / part, cases)
        # Two cases of each patient.
        paired = re.sub(r"(\dp)(\d+)", lambda m: f"{m[1]}{int(m[2]) // 2}", path.read_text())
        path.write_text(paired)
    out = tmp_path / "a.json"
    words = ["--eps=0.1", "--alpha=0.4", "-o", out, "--per", per]
    assert run("calibrate", "cls", tmp_path / "old/cases.csv", *words) == 0
    assert run("evaluate", out, tmp_path / "new/cases.csv", "-o", tmp_path / "t.csv") == 0
    told = capsys.readouterr()
    found = re.search(r"(\d+) of 20 patients keep .* after 15 calibration patients", told.out)
    kept = np.array([row["complies"] == "1" for row in table(tmp_path / "t.csv")]).reshape(20, 2)
    rng = np.random.default_rng(0)
    ways = {
        "worst": kept.all(axis=1).sum(),
        "draw": sum(both[rng.integers(2)] for both in kept),
        "best": kept.any(axis=1).sum(),
        "first": kept[:, 0].sum(),
        "last": kept[:, 1].sum(),
    }
    assert int(found[1]) == ways.pop(per)
    assert int(found[1]) not in ways.values()
    shared = (tmp_path / "new/cases.csv").read_text().replace("2p", "1p")
    (tmp_path / "new/cases.csv").write_text(shared)
    assert run("evaluate", out, tmp_path / "new/cases.csv", "-o", tmp_path / "t.csv") == 0
    assert "15 patients were also part of the calibration" in capsys.readouterr().err


def test_two_promises_are_counted_one_by_one(data, tmp_path, capsys):
    out = tmp_path / "a.json"
    words = ["--control=weighted", "--weights", "0.04", "0.06", "--alpha=0.1", "-o", out]
    assert run("calibrate", "sets", data / "old/cases.csv", *words) == 0
    capsys.readouterr()
    assert run("evaluate", out, data / "new/cases.csv", "-o", tmp_path / "t.csv") == 0
    told = capsys.readouterr().out
    rows = table(tmp_path / "t.csv")
    for side, promised in (("inner", 96), ("outer", 94)):
        kept = sum(row[f"{side}_complies"] == "1" for row in rows)
        assert re.search(rf"{side}: {kept} of 40 cases keep .*at least {promised}%", told)


def test_another_rule_than_calibrated_is_refused(data, tmp_path, capsys):
    out = cls(data, tmp_path / "a.json")
    text = (data / "new/cases.csv").read_text().replace("label > 0", "label == 1")
    (data / "new/other.csv").write_text(text)
    capsys.readouterr()
    assert run("predict", out, data / "new/other.csv", "-o", tmp_path / "masks") == 1
    assert "the label rule 'label == 1', calibrated was 'label > 0'" in refused(capsys)


def test_output_folders_that_cannot_be_written_are_refused(data, tmp_path, capsys):
    out = cls(data, tmp_path / "a.json")
    capsys.readouterr()
    for folder in (tmp_path / "no/masks", out):
        assert run("predict", out, data / "new/cases.csv", "-o", folder) == 1
        told = refused(capsys)
        assert "there is no folder" in told or "File exists" in told


@pytest.mark.parametrize("missing", ["file", "column"])
def test_masks_are_made_without_truths(data, tmp_path, missing):
    write_cases(tmp_path, NEW[:3])
    manifest = tmp_path / "cases.csv"
    if missing == "file":
        shutil.rmtree(tmp_path / "truths")
    else:
        rows = [f"{row['case']},{row['score']}\n" for row in table(manifest)]
        manifest.write_text("".join(["case,score\n", *rows]))
    assert run("predict", cls(data, tmp_path / "a.json"), manifest, "-o", tmp_path / "masks") == 0
    assert len(list((tmp_path / "masks").glob("*_mask.nii.gz"))) == 3


def test_the_folder_above_need_not_be_written_to(data, tmp_path, monkeypatch):
    original = tempfile.TemporaryFile

    def guarded(dir):
        if dir == tmp_path:
            raise PermissionError(13, "Permission denied")
        return original(dir=dir)

    out, masks = cls(data, tmp_path / "a.json"), tmp_path / "masks"
    monkeypatch.setattr(tempfile, "TemporaryFile", guarded)
    assert run("predict", out, data / "new/cases.csv", "-o", masks) == 1
    masks.mkdir()
    assert run("predict", out, data / "new/cases.csv", "-o", masks) == 0


def test_folders_that_refuse_to_be_written_are_told(data, tmp_path, capsys, monkeypatch):
    """Also where, as for an administrator, permissions would not stop it."""

    def full(**_):
        raise OSError(28, "No space left on device")

    out = cls(data, tmp_path / "a.json")
    capsys.readouterr()
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert run("predict", out, data / "new/cases.csv", "-o", tmp_path / "masks") == 1
    assert f"{tmp_path} cannot be written to: No space left on device" in refused(capsys)
    words = ["--eps=0.1", "--alpha=0.1", "-o", tmp_path / "b.json"]
    assert run("calibrate", "cls", data / "old/cases.csv", *words) == 1
    assert "No space left on device" in refused(capsys)


def test_a_full_disk_is_told_with_its_file(data, tmp_path, capsys):
    """Files of at most one kilobyte: nothing is left, whole or in part."""
    out = cls(data, tmp_path / "a.json")
    capsys.readouterr()
    resource = pytest.importorskip("resource")  # Windows has no such limits
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        words = ["calibrate", "cls", data / "old/cases.csv", "--eps=0.1", "--alpha=0.1", "-o"]
        assert run(*words, tmp_path / "b.json") == 1
        assert refused(capsys) == f"confseg: {tmp_path / 'b.json.journal'}: File too large\n"
        words = ["evaluate", out, data / "new/cases.csv", "-o"]
        assert run(*words, tmp_path / "t.csv") == 1
        assert refused(capsys) == f"confseg: {tmp_path / 't.csv.journal'}: File too large\n"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert {file.name for file in tmp_path.iterdir()} <= {
        "a.json",
        "b.json.journal",
        "t.csv.journal",
    }
    cls(data, tmp_path / "b.json")
    assert not (tmp_path / "b.json.journal").exists()


@pytest.mark.parametrize("link", [None, Path.symlink_to, Path.hardlink_to])
def test_what_is_read_is_not_written_over(tmp_path, capsys, link):
    """Not under another of its names either."""
    manifest = write_cases(tmp_path, CALIBRATION[:12])
    json_list, calibration = manifest.with_suffix(".json"), tmp_path / "a.json"
    json_list.write_bytes(manifest.read_bytes())
    words = ["calibrate", "cls", "--eps=0.1", "--alpha=0.1"]
    assert run(*words, manifest, "-o", calibration) == 0
    page = tmp_path / "a.html"  # also a calibration's file may have such a name
    calibration.rename(page)
    for read, command in (
        (manifest, ["score", manifest]),
        (json_list, [*words, json_list]),
        (manifest, ["evaluate", page, manifest]),
        (page, ["report", page, manifest]),
        (tmp_path / "truths/1-3.nii.gz", ["score", manifest]),
        (tmp_path / "scores/1-3.nii.gz", ["score", tmp_path / "scores", tmp_path / "truths"]),
    ):
        if link is None and read.suffix == ".gz":
            continue  # no output has this ending
        output = read
        if link is not None:
            ending = {"calibrate": ".json", "report": ".html"}.get(command[0], ".csv")
            output = tmp_path / f"linked{ending}"
            output.unlink(missing_ok=True)
            link(output, read)
        before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
        capsys.readouterr()
        assert run(*command, "-o", output) == 1
        assert f"{output} would replace {read}, which is read" in refused(capsys)
        assert before == {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}


def test_masks_are_not_written_among_the_scores(data, tmp_path, capsys):
    out = cls(data, tmp_path / "a.json")
    before = sorted((data / "new/scores").iterdir())
    capsys.readouterr()
    for cases in ("new/scores", "new/cases.csv"):
        assert run("predict", out, data / cases, "-o", data / "old/../new/scores") == 1
        assert "holds the scores: choose another folder" in refused(capsys)
    assert sorted((data / "new/scores").iterdir()) == before


def test_true_masks_are_not_taken_for_masks_of_an_earlier_run(data, tmp_path, capsys):
    out = cls(data, tmp_path / "a.json")
    shutil.copytree(data / "new/truths", tmp_path / "truths")
    truth = tmp_path / "truths/2-3_mask.nii.gz"
    (tmp_path / "truths/2-3.nii.gz").rename(truth)
    before = truth.read_bytes()
    capsys.readouterr()
    assert run("predict", out, data / "new/scores", "-o", tmp_path / "truths") == 1
    assert f"{truth} would be replaced" in refused(capsys)
    assert truth.read_bytes() == before
    assert not (tmp_path / "truths/2-0_mask.nii.gz").exists()


def test_an_interruption_before_the_first_mask_takes_no_rights(data, tmp_path, monkeypatch):
    """The masks of the run before are still known to be such."""
    module, out = importlib.import_module("confseg.cli.predict"), cls(data, tmp_path / "a.json")
    words = ["predict", out, data / "new/cases.csv", "-o", tmp_path / "masks"]
    assert run(*words) == 0

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "read_score", interrupted)
        assert run(*words) == 130
    assert not (tmp_path / "masks/predictions.json").exists()
    assert run(*words) == 0


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interruption_leaves_no_half_masks(data, tmp_path, n_jobs):
    """Ctrl-C in the shell, after the first masks."""
    out, masks = cls(data, tmp_path / "a.json"), tmp_path / "masks"
    head, *lines = (data / "new/cases.csv").read_text().splitlines()
    untold = [re.sub(r",[^,]*,([^,]*)$", r",,\1", line) for line in lines]  # without truths
    many = [f"{k}-{line}" for k in range(200) for line in untold]
    (data / "new/many.csv").write_text("\n".join([head, *many]))
    words = ["predict", out, data / "new/many.csv", "-o", masks, "--n-jobs", n_jobs]
    command = [sys.executable, "-m", "confseg", *map(str, words)]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # also when CI runs unheard
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, preexec_fn=heard) as process:
        while not (masks.is_dir() and any(masks.glob("[0-9]*"))) and process.poll() is None:
            time.sleep(0.05)
        while process.poll() is None:  # Python drops one that falls into a destructor
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        told, error = process.communicate()
    assert (process.returncode, told) == (130, b"")
    assert error.endswith(b"confseg: interrupted\n")
    written = list(masks.glob("[0-9]*"))
    assert 0 < len(written) < len(many)
    assert all(nib.load(file).get_fdata().any() for file in written)
    assert not (masks / "predictions.json").exists()


def test_masks_that_are_there_are_not_made_again(data, tmp_path, capsys, monkeypatch):
    """After a file that could not be read, and once more after a mask was taken away."""
    write_cases(tmp_path, NEW[:4])
    broken = tmp_path / "scores/2-1.nii.gz"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    out, masks = cls(data, tmp_path / "a.json"), tmp_path / "masks"
    words = ["predict", out, tmp_path / "cases.csv", "-o", masks]
    assert run(*words) == 1
    first = {file.name: file.stat().st_ino for file in masks.glob("*.nii.gz")}
    assert len(first) == 3
    capsys.readouterr()
    (masks / "2-0_mask.nii.gz").rename(tmp_path / "away")  # kept, so that its number stays taken
    broken.write_bytes(whole)
    assert run(*words) == 0
    told = capsys.readouterr()
    assert "2 of 4 cases were done before" in told.err
    assert "4 masks of 4 cases written" in told.out
    again = {name: (masks / name).stat().st_ino for name in first}
    assert {name for name in first if again[name] != first[name]} == {"2-0_mask.nii.gz"}
    assert (masks / "2-0_mask.nii.gz").read_bytes() == (tmp_path / "away").read_bytes()
    assert run(*words) == 0  # nothing is left of the first run: all are made again
    assert "done before" not in capsys.readouterr().err


def test_masks_of_another_calibration_are_made_again(data, tmp_path, capsys):
    write_cases(tmp_path, NEW[:4])
    broken = tmp_path / "scores/2-1.nii.gz"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    for name, alpha in (("a.json", "--alpha=0.1"), ("b.json", "--alpha=0.3")):
        words = ["calibrate", "cls", data / "old/cases.csv", "--eps=0.1", alpha]
        assert run(*words, "-o", tmp_path / name) == 0
    assert run("predict", tmp_path / "a.json", tmp_path / "cases.csv", "-o", tmp_path / "m") == 1
    broken.write_bytes(whole)
    for masks in ("m", "fresh"):
        words = ["predict", tmp_path / "b.json", tmp_path / "cases.csv", "-o", tmp_path / masks]
        assert run(*words) == 0
    assert "what an earlier run with other settings left is dropped" in capsys.readouterr().err
    for file in (tmp_path / "fresh").glob("*.nii.gz"):
        mask, fresh = (nib.load(tmp_path / m / file.name).get_fdata() for m in ("m", "fresh"))
        assert np.array_equal(mask, fresh)


def test_masks_of_other_scores_are_made_again(data, tmp_path, capsys):
    """Two folders whose files share names, sizes and times, as an archive may leave them."""
    for folder, cases in (("a", NEW[:3]), ("b", NEW[3:6])):
        (tmp_path / folder).mkdir()
        for k, case in enumerate(cases):
            file = write_image(tmp_path / folder / f"{k}.nii", case.score)
            os.utime(file, ns=(0, 0))
    (tmp_path / "a/3.nii").write_bytes(b"")
    out = cls(data, tmp_path / "a.json")
    assert run("predict", out, tmp_path / "a", "-o", tmp_path / "m") == 1
    for masks in ("m", "fresh"):
        assert run("predict", out, tmp_path / "b", "-o", tmp_path / masks) == 0
    assert "done before" not in capsys.readouterr().err
    for file in (tmp_path / "fresh").glob("*.nii.gz"):
        assert (tmp_path / "m" / file.name).read_bytes() == file.read_bytes()


def test_masks_of_an_earlier_run_are_told_or_removed(data, tmp_path, capsys):
    """Those of other cases stay; those of a case that then fails do not, whatever their side."""
    write_cases(tmp_path / "one", NEW[:4])
    write_cases(tmp_path / "two", NEW[2:5])
    sets, masks = tmp_path / "sets.json", tmp_path / "m"
    assert run("calibrate", "sets", data / "old/cases.csv", "--alpha=0.1", "-o", sets) == 0
    assert run("predict", sets, tmp_path / "one/cases.csv", "-o", masks) == 0
    assert "other masks" not in capsys.readouterr().err
    broken = tmp_path / "two/scores/2-3.nii.gz"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    words = ["predict", cls(data, tmp_path / "a.json"), tmp_path / "two/cases.csv", "-o", masks]
    assert run(*words) == 1
    assert sorted(file.name for file in masks.glob("2-[234]_*")) == [
        "2-2_mask.nii.gz",
        "2-4_mask.nii.gz",
    ]
    broken.write_bytes(whole)
    capsys.readouterr()
    assert run(*words) == 0
    told = f"4 other masks lie in {masks}, first 2-0_inner.nii.gz: they are not of this run"
    assert told in capsys.readouterr().err
    about = json.loads((masks / "predictions.json").read_text())
    assert list(about["masks_sha256"]) == [f"2-{k}_mask.nii.gz" for k in (2, 3, 4)]


def test_names_that_would_lead_elsewhere_are_refused(data, tmp_path, capsys):
    out = cls(data, tmp_path / "a.json")
    text = (data / "new/cases.csv").read_text().replace("2-5,", "../2-5,", 1)
    (data / "new/elsewhere.csv").write_text(text)
    capsys.readouterr()
    assert run("predict", out, data / "new/elsewhere.csv", "-o", tmp_path / "masks") == 1
    assert "case '../2-5': the name cannot be that of a file" in refused(capsys)


def test_a_folder_does_not_say_which_of_two_rules_holds(data, tmp_path, capsys):
    lines = (data / "old/cases.csv").read_text().splitlines()
    lines[1] = lines[1].replace("label > 0", "label == 1")
    (data / "old/two.csv").write_text("\n".join(lines))
    words = ["--eps=0.1", "--alpha=0.1", "-o", tmp_path / "a.json"]
    assert run("calibrate", "cls", data / "old/two.csv", *words) == 0
    capsys.readouterr()
    assert run("predict", tmp_path / "a.json", data / "new/scores", "-o", tmp_path / "m") == 1
    assert "the label rules ('label == 1', 'label > 0'): give a manifest" in refused(capsys)


def test_one_name_twice_in_a_folder_is_refused(tmp_path, data, capsys):
    shutil.copytree(data / "new/scores", tmp_path / "scores")
    (tmp_path / "scores/2-0.nii").touch()
    out = cls(data, tmp_path / "a.json")
    capsys.readouterr()
    assert run("predict", out, tmp_path / "scores", "-o", tmp_path / "masks") == 1
    assert "case '2-0' comes twice" in refused(capsys)


def test_the_module_runs_as_a_program(tmp_path):
    words = [sys.executable, "-m", "confseg", "predict", tmp_path / "no.json", "no.csv", "-o", "no"]
    failed = subprocess.run(words, capture_output=True, text=True)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert re.fullmatch(r"confseg: .*no.json.*\n", failed.stderr)
