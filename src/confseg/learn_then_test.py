"""Learn then test: cut-offs for two mean losses at once, by multiple testing.

The false discovery proportion of a mask is not monotone in the cut-off, and no search for a
largest safe cut-off applies. So each cut-off of a grid is put to a test of its own, and the
tests are corrected for being many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from . import bounds
from .bounds import Bound, check_bound
from .case import Case
from .each_case import Empty, check_empty_rule, per_case, without_empty
from .exact import check_level, exact, percent
from .risk import RiskMethod

Procedure = Literal["fixed-sequence", "bonferroni"]


@dataclass(eq=False)
class LearnThenTest(RiskMethod):
    """Learn then test: mean false negative rate and mean false discovery proportion together.

    With probability at least ``1 - delta`` over the calibration cases *every* cut-off in
    `valid_` has both means at most their level, for new cases with the mask
    ``{score >= cutoff}``. So any of them may be used, however it was picked; `cutoff_` is the
    smallest, which misses least.

    Parameters
    ----------
    alpha : (float, float)
        Level of the mean false negative rate, and of the mean false discovery proportion (the
        share of the mask that is no lesion; 0 for an empty mask).
    delta : float
        Probability that some cut-off in `valid_` breaks a level.
    cutoffs : sequence of float
        The cut-offs to test, in the order of testing. Grid and order have to be fixed before the
        calibration cases are seen; `learn_order` takes the order from other cases.
    procedure : {"fixed-sequence", "bonferroni"}, default "fixed-sequence"
        Test one cut-off after the other at `delta` until the first fails, so that the order
        decides how many are found; or test each at `delta` divided by their number.
    bound : {"hoeffding", "bentkus", "wsr"}, default "bentkus"
        The p-value, see `confseg.bounds.p_value`.
    empty : {"exclude", "zero", "refuse"}, default "exclude"
        Cases without lesion are left out with a warning, counted with a false negative rate of
        0, or refused with an error.

    Raises
    ------
    ValueError
        If a parameter is out of range, there are no cut-offs, or one is given twice.

    References
    ----------
    Angelopoulos et al. (2021), *Learn then test*, Theorem 1 and Section 2.

    Examples
    --------
    >>> from confseg import phantoms
    >>> test = LearnThenTest(alpha=(0.1, 0.3), delta=0.1, cutoffs=[0.35, 0.3, 0.4, 0.25])
    >>> test = test.calibrate(phantoms.cases(200, seed=1))
    >>> test.valid_.tolist(), test.cutoff_
    ([0.35], 0.35)
    """

    alpha: tuple[float, float]
    delta: float
    cutoffs: Sequence[float]
    procedure: Procedure = "fixed-sequence"
    bound: Bound = "bentkus"
    empty: Empty = "exclude"

    def __post_init__(self) -> None:
        if np.ndim(self.alpha) != 1 or len(self.alpha) != 2:
            raise ValueError(f"alpha must be two levels (FNR, FDP), found {self.alpha!r}")
        self.alpha = (
            check_level("the level of the FNR", self.alpha[0]),
            check_level("the level of the FDP", self.alpha[1]),
        )
        self.delta = check_level("delta", self.delta)
        self.cutoffs = _check_cutoffs(self.cutoffs)
        if self.procedure not in get_args(Procedure):
            raise ValueError(
                f"procedure must be one of {get_args(Procedure)}, found {self.procedure!r}"
            )
        check_bound(self.bound)
        check_empty_rule(self.empty)

    def learn_order(
        self, cases: Iterable[Case], n_jobs: int | None = 1, progress: bool = False
    ) -> Self:
        """The same test with the most promising cut-offs first, judged on other cases.

        Parameters
        ----------
        cases : iterable of Case
            Cases that will *not* be used in calibration.
        n_jobs, progress
            As for `calibrate`.

        Returns
        -------
        LearnThenTest
            A test that is not calibrated, its cut-offs in the order of their p-values.
        """
        rows = without_empty(list(per_case(self._row, cases, n_jobs, progress)), self.empty)
        order = np.argsort(self._p_values(np.array([row.loss for row in rows])), kind="stable")
        return replace(self, cutoffs=[self.cutoffs[i] for i in order])

    @property
    def p_values_(self) -> NDArray[np.float64]:
        """P-value of each cut-off, in the order of testing: the larger of its two."""
        scores = self._calibrated().scores
        return self._p_values(np.transpose([[*map(scores.get, names)] for names in self._names()]))

    @property
    def valid_(self) -> NDArray[np.float64]:
        """The cut-offs found to keep both levels, in the order of testing; perhaps none."""
        passed = self.p_values_ <= self._level
        if self.procedure == "fixed-sequence":
            passed = np.logical_and.accumulate(passed)
        return np.array(self.cutoffs)[passed]

    @property
    def cutoff_(self) -> float:
        """The smallest valid cut-off; ValueError if there is none."""
        valid = self.valid_
        if not valid.size:
            raise ValueError(self._warning())
        return float(valid.min())

    @property
    def losses_(self) -> NDArray[np.float64]:
        """FNR and FDP of each calibration case or patient at `cutoff_`, shape ``(n_, 2)``."""
        names = self._names()[self.cutoffs.index(self.cutoff_)]
        return np.stack([self._calibrated().scores[name] for name in names], axis=-1)

    @property
    def _level(self) -> float:
        """The level of one test; ``delta / k`` as the decimal that was typed, divided."""
        if self.procedure == "fixed-sequence":
            return self.delta
        return float(exact(self.delta) / len(self.cutoffs))

    def _names(self) -> list[tuple[str, str]]:
        return [(f"fnr at {cutoff!r}", f"fdp at {cutoff!r}") for cutoff in self.cutoffs]

    def _p_values(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """P-values from the losses, shape (cases, risks, cut-offs)."""
        both = [
            bounds.p_value_unchecked(table[:, risk].T, level, self.bound, self._level)
            for risk, level in enumerate(self.alpha)
        ]
        return np.max(both, axis=0)

    def _loss(self, case: Case) -> NDArray[np.float64]:
        return fnr_and_fdp(case, self.cutoffs)

    def _worst(self, losses: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.max(losses, axis=0)

    def _calibrated_on(
        self, losses: list[NDArray[np.float64]]
    ) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
        table = np.array(losses)
        cutoffs, scores = {}, {}
        for i, names in enumerate(self._names()):
            for risk, name in enumerate(names):
                cutoffs[name], scores[name] = self.cutoffs[i], table[:, risk, i]
        return cutoffs, scores

    def _warning(self) -> str:
        if self.valid_.size:
            return ""
        return (
            f"none of the {len(self.cutoffs)} cut-offs was found to keep both levels "
            f"{self.alpha}: take more cases, higher levels or another grid"
        )

    def _guarantee(self) -> str:
        levels = " and ".join(
            f"the mean {name}{self._unit.mean_of} is at most {percent(level)}"
            for name, level in zip(
                ("false negative rate", "false discovery proportion"), self.alpha, strict=True
            )
        )
        return (
            f"{levels}, at each of {self.valid_.size} of {len(self.cutoffs)} cut-offs tested. "
            f"This holds with a probability of at least {percent(1 - self.delta)} over the draw "
            f"of the calibration {self._unit.name}s."
        )


def fnr_and_fdp(case: Case, cutoffs: Sequence[float]) -> NDArray[np.float64]:
    """Both losses of the masks ``{score >= cutoff}`` of one case.

    Parameters
    ----------
    case : Case
        A case; a truth without voxels has a false negative rate of 0.
    cutoffs : sequence of float
        The cut-offs, in any order.

    Returns
    -------
    ndarray of float, shape (2, cut-offs)
        False negative rate, and false discovery proportion (0 for an empty mask).

    Examples
    --------
    >>> case = Case([0.1, 0.9, 0.6, 0.8, 0.7], [False, True, True, True, False])
    >>> fnr_and_fdp(case, [0.6, 0.75])
    array([[0.        , 0.33333333],
           [0.25      , 0.        ]])
    """
    order = np.argsort(cutoffs)
    lesion, false = (
        _at_least(case.score[part], np.asarray(cutoffs)[order])
        for part in (case.truth, ~case.truth)
    )
    size = int(np.count_nonzero(case.truth))
    rates = np.stack([(size - lesion) / (size or 1), false / np.maximum(lesion + false, 1)])
    result = np.empty_like(rates)
    result[:, order] = rates
    return result


def _at_least(values: NDArray, cutoffs: NDArray[np.float64]) -> NDArray[np.int_]:
    """How many of the values are at least each cut-off, these sorted."""
    passed = np.searchsorted(cutoffs, values.astype(np.float64), side="right")
    return values.size - np.cumsum(np.bincount(passed, minlength=cutoffs.size + 1))[:-1]


def _check_cutoffs(cutoffs: Sequence[float]) -> list[float]:
    values = np.asarray(cutoffs, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"expected a list of cut-offs, found shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"the cut-offs must be finite, found {cutoffs!r}")
    if np.unique(values).size < values.size:
        raise ValueError("every cut-off is tested once, but one is given twice")
    return [float(value) for value in values]
