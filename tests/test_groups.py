"""Calibration by group: its laws in every group, and what one calibration for all does there."""

import json
import math
from dataclasses import replace

import brute
import numpy as np
import pytest
from scipy import stats

from confseg import (
    CLS,
    ConfidenceSets,
    Margin,
    Mondrian,
    NotCalibratedError,
    fields,
    phantoms,
    predicted_volume,
)

LESIONS = phantoms.Lesions(shape=(20, 20), radius=(3.5, 6.0), roughness=0.6, bumps=2.5)
CASES = [
    replace(case, group="AB"[i % 3 == 0], spacing=(2.0, 0.5))
    for i, case in enumerate(phantoms.cases(60, LESIONS, seed=1))
]
METHODS = {
    "CLS": lambda: CLS(eps=0.1, alpha=0.2),
    "joint sets": lambda: ConfidenceSets(0.2, inner=fields.logit),
    "margin": lambda: Margin(0.2),
}


def size_class(score, spacing):
    return "large" if predicted_volume(score) > 70 else "small"


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_every_group_is_calibrated_on_its_own(make):
    mondrian = Mondrian(make()).calibrate(iter(CASES))
    assert mondrian.sizes_ == {"A": 40, "B": 20}
    for name in "AB":
        alone = make().calibrate([case for case in CASES if case.group == name])
        assert mondrian.methods_[name].to_json() == alone.to_json()
        for case in CASES[:6]:
            spacing = None if isinstance(alone, CLS) else case.spacing
            expected = alone.predict(case.score, *([spacing] if spacing else []))
            found = mondrian.predict(case.score, case.spacing, group=name)
            assert np.array_equal(found, expected)
    for case in CASES:
        assert mondrian.complies(case) == mondrian.methods_[case.group].complies(case)


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_a_function_finds_the_group(make):
    mondrian = Mondrian(make(), size_class).calibrate(CASES, n_jobs=1)
    assert set(mondrian.sizes_) == {"large", "small"} and sum(mondrian.sizes_.values()) == 60
    for case in CASES[:10]:
        name = size_class(case.score, case.spacing)
        by_name = Mondrian(make()).calibrate(
            [replace(c, group=size_class(c.score, c.spacing)) for c in CASES]
        )
        expected = by_name.predict(case.score, case.spacing, group=name)
        assert np.array_equal(mondrian.predict(case.score, case.spacing), expected)
        assert mondrian.complies(case) == by_name.methods_[name].complies(case)


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("function", [None, size_class])
def test_json(make, function, tmp_path):
    mondrian = Mondrian(make(), function).calibrate(CASES)
    mondrian.to_json(tmp_path / "groups.json")
    again = Mondrian.from_json(tmp_path / "groups.json", type(make()), function)
    assert again.to_json() == mondrian.to_json()
    assert again.statement() == mondrian.statement()
    assert again.sizes_ == mondrian.sizes_
    assert all(again.complies(case) == mondrian.complies(case) for case in CASES)
    assert repr(again.method) == repr(make())


def test_json_refuses_what_it_cannot_trust():
    text = Mondrian(CLS(0.1, 0.2), size_class).calibrate(CASES).to_json()
    with pytest.raises(ValueError, match="expected the function"):
        Mondrian.from_json(text, CLS)
    with pytest.raises(ValueError, match="is damaged"):
        Mondrian.from_json(text[:-5], CLS, size_class)
    with pytest.raises(ValueError, match="checksum"):
        Mondrian.from_json(text.replace('"small"', '"tiny"'), CLS, size_class)
    with pytest.raises(ValueError, match="not a confseg calibration by group"):
        Mondrian.from_json(CLS(0.1, 0.2).calibrate(CASES).to_json(), CLS)
    with pytest.raises(ValueError, match="calibration of a CLS, expected a Margin"):
        Mondrian.from_json(text, Margin, size_class)
    by_name = Mondrian(CLS(0.1, 0.2)).calibrate(CASES).to_json()
    with pytest.raises(ValueError, match="expected no function"):
        Mondrian.from_json(by_name, CLS, size_class)
    assert json.loads(text)["function"] is True


def test_statement_speaks_of_every_group():
    text = Mondrian(CLS(0.1, 0.2)).calibrate(CASES).statement()
    opening, a, b = text.split("\n\n")
    assert "among the cases of its group" in opening
    assert a.startswith("Group 'A'. Calibrated on 40 cases.")
    assert b.startswith("Group 'B'. Calibrated on 20 cases.")


def test_groups_that_are_too_small_are_named_once():
    few = CASES[:6]
    with pytest.warns(UserWarning, match=r"groups \{'A': 4, 'B': 2\}, at least 9") as warned:
        mondrian = Mondrian(CLS(0.1, alpha=0.1)).calibrate(few)
    assert len(warned) == 1
    assert mondrian.predict(few[0].score, group="A").all()
    with pytest.warns(UserWarning, match=r"groups \{'B': 2\}, at least 4"):
        Mondrian(CLS(0.1, alpha=0.2)).calibrate(few)


def test_cases_without_lesion_are_counted_in_their_group():
    empty = [replace(case, truth=np.zeros_like(case.truth)) for case in CASES[:6]]
    with pytest.warns(UserWarning, match="6 of 66 cases have an empty truth"):
        mondrian = Mondrian(CLS(0.1, 0.2)).calibrate([*CASES, *empty])
    assert "(4 without lesion were left out" in mondrian.methods_["A"].statement()
    assert mondrian.sizes_ == {"A": 40, "B": 20}


def test_cases_without_lesion_may_be_refused():
    empty = replace(CASES[0], truth=np.zeros_like(CASES[0].truth), name="healthy")
    with pytest.raises(ValueError, match="1 cases have an empty truth, first 'healthy'"):
        Mondrian(CLS(0.1, 0.2, empty="refuse")).calibrate([*CASES, empty])


def test_bad_input():
    mondrian = Mondrian(CLS(0.1, 0.2))
    with pytest.raises(NotCalibratedError):
        mondrian.predict(CASES[0].score, group="A")
    assert not hasattr(mondrian, "methods_")
    with pytest.raises(ValueError, match=r"case 2 .*name of a group, found ''"):
        mondrian.calibrate([CASES[0], replace(CASES[1], group="")])
    with pytest.raises(ValueError, match="at least one calibration case"):
        mondrian.calibrate([])
    with pytest.raises(ValueError, match="name of a group, found 3"):
        Mondrian(CLS(0.1, 0.2), lambda score, spacing: 3).calibrate(CASES)
    mixed = [CASES[0], replace(CASES[1], spacing=None)]
    with pytest.raises(ValueError, match="some cases have a spacing"):
        Mondrian(Margin(0.2)).calibrate(mixed)
    mondrian.calibrate(CASES)
    with pytest.raises(ValueError, match=r"no calibration case was of group 'C', only \{'A': 40"):
        mondrian.predict(CASES[0].score, group="C")
    with pytest.raises(ValueError, match="case 'new'.*group 'C'"):
        mondrian.complies(replace(CASES[0], name="new", group="C"))
    with pytest.raises(ValueError, match="give the group"):
        mondrian.predict(CASES[0].score)
    with pytest.raises(ValueError, match="the function finds it"):
        Mondrian(CLS(0.1, 0.2), size_class).calibrate(CASES).predict(CASES[0].score, group="A")
    with pytest.raises(TypeError, match="expected CLS"):
        Mondrian("CLS")
    with pytest.raises(TypeError, match="must be a function"):
        Mondrian(CLS(0.1, 0.2), "size")


def test_predicted_volume():
    score = np.array([[0.5, 0.4], [0.9, 0.8]])
    assert predicted_volume(score) == 3
    assert predicted_volume(score, (2.0, 0.25), threshold=0.8) == 1
    assert predicted_volume(score > 0.85, (2.0, 0.25)) == 0.5


# --- the guarantee: in every group its own law ---

SETS, M, ALPHA = 500, 5, 0.2
SIZES = {"common": 14, "rare": 9}
FAULTS = {"common": {}, "rare": {"noise": 3.0}}


@pytest.fixture(scope="module")
def counts():
    """Compliant ones among M new cases of the rare group, by group and with one cut-off."""
    drawn = {}
    for seed, (name, n) in enumerate(SIZES.items()):
        segmenter = phantoms.Segmenter(**FAULTS[name])
        cases = phantoms.cases(SETS * (n + M), LESIONS, segmenter, seed)
        drawn[name] = iter([replace(case, group=name) for case in cases])
    by_group, for_all = {name: [] for name in SIZES}, {name: [] for name in SIZES}
    for _ in range(SETS):
        calibration = [next(drawn[name]) for name, n in SIZES.items() for _ in range(n)]
        mondrian = Mondrian(CLS(0.1, ALPHA)).calibrate(calibration)
        marginal = CLS(0.1, ALPHA).calibrate(calibration)
        for name in SIZES:
            new = [next(drawn[name]) for _ in range(M)]
            by_group[name].append(sum(mondrian.complies(case) for case in new))
            for_all[name].append(sum(marginal.complies(case) for case in new))
    return by_group, for_all


def law_of(n):
    rank = math.ceil((1 - brute.decimal(ALPHA)) * (n + 1))
    return stats.betabinom(M, rank, n + 1 - rank)


def p_same_law(found, law):
    """Chi-square; the lowest counts are pooled until ten are expected."""
    expected = law.pmf(np.arange(M + 1)) * len(found)
    observed = np.bincount(found, minlength=M + 1)
    first = int(np.searchsorted(np.cumsum(expected), 10))
    pooled = [np.append(v[: first + 1].sum(), v[first + 1 :]) for v in (observed, expected)]
    return stats.chisquare(*pooled).pvalue


@pytest.mark.parametrize("name", SIZES)
def test_counts_follow_the_law_of_their_group(counts, name):
    assert p_same_law(counts[0][name], law_of(SIZES[name])) > 1e-3


def test_twin_one_calibration_for_all_fails_in_the_rare_group(counts):
    law = law_of(sum(SIZES.values()))
    assert p_same_law(counts[1]["rare"], law) < 1e-6
    z = (np.mean(counts[1]["rare"]) / M - (1 - ALPHA)) / (
        np.std(counts[1]["rare"]) / M / math.sqrt(SETS)
    )
    assert stats.norm.cdf(z) < 1e-6
