"""Measures against sets of voxel numbers."""

import math
from fractions import Fraction

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import layouts, masks, shapes

from confseg import metrics

triples = shapes.flatmap(lambda shape: st.tuples(*[masks(shape).flatmap(layouts)] * 3))


def voxels(mask):
    return {i for i, hit in enumerate(brute.flags(mask)) if hit}


def quotient(part, whole):
    if whole:
        return float(Fraction(part, whole))
    return math.inf if part else math.nan


def same(found, expected):
    return found == expected or (math.isnan(found) and math.isnan(expected))


@given(triples)
def test_rates_are_rounded_quotients_of_counts(images):
    a, b, _ = images
    first, second = voxels(a), voxels(b)
    assert same(metrics.fnr(a, b), quotient(len(second - first), len(second)))
    assert same(metrics.stretch(a, b), quotient(len(first), len(second)))
    both = 2 * len(first & second)
    assert same(metrics.dice(a, b), quotient(both, len(first) + len(second)))
    assert metrics.compactness(a) == quotient(len(first), a.size)


@given(triples)
def test_coverage_is_inclusion(images):
    inner, outer, truth = images
    inside, around = voxels(inner) <= voxels(truth), voxels(truth) <= voxels(outer)
    expected = (inside, around, inside and around)
    assert metrics.coverage((inner, outer), truth) == expected
    nested = metrics.coverage((inner & truth, outer | truth), truth)
    assert nested == (True, True, True)


@given(st.integers(1, 1000), st.integers(1, 99), st.data())
def test_compliance_is_exact_for_rates_and_decimals(lesion, percent, data):
    """In floating point fnr <= eps if and only if missed/lesion <= percent/100 in fractions."""
    missed = data.draw(st.integers(0, lesion))
    truth = np.ones(lesion, dtype=bool)
    rate = metrics.fnr(np.arange(lesion) >= missed, truth)
    kept = Fraction(missed, lesion) <= Fraction(percent, 100)
    assert metrics.compliance_rate([rate], percent / 100) == kept


@pytest.mark.parametrize("tenths", range(1, 10))
def test_compliance_at_the_tolerance_itself(tenths):
    truth = np.ones(10, dtype=bool)
    rate = metrics.fnr(np.arange(10) >= tenths, truth)
    assert metrics.compliance_rate([rate], tenths / 10) == 1.0
    assert metrics.compliance_rate([rate], np.float32(tenths / 10)) == 1.0
    assert metrics.compliance_rate([rate], tenths / 10 - 0.001) == 0.0


@given(st.integers(1, 10**7), st.integers(1, 10**8 - 1), st.integers(-3, 3))
def test_compliance_is_exact_for_large_lesions_and_eight_decimals(lesion, units, off):
    """The rates closest to the tolerance, with up to ten million voxels and eight decimals."""
    eps = Fraction(units, 10**8)
    missed = min(max(math.floor(eps * lesion) + off, 0), lesion)
    kept = Fraction(missed, lesion) <= eps
    assert metrics.compliance_rate([missed / lesion], float(eps)) == kept


def test_compliance_rate_is_a_share():
    assert metrics.compliance_rate([0.0, 0.5, 0.2, 1.0], eps=0.2) == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.compliance_rate([], 0.1), "expected at least one rate, found none"),
        (lambda: metrics.compliance_rate([0.1, math.nan], 0.1), r"1 of 2 rates are NaN"),
        (lambda: metrics.compliance_rate([0.1], math.nan), "eps must be finite"),
        (lambda: metrics.fnr([1, 0], [[1, 0]]), r"masks have shapes \(2,\) and \(1, 2\)"),
        (lambda: metrics.dice([1, 2], [1, 0]), "mask must hold only 0 and 1, found 2"),
        (lambda: metrics.coverage(([1], [1, 0]), [1, 0]), r"shapes \(1,\) and \(2,\)"),
        (lambda: metrics.compactness([0.5]), "prediction must hold only 0 and 1, found 0.5"),
    ],
)
def test_unsound_masks_and_rates_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
