"""What the package is measured against, each as its source describes it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from confseg import Case

# On a step function the search of the paper may never stop. Here it is stopped when halving no
# longer changes a float64 between 0 and 1.
MOST_HALVINGS = 60


def one_pass(case: Case) -> None:
    """The least that any method has to do: look at every voxel of both images once."""
    case.score.max()
    np.count_nonzero(case.truth)


def algorithm_1(case: Case, eps: float, delta: float = 1e-4) -> tuple[float, int]:
    """The bisection of Tan et al. (2025), Algorithm 1, over the whole volume.

    Returns the threshold and how many halvings it took.
    """
    low, high, loss, halvings = 0.0, 1.0, np.inf, 0
    while abs(loss - eps) > delta and halvings < MOST_HALVINGS:
        t = (low + high) / 2
        mask = case.score >= 1 - t
        loss = 1 - (mask & case.truth).sum() / case.truth.sum()
        low, high = (t, high) if loss > eps else (low, t)
        halvings += 1
    return t, halvings


def whole_distance_transform(case: Case, coverage: float) -> float:
    """The margin in mm from SciPy's distance transform of the whole volume."""
    distance = ndimage.distance_transform_edt(case.score < 0.5, sampling=case.spacing)
    reached = np.sort(distance[case.truth])
    return float(reached[int(np.ceil(coverage * reached.size)) - 1])


def iterated_dilation(case: Case, coverage: float) -> int:
    """The margin in steps, dilating by the cross until enough of the truth is covered."""
    region, steps = case.score >= 0.5, 0
    needed = coverage * np.count_nonzero(case.truth)
    while np.count_nonzero(region & case.truth) < needed:
        region = ndimage.binary_dilation(region)
        steps += 1
    return steps
