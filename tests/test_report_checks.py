"""The checks of a report: the levels they state, exactly, and the cases they name."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from niftis import small_cases
from numpy.typing import NDArray

from confseg import CLS
from confseg.assess import assess
from confseg.report import checks
from confseg.report.page import Order, _checks

LEVEL = 0.01  # of a false finding, by all groups or both directions together


def test_ties_elsewhere_are_no_ties_at_the_quantile():
    """Rank 8 of 9 scores at a level of 0.2: the eighth smallest."""
    elsewhere = checks.ties(np.array([1.0, 1, 2, 3, 4, 5, 6, 7, 8]), 0.2, [])
    assert not elsewhere.found
    assert "2 of 9 scores equal another, none at the quantile." in elsewhere.text
    there = checks.ties(np.array([1.0, 1, 2, 3, 4, 5, 6, 7, 7]), 0.2, [])
    assert there.found
    assert "4 of 9 scores equal another, 2 of them at the quantile." in there.text


def test_groups_are_counted_and_have_the_p_value_of_the_urn():
    """Of 29 scores the quantile at a level of 0.2 is the 24th; five lie above, all in one group."""
    group = [""] * 5 + ["A"] * 18 + ["B"] * 6
    found = checks.groups(np.arange(29.0), 0.2, group)
    assert found.found
    # All five failures among the six, or among any five of the 29.
    p = math.comb(6, 5) / math.comb(29, 5)
    told = f"without group: 5 of 5 (p = 1); A: 18 of 18 (p = 1); B: 1 of 6 (p = {p:.3g})."
    assert found.text.endswith(f"own quantile: {told}")


def test_chance_makes_a_finding_of_groups_no_more_often_than_stated():
    """Every way to deal eleven failures to four groups, weighted by its exact probability."""
    sizes = {"A": 10, "B": 10, "C": 10, "D": 9}
    scores = np.arange(39.0)  # the quantile at a level of 0.3 is the 28th
    found = 0
    for failures in itertools.product(range(10), repeat=4):
        if sum(failures) == 11:
            both = list(zip(sizes, failures, strict=True))
            kept = [name for name, failed in both for _ in range(sizes[name] - failed)]
            lost = [name for name, failed in both for _ in range(failed)]
            if checks.groups(scores, 0.3, kept + lost).found:
                found += math.prod(math.comb(sizes[name], failed) for name, failed in both)
    assert LEVEL / 2 < found / math.comb(39, 11) <= LEVEL


def capital(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a bet on growing scores has won after each: the mean over kappa, by quadrature."""
    shares = 1 - np.random.default_rng(0).random(scores.size)
    p = np.array([(np.sum(scores[:t] > s) + shares[t]) / (t + 1) for t, s in enumerate(scores)])
    nodes, weights = np.polynomial.legendre.leggauss(60)
    kappa = (nodes + 1) / 2
    bets = kappa * p[:, np.newaxis] ** (kappa - 1)
    return np.cumprod(bets, axis=0) @ weights / 2


@pytest.mark.parametrize(("word", "sign"), [("grow", 1), ("fall", -1)])
def test_drift_is_told_when_one_of_two_bets_has_won_two_hundred_fold(word, sign):
    """By Ville's inequality each is then false with probability 1/200 at most."""
    between = 0  # watches in which a hundredfold came earlier
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = np.arange(40.0) / 5 + rng.normal(size=40)
        names = [f"c{i}" for i in rng.permutation(40)]
        won = capital(scores)
        t, hundred = int(np.argmax(won >= 2 / LEVEL)), int(np.argmax(won >= 1 / LEVEL))
        assert won[t] >= 2 / LEVEL
        alarm = checks.order(sign * scores, names, "by date")
        assert alarm.found
        assert f"The scores change by date: they {word}, which was seen at case {names[t]}." in (
            alarm.text
        )
        before = checks.order(sign * scores[:t], names[:t], "by date")
        assert not before.found
        assert before.text.endswith(f"did not win (false alarms: {LEVEL:g}).")
        between += t > hundred
    assert between > 5


def test_a_patient_stands_where_the_first_of_his_cases_does():
    """The worse a patient, the later the first case and the earlier the other one."""
    cases = [replace(c, patient=f"p{i // 2}") for i, c in enumerate(small_cases(40, seed=6))]
    method = CLS(0.1, 0.1).calibrate(cases, per="worst")
    rank = method.nonconformity_.argsort().argsort()
    # The first case of every other patient comes second in the list.
    days = np.array([(r, 39 - r) if i % 2 else (39 - r, r) for i, r in enumerate(rank)])
    place = {case.name: int(day) for case, day in zip(cases, days.ravel(), strict=True)}
    (promise,) = method._promises
    found = [assess(method, case) for case in cases]
    scores = method.nonconformity_
    told = _checks(method, promise, scores, found, Order("by date", place))
    (drift,) = (check for check in told if check.subject == "Drift")
    t = int(np.argmax(capital(np.sort(scores)) >= 2 / LEVEL))
    patient = method.patients_[int(np.flatnonzero(rank == t)[0])]
    assert f"by date: they grow, which was seen at case {patient}." in drift.text
