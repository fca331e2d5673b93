"""The one place that calibrates.

Every method of this package is a list of promises. A promise names a risk level and the sides
it speaks of: `Outer` (the region misses at most a share of the lesion) or `Inner` (the region
lies inside the lesion). A case turns into one nonconformity score per side; a promise takes the
conformal quantile of the worst of its sides; the quantile, turned back, is the cut-off.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeVar, get_args

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from . import storage
from .boxes import Box, whole_box
from .case import Case, Spacing, as_score, as_spacing, check_values, naming
from .critical import Rate, inner_cutoff_unchecked, outer_cutoff_unchecked
from .exact import check_level, exact, fewest_cases, tolerated
from .fields import Field, field_on
from .quantile import conformal_quantile, coverage_law
from .weighted import effective_cases

Empty = Literal["exclude", "zero", "refuse"]
Per = Literal["case", "worst", "draw"]
T = TypeVar("T")


class NotCalibratedError(ValueError, AttributeError):
    """Raised when a method is asked for something that only calibration gives.

    It is an AttributeError so that ``hasattr(method, "cutoff_")`` is False before calibration.
    """


@dataclass(frozen=True)
class Outer:
    """The region ``{field >= cutoff}`` misses at most a share `miss` of the lesion."""

    field: Field
    miss: float | Fraction = 0.0

    def nonconformity(self, field: NDArray, truth: NDArray[np.bool_]) -> float:
        """Minus the largest cut-off that keeps the promise: larger means worse."""
        # A case with nothing to miss asks for no smaller region than the smallest there is.
        return 0.0 - min(outer_cutoff_unchecked(field, truth, self.miss), self.field.largest)

    def cutoff(self, quantile: float) -> float:
        """The cut-off that belongs to a quantile of the nonconformity scores."""
        return 0.0 - quantile  # not -quantile: that would turn 0 into -0

    def region(self, score: NDArray, spacing: Spacing | None, cutoff: float) -> NDArray[np.bool_]:
        """The set at a cut-off; `score` and the set have one shape."""
        return self.field.level_set(score, spacing, cutoff, strict=False)

    def support(self, score: NDArray, truth: NDArray[np.bool_]) -> Box:
        """The part of the image that decides nonconformity and compliance."""
        return self.field.support(score, truth)

    def complies(self, region: NDArray[np.bool_], truth: NDArray[np.bool_]) -> bool:
        """Whether the region keeps the promise, on integer counts."""
        lesion, missed = int(np.count_nonzero(truth)), int(np.count_nonzero(truth & ~region))
        return missed <= tolerated(self.miss, lesion)


@dataclass(frozen=True)
class Inner:
    """The region ``{field > cutoff}`` lies inside the lesion, but for a share `false`.

    The share is one of the background (`rate` "fpr") or of the region itself ("fdp").
    """

    field: Field
    false: float | Fraction = 0.0
    rate: Rate = "fpr"

    def nonconformity(self, field: NDArray, truth: NDArray[np.bool_]) -> float:
        """The smallest cut-off that keeps the promise: larger means worse."""
        # A case that would keep it anywhere asks for no larger region than the largest there is.
        critical = inner_cutoff_unchecked(field, truth, self.false, self.rate)
        return max(critical, self.field.smallest)

    def cutoff(self, quantile: float) -> float:
        """The cut-off that belongs to a quantile of the nonconformity scores."""
        return quantile

    def region(self, score: NDArray, spacing: Spacing | None, cutoff: float) -> NDArray[np.bool_]:
        """The set at a cut-off; `score` and the set have one shape."""
        return self.field.level_set(score, spacing, cutoff, strict=True)

    def support(self, score: NDArray, truth: NDArray[np.bool_]) -> Box:
        """The part of the image that decides nonconformity and compliance."""
        # A share counts voxels wherever they lie, those of the background or of the region. No
        # region of a field that is bounded below leaves the support.
        confined = self.rate == "fdp" and self.field.smallest > -np.inf
        if self.false and not confined:
            return whole_box(score.shape)
        return self.field.support(score, truth)

    def complies(self, region: NDArray[np.bool_], truth: NDArray[np.bool_]) -> bool:
        """Whether the region keeps the promise, on integer counts."""
        wrong = int(np.count_nonzero(region & ~truth))
        whole = np.count_nonzero(region if self.rate == "fdp" else ~truth)
        return wrong <= tolerated(self.false, whole)


Side = Outer | Inner

_TRIVIAL = {"inner": "the inner region is empty", "outer": "the outer region is the whole image"}


class Unit(NamedTuple):
    """What the promise counts, as the parts of sentences that say so."""

    name: str
    counted: str
    new: str
    scope: str
    limit: str


_UNITS: dict[Per, Unit] = {
    "case": Unit(
        "case",
        counted="",
        new="a new case",
        scope="",
        limit=", or if cases of one patient are counted as independent",
    ),
    "worst": Unit(
        "patient",
        counted=", each by the worst of its cases",
        new="a new patient",
        scope="in all cases of the patient at once, ",
        limit="",
    ),
    "draw": Unit(
        "patient",
        counted=", each by one case drawn at random",
        new="a new patient",
        scope="in one case drawn at random from the patient's, ",
        limit=", or for all cases of a patient at once",
    ),
}


class Promise(NamedTuple):
    """A risk level and the names of the sides that it covers together."""

    alpha: float
    sides: tuple[str, ...]


class CaseNumbers(NamedTuple):
    """What calibration keeps of one case: a few numbers, never an image."""

    name: str
    patient: str
    empty: bool
    spaced: bool
    scores: dict[str, float]


class Row(Protocol):
    """What is kept of a case: besides its numbers, its name and whether it has no lesion."""

    @property
    def name(self) -> str:
        """Name of the case."""
        raise NotImplementedError

    @property
    def empty(self) -> bool:
        """Whether the case has no lesion where one is needed."""
        raise NotImplementedError


R = TypeVar("R", bound=Row)


@dataclass(frozen=True)
class Calibration:
    """The outcome of calibration, everything that prediction and JSON need."""

    names: tuple[str, ...]
    patients: tuple[str, ...]
    scores: dict[str, NDArray[np.float64]]
    excluded: int
    spaced: bool
    cutoffs: dict[str, float]
    per: Per = "case"
    weights: NDArray[np.float64] | None = None
    test_weight: float = 1.0


@dataclass(kw_only=True, eq=False)
class SplitConformal:
    """Base of `CLS`, `ConfidenceSets` and `Margin`.

    A subclass is a dataclass of its parameters and says which sides and which promises it
    makes (`_sides`, `_promises`, `_guarantee`) and whether scores have to be probabilities.
    """

    _calibration: Calibration | None = field(default=None, init=False, repr=False)

    _probability = False
    _needs_lesion = False

    @property
    def _sides(self) -> dict[str, Side]:
        """The sides by name, "inner" and "outer"."""
        raise NotImplementedError

    @property
    def _promises(self) -> tuple[Promise, ...]:
        """The promises; every side belongs to exactly one."""
        raise NotImplementedError

    def _guarantee(self) -> str:
        """What is promised of a new case, as the end of a sentence."""
        raise NotImplementedError

    def calibrate(
        self,
        cases: Iterable[Case],
        n_jobs: int | None = 1,
        progress: bool = False,
        *,
        per: Per = "case",
        seed: int = 0,
    ) -> Self:
        """Choose the cut-offs from calibration cases.

        The cases are read once, one at a time, and only a few numbers of each are kept.

        Parameters
        ----------
        cases : iterable of Case
            Any iterable, a generator included. Never cases that the segmenter was trained on.
        n_jobs : int or None, default 1
            Number of parallel jobs (joblib); None leaves it to ``joblib.parallel_config``, and
            with it the backend.
        progress : bool, default False
            Whether to show a progress bar.
        per : {"case", "worst", "draw"}, default "case"
            What is drawn independently. "case": every case, such as one scan of each patient.
            Otherwise the patients are, and each gives one number. "worst": that of its worst
            case, so that the promise is for all cases of a new patient at once. "draw": that of
            one case drawn at random, so that it is for one case drawn from a new patient.
        seed : int, default 0
            Seed of the draw, which depends on the order of the cases besides.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no usable case or one is unsound, or names no patient where patients
            count; the message names the case. The method is then left uncalibrated.

        Warns
        -----
        UserWarning
            If cases without lesion were left out, or if there are too few cases.
        """
        self._calibration = None
        if per not in get_args(Per):
            raise ValueError(f"per must be one of {get_args(Per)}, found {per!r}")
        rows = list(per_case(self._case_numbers, cases, n_jobs, progress))
        return self._calibrate_rows(rows, per, seed)

    def _calibrate_rows(self, rows: list[CaseNumbers], per: Per = "case", seed: int = 0) -> Self:
        """`calibrate` for cases whose numbers are known."""
        kept, excluded = without_empty(rows, getattr(self, "empty", "zero"), stacklevel=4)
        self._check_one_spacing_rule(kept)
        if per != "case":
            everyone = _by_patient(rows)
            kept = _one_per_patient(_by_patient(kept), per, seed)
            excluded = len(everyone) - len(kept)
        self._calibrate_on(kept, excluded, per)
        self._warn_if_trivial()
        return self

    def _calibrate_on(self, kept: list[CaseNumbers], excluded: int, per: Per = "case") -> None:
        """Choose the cut-offs from the numbers of the cases or patients that count."""
        scores = {
            side: np.array([row.scores[side] for row in kept], dtype=np.float64)
            for side in self._sides
        }
        self._calibration = Calibration(
            names=tuple(row.name for row in kept),
            patients=tuple(row.patient for row in kept),
            scores=scores,
            excluded=excluded,
            spaced=kept[0].spaced,
            cutoffs=self._cutoffs(scores),
            per=per,
        )

    def complies(self, case: Case) -> bool:
        """Whether the prediction for `case` keeps every promise; counted in voxels.

        Parameters
        ----------
        case : Case
            A case with its truth.

        Returns
        -------
        bool
            True also for a truth without voxels, of which nothing can be missed.
        """
        cutoffs = self._calibrated().cutoffs
        with naming(f"case {case.name!r}"):
            check_values(case.score, self._probability)
            self._check_spacing(case.spacing)
            return all(_complies(side, case, cutoffs[name]) for name, side in self._sides.items())

    def statement(self) -> str:
        """The guarantee in words, with its assumptions.

        Returns
        -------
        str
            One paragraph.
        """
        calibration = self._calibrated()
        unit = _UNITS[calibration.per]
        bearer = "scans" if calibration.per == "case" else "patients"
        left_out = (
            f" ({calibration.excluded} without lesion were left out, so that the promise is "
            f"for {bearer} with a lesion)"
            if calibration.excluded
            else ""
        )
        if calibration.weights is not None:
            return (
                f"Calibrated on {self.n_} {unit.name}s{unit.counted}{left_out}, weighted for "
                f"{unit.new} of weight {calibration.test_weight:.4g}. "
                f"{self._weighted_guarantee(unit, calibration.weights)}"
            )
        return (
            f"Calibrated on {self.n_} {unit.name}s{unit.counted}{left_out}. For {unit.new} "
            f"drawn from the same population as these, handled by the same segmenter, "
            f"{unit.scope}{self._guarantee()} {self._spread(unit.name)} "
            f"The promise is an average over {unit.name}s; it does not say which {unit.name}s "
            "fail, and it does not hold for patients, scanners or segmenters that differ from "
            f"those it was calibrated on{unit.limit}."
        )

    def to_json(self, path: storage.Path | None = None) -> str:
        """The calibrated method as JSON, also written to `path` if one is given.

        Parameters
        ----------
        path : path-like, optional
            File to write; it appears only when it is complete.

        Returns
        -------
        str
            The JSON text.
        """
        self._calibrated()
        return storage.write(self, path)

    @classmethod
    def from_json(cls, source: storage.Path, **functions: Any) -> Self:
        """A calibrated method from JSON.

        Parameters
        ----------
        source : path-like or str
            A file, or the text that `to_json` returned.
        **functions : callable
            Your own fields by parameter name (``inner=``, ``outer=``), which JSON cannot hold.

        Returns
        -------
        The calibrated method.

        Raises
        ------
        ValueError
            If the text is damaged, of another version or of another method.
        """
        return storage.read(cls, source, functions)

    @property
    def n_(self) -> int:
        """Number of scores that the calibration used: of cases, or of patients."""
        return len(self._calibrated().names)

    @property
    def nonconformity_(self) -> NDArray[np.float64]:
        """Nonconformity score per calibration case or patient; larger means worse.

        Shape ``(n_,)``, or ``(n_, 2)`` for weighted confidence sets, which make two promises.
        """
        scores = self._calibrated().scores
        columns = [_worst(scores, promise) for promise in self._promises]
        return np.column_stack(columns) if len(columns) > 1 else columns[0]

    @property
    def patients_(self) -> tuple[str, ...]:
        """Patient of each score, in the order of the scores."""
        return self._calibrated().patients

    def _case_numbers(self, case: Case) -> CaseNumbers:
        check_values(case.score, self._probability)
        return CaseNumbers(
            name=case.name,
            patient=case.patient,
            empty=self._needs_lesion and not case.truth.any(),
            spaced=case.spacing is not None,
            scores={name: _nonconformity(side, case) for name, side in self._sides.items()},
        )

    def _check_one_spacing_rule(self, rows: list[CaseNumbers]) -> None:
        if self._in_mm and len({row.spaced for row in rows}) > 1:
            without = next(row.name for row in rows if not row.spaced)
            raise ValueError(
                f"some cases have a spacing and some have not, first {without!r}: distances in "
                "mm and in voxels cannot be mixed"
            )

    def _check_spacing(self, spacing: Spacing | None) -> None:
        if not self._in_mm or (spacing is not None) == self._calibrated().spaced:
            return
        wanted = "with a spacing in mm" if self._calibrated().spaced else "without spacing"
        raise ValueError(f"calibrated {wanted}, but found spacing {spacing}")

    @property
    def _in_mm(self) -> bool:
        return any(side.field.in_mm for side in self._sides.values())

    def _cutoffs(
        self,
        scores: dict[str, NDArray[np.float64]],
        quantile: Callable[[NDArray, float], float] = conformal_quantile,
    ) -> dict[str, float]:
        cutoffs: dict[str, float] = {}
        for promise in self._promises:
            limit = quantile(_worst(scores, promise), promise.alpha)
            cutoffs |= {name: self._sides[name].cutoff(limit) for name in promise.sides}
        return cutoffs

    def _warn_if_trivial(self) -> None:
        if trivial := self._trivial():
            needed = max(fewest_cases(promise.alpha) for promise in self._promises)
            warnings.warn(
                f"{self.n_} calibration {_UNITS[self._calibrated().per].name}s are too few: "
                f"{trivial}; at least {needed} are needed",
                stacklevel=4,
            )

    def _trivial(self) -> str:
        """What too few cases make of the regions; empty if there are enough."""
        short = [promise for promise in self._promises if self.n_ < fewest_cases(promise.alpha)]
        return " and ".join(_TRIVIAL[side] for promise in short for side in promise.sides)

    def _predict(
        self, name: str, score: ArrayLike, spacing: Sequence[float] | None
    ) -> NDArray[np.bool_]:
        cutoff = self._calibrated().cutoffs[name]
        image = as_score(score)
        check_values(image, self._probability)
        steps = as_spacing(spacing, image.ndim)
        self._check_spacing(steps)
        return self._sides[name].region(image, steps, cutoff)

    def _calibrated(self) -> Calibration:
        if self._calibration is None:
            raise NotCalibratedError(f"{self!r} has not been calibrated: call calibrate first")
        return self._calibration

    def _weighted_guarantee(self, unit: Unit, weights: NDArray[np.float64]) -> str:
        useless = {"inner": np.inf, "outer": -np.inf}
        cutoffs = self._calibrated().cutoffs
        empty = [_TRIVIAL[side] for side, cutoff in cutoffs.items() if cutoff == useless[side]]
        trivial = f" Here that says nothing: {' and '.join(empty)}." if empty else ""
        worth = effective_cases(weights) if weights.any() else 0
        return (
            f"For {unit.new} from the population that the weights lead to, handled by the same "
            f"segmenter, {unit.scope}{self._guarantee()}{trivial} That probability is over the "
            f"draw of the calibration {unit.name}s and the new {unit.name} together, each new "
            f"{unit.name} with the cut-off of its own weight. So weighted, the {unit.name}s are "
            f"worth about {worth:.3g} of equal weight. The promise assumes that the weights are "
            f"right, the ratio of the new population to the one calibrated on, not learned from "
            f"these {unit.name}s, and "
            f"that {unit.name}s with the same covariates are alike in both: it does not hold if "
            f"segmenter, scanner or readers changed what is found there{unit.limit}."
        )

    def _spread(self, unit: str) -> str:
        n = self.n_
        if trivial := self._trivial():
            return f"So few {unit}s support no more than the trivial answer: {trivial}."
        levels = [promise.alpha for promise in self._promises]
        ends = [coverage_law(n, alpha).interval(0.9) for alpha in levels]
        parts = ", ".join(f"between {100 * low:.1f}% and {100 * high:.1f}%" for low, high in ends)
        each = " (inner, outer)" if len(ends) > 1 else ""
        return (
            f"That probability is over the draw of the calibration {unit}s and the new {unit} "
            f"together; after {n} calibration {unit}s the long-run share of new {unit}s that keep "
            f"it lies, in nine calibrations out of ten, {parts}{each}, or higher where scores tie."
        )


def per_case(
    function: Callable[[Case], T],
    cases: Iterable[Case],
    n_jobs: int | None = 1,
    progress: bool = False,
) -> Iterator[T]:
    """`function` of one case after the other, on several processes if asked; errors name the case.

    Cases are drawn as they are needed, so that memory stays flat.
    """
    total = len(cases) if isinstance(cases, Sequence) else None
    shown = tqdm(cases, total=total, desc="calibrating", unit="case", disable=not progress)
    if n_jobs == 1:
        return (_on_case(function, i, case) for i, case in enumerate(shown, start=1))
    # Cases are drawn as fast as the workers go, and memory stays flat: without batches, and
    # without the files in which joblib would keep large arrays until the end.
    pool = joblib.Parallel(n_jobs=n_jobs, return_as="generator", max_nbytes=None, batch_size=1)
    return pool(
        joblib.delayed(_on_case)(function, i, case) for i, case in enumerate(shown, start=1)
    )


def without_empty(rows: list[R], rule: Empty, stacklevel: int = 3) -> tuple[list[R], int]:
    """The rows of cases that count, and how many were left out for want of a lesion.

    The warning points `stacklevel` calls up, by default to the caller of the caller.
    """
    if not rows:
        raise ValueError("expected at least one calibration case, found none")
    empty = sum(row.empty for row in rows)
    if not empty or rule == "zero":
        return rows, 0
    if rule == "refuse":
        names = [row.name for row in rows if row.empty]
        raise ValueError(f"{empty} cases have an empty truth, first {names[0]!r}")
    if empty == len(rows):
        raise ValueError(f"expected cases with a lesion, found {empty} with an empty truth")
    warnings.warn(
        f"{empty} of {len(rows)} cases have an empty truth and were left out: the guarantee "
        "is for cases that bear a lesion",
        stacklevel=stacklevel,
    )
    return [row for row in rows if not row.empty], empty


def check_empty_rule(rule: str) -> None:
    """Raise ValueError unless `rule` says what to do with cases without lesion."""
    if rule not in get_args(Empty):
        raise ValueError(f"empty must be one of {get_args(Empty)}, found {rule!r}")


def check_weights(weights: tuple[float, float], alpha: float) -> tuple[float, float]:
    """``(alpha inner, alpha outer)`` as floats if they add up to `alpha`, else ValueError."""
    if len(weights) != 2:
        raise ValueError(f"expected (alpha inner, alpha outer), found {weights!r}")
    inner, outer = (check_level("a weight", weight) for weight in weights)
    if exact(inner) + exact(outer) != exact(alpha):
        raise ValueError(f"the weights {weights} must add up to alpha = {alpha}")
    return inner, outer


def percent(value: float) -> str:
    """A share in percent as people write it, such as "10%" or "2.5%"."""
    return f"{100 * value:.10g}%"


def _by_patient(rows: list[CaseNumbers]) -> dict[str, list[CaseNumbers]]:
    """The rows of each patient, in the order in which the patients appear."""
    patients: dict[str, list[CaseNumbers]] = {}
    for position, row in enumerate(rows, start=1):
        if not row.patient:
            raise ValueError(
                f"case {position} ({row.name!r}): names no patient, so there are no patients "
                "to count"
            )
        patients.setdefault(row.patient, []).append(row)
    return patients


def _one_per_patient(
    patients: dict[str, list[CaseNumbers]], per: Per, seed: int
) -> list[CaseNumbers]:
    """One row for each patient: one drawn, or the worst score on each side."""
    if per == "draw":
        rng = np.random.default_rng(seed)
        return [rows[rng.integers(len(rows))] for rows in patients.values()]
    return [
        # The worst case may be another one on each side, so the row bears the patient's name.
        rows[0]._replace(
            name=patient,
            scores={side: max(row.scores[side] for row in rows) for side in rows[0].scores},
        )
        for patient, rows in patients.items()
    ]


def _on_case(function: Callable[[Case], T], position: int, case: Case) -> T:
    if not isinstance(case, Case):
        raise TypeError(f"case {position}: expected a Case, found a {type(case).__name__}")
    with naming(f"case {position} ({case.name!r})"):
        return function(case)


def _nonconformity(side: Side, case: Case) -> float:
    box = side.support(case.score, case.truth)
    return side.nonconformity(*field_on(side.field, case.score, case.truth, case.spacing, box))


def _complies(side: Side, case: Case, cutoff: float) -> bool:
    box = side.support(case.score, case.truth)
    return side.complies(side.region(case.score[box], case.spacing, cutoff), case.truth[box])


def _worst(scores: dict[str, NDArray[np.float64]], promise: Promise) -> NDArray[np.float64]:
    return np.max([scores[name] for name in promise.sides], axis=0)
