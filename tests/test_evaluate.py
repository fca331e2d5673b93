"""Repeated splits and step curves, by doing the same slowly."""

import math

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from strategies import cases

from confseg import CLS, ConfidenceSets, compliance_law, phantoms
from confseg.evaluate import StepCurve, law_test, repeated_splits

scores_lists = st.lists(st.integers(-3, 3).map(float) | st.just(math.inf), min_size=4, max_size=12)
shares = st.sampled_from([0.3, 0.5, 0.7])


@given(scores_lists, st.sampled_from([0.1, 0.25, 0.5]), shares, st.integers(0, 99))
def test_quantiles_and_compliance_are_those_of_the_split(scores, alpha, share, seed):
    splits = repeated_splits(scores, alpha, n_splits=3, calibration=share, seed=seed)
    values = np.array(scores)
    for use, quantile, compliance in zip(
        splits.calibration, splits.quantiles, splits.compliance, strict=True
    ):
        assert use.sum() == round(share * len(scores))
        assert quantile == brute.conformal_quantile(values[use], alpha)
        tested = values[~use]
        assert compliance == sum(value <= quantile for value in tested) / len(tested)


@given(st.lists(st.sampled_from("abcde"), min_size=6, max_size=15), st.integers(0, 99))
def test_patients_stay_together(patients, seed):
    patients = [*patients, "f", "g"]
    scores = np.arange(len(patients), dtype=float)
    splits = repeated_splits(scores, 0.5, patients, n_splits=5, seed=seed)
    for use in splits.calibration:
        one = {name for name, hit in zip(patients, use, strict=True) if hit}
        other = {name for name, hit in zip(patients, use, strict=True) if not hit}
        assert not one & other
        assert len(one) == round(0.5 * len(set(patients)))


def test_cases_without_a_patient_are_their_own():
    by_name = repeated_splits(np.arange(8.0), 0.5, ["", "", "", "", "", "", "a", "a"], seed=3)
    sizes = set(by_name.n_calibration.tolist())
    assert sizes <= {3, 4, 5}
    alone = repeated_splits(np.arange(8.0), 0.5, [""] * 8, seed=3)
    assert set(alone.n_calibration.tolist()) == {4}


def test_patients_may_be_numbers_and_zero_is_one_of_them():
    patients = [0, 0, 0, 1, 1, 1, 2, 3]
    by_number = repeated_splits(np.arange(8.0), 0.5, patients, seed=3)
    by_name = repeated_splits(np.arange(8.0), 0.5, [str(i) for i in patients], seed=3)
    np.testing.assert_array_equal(by_number.calibration, by_name.calibration)


def test_splits_are_repeatable_and_differ():
    scores = np.random.default_rng(0).random(40)
    one, same = (repeated_splits(scores, 0.1, seed=5) for _ in range(2))
    other = repeated_splits(scores, 0.1, seed=6)
    np.testing.assert_array_equal(one.calibration, same.calibration)
    assert (one.calibration != other.calibration).any()
    assert len({use.tobytes() for use in one.calibration}) == 100


def test_every_case_calibrates_equally_often():
    """Chi-square over 4,000 splits of 20 cases, at level 1e-3."""
    splits = repeated_splits(np.arange(20.0), 0.1, n_splits=4000, seed=1)
    counts = splits.calibration.sum(axis=0)
    statistic = ((counts - 2000) ** 2 / 1000).sum() * 19 / 20
    assert stats.chi2(19).sf(statistic) > 1e-3


def test_compliance_of_independent_cases_follows_the_law():
    """Each of 2,000 repetitions draws new cases and splits once; chi-square at level 1e-3."""
    rng = np.random.default_rng(4)
    kept = [
        repeated_splits(rng.random(20), 0.2, n_splits=1, seed=i).compliance[0] * 10
        for i in range(2000)
    ]
    law = repeated_splits(rng.random(20), 0.2).law()
    found = np.bincount(np.round(kept).astype(int), minlength=11)
    expected = 2000 * law.pmf(np.arange(11))
    pooled = [np.append(counts[:4].sum(), counts[4:]) for counts in (found, expected)]
    assert pooled[1].min() > 5
    assert stats.chisquare(*pooled).pvalue > 1e-3


def test_a_calibrated_method_gives_the_numbers():
    """Splitting per-case numbers is the same as calibrating on every half anew."""
    all_cases = list(phantoms.cases(40, phantoms.Lesions((24, 24), (3, 6)), seed=2))
    for method in (
        CLS(0.1, 0.2),
        ConfidenceSets(0.2),
        ConfidenceSets(0.2, "weighted", weights=(0.1, 0.1)),
    ):
        method.calibrate(all_cases)
        alpha = 0.2 if method.nonconformity_.ndim == 1 else (0.1, 0.1)
        splits = repeated_splits(method.nonconformity_, alpha, method.patients_, n_splits=3)
        for use, compliance in zip(splits.calibration, splits.compliance, strict=True):
            method.calibrate(case for case, hit in zip(all_cases, use, strict=True) if hit)
            tests = [case for case, hit in zip(all_cases, use, strict=True) if not hit]
            assert compliance == np.mean([method.complies(case) for case in tests])


def test_two_promises_have_two_quantiles_and_no_single_law():
    table = np.column_stack([np.arange(20.0), np.arange(20.0)[::-1]])
    splits = repeated_splits(table, (0.1, 0.2), n_splits=4)
    assert splits.quantiles.shape == (4, 2)
    assert splits.alpha == (0.1, 0.2)
    assert (splits.n_calibration == 10).all()
    assert (splits.n_test == 10).all()
    with pytest.raises(ValueError, match="no single law"):
        splits.law()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 0.1), "expected scores .* found shape \\(0,\\)"),
        (([1.0], 0.1), "leaves one side empty"),
        (([[[1.0]]], 0.1), "found shape \\(1, 1, 1\\)"),
        (([1.0, math.nan, 2.0], 0.1), "1 of the scores are NaN"),
        (([1.0, 2.0], 0.1, ["a"]), "1 patients named for 2 cases"),
        (([1.0, 2.0], 0.1, ["a", "a"]), "of 1 patients leaves one side empty"),
        (([1.0, 2.0], 1.5), "alpha must lie strictly between 0 and 1"),
        (([1.0, 2.0], 0.1, None, 0), "n_splits must be at least 1, found 0"),
        (([1.0, 2.0], 0.1, None, 5, 1.0), "calibration = 1.0 of 2 patients leaves one side empty"),
        (([[1.0, 2.0], [3.0, 4.0]], (0.1, 0.1, 0.1)), "3 levels for 2 columns of scores"),
    ],
)
def test_unsound_requests_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        repeated_splits(*arguments)


def test_law_test_accepts_the_law_and_sees_another():
    """P-values under the law are uniform (Kolmogorov-Smirnov, level 1e-3); a rank off is seen."""
    law, rng = compliance_law(19, 0.1, 10), np.random.default_rng(5)
    values = [law_test(law.rvs(size=500, random_state=rng), law) for _ in range(300)]
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    for rank in (17, 19):
        other = stats.betabinom(10, rank, 20 - rank).rvs(size=2000, random_state=rng)
        assert law_test(other, law) < 1e-6


def test_law_test_is_the_chi_square_of_cells_that_expect_five():
    """Counts 0 and 1 share a cell: 2 and 3 are expected of them."""
    law = stats.rv_discrete(values=([0, 1, 2], [0.02, 0.03, 0.95]))()
    counts = [0] * 1 + [1] * 8 + [2] * 91
    expected = stats.chisquare([9, 91], [5, 95]).pvalue
    assert law_test(counts, law) == pytest.approx(expected, rel=1e-12)


def test_law_test_refuses_counts_that_cannot_be():
    law = compliance_law(19, 0.1, 10)
    with pytest.raises(ValueError, match="counts must lie between 0 and 10"):
        law_test([3, 11], law)
    with pytest.raises(ValueError, match="3 counts are too few to compare with the law"):
        law_test([9, 9, 9], law)


@given(cases(), st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=5))
def test_step_curves_count_at_every_cutoff(case, others):
    curve = StepCurve(case)
    cutoffs = [*brute.numbers(case.score), *others]
    missed = [brute.missed(case.score, case.truth, c) for c in cutoffs]
    size = [sum(brute.flags(brute.above(case.score, c, strict=False))) for c in cutoffs]
    assert curve.missed(cutoffs).tolist() == missed
    assert curve.size(cutoffs).tolist() == size
    lesion = int(case.truth.sum())
    assert curve.fnr(cutoffs).tolist() == [m / lesion for m in missed]
    assert curve.compactness(cutoffs).tolist() == [s / case.truth.size for s in size]


def test_a_step_curve_without_lesion_has_no_rate():
    empty = next(phantoms.cases(1, phantoms.Lesions(radius=(-9.0, -8.0)), seed=0))
    curve = StepCurve(empty)
    assert np.isnan(curve.fnr([0.2, 0.5])).all()
    assert curve.size([0.0]) == 48 * 48
