"""The histograms of the five networks: complete, and in agreement with the label files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from confseg.metrics import dice, fnr

FOLDER = Path(__file__).parents[1] / "book" / "tables" / "networks"
ABOUT = json.loads((FOLDER / "provenance.json").read_text(encoding="utf-8"))
NETWORKS = ("Med3D", "nnU-Net", "UNETR", "Swin-UNETR", "SAM-Med3D")
PANELS, SEEDS = ("well", "weak"), (0, 1, 2)
RUNS = [(name, panel, seed) for name in NETWORKS for panel in PANELS for seed in SEEDS]
CASES, LEVELS = 160, 256
SAMPLE = 20
MIRROR = Path(os.environ.get("CONFSEG_MIRROR", FOLDER / ".." / ".." / ".." / ".." / "shared/data"))
LABELS = MIRROR / "msd_task04_hippocampus" / "labelsTr"


@cache
def run(name: str, panel: str, seed: int) -> dict[str, Any]:
    with np.load(FOLDER / f"{name}_{panel}_{seed}.npz") as kept:
        return dict(kept)


def test_every_run_is_there_and_nothing_else():
    expected = {f"{name}_{panel}_{seed}.npz" for name, panel, seed in RUNS}
    assert {path.name for path in FOLDER.iterdir()} == {*expected, "provenance.json"}


@pytest.mark.parametrize(("name", "panel", "seed"), RUNS)
def test_a_run_is_complete_and_says_what_it_is(name, panel, seed):
    kept = run(name, panel, seed)
    assert kept["counts"].shape == (CASES, 2, LEVELS)
    assert (kept["counts"] >= 0).all()
    assert (str(kept["network"]), str(kept["panel"]), str(kept["seed"])) == (name, panel, str(seed))
    assert str(kept["training_cases"]) == str(ABOUT["panels"][panel]["training_cases"])
    assert str(kept["torch"]) == ABOUT["versions"]["torch"]
    assert str(kept["command"]) == (
        f"python -m benchmarks.networks DATA --network {name} --seed {seed} --panel {panel}"
    )


def test_all_runs_have_the_same_cases():
    first = {panel: run(NETWORKS[0], panel, 0) for panel in PANELS}
    names = first["well"]["names"]
    assert len(set(names)) == CASES
    for name, panel, seed in RUNS:
        kept, expected = run(name, panel, seed), first[panel]
        assert kept["names"].tolist() == names.tolist()
        assert np.array_equal(kept["counts"].sum(axis=2), expected["counts"].sum(axis=2))


def test_the_seeds_gave_different_networks():
    assert len({run(*one)["counts"].tobytes() for one in RUNS}) == len(RUNS) == 30


def test_the_provenance_is_that_of_the_files():
    files = {path.name: path.read_bytes() for path in FOLDER.glob("*.npz")}
    assert ABOUT["sha256"] == {
        name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())
    }
    assert tuple(ABOUT["networks"]) == NETWORKS
    assert tuple(ABOUT["seeds"]) == SEEDS
    assert ABOUT["license"] == "CC BY-SA 4.0"


@pytest.mark.skipif(not LABELS.is_dir(), reason="no mirror: name one with CONFSEG_MIRROR")
@pytest.mark.parametrize("panel", PANELS)
def test_voxels_inside_and_outside_are_those_of_the_label_files(panel):
    kept = run(NETWORKS[0], panel, 0)
    for i in np.random.default_rng(17).choice(CASES, SAMPLE, replace=False):
        label = np.asarray(nibabel.load(LABELS / f"{kept['names'][i]}.nii.gz").dataobj)
        truth = np.isin(label, ABOUT["panels"][panel]["labels"])
        outside, inside = kept["counts"][i].sum(axis=1)
        assert (outside, inside) == (np.sum(~truth), np.sum(truth))


@pytest.mark.parametrize(
    ("name", "panel", "at_half", "elsewhere"),
    [
        ("nnU-Net", "well", (0.123, 0.877), (0.080, 0.180)),
        ("SAM-Med3D", "well", (0.190, 0.793), (0.133, 0.258)),
        ("nnU-Net", "weak", (0.211, 0.796), (0.143, 0.292)),
        ("Med3D", "weak", (0.276, 0.766), (0.176, 0.389)),
    ],
)
def test_levels_are_probabilities(name, panel, at_half, elsewhere):
    """FNR and Dice at 0.5, as chapter 17 prints them, and FNR at 0.25 and 0.75: voxel by voxel."""
    rates = np.mean([quality(*voxels) for seed in SEEDS for voxels in scans(name, panel, seed)], 0)
    assert np.round(rates, 3).tolist() == [*at_half, *elsewhere]


def scans(name: str, panel: str, seed: int) -> Iterator[tuple[NDArray, NDArray]]:
    """Score and truth of every case, its voxels in no order."""
    for counts in run(name, panel, seed)["counts"]:
        score = np.repeat(np.tile(np.arange(LEVELS) / LEVELS, 2), counts.ravel())
        yield score, np.arange(score.size) >= counts[0].sum()


def quality(score: NDArray, truth: NDArray) -> list[float]:
    mask = score >= 0.5
    elsewhere = [fnr(score >= cutoff, truth) for cutoff in (0.25, 0.75)]
    return [fnr(mask, truth), dice(mask, truth), *elsewhere]
