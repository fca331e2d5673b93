"""Several fields made into one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..case import Spacing
from ..exact import as_decimal
from .base import Field, FieldFunction, as_field

How = Literal["sum", "maximum", "minimum"]

_RULES: dict[str, Callable[..., NDArray]] = {"sum": np.sum, "maximum": np.max, "minimum": np.min}


@dataclass(frozen=True)
class Combination(Field):
    """The sum, maximum or minimum of weighted fields."""

    of: tuple[Field, ...]
    weights: tuple[float, ...]
    how: How = "sum"

    name: ClassVar[str] = "combination"

    def __post_init__(self) -> None:
        weights = tuple(as_decimal("a weight", weight) for weight in self.weights)
        object.__setattr__(self, "weights", weights)
        if self.how not in get_args(How):
            raise ValueError(f"how must be one of {get_args(How)}, found {self.how!r}")
        if not self.of or len(weights) != len(self.of):
            raise ValueError(
                f"expected fields, each with its weight; found {len(self.of)} fields, "
                f"{len(weights)} weights"
            )
        if min(weights) <= 0:
            raise ValueError(f"the weights must be positive, found {weights}")

    @property
    def in_mm(self) -> bool:  # type: ignore[override]
        """Whether one of the fields depends on the voxel spacing."""
        return any(field.in_mm for field in self.of)

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The combined values."""
        parts = [
            weight * np.asarray(field(score, spacing), dtype=np.float64)
            for field, weight in zip(self.of, self.weights, strict=True)
        ]
        with np.errstate(invalid="ignore"):  # inf - inf is NaN, which callers refuse by name
            return _RULES[self.how](parts, axis=0)


def combine(
    *of: Field | FieldFunction, weights: Sequence[float] | None = None, how: How = "sum"
) -> Combination:
    """Several fields made into one, voxel by voxel.

    Parameters
    ----------
    *of : field
        At least one.
    weights : sequence of float, optional
        One positive factor per field; without it all are 1.
    how : {"sum", "maximum", "minimum"}, default "sum"
        What is taken of the weighted values. A level set of the maximum is the union of level
        sets, one of the minimum their intersection.

    Returns
    -------
    Combination
        A field.

    Raises
    ------
    ValueError
        If there is no field, a weight is missing or not positive, or `how` is unknown. A sum of
        ``inf`` and ``-inf`` is refused when it is met.

    Examples
    --------
    >>> from confseg import fields
    >>> field = combine(fields.logit, fields.signed_distance(), weights=(1, 0.5))
    >>> field(np.array([0.2, 0.5, 0.8])).round(2)
    array([-1.89,  0.5 ,  2.39])
    """
    return Combination(
        tuple(as_field(field) for field in of), tuple(weights or (1.0,) * len(of)), how
    )
