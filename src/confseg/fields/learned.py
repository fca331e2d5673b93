"""A field that remembers the cases it was learned on, and refuses to be calibrated on them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..boxes import Box
from ..case import Spacing
from .base import Field


@dataclass(frozen=True)
class Learned(Field):
    """A field with a memory of the learning cases, by their contents and their patients."""

    of: Field
    learned_on: tuple[str, ...] = dataclass_field(repr=False)
    patients: tuple[str, ...] = dataclass_field(default=(), repr=False)

    name: ClassVar[str] = "learned"

    @property
    def in_mm(self) -> bool:  # type: ignore[override]
        """Whether the field depends on the voxel spacing."""
        return self.of.in_mm

    @property
    def largest(self) -> float:  # type: ignore[override]
        """A bound that no value exceeds."""
        return self.of.largest

    @property
    def smallest(self) -> float:  # type: ignore[override]
        """A bound below which no value falls."""
        return self.of.smallest

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The field."""
        return self.of(score, spacing)

    def support(self, score: NDArray, truth: NDArray[np.bool_]) -> Box:
        """As for the field itself."""
        return self.of.support(score, truth)

    def level_set(
        self, score: NDArray, spacing: Spacing | None, cutoff: float, strict: bool
    ) -> NDArray[np.bool_]:
        """As for the field itself."""
        return self.of.level_set(score, spacing, cutoff, strict)

    def refuse(self, score: NDArray, truth: NDArray[np.bool_], patient: str = "") -> None:
        """Raise ValueError if the field was learned on this case, or on another of the patient."""
        if fingerprint(score, truth) in self.learned_on:
            raise ValueError(
                "the field was learned on this very case; calibrate on cases that had no part in "
                "choosing it, or the promise does not hold"
            )
        if patient in self.patients:
            raise ValueError(
                f"the field was learned on another case of patient {patient!r}; calibrate on "
                "patients that had no part in choosing it, or the promise does not hold"
            )
        super().refuse(score, truth, patient)


def fingerprint(score: NDArray, truth: NDArray[np.bool_]) -> str | None:
    """A digest of the contents of a case, whatever its name and the type of its numbers.

    None for a score that is constant: images in which nothing was predicted are all alike.
    """
    if score.min() == score.max():
        return None
    digest = hashlib.blake2b(repr(score.shape).encode(), digest_size=8)
    digest.update((score.astype(np.float64) + 0.0).tobytes())  # + 0.0: -0 is 0
    digest.update(np.packbits(truth).tobytes())
    return digest.hexdigest()
