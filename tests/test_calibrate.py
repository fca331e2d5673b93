"""How cases are consumed: once, one at a time, by one process or several, in flat memory."""

import gc
import tracemalloc
import weakref

import joblib
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from test_fields import rank_filter

from confseg import CLS, Case, ConfidenceSets, Margin, fields, phantoms
from confseg.conformal import SplitConformal
from confseg.risk import RiskMethod

METHODS = {
    "CLS": lambda: CLS(eps=0.1, alpha=0.1),
    "joint sets": lambda: ConfidenceSets(0.1, outer=fields.signed_distance(metric="cube")),
    "own field": lambda: ConfidenceSets(0.1, inner=rank_filter, outer=lambda score, _: score),
    "margin": lambda: Margin(0.1, coverage=0.9),
}
CASES = list(phantoms.cases(40, phantoms.Lesions((24, 24), (3, 6), spacing=(0.7, 2.5)), seed=3))

every_method = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)


def same(one, other):
    """Both methods hold the same numbers in the same order."""
    assert one._calibration.cutoffs == other._calibration.cutoffs
    np.testing.assert_array_equal(one.nonconformity_, other.nonconformity_)
    assert one._calibration.names == other._calibration.names


@every_method
def test_a_generator_is_read_once_and_to_the_end(make):
    reads = []

    def stream():
        for case in CASES:
            reads.append(case.name)
            yield case

    same(make().calibrate(stream()), make().calibrate(CASES))
    assert reads == [case.name for case in CASES]


@every_method
def test_several_threads_give_the_same_numbers_in_the_same_order(make):
    with joblib.parallel_config(backend="threading"):
        same(make().calibrate(iter(CASES), n_jobs=2), make().calibrate(CASES))


def test_several_processes_give_the_same_numbers_in_the_same_order():
    make = METHODS["own field"]
    same(make().calibrate(iter(CASES), n_jobs=2), make().calibrate(CASES))


def test_other_processes_leave_no_large_arrays_in_files(tmp_path):
    """Joblib would otherwise keep every array of more than a megabyte until the end."""
    most, truth = 0, np.arange(300_000) < 9

    def stream():
        nonlocal most
        for k in range(12):
            yield Case(np.full(300_000, k / 16), truth)
            most = max(most, sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()))

    get_reusable_executor().shutdown()  # processes that are at work keep their old folder
    with joblib.parallel_config(backend="loky", n_jobs=2, temp_folder=str(tmp_path)):
        assert CLS(0.1, 0.1).calibrate(stream(), n_jobs=None).n_ == 12
    assert most < 8 * truth.size


def test_errors_of_other_processes_name_the_case():
    bad = Case(np.full((24, 24), np.nan), CASES[0].truth, (0.7, 2.5), name="bad")
    method = METHODS["CLS"]().calibrate(CASES)
    with pytest.raises(ValueError, match=r"case 41 \('bad'\): the score must be finite"):
        method.calibrate([*CASES, bad], n_jobs=2)
    assert not hasattr(method, "cutoff_")


@every_method
def test_calibrate_returns_the_method_and_can_be_repeated(make):
    method = make()
    assert method.calibrate(CASES[:20]) is method
    same(method.calibrate(CASES), make().calibrate(CASES))
    assert method.n_ == 40


@every_method
def test_the_order_of_the_cases_does_not_matter(make):
    forward, backward = make().calibrate(CASES), make().calibrate(CASES[::-1])
    assert forward._calibration.cutoffs == backward._calibration.cutoffs


@every_method
def test_cases_and_scores_are_left_alone(make):
    copies = [(case.score.copy(), case.truth.copy()) for case in CASES]
    method = make().calibrate(CASES)
    method.complies(CASES[0])
    for case, (score, truth) in zip(CASES, copies, strict=True):
        np.testing.assert_array_equal(case.score, score)
        np.testing.assert_array_equal(case.truth, truth)


def test_the_base_of_the_methods_promises_nothing():
    base = SplitConformal()
    for member in ("_sides", "_promises"):
        with pytest.raises(NotImplementedError):
            getattr(base, member)
    with pytest.raises(NotImplementedError):
        base._guarantee()


def test_a_mean_loss_needs_its_parts():
    base = RiskMethod()
    for ask in (lambda: base._loss(CASES[0]), lambda: base._worst([]), base._warning):
        with pytest.raises(NotImplementedError):
            ask()
    with pytest.raises(NotImplementedError):
        base._calibrated_on([])
    with pytest.raises(NotImplementedError):
        base._guarantee()


def test_names_patients_and_groups_are_kept():
    method = METHODS["CLS"]().calibrate(CASES)
    assert method.patients_ == tuple(f"patient 3-{i}" for i in range(40))
    assert Case([0.5], [True], group="scanner B").group == "scanner B"


def test_progress_is_shown_only_if_asked(capsys):
    CLS(0.1, 0.1).calibrate(CASES)
    assert capsys.readouterr() == ("", "")
    CLS(0.1, 0.1).calibrate(CASES, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "40/40" in err


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_no_more_than_a_few_cases_are_alive_at_once(n_jobs):
    alive, most = weakref.WeakSet(), 0

    def stream():
        nonlocal most
        for case in phantoms.cases(300, phantoms.Lesions((16, 16), (2, 4)), seed=5):
            copy = Case(case.score.copy(), case.truth.copy())
            alive.add(copy)
            most = max(most, len(alive))
            yield copy

    with joblib.parallel_config(backend="threading", n_jobs=n_jobs):
        CLS(0.1, 0.1, empty="zero").calibrate(stream(), n_jobs=None)
    assert most <= 3 * n_jobs + 2


@every_method
def test_memory_does_not_grow_with_the_number_of_cases(make):
    """2,000 streamed cases take no more memory than 100, but for a few numbers of each."""

    def peak(n):
        method, truth = make(), CASES[0].truth
        rng = np.random.default_rng(0)
        stream = (Case(rng.random((24, 24)), truth, (1.0, 1.0), f"{i}") for i in range(n))
        gc.collect()
        tracemalloc.start()
        method.calibrate(stream)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(10)  # caches fill before anything is measured
    per_case = 1000  # bytes: names, numbers; one image alone has 4,608
    assert peak(2000) <= peak(100) + 1900 * per_case
