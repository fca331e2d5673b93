"""A field on another scale, by a strictly increasing function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..boxes import Box
from ..case import Spacing
from .base import Field


@dataclass(frozen=True)
class Scaled(Field):
    """A field after a piecewise linear function that increases strictly everywhere.

    Parameters
    ----------
    of : Field
        The field.
    knots, levels : tuple of float
        The function takes knot to level, both in increasing order. Beyond the outermost knots
        it goes on with its average slope (slope 1 if there is a single knot).
    """

    of: Field
    knots: tuple[float, ...]
    levels: tuple[float, ...]

    name: ClassVar[str] = "scaled"

    def __post_init__(self) -> None:
        if not self.knots or len(self.knots) != len(self.levels):
            raise ValueError(
                f"expected knots, each with its level; found {len(self.knots)} knots, "
                f"{len(self.levels)} levels"
            )
        for what in ("knots", "levels"):
            values = np.array(getattr(self, what), dtype=np.float64)
            if not (np.isfinite(values).all() and (np.diff(values) > 0).all()):
                raise ValueError(f"the {what} must be finite and increase, found {values}")
            object.__setattr__(self, what, tuple(values.tolist()))
        if not (np.isfinite(self._slopes()).all() and (self._slopes() > 0).all()):
            raise ValueError("the knots are too close together, or too far apart, for slopes")

    @property
    def in_mm(self) -> bool:  # type: ignore[override]
        """Whether the field depends on the voxel spacing."""
        return self.of.in_mm

    @property
    def largest(self) -> float:  # type: ignore[override]
        """A bound that no value exceeds."""
        return float(self.scale(self.of.largest))

    @property
    def smallest(self) -> float:  # type: ignore[override]
        """A bound below which no value falls."""
        return float(self.scale(self.of.smallest))

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The field on the new scale."""
        return self.scale(self.of(score, spacing))

    def scale(self, values: ArrayLike) -> NDArray[np.float64]:
        """The function itself; it never decreases, in floating point either."""
        x = np.asarray(values, dtype=np.float64)
        knots, levels = np.array(self.knots), np.array(self.levels)
        piece = np.searchsorted(knots, x, side="right")
        start = np.maximum(piece - 1, 0)
        # Rounding must not lift the end of one piece above the start of the next.
        ceiling = np.array([*levels, np.inf])[piece]
        return np.minimum(levels[start] + self._slopes()[piece] * (x - knots[start]), ceiling)

    def _slopes(self) -> NDArray[np.float64]:
        """The slopes before the first knot, between neighbors, and after the last."""
        runs, rises = np.diff(self.knots), np.diff(self.levels)
        average = rises.sum() / runs.sum() if runs.size else 1.0
        return np.array([average, *(rises / runs), average])

    def support(self, score: NDArray, truth: NDArray[np.bool_]) -> Box:
        """As for the field itself: an increasing function keeps order statistics in place."""
        return self.of.support(score, truth)
