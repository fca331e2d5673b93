"""Risk control: exact against trying every cut-off with fractions, and valid by simulation."""

import functools
import math
import warnings
from fractions import Fraction

import brute
import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from test_bounds import p_plain

from confseg import RCPS, Case, ConformalRiskControl, NotCalibratedError, StepLoss, phantoms
from confseg.steps import fnr_steps

CASES = list(phantoms.cases(150, phantoms.Lesions((20, 20), (4, 6), 0.5), seed=5))
METHODS = {
    "CRC": lambda: ConformalRiskControl(0.1),
    "hoeffding": lambda: RCPS(0.2, 0.1, "hoeffding"),
    "bentkus": lambda: RCPS(0.2, 0.1),
    "wsr": lambda: RCPS(0.2, 0.1, "wsr"),
}
every_method = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)


# --- every candidate tried, with fractions ---


def fnr(case, cutoff):
    lesion = sum(brute.flags(case.truth))
    missed = brute.missed(case.score, case.truth, cutoff)
    return Fraction(missed, lesion) if lesion else Fraction(0)


def all_cutoffs(cases):
    """Every value of every image, and numbers between, below and beyond them."""
    values = sorted({v for case in cases for v in brute.numbers(case.score)})
    between = [(a + b) / 2 for a, b in zip(values, values[1:], strict=False)]
    return sorted({-1.0, *values, *between, 2.0})


def crc_keeps(losses, alpha):
    return Fraction(sum(losses) + 1, len(losses) + 1) <= brute.decimal(alpha)


def largest_safe(cases, safe):
    """The last cut-off before the first that is not safe."""
    best = -math.inf
    for cutoff in all_cutoffs(cases):
        if not safe([fnr(case, cutoff) for case in cases]):
            return best
        best = cutoff
    return math.inf


@given(cases=strategies.calibration_sets(empty=True), alpha=strategies.alphas)
def test_crc_is_the_largest_cut_off_that_keeps_its_promise(cases, alpha):
    with warnings.catch_warnings(record=True):
        method = ConformalRiskControl(alpha, empty="zero").calibrate(cases)
    wanted = largest_safe(cases, lambda losses: crc_keeps(losses, alpha))
    assert method.cutoff_ == (-math.inf if wanted == -1 else wanted)
    if math.isfinite(method.cutoff_):
        losses = [fnr(case, method.cutoff_) for case in cases]
        assert method.losses_.tolist() == [float(loss) for loss in losses]


@pytest.mark.parametrize("bound", ["hoeffding", "bentkus", "wsr"])
@given(cases=strategies.calibration_sets(empty=True), alpha=st.sampled_from([0.5, 0.7, 0.9]))
def test_rcps_stops_before_the_first_cut_off_that_fails(bound, cases, alpha):
    delta = 0.6
    with warnings.catch_warnings(record=True):
        method = RCPS(alpha, delta, bound, empty="zero").calibrate(cases)
    wanted = largest_safe(cases, lambda losses: p_plain(losses, alpha, bound, delta) <= delta)
    assert method.cutoff_ == (-math.inf if wanted == -1 else wanted)


@given(case=strategies.cases(empty=True))
def test_the_step_function_is_the_rate_everywhere(case):
    steps = fnr_steps(case)
    for cutoff in all_cutoffs([case]):
        assert steps.exactly(cutoff) == fnr(case, cutoff)
        assert steps(cutoff) == float(fnr(case, cutoff))


def lesion(values):
    return Case(values, np.ones(len(values), dtype=bool))


def test_a_sum_that_meets_the_level_exactly_is_safe():
    """With n + 1 = 20 and alpha = 0.1 the losses may sum to 1; so do n lesions that miss 1/n."""
    # Floats added one by one would decide either way (`sum` corrects for that from 3.12 on).
    assert np.cumsum([1 / 6] * 6)[-1] < 1 < np.cumsum([1 / 11] * 11)[-1]
    for parts in (2, 3, 6, 7, 11, 13, 19):
        cases = [lesion(np.repeat([0.2, 0.8], [1, parts - 1]))] * parts
        cases += [lesion([0.9])] * (19 - parts)
        assert ConformalRiskControl(0.1).calibrate(cases).cutoff_ == 0.8
    worse = [lesion([0.2, 0.8])] * 3 + [lesion([0.9])] * 16
    assert ConformalRiskControl(0.1).calibrate(worse).cutoff_ == 0.2


def test_a_wider_float_is_compared_as_it_is():
    """The cut-off is a voxel's value, and this voxel is in the mask."""
    for dtype in (np.float16, np.float32, np.float64):
        cases = [lesion(np.array([0.1, 0.7], dtype=dtype)) for _ in range(9)]
        method = ConformalRiskControl(0.1).calibrate(cases)
        assert method.cutoff_ == float(dtype(0.1))
        assert method.predict(cases[0].score).all()


# --- all safe, none safe, losses of one's own ---


def capped(case):
    """At most a twentieth is ever lost."""
    return StepLoss([0.5], [0, 0.05])


def test_all_safe_is_the_empty_mask():
    method = ConformalRiskControl(0.2, loss=capped).calibrate(CASES[:20])
    assert method.cutoff_ == math.inf
    assert not method.predict(CASES[0].score).any()
    assert RCPS(0.2, 0.1, loss=capped).calibrate(CASES).cutoff_ == math.inf
    assert RCPS(0.2, 0.1, "wsr", loss=capped).calibrate(CASES).cutoff_ == math.inf


@pytest.mark.parametrize(
    ("make", "needed"),
    [
        (lambda: ConformalRiskControl(0.1), 9),
        (lambda: ConformalRiskControl(0.15), 6),
        (lambda: RCPS(0.1, 0.1), 22),
        (lambda: RCPS(0.1, 0.1, "hoeffding"), 116),
        (lambda: RCPS(0.1, 0.1, "wsr"), 25),
    ],
)
def test_none_safe_is_the_whole_image_with_a_warning(make, needed):
    with pytest.warns(UserWarning, match=f"too few: .*whole image; at least {needed} are needed"):
        method = make().calibrate(CASES[: needed - 1])
    assert method.cutoff_ == -math.inf
    assert method.predict(CASES[0].score).all()
    assert make().calibrate(CASES[:needed]).cutoff_ > -math.inf


def test_no_safe_cut_off_though_there_are_enough_cases():
    def always(case):
        return StepLoss([], [0.1])

    with pytest.warns(UserWarning, match="no cut-off keeps the level: the mask is the whole image"):
        assert ConformalRiskControl(0.1, loss=always).calibrate(CASES[:20]).cutoff_ == -math.inf


def test_a_loss_of_ones_own():
    """Half of the false negative rate at half the level is the same demand, but for the 1."""

    def half(case):
        steps = fnr_steps(case)
        return StepLoss(steps.points, steps.values, 2 * steps.whole)

    method = ConformalRiskControl(0.1, loss=half).calibrate(CASES)
    losses = [half(case) for case in CASES]

    def keeps(cutoff):
        return crc_keeps([loss.exactly(cutoff) for loss in losses], 0.1)

    assert keeps(method.cutoff_)
    assert not keeps(np.nextafter(method.cutoff_, 2))


@pytest.mark.parametrize(
    ("points", "values", "message"),
    [
        ([0.5], [0.0], "one value more than points, found 1 for 1"),
        ([0.5, 0.4], [0, 0, 1], "finite and increase"),
        ([0.5, 0.5], [0, 0, 1], "finite and increase"),
        ([math.nan], [0, 1], "finite and increase"),
        ([math.inf], [0, 1], "finite and increase"),
        ([0.5], [1, 0], "must not fall"),
        ([0.5], np.array([1, 0], dtype=np.uint8), "must not fall"),
        ([0.5], [0, math.nan], "must not fall"),
        ([0.5], [0, 1.5], r"in \[0, 1\], found values from 0.0 to 1.5"),
        ([0.5], [-0.5, 1], r"in \[0, 1\]"),
        ([], [math.nan], r"in \[0, 1\]"),
    ],
)
def test_unsound_step_functions(points, values, message):
    with pytest.raises(ValueError, match=message):
        StepLoss(points, values)


def test_losses_that_cannot_be_controlled_name_the_case():
    with pytest.raises(ValueError, match=r"case 1 \('phantom 0'\): the loss of the whole image"):
        ConformalRiskControl(0.1, loss=lambda case: StepLoss([], [0.2])).calibrate(CASES)
    with pytest.raises(ValueError, match=r"case 1 \('phantom 0'\): the loss must not fall"):
        ConformalRiskControl(0.1, loss=lambda case: StepLoss([0], [1, 0])).calibrate(CASES)
    with pytest.raises(TypeError, match="must return a StepLoss, found a float"):
        RCPS(0.1, 0.1, loss=lambda case: 0.5).calibrate(CASES)


# --- the same look as the other methods ---


@every_method
def test_json_comes_back_to_the_bit(make, tmp_path):
    method = make().calibrate(CASES)
    text = method.to_json(tmp_path / "method.json")
    for source in (text, tmp_path / "method.json"):
        loaded = type(method).from_json(source)
        assert repr(loaded) == repr(method)
        assert loaded.statement() == method.statement()
        assert loaded.cutoff_ == method.cutoff_
        assert loaded.losses_.tobytes() == method.losses_.tobytes()
        assert loaded.patients_ == method.patients_
        assert (loaded.predict(CASES[0].score) == method.predict(CASES[0].score)).all()


def test_json_cannot_hold_a_function():
    method = ConformalRiskControl(0.2, loss=capped).calibrate(CASES)
    with pytest.raises(ValueError, match="JSON cannot hold a loss of your own"):
        method.to_json()


def test_several_processes_and_a_generator_change_nothing():
    once = RCPS(0.2, 0.1, "wsr").calibrate(CASES)
    assert RCPS(0.2, 0.1, "wsr").calibrate(iter(CASES), n_jobs=2).cutoff_ == once.cutoff_


@every_method
def test_the_mask_is_the_level_set(make):
    method = make().calibrate(CASES)
    for case in CASES[:5]:
        mask = method.predict(case.score)
        np.testing.assert_array_equal(mask, case.score >= method.cutoff_)
        assert method.losses_[CASES.index(case)] == float(fnr(case, method.cutoff_))


@every_method
def test_the_statement_says_what_is_promised(make):
    with pytest.raises(NotCalibratedError):
        make().statement()
    method = make()
    assert not hasattr(method, "cutoff_")
    text = method.calibrate(CASES).statement()
    level = "10%" if isinstance(method, ConformalRiskControl) else "20%"
    assert "Calibrated on 150 cases. For new cases" in text
    assert f"the mean false negative rate is at most {level}" in text
    if isinstance(method, RCPS):
        assert "with a probability of at least 90% over the draw of the calibration" in text
    else:
        assert "averaged over the draw of the calibration cases and of the new case" in text
    assert "the mean loss is at most 20%" in (
        ConformalRiskControl(0.2, loss=capped).calibrate(CASES).statement()
    )


def test_cases_without_lesion():
    healthy = Case(np.full((2, 2), 0.9), np.zeros((2, 2)), name="healthy")
    with pytest.warns(UserWarning, match="1 of 151 cases have an empty truth"):
        method = ConformalRiskControl(0.1).calibrate([*CASES, healthy])
    assert method.n_ == 150
    assert "1 without lesion were left out" in method.statement()
    assert ConformalRiskControl(0.1, empty="zero").calibrate([*CASES, healthy]).n_ == 151
    with pytest.raises(ValueError, match="1 cases have an empty truth, first 'healthy'"):
        ConformalRiskControl(0.1, empty="refuse").calibrate([*CASES, healthy])


def test_bad_cases_name_themselves_and_leave_the_method_uncalibrated():
    bad = Case(np.array([0.5, np.nan]), [True, False], name="bad")
    method = ConformalRiskControl(0.1).calibrate(CASES)
    with pytest.raises(ValueError, match=r"case 2 \('bad'\): the score must be finite"):
        method.calibrate([CASES[0], bad])
    assert not hasattr(method, "cutoff_")
    with pytest.raises(ValueError, match="at least one calibration case"):
        method.calibrate([])
    with pytest.raises(TypeError, match="case 1: expected a Case"):
        method.calibrate([0.5])
    with pytest.raises(ValueError, match="the score must be finite"):
        ConformalRiskControl(0.1).calibrate(CASES).predict([0.1, math.inf])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConformalRiskControl(0), "alpha must lie strictly between"),
        (lambda: ConformalRiskControl(0.1, loss="dice"), 'loss must be "fnr" or a function'),
        (lambda: ConformalRiskControl(0.1, empty="drop"), "empty must be one of"),
        (lambda: RCPS(1.0, 0.1), "alpha must lie strictly between"),
        (lambda: RCPS(0.1, 1.0), "delta must lie strictly between"),
        (lambda: RCPS(0.1, 0.1, "clt"), "bound must be one of"),
    ],
)
def test_parameters_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- guarantees ---

SETS, N, ALPHA, DELTA = 400, 30, 0.2, 0.2


def population(n, seed, voxels=3):
    """Cases whose mean false negative rate at the cut-off c is c, for every c in [0, 1].

    Each voxel of a lesion is uniform; those of one lesion lie together, on a circle.
    """
    rng = np.random.default_rng(seed)
    values = (rng.random((n, 1)) + 0.1 * rng.random((n, voxels))) % 1
    return [lesion(row) for row in values]


def cutoffs_of(make, cases, n=N):
    return np.array([make().calibrate(cases[i : i + n]).cutoff_ for i in range(0, len(cases), n)])


@functools.cache
def crc_cutoffs(voxels):
    return cutoffs_of(lambda: ConformalRiskControl(ALPHA), population(SETS * N, 21, voxels))


@functools.cache
def rcps_cutoffs(bound, voxels):
    return cutoffs_of(lambda: RCPS(ALPHA, DELTA, bound), population(SETS * N, 27, voxels))


def p_mean_at_most(losses, level):
    """One-sided normal p-value of the hypothesis that the mean is at most `level`."""
    z = (np.mean(losses) - level) / (np.std(losses) / math.sqrt(len(losses)))
    return stats.norm.sf(z)


@pytest.mark.parametrize("voxels", [1, 3, 40])
def test_crc_keeps_the_mean_loss(voxels):
    """The mean loss given one calibration is the cut-off itself; its mean is at most alpha.

    It is also at least alpha - 2 / (n + 1), Theorem 2 of Angelopoulos et al. (2024).
    """
    cutoffs = crc_cutoffs(voxels)
    assert p_mean_at_most(cutoffs, ALPHA) > 1e-3
    assert p_mean_at_most(-cutoffs, 2 / (N + 1) - ALPHA) > 1e-3


def test_crc_of_single_voxels_has_an_exact_law():
    """One voxel per lesion: the cut-off is an order statistic of uniforms, a Beta law."""
    cutoffs = crc_cutoffs(1)
    rank = math.floor(brute.decimal(ALPHA) * (N + 1) - 1) + 1
    assert stats.kstest(cutoffs, stats.beta(rank, N + 1 - rank).cdf).pvalue > 1e-3


def test_twin_crc_without_the_added_one_fails():
    """The plain mean of the losses, kept at alpha = 1/4: 3 of 10 are lost, not 2 of 10."""
    cases = population(SETS * 9, 23, 1)
    rows = np.array([case.score[0] for case in cases]).reshape(SETS, 9)
    plain = np.sort(rows, axis=1)[:, math.floor(0.25 * 9)]
    assert p_mean_at_most(plain, 0.25) < 1e-6
    assert p_mean_at_most(cutoffs_of(lambda: ConformalRiskControl(0.25), cases, n=9), 0.25) > 1e-3


def test_twin_crc_with_a_worse_segmenter_fails():
    """New cases come from elsewhere: every lesion voxel has a lower score."""
    cutoffs = crc_cutoffs(3)
    rng = np.random.default_rng(25)
    losses = [
        np.mean(case.score**1.5 < cutoff)
        for case, cutoff in zip(population(SETS, 26), rng.permuted(cutoffs), strict=True)
    ]
    assert p_mean_at_most(losses, ALPHA) < 1e-6


def test_twin_crc_promises_nothing_for_one_calibration():
    """Given the calibration set, the mean loss exceeds alpha nearly half of the time."""
    cutoffs = crc_cutoffs(3)
    assert stats.binom.sf((cutoffs > ALPHA).sum() - 1, SETS, DELTA) < 1e-6


@pytest.mark.parametrize("bound", ["hoeffding", "bentkus", "wsr"])
@pytest.mark.parametrize("voxels", [1, 3])
def test_rcps_fails_in_at_most_delta_of_the_calibrations(bound, voxels):
    """The risk at the cut-off c is c, so a calibration fails if its cut-off exceeds alpha."""
    cutoffs = rcps_cutoffs(bound, voxels)
    assert stats.binom.sf((cutoffs > ALPHA).sum() - 1, SETS, DELTA) > 1e-3
    assert (cutoffs > 0).mean() > 0.9  # and it is no trivial answer


@pytest.mark.parametrize("bound", ["hoeffding", "bentkus", "wsr"])
def test_twin_rcps_with_a_worse_segmenter_fails(bound):
    """At the cut-off c the new cases lose c to the power 1 / 3 on average."""
    cutoffs = rcps_cutoffs(bound, 3)
    failed = cutoffs ** (1 / 3) > ALPHA
    assert stats.binom.sf(failed.sum() - 1, SETS, DELTA) < 1e-6


@pytest.mark.parametrize("bound", ["hoeffding", "bentkus", "wsr"])
def test_twin_rcps_cases_of_one_patient_count_as_independent(bound):
    patients = population(SETS * 3, 28)
    cases = [case for case in patients for _ in range(N // 3)]
    cutoffs = cutoffs_of(lambda: RCPS(ALPHA, DELTA, bound), cases)
    assert stats.binom.sf((cutoffs > ALPHA).sum() - 1, SETS, DELTA) < 1e-6


# --- mistakes found in other implementations, and how far they are off ---


def batches():
    return [CASES[i : i + 30] for i in range(0, 150, 30)]


def sum_keeps(cases, cutoff, alpha):
    return crc_keeps([fnr_steps(case).exactly(cutoff) for case in cases], alpha)


def test_twin_root_finding_lands_on_the_wrong_side_of_a_jump():
    """Brent's method stops at a change of sign: the last safe cut-off, or the first unsafe."""
    wrong = 0
    for cases in batches():
        losses = [fnr_steps(case) for case in cases]
        for alpha in (0.1, 0.15, 0.2, 0.25, 0.3):
            limit = alpha * (len(cases) + 1) - 1

            def excess(c, losses=losses, limit=limit):
                return sum(float(loss(c)) for loss in losses) - limit - 1e-12

            wrong += not sum_keeps(cases, optimize.brentq(excess, 0, 1), alpha)
            assert sum_keeps(cases, ConformalRiskControl(alpha).calibrate(cases).cutoff_, alpha)
    assert wrong >= 5


def test_twin_a_grid_of_hundredths_is_never_better_and_mostly_worse():
    grid = np.arange(1, 100) / 100
    for cases in batches():
        safe = [cutoff for cutoff in grid if sum_keeps(cases, cutoff, 0.1)]
        assert ConformalRiskControl(0.1).calibrate(cases).cutoff_ > max(safe)
    faint = [Case(case.score / 200, case.truth) for case in CASES[:30]]
    assert not any(sum_keeps(faint, cutoff, 0.1) for cutoff in grid)
    assert 0 < ConformalRiskControl(0.1).calibrate(faint).cutoff_ < 0.01
