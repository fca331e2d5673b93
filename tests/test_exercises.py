"""The self-check: right within half a unit of the last decimal, wrong beyond, no answer shown."""

import math
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from confseg.exercises import check, digest


def said(capsys, answer, right, decimals=3):
    """The first word that `check` prints for an answer."""
    assert check(answer, digest(right, decimals), decimals) is None
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return lines[0].split(".")[0].split(":")[0]


def is_right(answer, right, decimals=3):
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", printed.append)
        check(answer, digest(right, decimals), decimals)
    return printed == ["Right."]


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (0.9, 0.9),
        (0.9, np.float32(0.9)),
        (np.float64(0.9), 0.9),
        (Fraction(9, 10), 0.9),
        (Decimal("0.9"), 0.9),
        (9, 9.0),
        (np.int64(9), 9),
        (np.array(9), 9),
        (-0.0001, 0),
        (math.inf, np.inf),
        (-math.inf, -math.inf),
        (10**30, 10**30),
        (True, np.bool_(True)),
        ("  Inner  Set ", "inner set"),
        (np.str_("Ü"), "ü"),
        ([1, 2.5], (1, 2.5)),
        (np.array([0.1, 0.2]), [0.1, 0.2]),
        ([True, "a", math.inf], [True, "A", math.inf]),
        ([], []),
    ],
)
def test_same_answer_of_another_type_is_right(capsys, answer, right):
    assert said(capsys, answer, right) == "Right"


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (0.9, 0.901),  # the plain quantile instead of the one with n + 1
        (0.901, 0.9),
        (0.8, 0.9),
        (9, 10),
        (-9, 9),
        (True, 1),
        (1, True),
        (False, 0),
        ("1", 1),
        ("outer", "inner"),
        (math.inf, -math.inf),
        (1e300, math.inf),
        ([1, 2], [2, 1]),
        ([1], 1),
        (1, [1]),
        ([1, 2], [1, 2, 3]),
        (["a", "b"], ["ab"]),
    ],
)
def test_other_answers_are_wrong(capsys, answer, right):
    assert said(capsys, answer, right) == "Not yet"


thousandths = st.integers(-50_000, 50_000)
numbers = st.floats(-1000, 1000)


@given(truth=numbers, off=st.floats(-0.4999, 0.4999), decimals=st.integers(0, 5))
def test_half_a_unit_off_is_right_on_either_side_of_a_boundary(truth, off, decimals):
    assert is_right(truth + off * 10.0**-decimals, truth, decimals)


@given(truth=numbers, off=st.floats(1.5001, 50), sign=st.sampled_from([-1, 1]))
def test_more_than_a_unit_and_a_half_off_is_wrong(truth, off, sign):
    assert not is_right(truth + sign * off / 1000, truth)


@given(truth=thousandths, other=thousandths)
def test_answers_typed_to_the_decimal_are_right_only_if_equal(truth, other):
    assert is_right(other / 1000, truth / 1000) == (other == truth)


@pytest.mark.parametrize("boundary", [0.0005, 0.1235, 2.0005, -0.0015])
def test_both_neighbors_of_a_rounding_boundary_count_for_each_other(boundary):
    below, above = boundary - 1e-9, boundary + 1e-9
    assert digest(below) != digest(above)
    assert is_right(below, above)
    assert is_right(above, below)


def test_every_number_of_a_sequence_may_sit_on_a_boundary():
    truth = [0.0005 - 1e-9] * 8
    assert is_right([0.0005 + 1e-9] * 8, truth)
    assert not is_right([0.0005 + 1e-9] * 7 + [0.0025], truth)


@pytest.mark.parametrize("answer", [None, ...])
def test_no_answer_is_not_a_wrong_answer(capsys, answer):
    assert said(capsys, answer, 1) == "Not answered yet"


def test_a_wrong_number_is_told_how_many_decimals_count(capsys):
    check(0.25, digest(0.5, 1), 1)
    assert "decimals compared: 1" in capsys.readouterr().out
    check("0.25", digest(0.5, 1), 1)
    assert "decimals" not in capsys.readouterr().out


def test_digest_does_not_contain_the_answer():
    assert all(re.fullmatch("[0-9a-f]{12}", digest(answer)) for answer in (1, "a", [1, 2], True))
    assert digest(1) != digest(1.001)


def test_digests_stay_what_the_notebooks_hold():
    assert [digest(0.9), digest([1, 2]), digest("inner")] == [
        "9b3a4415e8bc",
        "00888aeb5579",
        "11e7d9929572",
    ]


@pytest.mark.parametrize("answer", [{}, {1}, 1j, object(), [[1]], np.ones((2, 2)), [None], b"a"])
def test_what_is_no_answer_is_refused(answer):
    with pytest.raises(TypeError, match="an answer is a number"):
        digest(answer)
    with pytest.raises(TypeError, match="an answer is a number"):
        check(answer, "0" * 12)


@pytest.mark.parametrize(("answer", "message"), [(math.nan, "NaN"), ([1] * 9, "at most 8")])
def test_nan_and_long_sequences_are_refused(answer, message):
    with pytest.raises(ValueError, match=message):
        digest(answer)
    with pytest.raises(ValueError, match=message):
        check(answer, "0" * 12)


@pytest.mark.parametrize("wrong", ["0.9", "9B3A4415E8BC", "9b3a4415e8bc0", ""])
def test_an_answer_in_place_of_the_digest_is_noticed(wrong):
    with pytest.raises(ValueError, match="expected a digest"):
        check(0.9, wrong)
