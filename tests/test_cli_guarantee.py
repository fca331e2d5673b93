"""The promise through files: NIfTI in, calibrated masks out, and their count follows its law.

Seventy times over, 8 fresh cases calibrate, and the masks of 10 other ones are read back and
counted in voxels. Each count has its exact law, and so has their sum, with enough sets to tell
the rank of the quantile from its neighbors. Two twins break the assumption: new cases from a
worse segmenter, and masks that were cut at one half instead.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from niftis import small_cases, write_cases
from numpy.typing import NDArray
from scipy import stats

from confseg import Case
from confseg.cli import main

SETS, N, M, ALPHA = 70, 8, 10, 0.3
RANK = 7  # of the quantile: 0.7 * 9 = 6.3, rounded up
LEVEL = 0.01  # of each test

Masks = dict[str, NDArray[np.bool_]]


def misses_at_most_a_tenth(truth: NDArray[np.bool_], masks: Masks) -> bool:
    (mask,) = masks.values()
    return 10 * np.sum(truth & ~mask) <= np.sum(truth)


def lies_between(truth: NDArray[np.bool_], masks: Masks) -> bool:
    return not (masks["inner"] & ~truth).any() and not (truth & ~masks["outer"]).any()


METHODS: dict[str, tuple[list[str], list[str], Callable[[NDArray[np.bool_], Masks], bool]]] = {
    "cls": (["--eps=0.1"], ["mask"], misses_at_most_a_tenth),
    "sets": ([], ["inner", "outer"], lies_between),
    "margin": (["--coverage=0.9"], ["outer"], misses_at_most_a_tenth),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Counter[tuple[str, str]]:
    """How many of all new cases keep the promise, by method and by what was done."""
    counts: Counter[tuple[str, str]] = Counter()
    for seed in range(SETS):
        folder = tmp_path_factory.mktemp("cases")
        write_cases(folder / "old", small_cases(N, seed=100 + seed))
        new = {
            "as promised": small_cases(M, seed=200 + seed),
            "worse segmenter": small_cases(M, seed=300 + seed, noise=4.0),
        }
        for name, cases in new.items():
            write_cases(folder / name, cases)
        for method, (words, masks, keeps) in METHODS.items():
            out = folder / f"{method}.json"
            run(
                "calibrate", method, folder / "old/cases.csv", *words, f"--alpha={ALPHA}", "-o", out
            )
            for name, cases in new.items():
                there = folder / f"{method} {name}"
                run("predict", out, folder / name / "cases.csv", "-o", there)
                counts[method, name] += sum(
                    keeps(case.truth, written(there, case, masks)) for case in cases
                )
            counts[method, "cut at one half"] += sum(
                keeps(case.truth, dict.fromkeys(masks, case.score >= 0.5))
                for case in new["as promised"]
            )
    return counts


def run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def written(folder: Path, case: Case, names: list[str]) -> Masks:
    images = {name: nib.load(folder / f"{case.name}_{name}.nii.gz") for name in names}
    return {name: np.asarray(image.dataobj) > 0 for name, image in images.items()}


@functools.cache
def law(rank: int = RANK) -> NDArray[np.float64]:
    """Probabilities of all numbers of promises that can be kept, 0 to `SETS` times `M`."""
    of_one = stats.betabinom(M, rank, N + 1 - rank).pmf(np.arange(M + 1))
    return functools.reduce(np.convolve, [of_one] * SETS)


def p_value(count: int, method: str) -> float:
    few, many = law()[: count + 1].sum(), law()[count:].sum()
    # Margins tie, since distances between voxels do, and ties can only raise the count.
    return few if method == "margin" else 2 * min(few, many)


@pytest.mark.parametrize("method", METHODS)
def test_the_promise_is_kept_as_its_law_says(kept, method):
    count = kept[method, "as promised"]
    assert p_value(count, method) > LEVEL, (count, p_value(count, method))


@pytest.mark.parametrize("method", METHODS)
def test_a_rank_one_off_would_be_seen(method):
    """By the exact law of the count with that rank; with ties, one too high is no fault."""
    seen = [p_value(count, method) <= LEVEL for count in range(SETS * M + 1)]
    assert law()[seen].sum() <= LEVEL
    for rank in (RANK - 1,) if method == "margin" else (RANK - 1, RANK + 1):
        assert law(rank)[seen].sum() > 0.95


@pytest.mark.parametrize("twin", ["worse segmenter", "cut at one half"])
@pytest.mark.parametrize("method", METHODS)
def test_a_broken_assumption_is_seen(kept, method, twin):
    count = kept[method, twin]
    assert law()[: count + 1].sum() < LEVEL, count
