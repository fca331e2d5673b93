"""Choosing fields, and putting two of them on one scale, on cases kept for that alone.

What is learned here is learned on a *learning split*: cases with known truth that neither
trained the segmenter nor will calibrate. The fields that come back remember those cases and
their patients, and calibration refuses both, wherever the fields are used and also after they
were kept as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .case import Case, check_values
from .each_case import per_case
from .exact import check_level, fewest_cases
from .fields import Field, FieldFunction, Learned, Scaled, as_field, deciding_part, fingerprint
from .quantile import conformal_quantile
from .sides import Inner, Outer


class Sizes(NamedTuple):
    """Volume of the inner and of the outer sets, in volumes of the lesions."""

    inner: float
    outer: float


@dataclass(frozen=True)
class Choice:
    """The fields that `choose_field` chose.

    Attributes
    ----------
    inner, outer : field
        The chosen fields. Calibration refuses the cases they were chosen on, and other cases of
        the same patients.
    inner_name, outer_name : str
        What the candidates were called.
    sizes : dict of str to (float, float)
        For each candidate the volume of the inner and of the outer sets of the learning cases,
        all cases together, divided by the volume of their lesions.
    """

    inner: Field
    outer: Field
    inner_name: str
    outer_name: str
    sizes: dict[str, Sizes]


class Pair(NamedTuple):
    """An inner and an outer field on one scale."""

    inner: Field
    outer: Field


def choose_field(
    candidates: Mapping[str, Field | FieldFunction], learning_cases: Iterable[Case], alpha: float
) -> Choice:
    """The fields that give the largest inner and the smallest outer sets on a learning split.

    Every candidate is calibrated on the learning cases, for either side alone, and its sets of
    the same cases are measured: their volume (voxels times the volume of a voxel), all cases
    together, so that what counts is how much tissue is settled and how much has to be searched.
    These sets promise nothing, and need not; the promise comes from `calibrate`, with other
    cases.

    Parameters
    ----------
    candidates : dict of str to field
        The fields to choose from, by names of your own. Of equally good ones the first is taken.
    learning_cases : iterable of Case
        Cases kept for this. They are read twice; an iterator is held as a list meanwhile.
    alpha : float
        Risk level of each side; half of that of a joint set.

    Returns
    -------
    Choice
        The two fields and a table of sizes. ``ConfidenceSets(...).calibrate`` with one of these
        fields raises ValueError if it meets a learning case or patient.

    Raises
    ------
    ValueError
        If there is no candidate, there are too few cases for `alpha`, none bears a lesion, only
        some have a spacing, or a case is unsound.

    Examples
    --------
    >>> from confseg import ConfidenceSets, fields, phantoms
    >>> candidates = {"logit": fields.logit, "distance": fields.signed_distance()}
    >>> choice = choose_field(candidates, phantoms.cases(60, seed=1), alpha=0.1)
    >>> choice.inner_name, choice.outer_name
    ('logit', 'logit')
    >>> method = ConfidenceSets(0.1, "inner", inner=choice.inner)
    >>> method = method.calibrate(phantoms.cases(60, seed=2))
    >>> method.calibrate(phantoms.cases(60, seed=1))
    Traceback (most recent call last):
    ...
    ValueError: case 1 ('phantom 0'): the field was learned on this very case; calibrate on ...
    """
    alpha = check_level("alpha", alpha)
    known = {name: as_field(field) for name, field in candidates.items()}
    if not known:
        raise ValueError("expected at least one candidate, found none")
    cases = _held(learning_cases)
    critical = _critical_values(known, cases)
    if len(cases) < fewest_cases(alpha):
        raise ValueError(
            f"{len(cases)} learning cases are too few for alpha = {alpha}: every set would be "
            f"trivial; at least {fewest_cases(alpha)} are needed"
        )
    cutoffs = {
        name: (conformal_quantile(inner, alpha), 0.0 - conformal_quantile(0.0 - outer, alpha))
        for name, (inner, outer) in critical.items()
    }
    sizes = _sizes(known, cutoffs, cases)
    inner_name = max(known, key=lambda name: sizes[name].inner)
    outer_name = min(known, key=lambda name: sizes[name].outer)
    return Choice(
        inner=_remembering(known[inner_name], cases),
        outer=_remembering(known[outer_name], cases),
        inner_name=inner_name,
        outer_name=outer_name,
        sizes=sizes,
    )


def common_scale(
    inner: Field | FieldFunction, outer: Field | FieldFunction, learning_cases: Iterable[Case]
) -> Pair:
    """An inner and an outer field put on one scale, for joint sets without a split of alpha.

    On the new scale a cut-off says which share of the learning cases it would have sufficed
    for: the inner field goes through the distribution function of its critical values, the
    outer one through that of its nonconformity scores (minus the critical values). Between the
    learned values the functions are linear, and beyond them they go on rising, so that no case
    is out of reach. A joint set then spends on either side what it needs there.

    Parameters
    ----------
    inner, outer : field
        The fields; they may be on any scale, and the same.
    learning_cases : iterable of Case
        Cases kept for this, such as those of `choose_field`.

    Returns
    -------
    Pair
        Named pair ``(inner, outer)`` for ``ConfidenceSets(alpha, "joint", inner=..., outer=...)``.
        Calibration refuses the learning cases and their patients.

    Raises
    ------
    ValueError
        If no case has a finite critical value on one of the sides, or a case is unsound.

    Examples
    --------
    >>> from confseg import ConfidenceSets, fields, phantoms
    >>> pair = common_scale(fields.logit, fields.signed_distance(), phantoms.cases(99, seed=1))
    >>> method = ConfidenceSets(0.1, "joint", inner=pair.inner, outer=pair.outer)
    >>> method = method.calibrate(phantoms.cases(99, seed=2))
    >>> round(method.cutoff_inner_, 2), round(method.cutoff_outer_, 2)
    (0.93, -0.93)
    """
    cases = _held(learning_cases)
    sides = as_field(inner), as_field(outer)
    critical = _critical_values({"inner": sides[0], "outer": sides[1]}, cases)
    inner_values, outer_values = critical["inner"].inner, critical["outer"].outer
    # The outer field is minus a nonconformity score, and so is its new scale.
    knots, levels = _distribution(inner_values, "inner")
    mirrored = [values[::-1] for values in _distribution(0.0 - outer_values, "outer")]
    outer_scaled = Scaled(sides[1], tuple(0.0 - mirrored[0]), tuple(0.0 - mirrored[1]))
    return Pair(
        inner=_remembering(Scaled(sides[0], tuple(knots), tuple(levels)), cases),
        outer=_remembering(outer_scaled, cases),
    )


class _Critical(NamedTuple):
    """Critical values of the learning cases, on both sides."""

    inner: NDArray[np.float64]
    outer: NDArray[np.float64]


def _held(cases: Iterable[Case]) -> Sequence[Case]:
    held = cases if isinstance(cases, Sequence) else list(cases)
    if not held:
        raise ValueError("expected at least one learning case, found none")
    return held


def _critical_values(fields: Mapping[str, Field], cases: Sequence[Case]) -> dict[str, _Critical]:
    def numbers(case: Case) -> list[tuple[float, float]]:
        check_values(case.score)
        return [_both_sides(field, case) for field in fields.values()]

    table = np.array(list(per_case(numbers, cases)), dtype=np.float64)
    _check_one_spacing_rule(cases)
    return {name: _Critical(*table[:, i].T) for i, name in enumerate(fields)}


def _both_sides(field: Field, case: Case) -> tuple[float, float]:
    part = deciding_part(field, case.score, case.truth, case.spacing)
    return Inner(field).nonconformity(*part), 0.0 - Outer(field).nonconformity(*part)


def _sizes(
    fields: Mapping[str, Field],
    cutoffs: Mapping[str, tuple[float, float]],
    cases: Sequence[Case],
) -> dict[str, Sizes]:
    def volumes(case: Case) -> list[float]:
        voxel = float(np.prod(case.spacing or 1.0))
        found = [int(np.count_nonzero(case.truth))]
        for name, field in fields.items():
            inner, outer = cutoffs[name]
            found.append(int(Inner(field).region(case.score, case.spacing, inner).sum()))
            found.append(int(Outer(field).region(case.score, case.spacing, outer).sum()))
        return [voxel * count for count in found]

    lesion, *sums = np.sum(list(per_case(volumes, cases)), axis=0).tolist()
    if lesion == 0:
        raise ValueError("expected learning cases with a lesion, found none")
    shares = [volume / lesion for volume in sums]
    return {
        name: Sizes(*pair)
        for name, pair in zip(fields, zip(shares[::2], shares[1::2], strict=True), strict=True)
    }


def _check_one_spacing_rule(cases: Sequence[Case]) -> None:
    spaced = {case.spacing is not None for case in cases}
    if len(spaced) > 1:
        raise ValueError(
            "some learning cases have a spacing and some have not: volumes in mm and in voxels "
            "cannot be mixed"
        )


def _distribution(
    scores: NDArray[np.float64], side: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distinct finite nonconformity scores, and the share of all n + 1 ranks up to each."""
    knots = np.unique(scores[np.isfinite(scores)])
    if knots.size == 0:
        raise ValueError(f"no learning case has a finite critical value on the {side} side")
    return knots, np.searchsorted(np.sort(scores), knots, side="right") / (scores.size + 1)


def _remembering(field: Field, cases: Sequence[Case]) -> Learned:
    prints = {fingerprint(case.score, case.truth) for case in cases}
    return Learned(
        field,
        tuple(sorted(mark for mark in prints if mark is not None)),
        tuple(sorted({case.patient for case in cases if case.patient})),
    )
