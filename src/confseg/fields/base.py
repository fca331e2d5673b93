"""What a field is, and how critical values and level sets are read from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..boxes import Box, whole_box
from ..case import Spacing, check_image

FieldFunction = Callable[[NDArray, Spacing | None], NDArray]


class Field:
    """Base of the fields; `field(score, spacing)` gives the image.

    Attributes
    ----------
    in_mm : bool
        Whether the values depend on the voxel spacing.
    largest : float
        A bound that no value exceeds.
    smallest : float
        A bound below which no value falls. Where it is finite, the field takes this value
        everywhere outside of its support.
    """

    in_mm: bool = False
    largest: float = np.inf
    smallest: float = -np.inf
    name: ClassVar[str]

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """The field of one score image; same shape."""
        raise NotImplementedError

    def support(self, score: NDArray, truth: NDArray[np.bool_]) -> Box:
        """The part of the image that decides both critical values; here all of it."""
        return whole_box(score.shape)

    def level_set(
        self, score: NDArray, spacing: Spacing | None, cutoff: float, strict: bool
    ) -> NDArray[np.bool_]:
        """``{field > cutoff}`` if `strict`, else ``{field >= cutoff}``."""
        return above(sound(self, score, spacing), cutoff, strict)

    def refuse(self, score: NDArray, truth: NDArray[np.bool_], patient: str = "") -> None:
        """Raise ValueError if the field was learned on this case; a field is made of others."""
        for part in self._parts():
            part.refuse(score, truth, patient)

    def to_dict(self) -> dict[str, Any]:
        """The field in JSON types, with the fields it is made of."""
        return {"name": self.name, **{name: _plain(value) for name, value in self._parameters()}}

    def _parameters(self) -> Iterator[tuple[str, Any]]:
        for item in dataclass_fields(self):  # type: ignore[arg-type]
            yield item.name, getattr(self, item.name)

    def _parts(self) -> Iterator[Field]:
        """The fields this one is made of."""
        for _, value in self._parameters():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Field):
                    yield part


@dataclass(frozen=True)
class Custom(Field):
    """A user's own function as a field."""

    function: FieldFunction

    name: ClassVar[str] = "custom"

    def __call__(self, score: NDArray, spacing: Spacing | None = None) -> NDArray:
        """What the function gives, if it has the shape of the score."""
        field = np.asarray(self.function(score, spacing))
        if field.shape != score.shape:
            raise ValueError(
                f"the field {self.label} has shape {field.shape}, the score {score.shape}"
            )
        check_image(field, f"field {self.label}")
        return field

    @property
    def label(self) -> str:
        """The function's name."""
        return getattr(self.function, "__qualname__", repr(self.function))

    def to_dict(self) -> dict[str, Any]:
        """The name of the function, which JSON cannot hold."""
        return {"name": self.name, "function": self.label}


def as_field(field: Field | FieldFunction) -> Field:
    """`field` itself, or a user's function wrapped as one."""
    if isinstance(field, Field):
        return field
    if not callable(field):
        raise TypeError(f"a field is a callable field(score, spacing), found {field!r}")
    return Custom(field)


def is_own(data: Any) -> bool:
    """Whether `data` is what `Field.to_dict` wrote for a user's own function, or contains it."""
    if isinstance(data, list):
        return any(map(is_own, data))
    if not isinstance(data, dict):
        return False
    return data.get("name") == Custom.name or any(map(is_own, data.values()))


def above(field: NDArray, cutoff: float, strict: bool) -> NDArray[np.bool_]:
    """``{field > cutoff}`` if `strict`, else ``{field >= cutoff}``, compared in float64.

    A plain Python number would be rounded to the field's own precision first, and the voxel on
    which the promise hangs could drop out.
    """
    compare = np.greater if strict else np.greater_equal
    return compare(field, np.float64(cutoff))


def field_on(
    field: Field,
    score: NDArray,
    truth: NDArray[np.bool_],
    spacing: Spacing | None,
    box: Box | None = None,
    patient: str = "",
) -> tuple[NDArray, NDArray[np.bool_]]:
    """Field and truth on a part of the image, by default on its support.

    Raises ValueError if the field was learned on this very case or on this patient.
    """
    field.refuse(score, truth, patient)
    return deciding_part(field, score, truth, spacing, box)


def deciding_part(
    field: Field,
    score: NDArray,
    truth: NDArray[np.bool_],
    spacing: Spacing | None,
    box: Box | None = None,
) -> tuple[NDArray, NDArray[np.bool_]]:
    """`field_on`, also for the cases on which the field was learned."""
    box = field.support(score, truth) if box is None else box
    return sound(field, score[box], spacing), truth[box]


def sound(field: Field, score: NDArray, spacing: Spacing | None) -> NDArray:
    """The field; raises ValueError if it holds NaN."""
    values = field(score, spacing)
    if values is not score and np.isnan(values.min()):
        raise ValueError(f"the field {field} is NaN at {np.isnan(values).sum()} voxels")
    return values


def as_float(score: NDArray) -> NDArray[np.floating]:
    """The score in single precision at least, which filters and logarithms need."""
    return score.astype(np.result_type(score.dtype, np.float32), copy=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Field):
        return value.to_dict()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
