"""The guarantees against their exact laws, and twins that break exchangeability.

Every method is calibrated, through the public interface, on 2,000 independent sets of phantoms,
and the compliant ones among 6 new phantoms are counted each time. The 2,000 counts are
independent draws of a beta-binomial law where scores are distinct; a chi-square test compares
them with it, and a normal test compares their mean. Seeds are fixed, so a test passes or fails
for good; a correct method passes with probability 1 - 1e-3 per test over the choice of the seed.

Margins in steps tie. Their counts are then stochastically larger than the law, which is tested
from one side only: too much coverage would go unnoticed there.

Each twin breaks one assumption, and the same statistics see it at p < 1e-6, so that a test
which cannot fail would be noticed.
"""

import math
from dataclasses import replace

import brute
import numpy as np
import pytest
from scipy import stats

from confseg import CLS, ConfidenceSets, Margin, fields, metrics, phantoms

SETS, N, M, ALPHA = 2000, 10, 6, 0.2
TWIN_SETS = 400  # broken assumptions show sooner
LESIONS = phantoms.Lesions(shape=(20, 20), radius=(3.5, 5.0), roughness=0.6, bumps=2.5)

EXACT = {
    "CLS": lambda: CLS(eps=0.1, alpha=ALPHA, empty="refuse"),
    "joint sets": lambda: ConfidenceSets(ALPHA),
    "inner set": lambda: ConfidenceSets(ALPHA, "inner", inner=fields.smooth(1.5)),
    "outer set": lambda: ConfidenceSets(ALPHA, "outer", outer=fields.identity),
    "margin": lambda: Margin(ALPHA, coverage=1.0, empty="refuse"),
    "margin, coverage 0.9": lambda: Margin(ALPHA, coverage=0.9, empty="refuse"),
    "false positive rate": lambda: CLS(eps=0.02, alpha=ALPHA, rate="fpr"),
    "erosion": lambda: Margin(ALPHA, side="inner"),
    "both margins": lambda: Margin(ALPHA, side="both", empty="refuse"),
}
TIED = {
    "steps of the cross": lambda: Margin(ALPHA, metric="cross"),
    "steps of the cube, coverage 0.9": lambda: Margin(ALPHA, 0.9, "cube"),
}
# Their share of false voxels may fall as the region grows, so more cases comply than have to.
NOT_MONOTONE = {
    "false discoveries": lambda: CLS(eps=0.1, alpha=ALPHA, rate="fdp"),
    "erosion, coverage 0.9": lambda: Margin(ALPHA, coverage=0.9, side="inner"),
    "both margins, coverage 0.9": lambda: Margin(ALPHA, coverage=0.9, side="both"),
}
THREE_METHODS = {name: EXACT[name] for name in ("CLS", "joint sets", "margin, coverage 0.9")}


def law_of(alpha):
    """Beta-binomial law of the compliant ones among M cases, from the rank alone."""
    rank = math.ceil((1 - brute.decimal(alpha)) * (N + 1))
    return stats.betabinom(M, rank, N + 1 - rank)


def p_same_law(counts, law):
    """Chi-square p-value; neighboring counts are pooled until ten are expected in a cell."""
    observed = np.bincount(counts, minlength=M + 1)
    cells = [[0.0, 0.0]]
    for seen, share in zip(observed, law.pmf(np.arange(M + 1)), strict=True):
        if cells[-1][1] >= 10:
            cells.append([0.0, 0.0])
        cells[-1][0] += seen
        cells[-1][1] += share * len(counts)
    if cells[-1][1] < 10:
        last = cells.pop()
        cells[-1] = [cells[-1][0] + last[0], cells[-1][1] + last[1]]
    return stats.chisquare(*np.transpose(cells)).pvalue


def p_same_mean(counts, law):
    """Two-sided normal p-value of the mean count."""
    z = (np.mean(counts) - law.mean()) / (law.std() / math.sqrt(len(counts)))
    return 2 * stats.norm.sf(abs(z))


def p_at_least(counts, law):
    """One-sided p-value: the counts are stochastically at least as large as the law.

    At every level the low counts are binomial with at most the law's probability; Bonferroni.
    """
    levels = np.arange(M)
    low = (np.array(counts)[:, np.newaxis] <= levels).sum(axis=0)
    return min(1.0, M * stats.binom.sf(low - 1, len(counts), law.cdf(levels)).min())


@pytest.fixture(scope="module")
def population():
    """As many exchangeable cases as all sets need, each with a voxel size of its own.

    The voxel size makes margins in mm distinct; otherwise only a few distances would occur.
    """
    return drawn(SETS * (N + M), seed=11)


def drawn(n, seed, **faults):
    edges = np.random.default_rng(seed).uniform(0.5, 2.0, size=(n, 2)).tolist()
    cases = phantoms.cases(n, LESIONS, phantoms.Segmenter(**faults), seed)
    return [replace(case, spacing=tuple(edge)) for case, edge in zip(cases, edges, strict=True)]


def batches(cases, size):
    return [cases[start : start + size] for start in range(0, len(cases), size)]


def count_compliant(make, calibration, tests):
    """Compliant test cases of each calibration, through `calibrate` and `complies`."""
    counts = []
    for first, second in zip(batches(calibration, N), batches(tests, M), strict=True):
        method = make().calibrate(first)
        counts.append(sum(method.complies(case) for case in second))
    return np.array(counts)


def parts(cases):
    """Cases for all calibrations and for all tests."""
    return cases[: SETS * N], cases[SETS * N :]


@pytest.mark.parametrize("make", EXACT.values(), ids=EXACT)
def test_counts_follow_the_law(population, make):
    counts = count_compliant(make, *parts(population))
    assert p_same_law(counts, law_of(ALPHA)) > 1e-3
    assert p_same_mean(counts, law_of(ALPHA)) > 1e-3


@pytest.mark.parametrize("make", NOT_MONOTONE.values(), ids=NOT_MONOTONE)
def test_running_maxima_follow_the_law_and_what_complies_is_at_least_that(population, make):
    scores = make().calibrate(population).nonconformity_
    known, new = scores[: SETS * N].reshape(SETS, N), scores[SETS * N :].reshape(SETS, M)
    rank = math.ceil((1 - brute.decimal(ALPHA)) * (N + 1))
    counts = (new <= np.sort(known)[:, rank - 1 : rank]).sum(axis=1)
    assert p_same_law(counts, law_of(ALPHA)) > 1e-3
    assert p_same_mean(counts, law_of(ALPHA)) > 1e-3
    calibration, tests = parts(population)
    compliant = count_compliant(make, calibration[: TWIN_SETS * N], tests[: TWIN_SETS * M])
    assert (compliant >= counts[:TWIN_SETS]).all()
    assert p_at_least(compliant, law_of(ALPHA)) > 1e-3


@pytest.mark.parametrize("make", TIED.values(), ids=TIED)
def test_tied_counts_are_at_least_the_law(population, make):
    counts = count_compliant(make, *parts(population))
    assert p_at_least(counts, law_of(ALPHA)) > 1e-3


def test_weighted_sets_follow_the_law_on_each_side_and_hold_together(population):
    """Each side has spent half of alpha; together they hold with at least 1 - alpha."""
    counts = {"inner": [], "outer": [], "joint": []}
    calibration, tests = parts(population)
    for first, second in zip(batches(calibration, N), batches(tests, M), strict=True):
        method = ConfidenceSets(ALPHA, "weighted", weights=(ALPHA / 2, ALPHA / 2)).calibrate(first)
        found = [metrics.coverage(method.predict(case.score), case.truth) for case in second]
        for side, hits in counts.items():
            hits.append(sum(getattr(coverage, side) for coverage in found))
        assert counts["joint"][-1] == sum(method.complies(case) for case in second)
    for side in ("inner", "outer"):
        assert p_same_law(counts[side], law_of(ALPHA / 2)) > 1e-3
        assert p_same_mean(counts[side], law_of(ALPHA / 2)) > 1e-3
    shares = np.array(counts["joint"]) / M
    shortfall = (1 - ALPHA - shares.mean()) / (shares.std() / math.sqrt(SETS))
    assert stats.norm.sf(shortfall) > 1e-3


# --- twins: an assumption is broken, and the same statistics see it ---


@pytest.mark.parametrize("make", [*THREE_METHODS.values(), *TIED.values(), *NOT_MONOTONE.values()])
def test_twin_new_cases_come_from_a_noisier_segmenter(population, make):
    calibration = population[: TWIN_SETS * N]
    counts = count_compliant(make, calibration, drawn(TWIN_SETS * M, seed=12, noise=3.0))
    assert p_same_law(counts, law_of(ALPHA)) < 1e-6
    assert p_same_mean(counts, law_of(ALPHA)) < 1e-6
    assert p_at_least(counts, law_of(ALPHA)) < 1e-6


@pytest.mark.parametrize("make", THREE_METHODS.values(), ids=THREE_METHODS)
def test_twin_cases_of_one_patient_count_as_independent(population, make):
    """Ten calibration cases from two patients say as little as two cases."""
    patients = population[: TWIN_SETS * 2]
    calibration = [case for case in patients for _ in range(N // 2)]
    counts = count_compliant(make, calibration, population[-TWIN_SETS * M :])
    assert p_same_law(counts, law_of(ALPHA)) < 1e-6
    assert p_at_least(counts, law_of(ALPHA)) < 1e-6


@pytest.mark.parametrize("make", THREE_METHODS.values(), ids=THREE_METHODS)
def test_twin_the_new_case_is_missing_from_the_rank(population, make):
    """The plain quantile, rank (1 - alpha) n instead of (1 - alpha)(n + 1)."""
    counts = []
    tests = batches(population[-TWIN_SETS * M :], M)
    for first, second in zip(batches(population[: TWIN_SETS * N], N), tests, strict=True):
        known, new = (make().calibrate(cases).nonconformity_ for cases in (first, second))
        rank = math.ceil((1 - brute.decimal(ALPHA)) * N)
        counts.append(int((new <= np.sort(known)[rank - 1]).sum()))
    assert p_same_law(counts, law_of(ALPHA)) < 1e-6
    assert p_same_mean(counts, law_of(ALPHA)) < 1e-6


def test_twin_the_best_of_several_calibrations_is_kept(population):
    """Of four calibrations the one with the smallest masks on the test data is reported."""
    counts = []
    tests = batches(population[-TWIN_SETS * M :], M)
    for four, second in zip(batches(population[: TWIN_SETS * 4 * N], 4 * N), tests, strict=True):
        methods = [EXACT["CLS"]().calibrate(cases) for cases in batches(four, N)]
        best = min(methods, key=lambda m: sum(m.predict(case.score).sum() for case in second))
        counts.append(sum(best.complies(case) for case in second))
    assert p_same_law(counts, law_of(ALPHA)) < 1e-6
    assert p_at_least(counts, law_of(ALPHA)) < 1e-6


def test_twin_two_marginal_sets_are_no_joint_set(population):
    """Each side holds with 1 - alpha; that both hold is promised by nobody, and is not so."""
    counts = []
    calibration, tests = population[: TWIN_SETS * N], population[-TWIN_SETS * M :]
    for first, second in zip(batches(calibration, N), batches(tests, M), strict=True):
        both = [ConfidenceSets(ALPHA, side).calibrate(first) for side in ("inner", "outer")]
        counts.append(sum(all(method.complies(case) for method in both) for case in second))
    assert p_at_least(counts, law_of(ALPHA)) < 1e-6


# --- the statistics themselves ---


def test_statistics_accept_the_law_and_see_a_neighbor_of_it():
    """Draws from the law pass; draws with a rank one too low or one too high do not."""
    law = law_of(ALPHA)
    own = law.rvs(size=SETS, random_state=1)
    assert min(p_same_law(own, law), p_same_mean(own, law), p_at_least(own, law)) > 1e-3
    for rank in (8, 10):
        other = stats.betabinom(M, rank, N + 1 - rank).rvs(size=SETS, random_state=1)
        assert p_same_law(other, law) < 1e-6
        assert p_same_mean(other, law) < 1e-6
        assert (p_at_least(other, law) < 1e-6) == (rank == 8)


def test_chi_square_is_uniform_under_the_law():
    """500 p-values under the law are uniform; Kolmogorov-Smirnov at level 1e-3."""
    law, rng = law_of(ALPHA), np.random.default_rng(3)
    values = [p_same_law(law.rvs(size=SETS, random_state=rng), law) for _ in range(500)]
    assert stats.kstest(values, "uniform").pvalue > 1e-3
