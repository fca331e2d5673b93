"""Conformal confidence sets: an inner mask to trust and an outer mask to search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .conformal import Promise, SplitConformal, check_weights
from .critical import check_false, check_miss
from .exact import check_level, percent
from .fields import Field, FieldFunction, as_field, logit
from .sides import Inner, Outer, Side

Control = Literal["joint", "weighted", "inner", "outer"]


class Sets(NamedTuple):
    """An inner and an outer set of one image, or the per-case numbers of the two sides."""

    inner: NDArray
    outer: NDArray


@dataclass(eq=False)
class ConfidenceSets(SplitConformal):
    """Inner and outer confidence sets for the true mask.

    ``inner = {f_I > cutoff_inner_}`` and ``outer = {f_O >= cutoff_outer_}``. What holds with
    probability at least ``1 - alpha`` depends on `control`; up to `false` and `miss`, if shares
    of voxels may be wrong.

    Parameters
    ----------
    alpha : float
        Risk level, strictly between 0 and 1.
    control : {"joint", "weighted", "inner", "outer"}, default "joint"
        "joint": ``inner ⊆ truth ⊆ outer``, from one quantile of the larger of the two
        nonconformity scores; `inner` and minus `outer` have to be on one scale. "weighted": the
        same, but each side spends its own part of `alpha`, and the fields need no common scale.
        "inner" or "outer": only that side; the other is the trivial set.
    inner, outer : field, default `fields.logit`
        Fields of `confseg.fields`, or functions ``field(score, spacing)``. The logit needs
        probabilities.
    weights : (float, float), optional
        ``(alpha inner, alpha outer)`` for "weighted"; they add up to `alpha`.
    false : float, default 0.0
        Tolerated share of the inner set that is no lesion, ``0 <= false < 1``.
    miss : float, default 0.0
        Tolerated share of the lesion outside the outer set, ``0 <= miss < 1``.

    Raises
    ------
    ValueError
        If a parameter is out of range or the weights do not fit.

    References
    ----------
    Davenport (2024), *Conformal confidence sets for biomedical image segmentation*, with the
    corrections of the book's chapter on confidence sets.

    Examples
    --------
    >>> from confseg import phantoms
    >>> method = ConfidenceSets(alpha=0.1).calibrate(phantoms.cases(50, seed=1))
    >>> inner, outer = method.predict(next(phantoms.cases(1, seed=2)).score)
    >>> bool((inner <= outer).all())
    True
    """

    alpha: float
    control: Control = "joint"
    inner: Field | FieldFunction = logit
    outer: Field | FieldFunction = logit
    weights: tuple[float, float] | None = None
    false: float = 0.0
    miss: float = 0.0

    def __post_init__(self) -> None:
        self.alpha = check_level("alpha", self.alpha)
        if self.control not in get_args(Control):
            raise ValueError(f"control must be one of {get_args(Control)}, found {self.control!r}")
        self.inner, self.outer = as_field(self.inner), as_field(self.outer)
        self.weights = self._checked_weights()
        self.false, self.miss = check_false(self.false), check_miss(self.miss)

    def _checked_weights(self) -> tuple[float, float] | None:
        if (self.weights is not None) != (self.control == "weighted"):
            raise ValueError(
                f"weights go with control='weighted', found {self.weights!r} with {self.control!r}"
            )
        return None if self.weights is None else check_weights(self.weights, self.alpha)

    @property
    def _sides(self) -> dict[str, Side]:
        both: dict[str, Side] = {
            "inner": Inner(as_field(self.inner), self.false, "fdp"),
            "outer": Outer(as_field(self.outer), self.miss),
        }
        return both if self.control in ("joint", "weighted") else {self.control: both[self.control]}

    @property
    def _promises(self) -> tuple[Promise, ...]:
        if self.weights is not None:
            return Promise(self.weights[0], ("inner",)), Promise(self.weights[1], ("outer",))
        return (Promise(self.alpha, tuple(self._sides)),)

    @property
    def cutoff_inner_(self) -> float:
        """The inner set is ``{f_I > cutoff_inner_}``; ``+inf`` if that side was not asked for."""
        return self._calibrated().cutoffs.get("inner", np.inf)

    @property
    def cutoff_outer_(self) -> float:
        """The outer set is ``{f_O >= cutoff_outer_}``; ``-inf`` if it was not asked for."""
        return self._calibrated().cutoffs.get("outer", -np.inf)

    @property
    def critical_values_(self) -> Sets:
        """Per calibration case, the critical cut-offs; an empty array for a side not asked for."""
        scores, none = self._calibrated().scores, np.empty(0)
        return Sets(scores.get("inner", none), 0.0 - scores.get("outer", none))

    def predict(self, score: ArrayLike, spacing: Sequence[float] | None = None) -> Sets:
        """The two sets of a new score image.

        Parameters
        ----------
        score : array_like of float
            Score image, any shape.
        spacing : sequence of float, optional
            Voxel spacing in mm, needed by fields that measure distances.

        Returns
        -------
        Sets
            Named pair ``(inner, outer)`` of bool arrays. The side that was not asked for is
            trivial: an empty inner set, an outer set that is the whole image.

        Raises
        ------
        ValueError
            If not calibrated, or the score or the spacing is unsound.
        """
        found = {name: self._predict(name, score, spacing) for name in self._sides}
        shape = next(iter(found.values())).shape
        return Sets(
            inner=found.get("inner", np.zeros(shape, dtype=np.bool_)),
            outer=found.get("outer", np.ones(shape, dtype=np.bool_)),
        )

    def _guarantee(self) -> str:
        inner = (
            f"at most {percent(self.false)} of the inner set's voxels are no lesion"
            if self.false
            else "every voxel of the inner set is lesion"
        )
        outer = (
            f"at most {percent(self.miss)} of the lesion's voxels lie outside the outer set"
            if self.miss
            else "no lesion voxel lies outside the outer set"
        )
        what = {"inner": inner, "outer": outer}.get(self.control, f"{inner} and {outer}, together,")
        promise = f"{what} with a probability of at least {percent(1 - self.alpha)}."
        if self._calibrated().weights is not None or self._trivial() or not self._useless():
            return promise
        return (
            f"{promise} Here that says nothing: {self._useless()}, since in too many cases the "
            "field is infinite where it should not be, as the logit is at a probability of 0 or 1."
        )
