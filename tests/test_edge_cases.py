"""Edge cases, each with its warning: nothing is guessed and nothing is dropped in silence."""

import math

import numpy as np
import pytest

from confseg import CLS, Case, ConfidenceSets, Margin, fields, phantoms

NOTHING, LESION = [[False, False, False]], [[False, True, True]]
RULES = {"CLS": lambda **rule: CLS(0.1, 0.1, **rule), "Margin": lambda **rule: Margin(0.1, **rule)}


def lesions(n):
    """Cases whose margins and probabilities are all alike."""
    return [Case([[0.6, 0.3, 0.2]], LESION, name=f"lesion {i}") for i in range(n)]


def healthy(n):
    return [Case([[0.6, 0.3, 0.2]], NOTHING, name=f"healthy {i}") for i in range(n)]


# --- empty truths ---


@pytest.mark.parametrize("make", RULES.values(), ids=RULES)
def test_cases_without_lesion_are_left_out_with_a_warning_that_counts_them(make):
    method = make()
    with pytest.warns(UserWarning, match="3 of 12 cases have an empty truth and") as w:
        method.calibrate([*healthy(2), *lesions(9), *healthy(1)])
    assert [warning.filename for warning in w] == [__file__]
    assert method.n_ == len(method.critical_values_) == 9
    assert "Calibrated on 9 cases (3 without lesion were left out" in method.statement()


@pytest.mark.parametrize("make", RULES.values(), ids=RULES)
def test_cases_without_lesion_are_refused_if_asked(make):
    method = make(empty="refuse").calibrate(lesions(9))
    with pytest.raises(ValueError, match="2 cases have an empty truth, first 'healthy 0'"):
        method.calibrate([*lesions(9), *healthy(2)])
    assert not hasattr(method, "n_")


@pytest.mark.parametrize("make", RULES.values(), ids=RULES)
def test_nothing_but_cases_without_lesion(make):
    method = make()
    with pytest.raises(ValueError, match="expected cases with a lesion, found 9 with an empty"):
        method.calibrate(healthy(9))
    assert not hasattr(method, "n_")


def test_cases_without_lesion_count_as_zero_loss_if_asked():
    """Nothing to miss: CLS may take any cut-off, and no margin is needed."""
    mixed = [*lesions(10), *healthy(9)]
    cls = CLS(0.0, 0.5, empty="zero").calibrate(mixed)
    assert sorted(cls.critical_values_) == [0.2] * 10 + [math.inf] * 9
    assert cls.cutoff_ == 0.2
    margin = Margin(0.5, empty="zero").calibrate(mixed)
    assert sorted(margin.critical_values_) == [0.0] * 9 + [2.0] * 10
    assert margin.margin_ == 2.0


def test_a_margin_that_mostly_healthy_cases_decide_is_zero():
    """No margin is less than none: the predicted mask itself is the answer."""
    margin = Margin(0.5, empty="zero").calibrate([*lesions(1), *healthy(9)])
    assert margin.margin_ == 0.0
    assert margin.predict([[0.6, 0.3, 0.7]]).tolist() == [[True, False, True]]
    assert "widened by 0 voxels" in margin.statement()


def test_a_cutoff_that_mostly_healthy_cases_decide_is_infinite():
    cls = CLS(0.0, 0.5, empty="zero").calibrate([*lesions(1), *healthy(9)])
    assert (cls.cutoff_, cls.t_hat_) == (math.inf, -math.inf)
    assert not cls.predict([[1.0, 0.3]]).any()


@pytest.mark.parametrize("make", RULES.values(), ids=RULES)
def test_a_new_case_without_lesion_complies(make):
    assert make().calibrate(lesions(9)).complies(healthy(1)[0])


def test_sets_take_cases_without_lesion_as_they_are():
    """The inner number is the largest field value; there is nothing that the outer set misses."""
    method = ConfidenceSets(0.5, "weighted", fields.identity, fields.identity, (0.25, 0.25))
    method.calibrate([*healthy(2), *lesions(1)])
    assert method.critical_values_.inner.tolist() == [0.6, 0.6, 0.6]
    assert method.critical_values_.outer.tolist() == [math.inf, math.inf, 0.2]
    joint = ConfidenceSets(0.5, inner=fields.identity, outer=fields.identity).calibrate(healthy(3))
    assert (joint.cutoff_inner_, joint.cutoff_outer_) == (0.6, -0.6)


# --- full truths ---


def test_a_truth_that_fills_the_image():
    full = [Case([[0.6, 0.3, 0.2]], [[True, True, True]])] * 9
    inner = ConfidenceSets(0.1, "inner", inner=fields.identity).calibrate(full)
    assert inner.cutoff_inner_ == -math.inf
    assert inner.predict(full[0].score).inner.all()
    assert CLS(0.0, 0.1).calibrate(full).cutoff_ == 0.2
    assert Margin(0.1).calibrate(full).margin_ == 2.0


# --- empty predictions ---


@pytest.mark.parametrize("metric", ["mm", "cross", "cube"])
def test_an_empty_prediction_needs_an_infinite_margin(metric):
    lost = Case([[0.4, 0.3, 0.2]], LESION, name="lost")
    margin = Margin(0.1, metric=metric).calibrate([*lesions(18), lost])
    assert margin.critical_values_.tolist() == [2.0] * 18 + [math.inf]
    assert margin.margin_ == 2.0
    assert not margin.predict(lost.score).any()
    assert not margin.complies(lost)


@pytest.mark.parametrize("metric", ["mm", "cross", "cube"])
def test_a_quantile_that_lands_on_an_infinite_margin_gives_the_whole_image(metric):
    lost = Case([[0.4, 0.3, 0.2]], LESION, name="lost")
    margin = Margin(0.1, metric=metric).calibrate([*lesions(17), lost, lost])
    assert margin.margin_ == math.inf
    assert margin.predict(lesions(1)[0].score).all()
    assert margin.predict(lost.score).all()
    assert margin.complies(lost)
    assert "the whole image, since no finite margin is safe" in margin.statement()


def test_an_empty_prediction_of_an_empty_truth_needs_no_margin():
    nothing = Case([[0.4, 0.3, 0.2]], NOTHING)
    margin = Margin(0.5, empty="zero").calibrate([nothing] * 3)
    assert margin.margin_ == 0.0
    assert not margin.predict(nothing.score).any()


@pytest.mark.parametrize("metric", ["mm", "cross", "cube"])
def test_no_predicted_mask_makes_the_signed_distance_minus_infinite(metric):
    lost = Case([[0.4, 0.3, 0.2]], LESION)
    field = fields.signed_distance(metric=metric)
    method = ConfidenceSets(0.1, inner=field, outer=field).calibrate([lost] * 9)
    assert (method.cutoff_inner_, method.cutoff_outer_) == (math.inf, -math.inf)
    inner, outer = method.predict(lost.score)
    assert not inner.any()
    assert outer.all()


# --- too few cases ---


@pytest.mark.parametrize(
    ("make", "needed"),
    [
        (lambda: CLS(0.1, 0.1), 9),
        (lambda: CLS(0.1, 0.15), 6),
        (lambda: Margin(0.05), 19),
        (lambda: ConfidenceSets(0.1), 9),
        (lambda: ConfidenceSets(0.1, "inner"), 9),
        (lambda: ConfidenceSets(0.1, "weighted", weights=(0.02, 0.08)), 49),
    ],
)
def test_too_few_cases_give_the_trivial_answer_with_a_warning(make, needed):
    method = make()
    with pytest.warns(UserWarning, match="are too few") as caught:
        method.calibrate(lesions(needed - 1))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert str(caught[0].message).startswith(f"{needed - 1} calibration cases are too few")
    assert str(caught[0].message).endswith(f"at least {needed} are needed")
    assert "support no more than the trivial answer" in method.statement()


def test_too_few_cases_by_one_and_just_enough():
    with pytest.warns(UserWarning, match="at least 9 are needed"):
        few = CLS(0.0, 0.1).calibrate(lesions(8))
    assert (few.cutoff_, few.t_hat_) == (-math.inf, math.inf)
    assert few.predict([[0.0, 0.5]]).all()
    assert CLS(0.0, 0.1).calibrate(lesions(9)).cutoff_ == 0.2  # a warning would fail here


def test_of_two_weighted_sides_only_the_one_with_too_few_cases_is_trivial():
    method = ConfidenceSets(0.5, "weighted", weights=(0.1, 0.4))
    with pytest.warns(UserWarning, match="at least 9 are needed"):
        method.calibrate(lesions(3))
    assert method.cutoff_inner_ == math.inf
    assert math.isfinite(method.cutoff_outer_)
    assert "no more than the trivial answer: the inner region is empty." in method.statement()


@pytest.mark.parametrize(
    ("control", "trivial"),
    [
        ("inner", "the inner region is empty"),
        ("outer", "the outer region is the whole image"),
        ("joint", "the inner region is empty and the outer region is the whole image"),
    ],
)
def test_what_is_trivial_is_named(control, trivial):
    method = ConfidenceSets(0.1, control)
    with pytest.warns(UserWarning, match=f"are too few: {trivial}; at least 9 are needed"):
        method.calibrate(lesions(8))
    assert f"no more than the trivial answer: {trivial}." in method.statement()
    assert method.complies(Case([[0.0, 0.9, 0.0]], LESION))


def test_one_voxel_is_an_image():
    case = Case([0.7], [True])
    assert CLS(0.0, 0.5).calibrate([case]).predict([0.7]).tolist() == [True]
    assert Margin(0.5).calibrate([case]).margin_ == 0.0
    assert ConfidenceSets(0.5, "inner").calibrate([case]).cutoff_inner_ == -math.inf


def test_masks_serve_where_probabilities_are_asked_for():
    mask = np.array([[False, True, True]])
    method = CLS(0.0, 0.5).calibrate([Case(mask, LESION)])
    assert method.cutoff_ == 1.0
    np.testing.assert_array_equal(method.predict(mask), mask)
    np.testing.assert_array_equal(method.predict(mask.astype(np.float32)), mask)


def test_shapes_and_dimensions_may_differ_between_cases():
    two = list(phantoms.cases(10, seed=1))
    three = list(phantoms.cases(9, phantoms.Lesions(shape=(20, 20, 20), radius=(3, 6)), seed=1))
    method = CLS(0.1, 0.1).calibrate([*two, *three])
    assert method.n_ == 19
    assert method.predict(three[0].score).shape == (20, 20, 20)
