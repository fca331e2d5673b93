"""Every case trains and every case calibrates: cross-conformal sets, CV+ and jackknife+.

Split conformal prediction gives some cases to training and the others to calibration. Here the
cases are dealt into folds; for each fold a segmenter is trained without it, and scores it. A
candidate mask of a new case stays in if, for enough of the old cases, it looks no worse than
that case under the segmenter that had not seen it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .calibrated import NotCalibratedError
from .case import Case, Spacing, as_score, as_spacing
from .critical import check_miss
from .exact import check_level, conformal_rank, fewest_cases, percent
from .fields import Field, FieldFunction, logit
from .quantile import conformal_quantile
from .sets import Sets
from .sides import Outer, Side
from .training import (
    Control,
    Segment,
    Train,
    check_one_spacing_rule,
    listed,
    nonconformity,
    patients_of,
    scored,
    sides_of,
)

Rule = Literal["votes", "minmax"]


class Fold(NamedTuple):
    """A segmenter trained without the patients of a fold, and their sorted scores."""

    segment: Segment
    scores: NDArray[np.float64]


@dataclass(eq=False)
class CrossConformal:
    """Inner and outer sets for which every case trains and every case calibrates.

    With ``r_i`` the nonconformity score of case ``i`` under the segmenter that was trained
    without its fold, and ``j = floor(alpha (n + 1))``, voxel ``v`` is in the outer set if
    ``r_i >= -f_O(v)`` for at least ``j`` of the ``n`` cases, and in the inner set if
    ``r_i >= f_I(v)`` for fewer than ``j``; both fields are those of the segmenter without the
    fold of case ``i``. For one side these are the union and the intersection of all masks that
    the cross-conformal predictor keeps; for both together they enclose them. What was asked for
    holds with a probability of at least `guarantee_`, which is about ``1 - 2 alpha``; where the
    segmenter hardly changes from fold to fold it is near ``1 - alpha``.

    Parameters
    ----------
    alpha : float
        Risk level, strictly between 0 and 1.
    train : callable
        ``train(cases)`` returns ``segment``, and ``segment(image, spacing)`` a score image of
        the same shape. The `score` of these cases is the image that the segmenter looks at. The
        order of the cases must not matter.
    folds : int or None, default 10
        Number of folds, and of trainings; None for as many as patients (jackknife+).
    control : {"joint", "inner", "outer"}, default "joint"
        Which sets have to hold; "joint" is both at once, and needs `inner` and minus `outer` on
        one scale. A side that was not asked for is trivial.
    inner, outer : field, default `fields.logit`
        Fields of the score, as for `ConfidenceSets`. `fields.signed_distance` gives margins.
    rule : {"votes", "minmax"}, default "votes"
        "votes" as above. "minmax" takes one quantile of all ``r_i``, and the voxels of the outer
        set of *any* fold, of the inner sets of *all*: larger outer sets, and a promise without
        the factor 2.
    miss : float, default 0.0
        Tolerated share of missed lesion voxels, ``0 <= miss < 1``; only with "minmax".
    seed : int, default 0
        Seed by which patients are dealt into folds of (nearly) equal size.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    A patient with several cases stays in one fold and counts once, with the worst of them. What
    is promised of a new patient then holds for all its cases together.

    The segmenters are functions, which JSON cannot hold; a fitted object can be pickled if they
    can.

    References
    ----------
    Vovk (2015); Barber, Candès, Ramdas and Tibshirani (2021); Gupta, Kuchibhotla and Ramdas
    (2022), who put it in terms of nested sets.

    Examples
    --------
    >>> from confseg import fields, phantoms
    >>> masks = [case.truth for case in phantoms.cases(31, seed=1)]
    >>> *known, new = phantoms.scans(masks, seed=2)
    >>> distance = fields.identity  # this segmenter's score is a distance to the contour
    >>> method = CrossConformal(0.2, phantoms.Atlas(), 5, inner=distance, outer=distance)
    >>> inner, outer = method.fit(known).predict(new.score)
    >>> bool((inner <= outer).all()), round(method.guarantee_, 3)
    (True, 0.556)
    """

    alpha: float
    train: Train
    folds: int | None = 10
    control: Control = "joint"
    inner: Field | FieldFunction = logit
    outer: Field | FieldFunction = logit
    rule: Rule = "votes"
    miss: float = 0.0
    seed: int = 0
    _fitted: tuple[Fold, ...] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.alpha = check_level("alpha", self.alpha)
        self.miss = check_miss(self.miss)
        if self.rule not in get_args(Rule):
            raise ValueError(f"rule must be one of {get_args(Rule)}, found {self.rule!r}")
        if self.miss and (self.rule == "votes" or self.control == "inner"):
            raise ValueError(
                f"a tolerance of {self.miss} needs rule='minmax' and an outer set, found "
                f"rule={self.rule!r} and control={self.control!r}"
            )
        if self.folds is not None and self.folds < 2:
            raise ValueError(f"expected at least 2 folds, found {self.folds}")
        self._sides = sides_of(self.control, self.inner, self.outer, self.miss)

    def fit(self, cases: Iterable[Case]) -> Self:
        """Train one segmenter per fold, and score every case with the one that has not seen it.

        Parameters
        ----------
        cases : iterable of Case
            All cases there are; their `score` is the image. They are held in memory.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are fewer patients than folds, or a score is unsound; the message names the
            case. The object is then left as if never fitted.

        Warns
        -----
        UserWarning
            If there are too few patients for anything but the trivial sets.
        """
        self._fitted = None
        known = listed(cases)
        check_one_spacing_rule(self._sides, [case.spacing for case in known])
        patients = patients_of(known)
        fold_of = self._dealt(int(patients.max(initial=-1)) + 1)
        self._fitted = tuple(
            self._fold(known, patients, fold_of[patients] == k) for k in range(fold_of.max() + 1)
        )
        self._spacing = known[0].spacing
        if not self._votes_needed:
            warnings.warn(
                f"{self.n_} patients are too few: the outer region is the whole image and the "
                f"inner one is empty; at least {fewest_cases(self.alpha)} are needed",
                stacklevel=2,
            )
        return self

    def predict(self, image: ArrayLike, spacing: Sequence[float] | None = None) -> Sets:
        """The two sets of a new image.

        Parameters
        ----------
        image : array_like of float
            The image that the segmenters look at.
        spacing : sequence of float, optional
            Voxel spacing in mm.

        Returns
        -------
        Sets
            Named pair ``(inner, outer)`` of bool arrays.

        Raises
        ------
        ValueError
            If not fitted, or the image or its score is unsound.
        """
        self._folds()
        array = as_score(image)
        steps = as_spacing(spacing, array.ndim)
        check_one_spacing_rule(self._sides, [self._spacing, steps])
        regions = self._voted(array, steps) if self.rule == "votes" else self._minmax(array, steps)
        return Sets(
            inner=regions.get("inner", np.zeros(array.shape, dtype=np.bool_)),
            outer=regions.get("outer", np.ones(array.shape, dtype=np.bool_)),
        )

    def complies(self, case: Case) -> bool:
        """Whether the sets of `case` keep the promise; counted in voxels.

        Parameters
        ----------
        case : Case
            An image with its truth.

        Returns
        -------
        bool
            True if every side that was asked for holds.
        """
        regions = self.predict(case.score, case.spacing)._asdict()
        return all(side.complies(regions[name], case.truth) for name, side in self._sides.items())

    def statement(self) -> str:
        """The guarantee in words, with its assumptions.

        Returns
        -------
        str
            One paragraph.
        """
        inner = "every voxel of the inner set is lesion"
        outer = (
            f"at most {percent(self.miss)} of the lesion's voxels lie outside the outer set"
            if self.miss
            else "no lesion voxel lies outside the outer set"
        )
        what = {"inner": inner, "outer": outer}.get(self.control, f"{inner} and {outer}, together,")
        folds = len(self._folds())
        return (
            f"{self.n_} patients in {folds} folds: each was scored by a segmenter trained on the "
            f"other folds. For a new patient from the same population, {what} with a probability "
            f"of at least {percent(round(self.guarantee_, 4))}. Where dropping a fold hardly "
            f"changes the segmenter, it is near {percent(1 - self.alpha)}; that is no promise. "
            "The probability is over the draw of all patients, old and new, together, and "
            "assumes that the order of the cases does not matter in training."
        )

    @property
    def n_(self) -> int:
        """Number of patients."""
        return self.nonconformity_.size

    @property
    def nonconformity_(self) -> NDArray[np.float64]:
        """Nonconformity score per patient, sorted within each fold; larger means worse."""
        return np.concatenate([fold.scores for fold in self._folds()])

    @property
    def guarantee_(self) -> float:
        """The proved lower bound of the coverage, whatever the population and the training.

        With ``j = floor(alpha (n + 1))`` and ``K`` folds the failure probability is at most
        ``2 (j + K - 1) / (n + K)``, and, in folds of one size ``m``, at most
        ``(2 j + m - 2) / (n + m)``, or ``(j + m - 1) / (n + m)`` by the rule "minmax"; these two
        hold for cases that ``m - 1`` more could join, such as independent draws.
        """
        j, n, folds = self._votes_needed, self.n_, len(self._folds())
        if j == 0:
            return 1.0
        failures = [2 * (j + folds - 1) / (n + folds)]
        if n % folds == 0:
            m = n // folds
            wins = j + m - 1 if self.rule == "minmax" else 2 * j + m - 2
            failures.append(wins / (n + m))
        return max(0.0, 1 - min(failures))

    @property
    def _votes_needed(self) -> int:
        """How many of the n cases have to find a voxel possible, ``floor(alpha (n + 1))``."""
        return self.n_ + 1 - conformal_rank(self.n_, self.alpha)

    def _folds(self) -> tuple[Fold, ...]:
        if self._fitted is None:
            raise NotCalibratedError(f"{type(self).__name__} has not been fitted: call fit first")
        return self._fitted

    def _dealt(self, patients: int) -> NDArray[np.intp]:
        """The fold of each patient."""
        folds = patients if self.folds is None else self.folds
        if not 2 <= folds <= patients:
            raise ValueError(
                f"expected at least {max(2, folds)} patients for the folds, found {patients}"
            )
        return np.random.default_rng(self.seed).permutation(patients) % folds

    def _fold(
        self, cases: Sequence[Case], patients: NDArray[np.intp], held_out: NDArray[np.bool_]
    ) -> Fold:
        """Train without the cases held out and score those, one number per patient."""
        segment = self.train([case for case, out in zip(cases, held_out, strict=True) if not out])
        worst: dict[int, float] = {}
        for case, patient, out in zip(cases, patients.tolist(), held_out, strict=True):
            if out:
                score = nonconformity(self._sides, segment, case)
                worst[patient] = max(score, worst.get(patient, -np.inf))
        return Fold(segment, np.sort(list(worst.values())))

    def _voted(self, image: NDArray, spacing: Spacing | None) -> dict[str, NDArray[np.bool_]]:
        votes = {name: np.zeros(image.shape, dtype=np.intp) for name in self._sides}
        for fold in self._folds():
            score = scored(fold.segment, image, spacing)
            for name, side in self._sides.items():
                # The cases that are at least as bad as a mask wrong at just this voxel.
                below = np.searchsorted(fold.scores, _badness(side, score, spacing), side="left")
                votes[name] += fold.scores.size - below
        possible = {name: count >= self._votes_needed for name, count in votes.items()}
        # A voxel that may be background is not in the inner set.
        return {name: ~hit if name == "inner" else hit for name, hit in possible.items()}

    def _minmax(self, image: NDArray, spacing: Spacing | None) -> dict[str, NDArray[np.bool_]]:
        quantile = conformal_quantile(self.nonconformity_, self.alpha)
        scores = [scored(fold.segment, image, spacing) for fold in self._folds()]
        regions = {
            name: np.array([side.region(s, spacing, side.cutoff(quantile)) for s in scores])
            for name, side in self._sides.items()
        }
        return {
            name: np.all(each, axis=0) if name == "inner" else np.any(each, axis=0)
            for name, each in regions.items()
        }


def _badness(side: Side, score: NDArray, spacing: Spacing | None) -> NDArray[np.float64]:
    """Per voxel, the nonconformity of a mask that is wrong at this voxel alone."""
    values = side.field(score, spacing).astype(np.float64)
    if np.isnan(values).any():
        raise ValueError(f"the field {side.field} is NaN at {np.isnan(values).sum()} voxels")
    return 0.0 - values if isinstance(side, Outer) else values
