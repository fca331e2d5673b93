"""Full conformal prediction over a finite family of candidate masks, exactly.

Nothing is split. Each candidate is taken for the truth of the new image, the segmenter is
trained on all cases with this one among them, and the candidate stays if its nonconformity
score is not among the largest. That takes one training per candidate: for small images, or for
segmenters that depend on the candidate through a few values only.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .case import Case, as_mask, as_score, as_spacing
from .exact import check_level, conformal_rank
from .fields import Field, FieldFunction, logit
from .training import (
    Control,
    Train,
    check_one_spacing_rule,
    listed,
    nonconformity,
    patients_of,
    sides_of,
)


class FullSets(NamedTuple):
    """What full conformal prediction says of one image."""

    inner: NDArray[np.bool_]
    """Intersection of the candidates that were kept."""
    outer: NDArray[np.bool_]
    """Their union."""
    kept: NDArray[np.bool_]
    """Which candidates were kept, shape ``(m,)``."""
    p_values: NDArray[np.float64]
    """Share of the ``n + 1`` patients that look no better than the candidate, shape ``(m,)``."""


def full_conformal(
    train: Train,
    cases: Iterable[Case],
    image: ArrayLike,
    candidates: Iterable[ArrayLike],
    alpha: float,
    *,
    control: Control = "joint",
    inner: Field | FieldFunction = logit,
    outer: Field | FieldFunction = logit,
    spacing: Sequence[float] | None = None,
    summary: Callable[[NDArray[np.bool_]], Hashable] | None = None,
) -> FullSets:
    """Keep every candidate mask that conforms with the known cases, training with it each time.

    If the cases and the new one are exchangeable and the order of cases does not matter in
    training, the true mask is a candidate and yet not kept with a probability of at most
    `alpha`. So the set of kept masks holds the truth with probability at least ``1 - alpha``
    if the truth is always among the candidates, and otherwise less by at most the probability
    that it is not.

    Parameters
    ----------
    train : callable
        ``train(cases)`` returns ``segment``, and ``segment(image, spacing)`` a score image of
        the same shape. The `score` of these cases is the image that the segmenter looks at. The
        order of the cases must not matter.
    cases : iterable of Case
        The known cases; cases of one patient count once, with the worst of them.
    image : array_like of float
        The image of the new case, of a new patient.
    candidates : iterable of array_like of bool
        Masks of the shape of the image.
    alpha : float
        Risk level, strictly between 0 and 1.
    control : {"joint", "inner", "outer"}, default "joint"
        The sides that the nonconformity score looks at: the worse of both, or one.
    inner, outer : field, default `fields.logit`
        Fields of the score, as for `ConfidenceSets`.
    spacing : sequence of float, optional
        Voxel spacing of the new image in mm.
    summary : callable, optional
        ``summary(mask)`` is all that training makes of the new mask (its volume, say): masks of
        equal summary share one training. The promise is lost if that is not true.

    Returns
    -------
    FullSets
        ``(inner, outer, kept, p_values)``. If no candidate was kept, the union is empty and the
        intersection is the whole image.

    Raises
    ------
    ValueError
        If there are no cases or no candidates, or one of them is unsound.

    References
    ----------
    Vovk, Gammerman and Shafer (2005), *Algorithmic Learning in a Random World*.

    Examples
    --------
    >>> from confseg import fields, phantoms
    >>> masks = [case.truth for case in phantoms.cases(20, seed=1)]
    >>> *known, new = phantoms.scans(masks, seed=2)
    >>> distance = fields.identity  # this segmenter's score is a distance to the contour
    >>> found = full_conformal(
    ...     phantoms.Atlas(), known, new.score, masks, 0.2, inner=distance, outer=distance
    ... )
    >>> bool(found.kept[-1]), int(found.kept.sum())
    (True, 8)
    """
    alpha = check_level("alpha", alpha)
    sides = sides_of(control, inner, outer)
    known = listed(cases)
    if not known:
        raise ValueError("expected at least one case, found none")
    patients = patients_of(known)
    array = as_score(image)
    steps = as_spacing(spacing, array.ndim)
    new = [
        Case(array, as_mask(mask), steps, name=f"candidate {i}")
        for i, mask in enumerate(candidates)
    ]
    if not new:
        raise ValueError("expected at least one candidate mask, found none")
    check_one_spacing_rule(sides, [case.spacing for case in (*known, new[0])])
    groups: dict[Hashable, list[int]] = {}
    for i, candidate in enumerate(new):
        groups.setdefault(i if summary is None else summary(candidate.truth), []).append(i)
    n = int(patients.max()) + 1
    no_better = np.empty(len(new), dtype=np.intp)
    for members in groups.values():
        segment = train([*known, new[members[0]]])
        worst = np.full(n, -np.inf)
        np.maximum.at(worst, patients, [nonconformity(sides, segment, case) for case in known])
        for i in members:
            no_better[i] = np.count_nonzero(worst >= nonconformity(sides, segment, new[i]))
    kept = no_better >= n + 1 - conformal_rank(n, alpha)
    masks = np.array([candidate.truth for candidate in new])[kept]
    return FullSets(
        inner=np.all(masks, axis=0),
        outer=np.any(masks, axis=0),
        kept=kept,
        p_values=(no_better + 1) / (n + 1),
    )
