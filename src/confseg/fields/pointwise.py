"""Fields that look at one voxel at a time: the score itself and its log-odds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from numpy.typing import NDArray
from scipy import special

from ..case import Spacing, check_values
from .base import Field, as_float


@dataclass(frozen=True)
class Identity(Field):
    """The score itself."""

    name: ClassVar[str] = "identity"

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The score."""
        return score


@dataclass(frozen=True)
class Logit(Field):
    """Log-odds of a probability: symmetric in lesion and background."""

    name: ClassVar[str] = "logit"

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The log-odds; raises ValueError unless every value lies in [0, 1]."""
        check_values(score, probability=True)
        return special.logit(as_float(score))


identity = Identity()
"""The score itself as a field."""

logit = Logit()
"""The log-odds of a probability map as a field."""
