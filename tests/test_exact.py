"""Ranks and tolerated counts against exact fractions."""

import math
from fractions import Fraction

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from confseg.exact import as_decimal, check_level, conformal_rank, exact, fewest_cases, tolerated

# Decimals as people type them: 1 to 6 digits behind the point.
decimals = st.integers(1, 6).flatmap(
    lambda digits: st.integers(1, 10**digits - 1).map(lambda k: Fraction(k, 10**digits))
)
counts = st.integers(0, 10**9)


@given(decimals)
def test_a_typed_decimal_is_taken_at_its_word(value):
    assert exact(float(value)) == value


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, float])
def test_the_type_of_the_number_does_not_matter(kind):
    assert exact(kind(0.3)) == Fraction(3, 10)
    assert as_decimal("x", kind(0.1)) == 0.1


@given(decimals, counts)
def test_tolerated_is_the_floor_of_the_exact_product(fraction, voxels):
    count = tolerated(float(fraction), voxels)
    assert count <= fraction * voxels < count + 1


@given(st.integers(1, 10**6), decimals)
def test_rank_is_the_ceiling_of_the_exact_product(n, alpha):
    rank = conformal_rank(n, float(alpha))
    assert rank - 1 < (1 - alpha) * (n + 1) <= rank


@pytest.mark.parametrize("percent", range(1, 100))
def test_every_percentage_is_exact_for_every_small_count(percent):
    """In floating point 8 of the floors and 25 of the ceilings go wrong somewhere."""
    for n in range(400):
        assert tolerated(percent / 100, n) == percent * n // 100
        assert conformal_rank(n, percent / 100) == -((percent - 100) * (n + 1) // 100)


@given(decimals)
def test_fewest_cases_is_where_the_rank_first_fits(alpha):
    needed = fewest_cases(float(alpha))
    assert conformal_rank(needed, float(alpha)) <= needed
    assert conformal_rank(needed - 1, float(alpha)) > needed - 1
    assert needed == math.ceil(1 / alpha) - 1


@given(st.integers(1, 40), st.integers(1, 99))
def test_outer_and_inner_calibration_are_one_rank_seen_from_two_sides(n, percent):
    alpha = percent / 100
    numbers = list(range(n))
    lower = brute.outer_calibration([-number for number in numbers], alpha)
    assert brute.inner_calibration(numbers, alpha) == -lower
    assert brute.conformal_quantile(numbers, alpha) == -lower


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.5, 0.0, 1.0])
def test_levels_lie_strictly_between_0_and_1(value):
    with pytest.raises(ValueError, match=r"alpha must lie strictly between 0 and 1, found "):
        check_level("alpha", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "much", None, [0.1], True])
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(ValueError, match="alpha must be"):
        check_level("alpha", value)
