"""Choosing on a learning split: what is chosen, what is refused, and what the promise is worth."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import brute
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from strategies import calibration_sets

from confseg import Case, ConfidenceSets, choose_field, common_scale, fields, phantoms
from confseg.evaluate import law_test
from confseg.fields import field_from_dict, fingerprint

SMALL = phantoms.Lesions((20, 20), (3, 6), spacing=(1.0, 2.0))
LEARNING = list(phantoms.cases(30, SMALL, seed=1))
OTHERS = list(phantoms.cases(30, SMALL, seed=2))
CANDIDATES = {
    "logit": fields.logit,
    "distance": fields.signed_distance(),
    "boxes": fields.boxes(kind="inner"),
    "mass": fields.cumulative_mass,
}


def sizes_by_hand(field, cases, alpha):
    """Volumes of inner and outer sets in lesion volumes, voxel by voxel."""
    values = [field(case.score, case.spacing) for case in cases]
    truths = [case.truth for case in cases]
    inner = brute.inner_calibration(list(map(brute.inner_cutoff, values, truths)), alpha)
    outer = brute.outer_calibration(list(map(brute.outer_cutoff, values, truths)), alpha)
    totals = np.zeros(3)
    for value, case in zip(values, cases, strict=True):
        masks = (brute.above(value, inner, True), brute.above(value, outer, False), case.truth)
        totals += math.prod(case.spacing or (1,)) * np.array([mask.sum() for mask in masks])
    return totals[:2] / totals[2]


def test_the_largest_inner_and_the_smallest_outer_sets_are_chosen():
    choice = choose_field(CANDIDATES, LEARNING, alpha=0.2)
    expected = {name: sizes_by_hand(f, LEARNING, 0.2) for name, f in CANDIDATES.items()}
    assert list(choice.sizes) == list(CANDIDATES)
    for name, sizes in choice.sizes.items():
        np.testing.assert_allclose(sizes, expected[name], rtol=1e-12)
    assert choice.inner_name == max(expected, key=lambda name: expected[name][0])
    assert choice.outer_name == min(expected, key=lambda name: expected[name][1])
    assert choice.inner.of == CANDIDATES[choice.inner_name]
    assert choice.outer.of == CANDIDATES[choice.outer_name]


@given(calibration_sets(empty=True), st.sampled_from([0.25, 0.5]))
def test_sizes_of_any_cases(cases, alpha):
    candidates = {"score": fields.identity, "steps": fields.signed_distance(metric="cube")}
    if not any(case.truth.any() for case in cases):
        with pytest.raises(ValueError, match="expected learning cases with a lesion, found none"):
            choose_field(candidates, cases, alpha)
        return
    choice = choose_field(candidates, iter(cases), alpha)
    for name, field in candidates.items():
        np.testing.assert_allclose(
            choice.sizes[name], sizes_by_hand(field, cases, alpha), rtol=1e-12
        )


def test_of_equal_candidates_the_first_is_chosen():
    twins = {"one": fields.logit, "other": fields.logit}
    choice = choose_field(twins, LEARNING, 0.1)
    assert (choice.inner_name, choice.outer_name) == ("one", "one")


# --- learning cases are refused ---

CHOICE = choose_field(CANDIDATES, LEARNING, alpha=0.2)
PAIR = common_scale(fields.logit, fields.signed_distance(), LEARNING)
LEARNED = {
    "chosen": CHOICE.outer,
    "scaled": PAIR.outer,
    "read back": field_from_dict(CHOICE.outer.to_dict()),
    "smoothed": fields.smooth(1.0, of=CHOICE.outer),
    "combined": fields.combine(fields.logit, CHOICE.outer),
    "scaled after choice": common_scale(fields.logit, CHOICE.outer, OTHERS).outer,
}
REFUSAL = "the field was learned on this very case; calibrate on cases that had no part"


@pytest.mark.parametrize("field", LEARNED.values(), ids=LEARNED)
def test_a_learning_case_is_refused_wherever_the_field_is_used(field):
    rest = OTHERS if field is not LEARNED["scaled after choice"] else SPARE
    method = ConfidenceSets(0.2, "outer", outer=field).calibrate(rest)
    assert method.n_ == 30
    with pytest.raises(ValueError, match=re.escape("case 31 ('phantom 7'): " + REFUSAL)):
        method.calibrate([*rest, LEARNING[7]])


SPARE = list(phantoms.cases(30, SMALL, seed=3))


def test_a_case_is_known_by_its_contents():
    case = Case(np.round(LEARNING[3].score * 1024) / 1024, LEARNING[3].truth, (1.0, 2.0))
    choice = choose_field({"logit": fields.logit}, [*LEARNING[:9], case], 0.2)
    method = ConfidenceSets(0.2, "inner", inner=choice.inner)
    for same in (
        replace(case, name="another name", patient="another patient"),
        replace(case, score=case.score.astype("f4")),
        replace(case, score=np.asfortranarray(case.score), truth=case.truth.astype(int)),
    ):
        with pytest.raises(ValueError, match=REFUSAL):
            method.calibrate([same])
    turned = replace(case, score=case.score.T.copy(), truth=case.truth.T)
    method.calibrate([turned] * 4)
    method.calibrate([replace(case, truth=~case.truth)] * 4)


def another_case(patient):
    """A case with contents of its own."""
    return replace(SPARE[0], patient=patient, name="another")


def test_a_learning_patient_is_refused_by_name_also_after_json():
    message = "case 31 ('another'): the field was learned on another case of patient 'patient 1-7'"
    fields_of_joint = {"inner": PAIR.inner, "outer": fields.smooth(1.0, of=CHOICE.outer)}
    method = ConfidenceSets(0.2, **fields_of_joint).calibrate(OTHERS)
    for each in (method, ConfidenceSets.from_json(method.to_json())):
        with pytest.raises(ValueError, match=re.escape(message)):
            each.calibrate([*OTHERS, another_case(LEARNING[7].patient)])


def test_cases_that_name_no_patient_are_nobody():
    choice = choose_field(CANDIDATES, [replace(case, patient="") for case in LEARNING], 0.2)
    method = ConfidenceSets(0.2, "outer", outer=choice.outer)
    assert method.calibrate([*OTHERS, another_case("")]).n_ == 31


def test_images_in_which_nothing_is_predicted_are_not_known_again():
    """They are all alike; to refuse one would be to refuse them all."""
    empty = Case(np.zeros((20, 20)), LEARNING[0].truth, (1.0, 2.0))
    assert fingerprint(empty.score, empty.truth) is None
    choice = choose_field(CANDIDATES, [*LEARNING, empty], 0.2)
    assert ConfidenceSets(0.2, "outer", outer=choice.outer).calibrate([*OTHERS, empty]).n_ == 31


def test_minus_zero_is_zero():
    one, other = np.array([0.0, 1.0]), np.array([-0.0, 1.0])
    truth = np.array([False, True])
    assert fingerprint(one, truth) == fingerprint(other, truth)


def test_calibrated_methods_with_learned_fields_survive_json():
    method = ConfidenceSets(0.2, inner=PAIR.inner, outer=PAIR.outer).calibrate(OTHERS)
    loaded = ConfidenceSets.from_json(method.to_json())
    assert loaded.to_json() == method.to_json()
    one, other = (m.predict(*image(SPARE[0])) for m in (method, loaded))
    np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=REFUSAL):
        loaded.calibrate(LEARNING)


def image(case):
    return case.score, case.spacing


# --- one scale ---


def test_the_scale_says_for_which_share_of_cases_a_cutoff_suffices():
    inner = [brute.inner_cutoff(fields.logit(c.score), c.truth) for c in LEARNING]
    outer = [
        brute.outer_cutoff(fields.signed_distance()(c.score, c.spacing), c.truth) for c in LEARNING
    ]
    for value in inner:
        share = sum(other <= value for other in inner) / 31
        assert PAIR.inner.of.scale(value) == pytest.approx(share)
    for value in filter(math.isfinite, outer):  # nothing was predicted in one case
        share = sum(other >= value for other in outer) / 31
        assert PAIR.outer.of.scale(value) == pytest.approx(-share)


def test_the_scale_rises_beyond_what_was_learned():
    for field in PAIR:
        knots = field.of.knots
        far = field.of.scale([knots[0] - 1e6, knots[0] - 1, knots[0], knots[-1], knots[-1] + 1])
        assert all(a < b for a, b in pairwise(far))


def test_a_joint_set_on_one_scale_is_one_quantile():
    method = ConfidenceSets(0.2, inner=PAIR.inner, outer=PAIR.outer).calibrate(OTHERS)
    assert method.cutoff_inner_ == -method.cutoff_outer_
    scores = [
        max(
            brute.inner_cutoff(PAIR.inner(*image(c)), c.truth),
            -brute.outer_cutoff(PAIR.outer(*image(c)), c.truth),
        )
        for c in OTHERS
    ]
    assert method.cutoff_inner_ == brute.conformal_quantile(scores, 0.2)


def test_infinite_critical_values_count_but_are_no_knots():
    sure = Case([[1.0, 0.0]], [[False, True]])
    pair = common_scale(fields.logit, fields.logit, [sure, Case([[0.5, 0.2]], [[True, False]])])
    assert pair.inner.of.levels == (1 / 3,)
    assert pair.outer.of.levels == (-1 / 3,)
    assert pair.inner.of.knots == pytest.approx((math.log(0.25),))
    with pytest.raises(ValueError, match="no learning case has a finite .* on the inner side"):
        common_scale(fields.logit, fields.logit, [sure])
    with pytest.raises(ValueError, match="no learning case has a finite .* on the outer side"):
        common_scale(fields.identity, fields.logit, [sure])


# --- bad input ---


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: choose_field({}, LEARNING, 0.1), "expected at least one candidate, found none"),
        (lambda: choose_field(CANDIDATES, [], 0.1), "at least one learning case, found none"),
        (lambda: choose_field(CANDIDATES, LEARNING, 1.0), "alpha must lie strictly between"),
        (lambda: choose_field(CANDIDATES, LEARNING[:8], 0.1), "8 learning cases are too few"),
        (
            lambda: choose_field(CANDIDATES, [*LEARNING, replace(LEARNING[0], spacing=None)], 0.1),
            "some learning cases have a spacing and some have not",
        ),
        (
            lambda: choose_field(CANDIDATES, [Case([[math.nan]], [[True]], name="bad")], 0.1),
            r"case 1 \('bad'\): the score must be finite",
        ),
        (lambda: common_scale(fields.logit, fields.logit, iter([])), "learning case, found none"),
    ],
)
def test_unsound_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_no_case_is_refused():
    with pytest.raises(TypeError, match="case 2: expected a Case, found a str"):
        choose_field(CANDIDATES, [LEARNING[0], "case"], 0.1)


# --- the promise ---

N, M, ALPHA, K = 10, 6, 0.2, 8
LAW = stats.betabinom(M, 9, 2)


def reader(j):
    """A candidate that believes voxel j: it goes where the lesion is, before a fixed staircase."""

    def field(score, spacing):
        steps = np.linspace(0, 1, score.size)
        steps[0] = score[j]
        return steps

    return field


READERS = {f"voxel {j}": reader(j) for j in range(K)}


def drawn(rng, n):
    """Cases whose one lesion voxel every candidate sees with an independent uniform value."""
    truth = np.arange(64) == 0
    return [Case(rng.random(64), truth) for _ in range(n)]


def compliant(outer, calibration, tests):
    method = ConfidenceSets(ALPHA, "outer", outer=outer).calibrate(calibration)
    return sum(method.complies(case) for case in tests)


def test_after_a_choice_on_a_learning_split_counts_follow_the_law():
    rng, counts = np.random.default_rng(5), []
    for _ in range(250):
        choice = choose_field(READERS, drawn(rng, N), ALPHA)
        counts.append(compliant(choice.outer, drawn(rng, N), drawn(rng, M)))
    assert law_test(counts, LAW) > 1e-3


def test_after_learning_a_common_scale_counts_follow_the_law():
    rng, counts = np.random.default_rng(6), []
    small = phantoms.Lesions((16, 16), (3, 4), roughness=0.5, bumps=2)
    everything = list(phantoms.cases(250 * (2 * N + M), small, seed=6))
    rng.shuffle(everything)
    for start in range(0, len(everything), 2 * N + M):
        cases = everything[start : start + 2 * N + M]
        pair = common_scale(fields.logit, fields.cumulative_mass, cases[:N])
        method = ConfidenceSets(ALPHA, inner=pair.inner, outer=pair.outer)
        method.calibrate(cases[N : 2 * N])
        counts.append(sum(method.complies(case) for case in cases[2 * N :]))
    assert law_test(counts, LAW) > 1e-3


def test_twin_the_choice_is_made_on_the_calibration_cases():
    """Of independent candidates the luckiest is kept: its coverage is the least of K."""
    rng, counts = np.random.default_rng(7), []
    for _ in range(200):
        cases = drawn(rng, N)
        choice = choose_field(READERS, cases, ALPHA)
        counts.append(compliant(choice.outer.of, cases, drawn(rng, M)))
    assert law_test(counts, LAW) < 1e-6
    least = integrate.quad(lambda c: stats.beta.sf(c, 9, 2) ** K, 0, 1)[0]
    mean, error = np.mean(counts) / M, np.std(counts) / M / math.sqrt(200)
    assert least < 0.65
    assert abs(mean - least) < 4 * error + 1 / 64  # the staircase has 64 steps
