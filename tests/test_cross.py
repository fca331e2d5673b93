"""Cross-conformal sets against the enumeration of all masks, and their guarantee.

A trained segmenter here is a small formula with whole numbers, so that scores tie; every mask of
an image of six voxels is tried. The guarantee is tested on multi-atlas segmenters by exact
binomial tests at a level of 1e-3; with the assumption broken the same test has p < 1e-6.
"""

import itertools
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from confseg import (
    Case,
    ConfidenceSets,
    CrossConformal,
    NotCalibratedError,
    fields,
    full_conformal,
    phantoms,
)

SHAPE = (2, 3)
IDENTITY = {"inner": fields.identity, "outer": fields.identity}
MASKS = [
    np.array(bits, dtype=bool).reshape(SHAPE) for bits in itertools.product([False, True], repeat=6)
]

numbers = st.lists(st.integers(-2, 2), min_size=6, max_size=6)
alphas = st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7])
controls = st.sampled_from(["joint", "inner", "outer"])


@st.composite
def small_cases(draw):
    """Three to seven cases of six voxels, some with a patient in common."""
    size = draw(st.integers(3, 7))
    patients = [draw(st.sampled_from(["", "", "ann", "bob"])) for _ in range(size)]
    return [
        Case(
            np.reshape(draw(numbers), SHAPE).astype(float),
            draw(st.sampled_from(MASKS)),
            patient=patient,
            name=f"case {i}",
        )
        for i, patient in enumerate(patients)
    ]


def small_train(cases):
    """The image plus whole numbers that depend on all training cases, whatever their order."""
    learned = sum(2 * case.truth + case.score for case in cases) % 3
    return lambda image, spacing: image + learned


class Recorder:
    """`small_train` that remembers on which cases it was trained."""

    def __init__(self):
        self.seen = []

    def __call__(self, cases):
        self.seen.append({id(case) for case in cases})
        return small_train(cases)


def badness(score, truth, control, allowed=0):
    """How bad a mask looks: from the background, from the lesion, or the worse of both."""
    inner = max(score[~truth], default=-np.inf)
    outer = -sorted([*score[truth], np.inf])[allowed if truth.any() else 0]
    return {"inner": inner, "outer": outer, "joint": max(inner, outer)}[control]


def enumerated(cases, image, control, seen, rule="votes", miss=0.0):
    """Per mask, how many patients look better, and the number of patients."""
    better = [0] * len(MASKS)
    segments, known = [], []
    for training in seen:
        used = [case for case in cases if id(case) in training]
        held_out = [case for case in cases if id(case) not in training]
        segments.append(small_train(used))
        patients = {}
        for case in held_out:
            r = badness(
                segments[-1](case.score, None), case.truth, control, brute.allowed(miss, case.truth)
            )
            patients.setdefault(case.patient or id(case), []).append(r)
        known.append([max(values) for values in patients.values()])
    for m, mask in enumerate(MASKS):
        allowed = brute.allowed(miss, mask)
        new = [badness(segment(image, None), mask, control, allowed) for segment in segments]
        if rule == "minmax":
            new = [min(new)] * len(new)
        better[m] = sum(r < limit for rs, limit in zip(known, new, strict=True) for r in rs)
    return better, sum(map(len, known))


def fitted(cases, alpha, folds, control, seed, **options):
    """A fitted method, its records, and the masks kept by enumeration with a new image."""
    recorder = Recorder()
    patients = len({case.patient or id(case) for case in cases})
    if patients < 2:
        cases = [replace(case, patient="") for case in cases]
        patients = len(cases)
    method = CrossConformal(
        alpha, recorder, min(folds or patients, patients), control, **IDENTITY, seed=seed, **options
    )
    if method.folds == patients:
        method.folds = None
    trivial = (patients + 1) * brute.decimal(alpha) < 1
    with pytest.warns(UserWarning, match="too few") if trivial else nullcontext():
        method.fit(cases)
    return method, cases, recorder.seen


@given(small_cases(), numbers, alphas, st.sampled_from([2, 3, None]), controls, st.integers(0, 3))
def test_voted_sets_equal_the_union_and_the_intersection_of_all_kept_masks(
    cases, new, alpha, folds, control, seed
):
    method, cases, seen = fitted(cases, alpha, folds, control, seed)
    image = np.reshape(new, SHAPE).astype(float)
    better, n = enumerated(cases, image, control, seen)
    limit = (1 - brute.decimal(alpha)) * (n + 1)
    kept = [mask for mask, count in zip(MASKS, better, strict=True) if count < limit]
    inner, outer = method.predict(image)
    assert method.n_ == n
    if control == "outer":
        np.testing.assert_array_equal(outer, np.any(kept, axis=0))
        assert not inner.any()
    elif control == "inner":
        np.testing.assert_array_equal(inner, np.all(kept, axis=0))
        assert outer.all()
    else:
        assert all((inner <= mask).all() and (mask <= outer).all() for mask in kept)


@given(
    small_cases(),
    numbers,
    alphas,
    st.sampled_from([2, 3, None]),
    controls,
    st.sampled_from([0.0, 0.25, 0.5]),
)
def test_minmax_sets_hold_every_kept_mask_but_for_the_tolerance(
    cases, new, alpha, folds, control, miss
):
    miss = 0.0 if control == "inner" else miss
    method, cases, seen = fitted(cases, alpha, folds, control, 0, rule="minmax", miss=miss)
    image = np.reshape(new, SHAPE).astype(float)
    better, n = enumerated(cases, image, control, seen, "minmax", miss)
    limit = (1 - brute.decimal(alpha)) * (n + 1)
    kept = [mask for mask, count in zip(MASKS, better, strict=True) if count < limit]
    inner, outer = method.predict(image)
    for mask in kept:
        assert (inner <= mask).all()
        assert (mask & ~outer).sum() <= brute.allowed(miss, mask)
        assert method.complies(Case(image, mask))
    if control == "outer" and not miss:
        np.testing.assert_array_equal(outer, np.any(kept, axis=0))
    if control == "inner":
        np.testing.assert_array_equal(inner, np.all(kept, axis=0))


@given(small_cases(), numbers, alphas)
def test_minmax_sets_are_never_smaller_than_voted_ones(cases, new, alpha):
    image = np.reshape(new, SHAPE).astype(float)
    voted, cases, _ = fitted(cases, alpha, None, "joint", 0)
    minmax, _, _ = fitted(cases, alpha, None, "joint", 0, rule="minmax")
    assert (minmax.predict(image).inner <= voted.predict(image).inner).all()
    assert (minmax.predict(image).outer >= voted.predict(image).outer).all()


@given(small_cases(), st.sampled_from([2, 3]), st.integers(0, 5))
def test_patients_stay_together_and_every_case_is_held_out_once(cases, folds, seed):
    method, cases, seen = fitted(cases, 0.5, folds, "joint", seed)
    held_out = [[case for case in cases if id(case) not in training] for training in seen]
    assert sorted(id(case) for fold in held_out for case in fold) == sorted(map(id, cases))
    homes = [
        {k for k, fold in enumerate(held_out) for c in fold if c.patient == name}
        for name in ("ann", "bob")
    ]
    assert all(len(home) <= 1 for home in homes)
    sizes = [len({case.patient or id(case) for case in fold}) for fold in held_out]
    assert max(sizes) - min(sizes) <= 1


def test_one_segmenter_for_all_folds_gives_the_split_conformal_sets():
    """If training ignores the cases, every rule is split conformal prediction on all of them."""
    cases = list(phantoms.cases(21, phantoms.Lesions((16, 16), (3, 5)), seed=3))
    split = ConfidenceSets(0.2).calibrate(cases[:-1]).predict(cases[-1].score)
    for rule, folds in itertools.product(("votes", "minmax"), (4, None)):
        method = CrossConformal(0.2, lambda _: fields.identity, folds, rule=rule).fit(cases[:-1])
        for region, expected in zip(method.predict(cases[-1].score), split, strict=True):
            np.testing.assert_array_equal(region, expected)


def test_a_margin_by_cross_validation():
    """With distances as the field the outer set is a mask with a margin; in mm it needs none."""
    masks = [case.truth for case in phantoms.cases(12, phantoms.Lesions((16, 16), (3, 5)))]
    *known, new = [replace(case, spacing=(2.0, 1.0)) for case in phantoms.scans(masks)]
    distance = fields.signed_distance(threshold=0.0)
    method = CrossConformal(0.2, phantoms.Atlas(), None, "outer", outer=distance).fit(known)
    votes = np.zeros((16, 16), dtype=int)
    for i, case in enumerate(known):
        segment = phantoms.Atlas()(known[:i] + known[i + 1 :])
        r = -distance(segment(case.score), (2.0, 1.0))[case.truth].min()
        votes += r >= -distance(segment(new.score), (2.0, 1.0))
    np.testing.assert_array_equal(method.predict(new.score, new.spacing).outer, votes >= 2)


# --- the proved bound ---


@pytest.mark.parametrize(
    ("n", "folds", "alpha", "rule", "failures"),
    [
        (19, None, 0.1, "votes", Fraction(3, 20)),  # 2 alpha - 1 / (n + 1)
        (19, None, 0.1, "minmax", Fraction(2, 20)),  # alpha
        (20, 5, 0.1, "votes", Fraction(6, 24)),
        (20, 5, 0.1, "minmax", Fraction(5, 24)),
        (40, 2, 0.1, "votes", Fraction(10, 42)),  # by the mean of two p-values
        (41, 2, 0.1, "minmax", Fraction(10, 43)),  # folds of unequal size
        (5, None, 0.1, "votes", Fraction(0)),  # trivial sets
        (6, 3, 0.7, "votes", Fraction(1)),
    ],
)
def test_guarantee_is_the_proved_bound(n, folds, alpha, rule, failures):
    cases = [Case([0.25, 0.75], [False, True]) for _ in range(n)]
    method = CrossConformal(alpha, lambda _: fields.identity, folds, rule=rule)
    with pytest.warns(UserWarning, match="too few") if n == 5 else nullcontext():
        method.fit(cases)
    assert method.guarantee_ == pytest.approx(float(1 - failures), abs=1e-12)
    folds = folds or n
    published = min(
        2 * (1 - 1 / folds) / (n / folds + 1), (1 - folds / n) / (folds + 1)
    )  # Barber et al. (2021), Theorem 4, for folds of one size
    if n % folds == 0:
        assert method.guarantee_ >= 1 - 2 * alpha - published - 1e-12


# --- the guarantee ---

SMALL = phantoms.Lesions(shape=(12, 12), radius=(3.0, 4.5), roughness=0.4, bumps=2.0)
ALPHA, N, SETS = 0.2, 9, 200


def atlas_cases(n, seed):
    """Independent cases: rough lesions, noisy images."""
    return list(phantoms.scans([c.truth for c in phantoms.cases(n, SMALL, seed=seed)], seed=seed))


def count_kept(fit, cases, size):
    """New cases whose promise was kept, one after each fit."""
    sets = [cases[start : start + size + 1] for start in range(0, len(cases), size + 1)]
    return sum(fit(known).complies(new) for *known, new in sets), len(sets)


def p_at_least(kept, total, coverage):
    """Exact binomial p-value of "the coverage is at least so much"."""
    return stats.binom(total, coverage).cdf(kept)


@pytest.mark.parametrize(("folds", "rule"), [(None, "votes"), (3, "votes"), (3, "minmax")])
def test_coverage_is_at_least_what_is_proved_and_near_what_was_asked(folds, rule):
    method = CrossConformal(ALPHA, phantoms.Atlas(), folds, **IDENTITY, rule=rule)
    kept, total = count_kept(method.fit, atlas_cases(SETS * (N + 1), 1), N)
    assert p_at_least(kept, total, method.guarantee_) > 1e-3
    assert p_at_least(kept, total, 1 - ALPHA) > 1e-3  # not proved, but so for this segmenter


def test_twin_cases_that_trained_also_calibrate():
    """Resubstitution: one segmenter for all, which knows the cases it is calibrated on."""

    def fit(known):
        segment = phantoms.Atlas()(known)
        return CrossConformal(ALPHA, lambda _: segment, None, **IDENTITY).fit(known)

    kept, total = count_kept(fit, atlas_cases(SETS * (N + 1), 1), N)
    assert p_at_least(kept, total, 1 - 2 * ALPHA) < 1e-6


def scans_of_patients(patients, seed):
    """Two scans of each patient: one lesion, two noisy images."""
    masks = [case.truth for case in phantoms.cases(patients, SMALL, seed=seed)]
    twice = phantoms.scans(np.repeat(masks, 2, axis=0), noise=0.2, seed=seed)
    return [replace(case, patient=f"{i // 2}") for i, case in enumerate(twice)]


@pytest.mark.parametrize("together", [True, False])
def test_patients_split_across_folds_undercover(together):
    """Kept together the bound holds for all scans of a new patient; split it is broken."""
    scans, covered = scans_of_patients(100 * (N + 1), 2), 0
    method = CrossConformal(ALPHA, phantoms.Atlas(), None, **IDENTITY)
    for start in range(0, len(scans), 2 * N + 2):
        *known, first, second = scans[start : start + 2 * N + 2]
        if not together:
            known = [replace(case, patient="") for case in known]
        method.fit(known)
        covered += method.complies(first) and method.complies(second)
    p_value = p_at_least(covered, 100, 1 - 2 * ALPHA)
    assert p_value > 1e-3 if together else p_value < 1e-6


def ring_train(cases):
    """One voxel is marked, the last or one of a ring; where the ring starts is chaotic."""
    size = cases[0].truth.size - 1
    start = sum(int(case.truth.argmax()) for case in cases if not case.truth[-1]) % size
    ramp = -((np.arange(size) - start) % size).astype(float)
    return lambda image, spacing: np.append(ramp, 1.0)


def ring_positions(rng, n, hard, size):
    """Marked voxels: on the ring with probability `hard`, else the last."""
    return np.where(rng.random(n) < hard, rng.integers(size, size=n), size)


def ring_kept(where, size, alpha):
    """Whether leave-one-out keeps the last case of each row: the formula of the ring."""
    known = where.shape[1] - 1
    new, on_ring = where[:, -1:], where < size
    total = np.where(on_ring, where, 0).sum(axis=1, keepdims=True)
    start = total - np.where(on_ring, where, 0)[:, :-1] - new
    no_better = on_ring[:, :-1] & ((where[:, :-1] - start) % size >= (new - start) % size)
    needed = int(brute.decimal(alpha) * (known + 1))
    return (no_better.sum(axis=1) >= needed) | ~on_ring[:, -1]


def test_the_ring_formula_is_what_the_package_does():
    rng, size = np.random.default_rng(5), 11
    where = ring_positions(rng, (40, 10), 0.5, size)
    for row, kept in zip(where, ring_kept(where, size, 0.2), strict=True):
        cases = [Case(np.zeros(size + 1), np.arange(size + 1) == v) for v in row]
        method = CrossConformal(0.2, ring_train, None, "outer", outer=fields.identity)
        assert method.fit(cases[:-1]).complies(cases[-1]) == kept


def test_an_unstable_segmenter_costs_nearly_the_factor_two():
    """The bound 1 - 2 alpha holds, and 1 - alpha does not."""
    rng, n, size = np.random.default_rng(6), 999, 1_000_003
    kept = ring_kept(ring_positions(rng, (4000, n + 1), 0.18, size), size, 0.1).sum()
    assert p_at_least(kept, 4000, 1 - 2 * 0.1) > 1e-3
    assert p_at_least(kept, 4000, 1 - 0.1) < 1e-6
    assert kept < 4000 * 0.86


# --- bad input ---


def test_the_atlas_refuses_masks_without_a_contour():
    cases = [Case(np.zeros((3, 3)), np.full((3, 3), filled)) for filled in (False, True)]
    for case in cases:
        with pytest.raises(ValueError, match="no contour: it is empty, or the whole image"):
            phantoms.Atlas()([case])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.0}, "alpha must lie strictly between 0 and 1"),
        ({"control": "both"}, "control must be one of"),
        ({"rule": "mean"}, "rule must be one of .* found 'mean'"),
        ({"folds": 1}, "at least 2 folds, found 1"),
        ({"miss": 0.1}, "a tolerance of 0.1 needs rule='minmax'"),
        ({"miss": 0.1, "rule": "minmax", "control": "inner"}, "and an outer set"),
        ({"miss": 1.0, "rule": "minmax"}, r"must lie in \[0, 1\)"),
    ],
)
def test_unsound_parameters_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CrossConformal(**{"alpha": 0.1, "train": small_train, **options})


def test_unsound_cases_and_scores_are_refused():
    cases = [Case([0.2, 0.8], [False, True], name=f"case {i}") for i in range(10)]
    with pytest.raises(ValueError, match="at least 11 patients for the folds, found 10"):
        CrossConformal(0.1, small_train, 11).fit(cases)
    with pytest.raises(ValueError, match="at least 2 patients for the folds, found 0"):
        CrossConformal(0.1, small_train, None).fit([])
    with pytest.raises(TypeError, match="case 2: expected a Case, found a int"):
        CrossConformal(0.1, small_train).fit([cases[0], 3])
    for segment, message in [
        (lambda image, spacing: image[:1], r"case 'case \d': .*shape \(2,\) but its score \(1,\)"),
        (lambda image, spacing: image * np.nan, r"case 'case \d': the score must be finite"),
        (lambda image, spacing: image + 1, r"case 'case \d': probabilities must lie in \[0, 1\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            CrossConformal(0.1, lambda _, s=segment: s, None).fit(cases)


def test_mm_and_voxels_are_not_mixed():
    mm, voxels = ({"inner": f, "outer": f} for f in (fields.smooth(2.0), fields.identity))
    spaced = [Case([0.2, 0.8], [False, True], (2.0,)) for _ in range(10)]
    plain = [replace(case, spacing=None) for case in spaced]
    method = CrossConformal(0.1, lambda _: fields.identity, None, **mm)
    with pytest.raises(ValueError, match="mm and in voxels cannot be mixed"):
        method.fit([*spaced, *plain])
    with pytest.raises(ValueError, match="mm and in voxels cannot be mixed"):
        method.fit(spaced).predict([0.1, 0.9])
    with pytest.raises(ValueError, match="mm and in voxels cannot be mixed"):
        full_conformal(method.train, spaced, [0.1, 0.9], [[True, False]], 0.1, **mm)
    method.fit(plain).predict([0.1, 0.9])
    mixed = CrossConformal(0.1, method.train, None, **voxels).fit([*spaced, *plain])
    assert mixed.predict([0.1, 0.9]).outer.shape == (2,)


def test_training_has_to_return_a_function():
    cases = [Case([0.2, 0.8], [False, True]) for _ in range(10)]
    with pytest.raises(TypeError, match="train must return a function .* found None"):
        CrossConformal(0.1, lambda _: None, 5).fit(cases)


def test_nothing_is_predicted_before_or_after_a_failed_fit():
    cases = [Case([0.2, 0.8], [False, True], name=f"case {i}") for i in range(10)]
    method = CrossConformal(0.1, lambda _: fields.identity, 5)
    with pytest.raises(NotCalibratedError, match="call fit first"):
        method.predict([0.1, 0.9])
    assert not hasattr(method, "n_")
    method.fit(cases)
    assert method.n_ == 10
    with pytest.raises(ValueError, match="for the folds, found 1"):
        method.fit(cases[:1])
    assert not hasattr(method, "n_")


def test_a_field_that_fails_on_the_new_image_is_refused():
    cases = [Case([0.2, 0.8], [False, True]) for _ in range(10)]
    field = fields.as_field(lambda score, spacing: np.where(score > 0.85, np.nan, score))
    method = CrossConformal(0.1, lambda _: fields.identity, 5, inner=field, outer=field).fit(cases)
    with pytest.raises(ValueError, match="is NaN at 1 voxels"):
        method.predict([0.1, 0.9])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "inner set is lesion and no lesion voxel lies outside the outer set, together,"),
        ({"control": "inner"}, "population, every voxel of the inner set is lesion with"),
        ({"control": "outer"}, "no lesion voxel lies outside the outer set with a probability"),
        (
            {"control": "outer", "rule": "minmax", "miss": 0.05},
            "at most 5% of the lesion's voxels lie outside the outer set",
        ),
    ],
)
def test_statement_says_what_is_promised(options, words):
    cases = [Case([0.2, 0.8], [False, True]) for _ in range(19)]
    method = CrossConformal(0.1, lambda _: fields.identity, None, **options).fit(cases)
    assert words in method.statement()
    assert ("at least 90%" if "rule" in options else "at least 85%") in method.statement()
    assert "19 patients in 19 folds" in method.statement()
