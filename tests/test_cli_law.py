"""The law that ``confseg evaluate`` prints, recomputed with SciPy from ranks written out here."""

from __future__ import annotations

import re

import pytest
from niftis import small_cases
from scipy import stats

from confseg import CLS, ConfidenceSets
from confseg.assess import Assessment
from confseg.cli.evaluate import _line
from confseg.conformal import SplitConformal

M = 40
# After 30 cases: 0.8 * 31 = 24.8 and 0.7 * 31 = 21.7, rounded up; of the method's alpha, 15.5.
RANKS = {"inner": 25, "outer": 22}
SENTENCE = re.compile(
    r"(?P<what>\w+): (?P<kept>\d+) of (?P<m>\d+) cases keep the promise \((?P<share>[\d.]+)%\), "
    r"promised is at least (?P<promised>\d+)%\. By its law, after (?P<n>\d+) calibration cases, "
    r"the count lies between (?P<low>\d+) and (?P<high>\d+) in nine evaluations out of ten, or "
    r"higher where scores tie: this one is (?P<place>\w+) "
    r"\(so few or fewer: probability (?P<p>[\d.e-]+)\)\."
)


@pytest.fixture(scope="module")
def weighted() -> ConfidenceSets:
    """Two promises, of 80% and of 70%, each of one side."""
    return ConfidenceSets(0.5, "weighted", weights=(0.2, 0.3)).calibrate(small_cases(30, seed=1))


def made_up(kept: int, side: str, *others: str) -> list[tuple[Assessment]]:
    """`M` cases of which `kept` keep the promise of a side, and none that of another one."""
    sides = (side, *others)
    zeros, scores = dict.fromkeys(sides, 0), dict.fromkeys(sides, 0.0)
    return [
        (
            Assessment(
                name=f"{i}",
                patient="",
                group="",
                left_out=False,
                image=960,
                lesion=100,
                spacing=None,
                region=zeros,
                wrong=zeros,
                score=scores,
                complies={**dict.fromkeys(others, False), side: i < kept},
            ),
        )
        for i in range(M)
    ]


def said(method: SplitConformal, side: str, kept: int) -> dict[str, str]:
    """The sentence on the promise of a side, in its parts."""
    (promise,) = (each for each in method._promises if side in each.sides)
    others = [name for name in method._sides if name != side]
    line = _line(method, promise, made_up(kept, side, *others), "cases")
    found = SENTENCE.fullmatch(line)
    assert found, line
    return found.groupdict()


def ends(rank: int, n: int) -> tuple[int, int]:
    """The smallest counts that the law does not exceed with probability 5% and 95%."""
    cdf = stats.betabinom(M, rank, n + 1 - rank).cdf(range(M + 1)).tolist()
    low, high = (next(c for c in range(M + 1) if cdf[c] >= p) for p in (0.05, 0.95))
    assert cdf[high] - cdf[low - 1] >= 0.9
    return low, high


@pytest.mark.parametrize("side", RANKS)
def test_a_weighted_side_is_compared_with_its_own_law(weighted, side):
    rank, promised = RANKS[side], {"inner": "80", "outer": "70"}[side]
    low, high = ends(rank, 30)
    assert (low, high) != ends(16, 30)  # that of the method's alpha
    assert high < M
    places = {low - 1: "below", low: "within", high: "within", high + 1: "above"}
    for kept, place in places.items():
        assert said(weighted, side, kept) == {
            "what": side,
            "kept": str(kept),
            "m": str(M),
            "share": f"{100 * kept / M:.1f}",
            "promised": promised,
            "n": "30",
            "low": str(low),
            "high": str(high),
            "place": place,
            "p": f"{stats.betabinom(M, rank, 31 - rank).cdf(kept):.3g}",
        }


def test_the_fewest_cases_have_a_law_and_one_fewer_none():
    cases = small_cases(9, seed=1)
    fewest = CLS(0.1, 0.1).calibrate(cases)
    parts = said(fewest, "outer", 30)
    assert (int(parts["low"]), int(parts["high"])) == ends(9, 9)
    assert (parts["what"], parts["n"], parts["place"]) == ("mask", "9", "within")
    assert parts["p"] == f"{stats.betabinom(M, 9, 1).cdf(30):.3g}"
    with pytest.warns(UserWarning, match="8 calibration cases are too few"):
        trivial = CLS(0.1, 0.1).calibrate(cases[:8])
    line = _line(trivial, *trivial._promises, made_up(M, "outer"), "cases")
    assert line == (
        "mask: 40 of 40 cases keep the promise (100.0%), promised is at least 90%. "
        "The set is trivial and always keeps it."
    )


def test_one_side_can_be_trivial_while_the_other_has_a_law():
    """Three cases are enough for 70%, not for 80%."""
    method = ConfidenceSets(0.5, "weighted", weights=(0.2, 0.3))
    with pytest.warns(UserWarning, match="3 calibration cases are too few"):
        method.calibrate(small_cases(3, seed=1))
    (inner,) = (each for each in method._promises if each.sides == ("inner",))
    line = _line(method, inner, made_up(M, "inner"), "cases")
    assert line.endswith("The set is trivial and always keeps it.")
    parts = said(method, "outer", 30)
    assert (int(parts["low"]), int(parts["high"])) == ends(3, 3)


def test_a_share_of_the_set_may_lie_above_the_law():
    """A larger set may hold a smaller share of false voxels: it keeps the promise once more."""
    method = ConfidenceSets(0.3, "inner", false=0.1).calibrate(small_cases(30, seed=1))
    (promise,) = method._promises
    line = _line(method, promise, made_up(30, "inner"), "cases")
    assert "or higher where scores tie or a larger set has a smaller share of false voxels" in line
