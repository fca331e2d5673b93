"""Fields: images made from a score without a look at the truth; larger means more lesion.

A field is a callable ``field(score, spacing) -> array``. Those of this module know besides
where they have to be computed (`Field.support`, `Field.level_set`) and how to write themselves
to JSON. A function of your own serves as well.
"""

from __future__ import annotations

from typing import Any

from .base import (
    Custom,
    Field,
    FieldFunction,
    above,
    as_field,
    deciding_part,
    field_on,
    is_own,
)
from .combination import Combination, combine
from .contour import ContourDistance, contour_distance
from .distance import Depth, Distance, signed_distance
from .learned import Learned, fingerprint
from .mass import CumulativeMass, cumulative_mass
from .pointwise import Identity, Logit, identity, logit
from .rectangles import Boxes, boxes
from .scale import Scaled
from .smoothing import Smooth, smooth

_KINDS: dict[str, type[Field]] = {
    kind.name: kind
    for kind in (
        Identity,
        Logit,
        Smooth,
        Distance,
        Depth,
        ContourDistance,
        Boxes,
        CumulativeMass,
        Combination,
        Scaled,
        Learned,
    )
}

__all__ = [
    "Boxes",
    "Combination",
    "ContourDistance",
    "CumulativeMass",
    "Custom",
    "Depth",
    "Distance",
    "Field",
    "FieldFunction",
    "Identity",
    "Learned",
    "Logit",
    "Scaled",
    "Smooth",
    "above",
    "as_field",
    "boxes",
    "combine",
    "contour_distance",
    "cumulative_mass",
    "deciding_part",
    "field_from_dict",
    "field_on",
    "fingerprint",
    "identity",
    "is_own",
    "logit",
    "signed_distance",
    "smooth",
]


def field_from_dict(data: dict[str, Any]) -> Field:
    """The field that `Field.to_dict` wrote; a user's own function cannot be read back."""
    parameters = dict(data)
    name = parameters.pop("name")
    if name == Custom.name:
        raise ValueError(
            f"the calibration used your own field {parameters['function']!r}, which JSON cannot "
            "hold; hand the function over again"
        )
    if name not in _KINDS:
        raise ValueError(f"unknown field {name!r}, expected one of {sorted(_KINDS)}")
    return _KINDS[name](**{key: _built(value) for key, value in parameters.items()})


def _built(value: Any) -> Any:
    if isinstance(value, dict):
        return field_from_dict(value)
    return tuple(_built(item) for item in value) if isinstance(value, list) else value
