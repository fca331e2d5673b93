"""A segmenter that can be trained again: a function of cases that returns a function of images.

``train(cases)`` returns ``segment``, and ``segment(image, spacing)`` returns a score image. In
the cases of this module and of those built on it, `Case.score` holds the *image* that the
segmenter is to look at, such as a CT, and not yet the outcome of a segmenter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .case import Case, Spacing, as_score, check_values, naming
from .fields import Field, FieldFunction, as_field, field_on
from .sides import Inner, Outer, Side

Segment = FieldFunction
Train = Callable[[Sequence[Case]], Segment]
Control = Literal["joint", "inner", "outer"]


def sides_of(
    control: Control, inner: Field | FieldFunction, outer: Field | FieldFunction, miss: float = 0.0
) -> dict[str, Side]:
    """The sides that `control` asks for, by name."""
    if control not in get_args(Control):
        raise ValueError(f"control must be one of {get_args(Control)}, found {control!r}")
    both: dict[str, Side] = {"inner": Inner(as_field(inner)), "outer": Outer(as_field(outer), miss)}
    return both if control == "joint" else {control: both[control]}


def listed(cases: Iterable[Case]) -> list[Case]:
    """The cases as a list; TypeError if something else is among them."""
    known = list(cases)
    for position, case in enumerate(known, start=1):
        if not isinstance(case, Case):
            raise TypeError(f"case {position}: expected a Case, found a {type(case).__name__}")
    return known


def patients_of(cases: Sequence[Case]) -> NDArray[np.intp]:
    """The number of each case's patient, from 0; a case without a name is one of its own."""
    names = [case.patient or f"\0unnamed {i}" for i, case in enumerate(cases)]
    return np.unique(names, return_inverse=True)[1]


def scored(segment: Segment, image: NDArray, spacing: Spacing | None) -> NDArray:
    """What a trained segmenter makes of an image: a sound score image of the same shape."""
    if not callable(segment):
        raise TypeError(f"train must return a function segment(image, spacing), found {segment!r}")
    score = as_score(segment(image, spacing))
    if score.shape != image.shape:
        raise ValueError(f"the image has shape {image.shape} but its score {score.shape}")
    check_values(score)
    return score


def check_one_spacing_rule(sides: dict[str, Side], spacings: Iterable[Spacing | None]) -> None:
    """Raise ValueError if a field would measure some images in mm and others in voxels."""
    kinds = {spacing is None for spacing in spacings}
    if len(kinds) > 1 and any(side.field.in_mm for side in sides.values()):
        raise ValueError(
            "some images have a spacing and some have not: distances in mm and in voxels cannot "
            "be mixed"
        )


def nonconformity(sides: dict[str, Side], segment: Segment, case: Case) -> float:
    """The nonconformity score of a case under one segmenter: the worst of the sides."""
    with naming(f"case {case.name!r}"):
        score = scored(segment, case.score, case.spacing)
        return max(
            side.nonconformity(
                *field_on(side.field, score, case.truth, case.spacing, patient=case.patient)
            )
            for side in sides.values()
        )
