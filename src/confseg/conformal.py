"""The one place that calibrates.

Every method of this package is a list of promises. A promise names a risk level and the sides
it speaks of: `Outer` (the region misses at most a share of the lesion) or `Inner` (the region
lies inside the lesion). A case turns into one nonconformity score per side; a promise takes the
conformal quantile of the worst of its sides; the quantile, turned back, is the cut-off.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .calibrated import Calibrated, Calibration
from .case import Case, Spacing, as_score, as_spacing, check_values, naming
from .each_case import per_case, without_empty
from .exact import check_level, exact, fewest_cases
from .fields import field_on
from .quantile import conformal_quantile, coverage_law
from .sides import Side
from .units import Per, check_unit, counted
from .weighted import effective_cases

_TRIVIAL = {"inner": "the inner region is empty", "outer": "the outer region is the whole image"}


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


class SplitConformal(Calibrated):
    """Base of `CLS`, `ConfidenceSets` and `Margin`.

    A subclass is a dataclass of its parameters and says which sides and which promises it
    makes (`_sides`, `_promises`, `_guarantee`) and whether scores have to be probabilities.
    """

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
        check_unit(per)
        rows = list(per_case(self._case_numbers, cases, n_jobs, progress))
        return self._calibrate_rows(rows, per, seed)

    def _calibrate_rows(self, rows: list[CaseNumbers], per: Per = "case", seed: int = 0) -> Self:
        """`calibrate` for cases whose numbers are known."""
        kept = without_empty(rows, getattr(self, "empty", "zero"), stacklevel=4)
        self._check_one_spacing_rule(kept)
        self._calibrate_on(*counted(rows, kept, per, seed, _worst_case), per)
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
        unit, weights = self._unit, self._calibrated().weights
        if weights is not None:
            return (
                f"{self._counted()}, weighted for {unit.new} of weight "
                f"{self._calibrated().test_weight:.4g}. {self._weighted_guarantee(weights)}"
            )
        return (
            f"{self._counted()}. For {unit.new} "
            f"drawn from the same population as these, handled by the same segmenter, "
            f"{unit.scope}{self._guarantee()} {self._spread(unit.name)} "
            f"The promise is an average over {unit.name}s; it does not say which {unit.name}s "
            "fail, and it does not hold for patients, scanners or segmenters that differ from "
            f"those it was calibrated on{unit.limit}."
        )

    @property
    def nonconformity_(self) -> NDArray[np.float64]:
        """Nonconformity score per calibration case or patient; larger means worse.

        Shape ``(n_,)``, or ``(n_, 2)`` for weighted confidence sets, which make two promises.
        """
        scores = self._calibrated().scores
        columns = [_worst(scores, promise) for promise in self._promises]
        return np.column_stack(columns) if len(columns) > 1 else columns[0]

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
                f"{self.n_} calibration {self._unit.name}s are too few: "
                f"{trivial}; at least {needed} are needed",
                stacklevel=4,
            )

    def _trivial(self) -> str:
        """What too few cases make of the regions; empty if there are enough."""
        short = [promise for promise in self._promises if self.n_ < fewest_cases(promise.alpha)]
        return " and ".join(_TRIVIAL[side] for promise in short for side in promise.sides)

    def _useless(self) -> str:
        """What infinite cut-offs make of the regions; empty if all are finite."""
        useless = {"inner": np.inf, "outer": -np.inf}
        cutoffs = self._calibrated().cutoffs
        sides = [side for side, cutoff in cutoffs.items() if cutoff == useless[side]]
        return " and ".join(_TRIVIAL[side] for side in sides)

    def _predict(
        self, name: str, score: ArrayLike, spacing: Sequence[float] | None
    ) -> NDArray[np.bool_]:
        cutoff = self._calibrated().cutoffs[name]
        image = as_score(score)
        check_values(image, self._probability)
        steps = as_spacing(spacing, image.ndim)
        self._check_spacing(steps)
        return self._sides[name].region(image, steps, cutoff)

    def _weighted_guarantee(self, weights: NDArray[np.float64]) -> str:
        unit = self._unit
        trivial = f" Here that says nothing: {self._useless()}." if self._useless() else ""
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
            f"it lies, in nine calibrations out of ten, {parts}{each}, or higher "
            f"{self._above()}."
        )

    def _above(self) -> str:
        """Where the share of promises kept may lie above its law."""
        fdp = not all(side.monotone for side in self._sides.values())
        return "where scores tie" + " or a larger set has a smaller share of false voxels" * fdp


def check_weights(weights: tuple[float, float], alpha: float) -> tuple[float, float]:
    """``(alpha inner, alpha outer)`` as floats if they add up to `alpha`, else ValueError."""
    if len(weights) != 2:
        raise ValueError(f"expected (alpha inner, alpha outer), found {weights!r}")
    inner, outer = (check_level("a weight", weight) for weight in weights)
    if exact(inner) + exact(outer) != exact(alpha):
        raise ValueError(f"the weights {weights} must add up to alpha = {alpha}")
    return inner, outer


def _worst(scores: dict[str, NDArray[np.float64]], promise: Promise) -> NDArray[np.float64]:
    return np.max([scores[name] for name in promise.sides], axis=0)


def _worst_case(patient: str, rows: list[CaseNumbers]) -> CaseNumbers:
    # The worst case may be another one on each side, so the row bears the patient's name.
    scores = {side: max(row.scores[side] for row in rows) for side in rows[0].scores}
    return rows[0]._replace(name=patient, scores=scores)


def _nonconformity(side: Side, case: Case) -> float:
    box = side.support(case.score, case.truth)
    return side.nonconformity(
        *field_on(side.field, case.score, case.truth, case.spacing, box, case.patient)
    )


def _complies(side: Side, case: Case, cutoff: float) -> bool:
    box = side.support(case.score, case.truth)
    return side.complies(side.region(case.score[box], case.spacing, cutoff), case.truth[box])
