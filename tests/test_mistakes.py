"""Mistakes that programs of this kind have made, each with a test that would catch it here.

Where it is short the mistake is made on purpose, so that the test shows what it would have cost.
"""

import math
import tracemalloc

import brute
import numpy as np
import pytest
from scipy import optimize

from confseg import CLS, Case, ConfidenceSets, Margin, conformal_quantile, fields, phantoms
from confseg.exact import conformal_rank

SMALL = phantoms.Lesions(shape=(24, 24), radius=(3.0, 6.0), roughness=0.8)
CASES = list(phantoms.cases(80, SMALL, phantoms.Segmenter(noise=2.0), seed=21))


def fnr_at(case, cutoff):
    return brute.missed(case.score, case.truth, cutoff) / int(case.truth.sum())


@pytest.mark.parametrize(("n", "alpha"), [(9, 0.1), (19, 0.05), (99, 0.01), (4, 0.2)])
def test_1_rank_counted_from_one_used_as_an_index_counted_from_zero(n, alpha):
    """One rank too high; and where the rank is n, an index out of bounds."""
    scores = np.random.default_rng(0).permutation(n).astype(float)
    rank = math.ceil((1 - brute.decimal(alpha)) * (n + 1))
    assert rank == n
    with pytest.raises(IndexError):
        np.sort(scores)[rank]
    assert conformal_quantile(scores, alpha) == n - 1
    method = CLS(0.0, alpha).calibrate([Case([(s + 1) / 128], [True]) for s in scores])
    assert method.cutoff_ == 1 / 128


def bisected(case, eps, delta=1e-4):
    """A threshold found by halving until the loss is near eps, given up after 60 halvings."""
    low, high = 0.0, 1.0
    for _ in range(60):
        t = (low + high) / 2
        loss = fnr_at(case, 1 - t)
        if abs(loss - eps) <= delta:
            break
        low, high = (t, high) if loss > eps else (low, t)
    return 1 - t


def test_2_halving_until_the_loss_is_near_the_tolerance():
    """The loss is a step function: where the search ends it may exceed the tolerance."""
    eps = 0.1
    broken = [brute.missed(c.score, c.truth, bisected(c, eps)) for c in CASES]
    limits = [brute.allowed(eps, c.truth) for c in CASES]
    assert sum(m > limit for m, limit in zip(broken, limits, strict=True)) > 0
    critical = CLS(eps, 0.1).calibrate(CASES).critical_values_
    kept = [brute.missed(c.score, c.truth, v) for c, v in zip(CASES, critical, strict=True)]
    assert all(m <= limit for m, limit in zip(kept, limits, strict=True))


@pytest.mark.parametrize("method", [CLS(0.0, 0.5), Margin(0.5), ConfidenceSets(0.5, "outer")])
def test_3_greater_in_one_place_and_greater_or_equal_in_the_other(method):
    """The case that sets the cut-off has its voxel right at it, and complies."""
    for case in CASES[:20]:
        method.calibrate([case])
        assert method.complies(case)
        region = method.predict(case.score)
        region = region.outer if isinstance(method, ConfidenceSets) else region
        assert region[case.truth].all()


def test_4_rank_clamped_when_there_are_too_few_cases():
    """Eight cases support no finite answer at 10 %; the largest of them would hold for 8 in 9."""
    for method in (CLS(0.0, 0.1), Margin(0.1), ConfidenceSets(0.1, "outer")):
        with pytest.warns(UserWarning, match="8 calibration cases are too few: .* at least 9 are"):
            method.calibrate(CASES[:8])
        region = method.predict(CASES[8].score)
        region = region.outer if isinstance(method, ConfidenceSets) else region
        assert region.all()
    assert conformal_quantile(range(8), 0.1) == math.inf


def test_5_scores_stretched_to_the_range_of_each_image():
    """A score means the same in every image: far away voxels change neither number nor mask."""
    case = CASES[0]
    brighter = case.score.copy()
    brighter[~case.truth & (case.score < 0.01)] = 0.0
    brighter[0, 0] = 1.0
    other = Case(brighter, case.truth)
    one, two = (CLS(0.1, 0.5).calibrate([c]) for c in (case, other))
    assert one.critical_values_ == two.critical_values_
    same = case.score == brighter
    assert (~same).any()
    np.testing.assert_array_equal(
        one.predict(case.score)[same], one.predict(brighter)[same], strict=True
    )


def test_6_scores_squashed_because_another_voxel_is_no_probability():
    """0.9 stays 0.9; an image that holds 1.2 is refused and never passed through a sigmoid."""
    method = CLS(0.0, 0.5).calibrate([Case([0.9], [True])])
    assert method.predict([0.9, 0.8]).tolist() == [True, False]
    with pytest.raises(ValueError, match=r"probabilities must lie in \[0, 1\]"):
        method.predict([0.9, 1.2])


def test_7_a_grid_of_thresholds_times_all_voxels():
    """Cut-offs are not rounded to a grid, and no array is a hundred times the image."""
    shape = (96, 96, 96)
    truth = np.zeros(shape, dtype=bool)
    truth[40:60, 40:60, 40:60] = True
    case = Case(np.random.default_rng(0).random(shape, dtype=np.float32), truth)
    tracemalloc.start()
    method = ConfidenceSets(0.5, "outer", outer=fields.identity).calibrate([case])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < case.score.nbytes
    assert method.cutoff_outer_ == case.score[truth].min()
    assert method.cutoff_outer_ != round(method.cutoff_outer_, 2)


def test_8_root_finding_on_a_step_function():
    """A root finder may end on the wrong side of the jump; an order statistic cannot."""
    eps, wrong = 0.1, 0
    for case in CASES:
        limit = brute.allowed(eps, case.truth)
        root = optimize.brentq(lambda c, case=case: fnr_at(case, c) - eps - 1e-12, 0, 1.1)
        wrong += brute.missed(case.score, case.truth, root) > limit
        exact = CLS(eps, 0.5).calibrate([case]).cutoff_
        assert brute.missed(case.score, case.truth, exact) <= limit
        assert brute.missed(case.score, case.truth, np.nextafter(exact, 2)) > limit
    assert wrong > 0


def test_9_scores_set_to_zero_outside_the_mask_before_the_maximum():
    """A joint cut-off may be negative; zeros among the voxels would lift it to 0."""
    score = np.array([[0.1, 0.1, 0.9, 0.9, 0.1]])
    case = Case(score, score > 0.5)
    field = fields.signed_distance(0.5, "cross")
    method = ConfidenceSets(0.5, inner=field, outer=field).calibrate([case])
    assert (method.cutoff_inner_, method.cutoff_outer_) == (-1.0, 1.0)
    values = field(score)
    masked = max((values * ~case.truth).max(), (-values * case.truth).max())
    assert masked == 0.0
    inner, outer = method.predict(score)
    np.testing.assert_array_equal(inner, case.truth)
    np.testing.assert_array_equal(outer, case.truth)


def test_10_ranks_rounded_in_floating_point():
    """Truncating (1 - alpha)(n + 1) is one too low wherever the product is a hair too small."""
    tens = range(9, 1000, 10)
    assert any(int((1 - 0.9) * (n + 1)) != (n + 1) // 10 for n in tens)
    assert [conformal_rank(n, 0.1) for n in tens] == [9 * (n + 1) // 10 for n in tens]
    scores = [float(i) for i in range(1, 20)]
    assert conformal_quantile(scores, 0.1) == 18.0
    assert conformal_quantile(scores[:9], 0.1) == 9.0


def test_12_margins_capped_and_empty_predictions_left_as_they_are():
    """A far lesion needs a far margin; a lesion that was not found needs the whole image."""
    score, truth = np.zeros((1, 500)), np.zeros((1, 500), dtype=bool)
    score[0, 0], truth[0, 499] = 1.0, True
    for metric in ("mm", "cross", "cube"):
        assert Margin(0.5, metric=metric).calibrate([Case(score, truth)]).margin_ == 499.0
        method = Margin(0.5, metric=metric).calibrate([Case(np.zeros((1, 500)), truth)])
        assert method.margin_ == math.inf
        assert method.predict(np.zeros((1, 500))).all()
