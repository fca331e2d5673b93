"""Bad input: the error names the case, what was found and what was expected.

Whatever goes wrong in `calibrate`, the method is left uncalibrated, also if it was calibrated
before: no old cut-off survives a calibration that failed.
"""

import math
import re

import numpy as np
import pytest

from confseg import CLS, Case, ConfidenceSets, Margin, NotCalibratedError, fields

TRUTH = [[False, True, True]]
GOOD = [Case([[0.1, 0.8, k / 32]], TRUTH, (1.0, 2.0), name=f"scan {k}") for k in range(1, 20)]

METHODS = {
    "CLS": lambda: CLS(eps=0.1, alpha=0.1),
    "joint sets": lambda: ConfidenceSets(alpha=0.1),
    "weighted sets": lambda: ConfidenceSets(0.2, "weighted", weights=(0.1, 0.1)),
    "margin in mm": lambda: Margin(alpha=0.1),
    "margin in steps": lambda: Margin(alpha=0.1, metric="cross"),
}
RESULTS = {
    CLS: ("cutoff_", "t_hat_", "critical_values_", "n_", "nonconformity_", "patients_"),
    ConfidenceSets: ("cutoff_inner_", "cutoff_outer_", "critical_values_", "n_"),
    Margin: ("margin_", "critical_values_", "n_"),
}


def calls(method):
    """Everything that needs a calibration."""
    return [
        lambda: method.predict(GOOD[0].score),
        lambda: method.complies(GOOD[0]),
        method.statement,
        method.to_json,
    ]


def assert_uncalibrated(method):
    for attribute in RESULTS[type(method)]:
        assert not hasattr(method, attribute)
        with pytest.raises(NotCalibratedError, match="has not been calibrated: call calibrate"):
            getattr(method, attribute)
    for call in calls(method):
        with pytest.raises(NotCalibratedError, match=re.escape(repr(method))):
            call()


def with_third(case):
    """A list of cases whose third is another one."""
    return [*GOOD[:2], case, *GOOD[3:]]


def score_case(*values):
    return Case([list(values)], TRUTH, (1.0, 2.0), name="odd one")


UNSOUND = {
    "NaN": (score_case(0.1, math.nan, math.nan), "score must be finite, found 2 NaN or infinite"),
    "inf": (score_case(0.1, 0.2, math.inf), "score must be finite, found 1 NaN or infinite"),
    "-inf": (score_case(-math.inf, 0.2, 0.3), "score must be finite, found 1 NaN or infinite"),
}
NO_PROBABILITY = {
    "above": (score_case(0.5, 0.5, 1.5), "must lie in [0, 1], found values from 0.5 to 1.5"),
    "below": (score_case(0.5, -0.25, 1), "must lie in [0, 1], found values from -0.25 to 1.0"),
    "just above": (score_case(0, 0, np.nextafter(1, 2)), "must lie in [0, 1], found values from"),
}


@pytest.mark.parametrize("before", [False, True], ids=["fresh", "calibrated before"])
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize(("case", "message"), UNSOUND.values(), ids=UNSOUND)
def test_scores_that_are_not_finite(make, case, message, n_jobs, before):
    refused(make, with_third(case), f"case 3 ('odd one'): the {message}", n_jobs, before)


@pytest.mark.parametrize("make", [METHODS["CLS"], METHODS["joint sets"]], ids=["CLS", "logit"])
@pytest.mark.parametrize(("case", "message"), NO_PROBABILITY.values(), ids=NO_PROBABILITY)
def test_scores_that_are_no_probabilities(make, case, message):
    refused(make, with_third(case), f"case 3 ('odd one'): probabilities {message}")


def refused(make, cases, message, n_jobs=1, before=True):
    """Calibration fails with a message and leaves nothing behind."""
    method = make()
    if before:
        method.calibrate(GOOD)
    with threads(n_jobs), pytest.raises(ValueError, match=re.escape(message)):
        method.calibrate(cases, n_jobs=None)
    assert_uncalibrated(method)


def threads(n_jobs):
    import joblib

    return joblib.parallel_config(backend="threading", n_jobs=n_jobs)


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("cases", [[], (), iter([])], ids=["list", "tuple", "iterator"])
def test_no_cases(make, cases):
    refused(make, cases, "expected at least one calibration case, found none")


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_what_is_no_case(make):
    method = make().calibrate(GOOD)
    with pytest.raises(TypeError, match=r"case 3: expected a Case, found a tuple"):
        method.calibrate([*GOOD[:2], (GOOD[0].score, GOOD[0].truth)])
    assert_uncalibrated(method)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_a_generator_that_breaks(make, n_jobs):
    """A file that cannot be read raises its own error, and no half calibration remains."""

    def files():
        yield from GOOD
        raise OSError("scan 20 cannot be read")

    method = make().calibrate(GOOD)
    with threads(n_jobs), pytest.raises(OSError, match="scan 20 cannot be read"):
        method.calibrate(files(), n_jobs=None)
    assert_uncalibrated(method)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.1, 0.2]], [True, False]), "the score has shape (1, 2) but the truth (2,)"),
        (([0.1, 0.2], [0, 3]), "the truth must hold only 0 and 1, found 3"),
        (([0.1, 0.2], [0.0, 0.5]), "the truth must hold only 0 and 1, found 0.5"),
        (([0.1, 0.2], [0.0, math.nan]), "the truth must hold only 0 and 1, found nan"),
        (([0.1, 0.2], ["no", "yes"]), "the truth must hold only 0 and 1, found dtype <U3"),
        (([3, 1], [True, True]), "score (neither float nor bool) must hold only 0 and 1, found 3"),
        ((0.5, True), "the score must be an image, found an array of shape ()"),
        (([], []), "the score must be an image, found an array of shape (0,)"),
        (([0.1, 0.2], [0, 1], (1.0, 2.0)), "spacing of 1 numbers (one per axis), found (1.0, 2.0)"),
        (([[0.1, 0.2]], [[0, 1]], (1.0,)), "spacing of 2 numbers (one per axis), found (1.0,)"),
        (([0.1, 0.2], [0, 1], [0.0]), "spacing must be positive and finite, found [0.0]"),
        (([0.1, 0.2], [0, 1], [-1.0]), "spacing must be positive and finite, found [-1.0]"),
        (([0.1, 0.2], [0, 1], [math.nan]), "spacing must be positive and finite, found [nan]"),
        (([0.1, 0.2], [0, 1], [math.inf]), "spacing must be positive and finite, found [inf]"),
        (([1j, 0.2], [0, 1]), "complex128"),
        ((np.zeros(2, np.longdouble), [0, 1]), str(np.dtype(np.longdouble))),
        ((np.array([0.5, None]), [0, 1]), "dtype object"),
    ],
)
def test_unsound_cases(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        Case(*arguments, name="scan 7")
    assert str(error.value).startswith("case 'scan 7': ")


@pytest.mark.parametrize("what", ["name", "patient", "group"])
@pytest.mark.parametrize("value", [7, None, np.int64(7)])
def test_names_that_are_no_strings(what, value):
    with pytest.raises(
        ValueError, match=re.escape(f"the {what} must be a string, found {value!r}")
    ):
        Case([0.1], [True], **{what: value})


@pytest.mark.parametrize("metric", ["mm", "cross"])
def test_some_cases_with_a_spacing_and_some_without(metric):
    bare = Case([[0.1, 0.8, 0.3]], TRUTH, name="bare")
    if metric == "mm":
        message = "some cases have a spacing and some have not, first 'bare'"
        refused(METHODS["margin in mm"], with_third(bare), message)
    else:
        assert Margin(0.1, metric=metric).calibrate(with_third(bare)).n_ == 19


@pytest.mark.parametrize("given", [None, (1.0, 2.0)])
def test_spacing_where_the_calibration_had_none_and_the_other_way_round(given):
    bare = [Case(case.score, case.truth, name="bare") for case in GOOD]
    method = Margin(0.1).calibrate(GOOD if given is None else bare)
    wanted = "calibrated with a spacing in mm" if given is None else "calibrated without spacing"
    message = re.escape(f"{wanted}, but found spacing {given}")
    with pytest.raises(ValueError, match=message):
        method.predict(GOOD[0].score, given)
    with pytest.raises(ValueError, match=f"case 'bare': {message}"):
        method.complies(Case(GOOD[0].score, TRUTH, given, name="bare"))
    assert method.n_ == 19


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("values", [[math.nan, 0.5, 0.5], [0.5, 0.5, math.inf]])
def test_prediction_for_scores_that_are_not_finite(make, values):
    method = make().calibrate(GOOD)
    message = "the score must be finite, found 1 NaN or infinite voxels"
    with pytest.raises(ValueError, match=message):
        predict(method, [values])
    with pytest.raises(ValueError, match=f"case 'odd one': {message}"):
        method.complies(score_case(*values))
    assert method.n_ == 19


def predict(method, score, spacing=(1.0, 2.0)):
    return method.predict(score) if isinstance(method, CLS) else method.predict(score, spacing)


@pytest.mark.parametrize("make", [METHODS["CLS"], METHODS["joint sets"]], ids=["CLS", "logit"])
def test_prediction_for_scores_that_are_no_probabilities(make):
    method = make().calibrate(GOOD)
    message = r"probabilities must lie in \[0, 1\], found values from 0.5 to 1.5"
    with pytest.raises(ValueError, match=message):
        predict(method, [[0.5, 1.5]])
    with pytest.raises(ValueError, match=f"case 'odd one': {message}"):
        method.complies(score_case(0.5, 1.5, 1.0))


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_prediction_for_what_is_no_image(make):
    method = make().calibrate(GOOD)
    with pytest.raises(ValueError, match=r"must be an image, found an array of shape \(\)"):
        predict(method, 0.5)
    with pytest.raises(ValueError, match=r"must be an image, found an array of shape \(0, 3\)"):
        predict(method, np.empty((0, 3)))


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 2.0, 3.0)])
def test_prediction_with_a_spacing_of_the_wrong_length(spacing):
    method = Margin(0.1).calibrate(GOOD)
    with pytest.raises(ValueError, match="expected a spacing of 2 numbers"):
        method.predict(GOOD[0].score, spacing)


OWN_FIELDS = {
    "NaN": (lambda score, _: np.where(score == 0.8, np.nan, score), "is NaN at 1 voxels"),
    "shape": (lambda score, _: score[0], "has shape (3,), the score (1, 3)"),
    "complex": (lambda score, _: score * 1j, "complex128"),
    "object": (lambda score, _: score.astype(object), "object"),
    "raises": (lambda score, _: 1 / np.linalg.inv(score), "square"),
}


@pytest.mark.parametrize("side", ["inner", "outer"])
@pytest.mark.parametrize(("function", "message"), OWN_FIELDS.values(), ids=OWN_FIELDS)
def test_own_fields_that_are_unsound(function, message, side):
    def make():
        return ConfidenceSets(0.1, **{side: function})

    method = make()
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        method.calibrate(GOOD)
    assert_uncalibrated(method)
    assert "scan 1" in str(error.value) or message == "square"


def test_an_own_field_that_fails_only_on_a_new_case():
    def careless(score, spacing):
        return np.where(score > 0.9, np.nan, score)

    method = ConfidenceSets(0.1, inner=careless, outer=fields.identity).calibrate(GOOD)
    with pytest.raises(ValueError, match="careless.* is NaN at 1 voxels"):
        method.predict([[0.95, 0.1, 0.1]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CLS(1.0, 0.1), r"tolerated miss fraction must lie in \[0, 1\), found 1.0"),
        (lambda: CLS(-0.1, 0.1), r"tolerated miss fraction must lie in \[0, 1\), found -0.1"),
        (lambda: CLS(math.nan, 0.1), "tolerated miss fraction must be finite, found nan"),
        (lambda: CLS("0,1", 0.1), "tolerated miss fraction must be a number, found '0,1'"),
        (lambda: CLS(0.1, 0.0), "alpha must lie strictly between 0 and 1, found 0.0"),
        (lambda: CLS(0.1, 1), "alpha must lie strictly between 0 and 1, found 1"),
        (lambda: CLS(0.1, 0.1, empty="drop"), r"empty must be one of .* found 'drop'"),
        (lambda: ConfidenceSets(0.0), "alpha must lie strictly between 0 and 1, found 0.0"),
        (lambda: Margin(1.5), "alpha must lie strictly between 0 and 1, found 1.5"),
    ],
)
def test_parameters_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_before_calibration(make):
    assert_uncalibrated(make())
