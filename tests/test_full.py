"""Full conformal prediction against plain counting, and its exact coverage."""

import itertools

import brute
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats
from test_cross import (
    ALPHA,
    IDENTITY,
    MASKS,
    SHAPE,
    N,
    alphas,
    atlas_cases,
    badness,
    controls,
    numbers,
    small_cases,
    small_train,
)

from confseg import Case, fields, full_conformal, phantoms


@settings(max_examples=30)
@given(small_cases(), numbers, alphas, controls)
def test_kept_masks_equal_plain_counting(cases, new, alpha, control):
    image = np.reshape(new, SHAPE).astype(float)
    found = full_conformal(small_train, cases, image, MASKS, alpha, control=control, **IDENTITY)
    patients = {case.patient or id(case): [] for case in cases}
    kept = []
    for mask, p_value in zip(MASKS, found.p_values, strict=True):
        segment = small_train([*cases, Case(image, mask)])
        by_patient = dict.fromkeys(patients, -np.inf)
        for case in cases:
            name = case.patient or id(case)
            r = badness(segment(case.score, None), case.truth, control)
            by_patient[name] = max(by_patient[name], r)
        limit = badness(segment(image, None), mask, control)
        better = sum(r < limit for r in by_patient.values())
        n = len(by_patient)
        kept.append(better < (1 - brute.decimal(alpha)) * (n + 1))
        assert p_value == 1 - better / (n + 1) or abs(p_value - (n - better + 1) / (n + 1)) < 1e-12
    assert found.kept.tolist() == kept
    chosen = [mask for mask, stays in zip(MASKS, kept, strict=True) if stays]
    np.testing.assert_array_equal(found.outer, np.any(chosen, axis=0) & bool(chosen))
    np.testing.assert_array_equal(found.inner, np.all(chosen, axis=0) | (not chosen))


@given(small_cases(), numbers, alphas)
@settings(max_examples=20)
def test_masks_of_equal_summary_share_a_training(cases, new, alpha):
    """A segmenter that knows only how many voxels were marked needs seven trainings, not 64."""
    trained = []

    def train(given):
        trained.append(1)
        learned = sum(int(case.truth.sum()) for case in given) % 3
        return lambda image, spacing: image * learned

    image = np.reshape(new, SHAPE).astype(float)
    plain = full_conformal(train, cases, image, MASKS, alpha, **IDENTITY)
    assert len(trained) == 64
    fast = full_conformal(
        train, cases, image, MASKS, alpha, **IDENTITY, summary=lambda mask: int(mask.sum())
    )
    assert len(trained) == 64 + 7
    for one, other in zip(plain, fast, strict=True):
        np.testing.assert_array_equal(one, other)


def covered(train, sets):
    """How many of the sets have a last case whose truth is kept."""
    return sum(
        full_conformal(train, known, new.score, [new.truth], ALPHA, **IDENTITY).kept[0]
        for *known, new in sets
    )


@pytest.fixture(scope="module")
def sets():
    cases = atlas_cases(1000 * (N + 1), 4)
    return [cases[start : start + N + 1] for start in range(0, len(cases), N + 1)]


def test_coverage_is_exactly_the_rank(sets):
    """Independent repetitions: kept with probability 8/10 each, by an exact binomial test."""
    kept = covered(phantoms.Atlas(0.3), sets)
    assert stats.binomtest(kept, len(sets), 0.8).pvalue > 1e-3


def test_twin_training_without_the_candidate(sets):
    """The known cases were learned by heart and the new one was not."""
    kept = 0
    for *known, new in sets[:300]:
        segment = phantoms.Atlas(0.3)(known)
        kept += covered(lambda _, s=segment: s, [[*known, new]])
    assert stats.binomtest(kept, 300, 0.8).pvalue < 1e-6


def test_twin_training_that_depends_on_the_order(sets):
    """The case that comes last counts more than the others."""

    def train(cases):
        return phantoms.Atlas(0.3)([*cases, *[cases[-1]] * 5])

    kept = covered(train, sets[:300])
    assert stats.binomtest(kept, 300, 0.8).pvalue < 1e-6


def test_a_truth_outside_of_the_family_costs_no_more_than_its_probability(sets):
    """Every fourth truth is missing from the family; the others are kept as before."""
    kept = 0
    for i, (*known, new) in enumerate(sets[:400]):
        family = [new.truth] if i % 4 else [~new.truth, np.roll(new.truth, 1)]
        found = full_conformal(phantoms.Atlas(0.3), known, new.score, family, ALPHA, **IDENTITY)
        kept += bool(i % 4 and found.kept[0])
    assert stats.binom(400, 0.8 - 0.25).cdf(kept) > 1e-3


def test_all_masks_of_nine_voxels():
    """Union and intersection of the kept ones among 512."""
    rng = np.random.default_rng(0)
    truths = [np.outer(rng.random(3) < 0.7, rng.random(3) < 0.7) for _ in range(9)]
    cases = [Case(t + rng.normal(0, 0.4, (3, 3)), t) for t in truths]
    masks = [np.reshape(bits, (3, 3)) for bits in itertools.product([0, 1], repeat=9)]

    def train(given):
        level = np.mean([case.score[case.truth].mean() for case in given if case.truth.any()])
        return lambda image, spacing: image - level / 2

    *known, new = cases
    found = full_conformal(train, known, new.score, masks, 0.2, **IDENTITY)
    chosen = np.array(masks, dtype=bool)[found.kept]
    assert 1 < len(chosen) < 512
    np.testing.assert_array_equal(found.inner, chosen.all(axis=0))
    np.testing.assert_array_equal(found.outer, chosen.any(axis=0))


def test_unsound_input_is_refused():
    case = Case([0.2, 0.8], [False, True], name="one")
    image, truth = [0.1, 0.9], [False, True]
    train = lambda _: fields.identity  # noqa: E731
    with pytest.raises(ValueError, match="at least one case, found none"):
        full_conformal(train, [], image, [truth], 0.5)
    with pytest.raises(ValueError, match="at least one candidate mask, found none"):
        full_conformal(train, [case], image, [], 0.5)
    with pytest.raises(ValueError, match="case 'candidate 1': .*shape"):
        full_conformal(train, [case], image, [truth, [True]], 0.5)
    with pytest.raises(ValueError, match="alpha must lie"):
        full_conformal(train, [case], image, [truth], 0.0)
    with pytest.raises(TypeError, match="expected a Case"):
        full_conformal(train, [image], image, [truth], 0.5)


def test_no_kept_mask_leaves_an_empty_union():
    """The family holds no mask that conforms: nothing is left, and that is said plainly."""
    cases = [Case([0.1, 0.9], [False, True]) for _ in range(9)]
    found = full_conformal(lambda _: fields.identity, cases, [0.1, 0.9], [[True, False]], 0.1)
    assert not found.kept.any()
    assert not found.outer.any()
    assert found.inner.all()
