"""Bounds on a mean loss instead of a probability: conformal risk control and RCPS.

`CLS` bounds the probability that a case loses more than it may. The methods here bound the mean
loss over cases: `ConformalRiskControl` on average over calibration sets, `RCPS` with a stated
confidence after one calibration. Both look for the largest cut-off that is safe, at all values
where the mean of the calibration losses can change, and nowhere in between.

They keep one number for each different value among the lesion's voxels of each case: without
them the merged steps could not be exact.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import bounds
from .bounds import Bound, check_bound
from .calibrated import Calibrated, Calibration
from .case import Case, as_score, check_values
from .each_case import Empty, check_empty_rule, per_case, without_empty
from .exact import check_level, exact, fewest_cases, percent
from .fields import identity
from .steps import LossFunction, StepLoss, Steps, WorstLoss, candidates, fnr_steps, losses_at
from .units import Per, check_unit, counted

# Losses looked at together when cut-offs are tried one after the other.
_AT_ONCE = 1 << 19


class LossRow(NamedTuple):
    """What calibration keeps of one case."""

    name: str
    patient: str
    empty: bool
    loss: Any


class RiskMethod(Calibrated):
    """Base of the methods that bound a mean loss of the masks ``{score >= cutoff}``.

    A subclass says what it keeps of a case (`_loss`) and of a patient (`_worst`), what
    calibration makes of it (`_calibrated_on`) and what is promised (`_guarantee`).
    """

    empty: Empty

    def _loss(self, case: Case) -> Any:
        """The loss of one case, in the form that `_calibrated_on` wants."""
        raise NotImplementedError

    def _worst(self, losses: list[Any]) -> Any:
        """The largest of the losses of a patient's cases at every cut-off, in the same form."""
        raise NotImplementedError

    def _calibrated_on(
        self, losses: list[Any]
    ) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
        """Cut-offs by name, and the losses of the cases at them."""
        raise NotImplementedError

    def _guarantee(self) -> str:
        """What is promised, as whole sentences."""
        raise NotImplementedError

    def _warning(self) -> str:
        """What makes the outcome useless; empty if nothing does."""
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
        """Choose the cut-off from calibration cases.

        The cases are read once, one at a time. No image is kept, but their losses at all
        cut-offs where they change.

        Parameters
        ----------
        cases : iterable of Case
            Any iterable, a generator included. Never cases that the segmenter was trained on.
        n_jobs : int or None, default 1
            Number of parallel jobs (joblib); None leaves it to ``joblib.parallel_config``.
        progress : bool, default False
            Whether to show a progress bar.
        per : {"case", "worst", "draw"}, default "case"
            What is drawn independently. "case": every case, such as one scan of each patient.
            Otherwise the patients are, and the mean is one over patients. "worst": of the
            largest loss among all cases of a patient. "draw": of the loss of one case drawn from
            the patient's at random.
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
            If cases without lesion were left out, or if no useful cut-off was found.
        """
        self._calibration = None
        check_unit(per)
        rows = list(per_case(self._row, cases, n_jobs, progress))
        kept, excluded = counted(rows, without_empty(rows, self.empty), per, seed, self._worst_row)
        cutoffs, losses = self._calibrated_on([row.loss for row in kept])
        self._calibration = Calibration(
            names=tuple(row.name for row in kept),
            patients=tuple(row.patient for row in kept),
            scores=losses,
            excluded=excluded,
            spaced=False,
            cutoffs=cutoffs,
            per=per,
        )
        if message := self._warning():
            warnings.warn(message, stacklevel=2)
        return self

    @property
    def cutoff_(self) -> float:
        """The calibrated cut-off of the score."""
        return self._calibrated().cutoffs["outer"]

    @property
    def losses_(self) -> NDArray[np.float64]:
        """Loss of each calibration case or patient at the cut-off, shape ``(n_,)``."""
        return self._calibrated().scores["outer"]

    def predict(self, score: ArrayLike) -> NDArray[np.bool_]:
        """The calibrated mask of a score image.

        Parameters
        ----------
        score : array_like of float
            Scores like those of the calibration cases, any shape.

        Returns
        -------
        ndarray of bool, same shape
            ``score >= cutoff_``.

        Raises
        ------
        ValueError
            If not calibrated, or the score holds NaN or infinite values.
        """
        cutoff = self.cutoff_
        image = as_score(score)
        check_values(image)
        return identity.level_set(image, None, cutoff, strict=False)

    def statement(self) -> str:
        """The guarantee in words, with its assumptions.

        Returns
        -------
        str
            One paragraph.
        """
        unit = self._unit
        return (
            f"{self._counted()}. For new {unit.name}s drawn from the same population as these, "
            f"handled by the same segmenter, {self._guarantee()} A mean says nothing of one "
            f"{unit.name}: some may lose much more. The promise does not hold for patients, "
            "scanners or segmenters that differ from those it was calibrated on"
            f"{unit.limit}."
        )

    def _row(self, case: Case) -> LossRow:
        check_values(case.score)
        return LossRow(case.name, case.patient, not case.truth.any(), self._loss(case))

    def _worst_row(self, patient: str, rows: list[LossRow]) -> LossRow:
        # The worst case may be another one at each cut-off, so the row bears the patient's name.
        return rows[0]._replace(name=patient, loss=self._worst([row.loss for row in rows]))


class StepRisk(RiskMethod):
    """Base of those that look for the largest cut-off at which one loss is safe."""

    alpha: float
    loss: Literal["fnr"] | LossFunction

    def _loss(self, case: Case) -> StepLoss:
        return step_loss(self.loss, case, self.alpha)

    def _worst(self, losses: list[StepLoss]) -> WorstLoss:
        return WorstLoss(losses)

    def _mean(self) -> str:
        """What is at most how much."""
        loss = "false negative rate" if self.loss == "fnr" else "loss"
        return f"the mean {loss}{self._unit.mean_of} is at most {percent(self.alpha)}"

    def _trivial(self, needed: int) -> str:
        """What makes the mask the whole image, if it is that."""
        if self.cutoff_ > -np.inf:
            return ""
        if self.n_ < needed:
            return (
                f"{self.n_} calibration {self._unit.name}s are too few: the mask is the whole "
                f"image; at least {needed} are needed"
            )
        return "no cut-off keeps the level: the mask is the whole image"


@dataclass(eq=False)
class ConformalRiskControl(StepRisk):
    """Conformal risk control: the mean loss of new cases is at most `alpha`.

    The mask is ``{score >= cutoff_}``. The mean is taken over calibration sets and new cases
    together, as the probability is in `CLS`.

    Parameters
    ----------
    alpha : float
        Level of the mean loss, strictly between 0 and 1.
    loss : "fnr" or callable, default "fnr"
        The false negative rate, or a function of a `Case` that returns its `StepLoss`: any loss
        in [0, 1] that never falls when the cut-off rises. For the whole image it must be at
        most `alpha`.
    empty : {"exclude", "zero", "refuse"}, default "exclude"
        Cases without lesion have no false negative rate. They are left out with a warning, kept
        (the false negative rate is then 0), or refused with an error.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Angelopoulos et al. (2024), *Conformal risk control*, Theorem 1: the largest cut-off with
    ``(sum of the losses + 1) / (n + 1) <= alpha``, exact over the merged steps.

    Examples
    --------
    >>> from confseg import phantoms
    >>> method = ConformalRiskControl(alpha=0.1).calibrate(phantoms.cases(50, seed=1))
    >>> round(float((method.losses_.sum() + 1) / 51), 4), round(method.cutoff_, 3)
    (0.1, 0.453)
    """

    alpha: float
    loss: Literal["fnr"] | LossFunction = "fnr"
    empty: Empty = "exclude"

    def __post_init__(self) -> None:
        self.alpha = check_level("alpha", self.alpha)
        check_loss(self.loss)
        check_empty_rule(self.empty)

    def _calibrated_on(
        self, losses: list[Steps]
    ) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
        limit = exact(self.alpha) * (len(losses) + 1) - 1
        cutoff = _last_of_sorted(candidates(losses), lambda c: _sum_at_most(losses, c, limit))
        return {"outer": cutoff}, {"outer": losses_at(losses, cutoff)}

    def _warning(self) -> str:
        return self._trivial(fewest_cases(self.alpha))

    def _guarantee(self) -> str:
        unit = self._unit.name
        return (
            f"{self._mean()}, averaged over the draw of the calibration {unit}s and of the new "
            f"{unit} together."
        )


@dataclass(eq=False)
class RCPS(StepRisk):
    """Risk-controlling prediction sets: a mean loss of at most `alpha`, with a confidence.

    After one calibration the mean loss of new cases with the mask ``{score >= cutoff_}`` is at
    most `alpha`, with probability at least ``1 - delta`` over the calibration cases.

    Parameters
    ----------
    alpha : float
        Level of the mean loss, strictly between 0 and 1.
    delta : float
        Probability with which the calibration may fail.
    bound : {"hoeffding", "bentkus", "wsr"}, default "bentkus"
        Upper confidence bound of the mean, see `confseg.bounds`. With "wsr" the order of the
        calibration cases counts; it must have nothing to do with their losses.
    loss : "fnr" or callable, default "fnr"
        As for `ConformalRiskControl`.
    empty : {"exclude", "zero", "refuse"}, default "exclude"
        As for `ConformalRiskControl`.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Bates et al. (2021), *Distribution-free, risk-controlling prediction sets*, Theorem 1: the
    largest cut-off such that the bound is at most `alpha` there and at every smaller cut-off.

    Examples
    --------
    >>> from confseg import phantoms
    >>> method = RCPS(alpha=0.1, delta=0.1).calibrate(phantoms.cases(200, seed=1))
    >>> round(method.cutoff_, 3), bool(method.losses_.mean() < 0.1)
    (0.38, True)
    """

    alpha: float
    delta: float
    bound: Bound = "bentkus"
    loss: Literal["fnr"] | LossFunction = "fnr"
    empty: Empty = "exclude"

    def __post_init__(self) -> None:
        self.alpha = check_level("alpha", self.alpha)
        self.delta = check_level("delta", self.delta)
        check_bound(self.bound)
        check_loss(self.loss)
        check_empty_rule(self.empty)

    def _calibrated_on(
        self, losses: list[Steps]
    ) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
        def safe(cutoffs: ArrayLike) -> NDArray[np.bool_]:
            table = losses_at(losses, cutoffs)
            return bounds.p_value_unchecked(table, self.alpha, self.bound, self.delta) <= self.delta

        points = candidates(losses)
        if self.bound == "wsr":  # no function of the mean alone: it may rise and fall
            cutoff = _last_before_unsafe(points, safe, max(1, _AT_ONCE // len(losses)))
        else:
            cutoff = _last_of_sorted(points, lambda c: bool(safe(c)))
        return {"outer": cutoff}, {"outer": losses_at(losses, cutoff)}

    def _warning(self) -> str:
        return self._trivial(bounds.fewest_cases(self.alpha, self.delta, self.bound))

    def _guarantee(self) -> str:
        return (
            f"{self._mean()}. This holds with a probability of at least "
            f"{percent(1 - self.delta)} over the draw of the calibration {self._unit.name}s."
        )


def check_loss(loss: object) -> None:
    """Raise ValueError unless `loss` is "fnr" or a function."""
    if loss != "fnr" and not callable(loss):
        raise ValueError(f'loss must be "fnr" or a function of a case, found {loss!r}')


def step_loss(loss: Literal["fnr"] | LossFunction, case: Case, alpha: float) -> StepLoss:
    """The loss of a case at all cut-offs, if it is small enough for the whole image."""
    if loss == "fnr":
        return fnr_steps(case)
    steps = loss(case)
    if not isinstance(steps, StepLoss):
        raise TypeError(f"the loss must return a StepLoss, found a {type(steps).__name__}")
    if steps.exactly(-np.inf) > exact(alpha):
        raise ValueError(
            f"the loss of the whole image is {steps(-np.inf)}, more than alpha = {alpha}: no "
            "cut-off can keep the promise"
        )
    return steps


def _sum_at_most(losses: Sequence[Steps], cutoff: float, limit: Fraction) -> bool:
    """Whether the losses at a cut-off sum to at most `limit`; exact, also at the limit."""
    total = math.fsum(float(loss(cutoff)) for loss in losses)
    # Each loss is a rounded quotient, and so is their sum: only near the limit that matters.
    if abs(total - limit) > 2 * len(losses) * np.finfo(float).eps:
        return total < limit
    return sum((loss.exactly(cutoff) for loss in losses), Fraction(0)) <= limit


def _last_of_sorted(points: NDArray[np.float64], safe: Callable[[float], bool]) -> float:
    """Largest safe point where all below a safe one are safe; -inf if none is."""
    low, high = 0, len(points)  # all before low are safe, none from high on
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if safe(float(points[middle])) else (low, middle)
    return float(points[low - 1]) if low else -np.inf


def _last_before_unsafe(
    points: NDArray[np.float64],
    safe: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
    at_once: int,
) -> float:
    """Last point before the first that is not safe; -inf if that is the first of all."""
    for start in range(0, len(points), at_once):
        found = safe(points[start : start + at_once])
        if not found.all():
            first = start + int(np.argmin(found))
            return float(points[first - 1]) if first else -np.inf
    return float(points[-1])
