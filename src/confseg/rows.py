"""One row of numbers per case: what studies need, so that no volume is read twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .case import Case, check_values
from .critical import check_miss, outer_cutoff_unchecked
from .distances import Metric, check_metric
from .exact import as_decimal, exact
from .fields import (
    Distance,
    Field,
    above,
    cumulative_mass,
    field_on,
    identity,
    logit,
    signed_distance,
)
from .groups import predicted_volume
from .metrics import dice
from .sides import Inner, Outer

FIELDS = ("identity", "logit", "distance", "mass")
"""Fields whose critical values a row can hold; "logit" and "mass" need probabilities."""


_TYPES: dict[str, type] = {
    **dict.fromkeys(("case", "patient", "group"), str),
    **dict.fromkeys(("voxels", "lesion_voxels", "predicted_voxels"), int),
}


@dataclass(frozen=True)
class Columns:
    """Which numbers a row holds.

    Parameters
    ----------
    eps : tuple of float
        Tolerated shares of missed lesion: each gives ``outer_identity_EPS``, the largest cut-off
        of the score at which ``{score >= cut-off}`` misses no more.
    coverages : tuple of float
        Shares of the lesion to hold: with each metric one gives ``margin_METRIC_COVERAGE``, the
        smallest margin around the predicted mask that holds so much.
    metrics : tuple of {"mm", "cross", "cube"}
        What margins count.
    fields : tuple of {"identity", "logit", "distance", "mass"}
        Each gives ``inner_FIELD`` and ``outer_FIELD``, the critical values without tolerance.
    threshold : float
        The predicted mask is ``score >= threshold``.
    margins : tuple of float
        Margins, in what a metric counts: with each metric one gives ``grown_METRIC_MARGIN``, the
        voxels of the predicted mask with that margin. Divided by ``predicted_voxels`` it is the
        stretch.

    Raises
    ------
    ValueError
        If a number is out of range, or a name unknown.
    """

    eps: tuple[float, ...] = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3)
    coverages: tuple[float, ...] = (1.0, 0.99, 0.95, 0.9, 0.8)
    metrics: tuple[Metric, ...] = ("mm", "cross", "cube")
    fields: tuple[str, ...] = ("logit", "distance")
    threshold: float = 0.5
    margins: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for share in self.eps:
            check_miss(share)
        for coverage in self.coverages:
            if not 0 < as_decimal("a coverage", coverage) <= 1:
                raise ValueError(f"a coverage must lie in (0, 1], found {coverage!r}")
        for margin in self.margins:
            if as_decimal("a margin", margin) < 0:
                raise ValueError(f"a margin must not be negative, found {margin!r}")
        for metric in self.metrics:
            check_metric(metric)
        if unknown := sorted(set(self.fields) - set(FIELDS)):
            raise ValueError(f"unknown fields {unknown}, expected some of {FIELDS}")
        as_decimal("threshold", self.threshold)
        if repeated := [name for name, n in Counter(self.names()).items() if n > 1]:
            raise ValueError(f"columns that come twice: {repeated}")

    def types(self) -> dict[str, type]:
        """The types of the columns by name, in their order: text, counts, other numbers."""
        known = {**_TYPES, **dict.fromkeys(self._grown(), int)}
        return {name: known.get(name, float) for name in self.names()}

    def names(self) -> list[str]:
        """The names of the columns, in their order."""
        return [
            *("case", "patient", "group", "voxels", "voxel_mm3"),
            *("lesion_voxels", "predicted_voxels", "lesion_volume", "predicted_volume", "dice"),
            *(f"outer_identity_{share:.10g}" for share in self.eps),
            *(
                f"margin_{metric}_{share:.10g}"
                for metric in self.metrics
                for share in self.coverages
            ),
            *self._grown(),
            *(f"{side}_{name}" for name in self.fields for side in ("inner", "outer")),
        ]

    def _grown(self) -> list[str]:
        return [f"grown_{metric}_{d:.10g}" for metric in self.metrics for d in self.margins]


def row_of_numbers(case: Case, columns: Columns) -> list[str | int | float]:
    """The row of one case, in the order of `Columns.names`.

    Parameters
    ----------
    case : Case
        The case.
    columns : Columns
        Which numbers.

    Returns
    -------
    list
        Names as text, counts as integers, the rest as float64. Volumes are in cubic mm, or in
        voxels where there is no spacing (``voxel_mm3`` is then empty). Without a lesion the
        critical cut-offs from outside are infinite, or as large as the field can be, since there
        is nothing to miss.

    Raises
    ------
    ValueError
        If the score is unsound.
    """
    check_values(case.score)
    predicted = Distance(columns.threshold).mask(case.score)
    lesion = int(np.count_nonzero(case.truth))
    return [
        *(case.name, case.patient, case.group, case.score.size),
        "" if case.spacing is None else float(np.prod(case.spacing)),
        *(lesion, int(np.count_nonzero(predicted))),
        predicted_volume(case.truth, case.spacing),
        predicted_volume(predicted, case.spacing),
        dice(predicted, case.truth),
        *_of_misses(case, columns.eps),
        *_of_margins(case, columns),
        *_of_sizes(case, columns),
        *_of_fields(case, columns),
    ]


def _of_misses(case: Case, eps: Sequence[float]) -> list[float]:
    field, truth = _deciding(identity, case)
    return [outer_cutoff_unchecked(field, truth, share) for share in eps]


def _of_margins(case: Case, columns: Columns) -> Iterator[float]:
    for metric in columns.metrics:
        distance = Distance(columns.threshold, metric, signed=False)
        # One distance image serves every coverage.
        field, truth = _deciding(distance, case)
        for coverage in columns.coverages:
            yield Outer(distance, 1 - exact(coverage)).nonconformity(field, truth)


def _of_sizes(case: Case, columns: Columns) -> Iterator[int]:
    if not columns.margins:
        return
    for metric in columns.metrics:
        distance = Distance(columns.threshold, metric, signed=False)
        # One distance image serves every margin, and reaches as far as the largest.
        box = distance.near(case.score, case.spacing, max(columns.margins))
        field = distance(case.score[box], case.spacing)
        for margin in columns.margins:
            yield int(np.count_nonzero(above(field, -margin, strict=False)))


def _of_fields(case: Case, columns: Columns) -> Iterator[float]:
    known: dict[str, Field] = {
        "identity": identity,
        "logit": logit,
        "distance": signed_distance(columns.threshold),
        "mass": cumulative_mass,
    }
    for name in columns.fields:
        field, truth = _deciding(known[name], case)
        yield Inner(known[name]).nonconformity(field, truth)
        yield 0.0 - Outer(known[name]).nonconformity(field, truth)


def _deciding(field: Field, case: Case) -> tuple[NDArray, NDArray[np.bool_]]:
    return field_on(field, case.score, case.truth, case.spacing)
