"""What is kept of a prediction: two histograms per case, inside and outside the truth.

For any cut-off they give the false negative rate, the size and the Dice of the mask, and they
are numbers, not images.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from confseg.storage import write_whole

LEVELS = 256


def histogram(probability: NDArray[np.floating], truth: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Voxels by level of probability, outside and inside the truth.

    Parameters
    ----------
    probability : ndarray of float, any shape
        Probabilities; level ``j`` of 256 holds those from ``j / 256`` to below ``(j + 1) / 256``,
        the last one 1 as well.
    truth : ndarray of bool, same shape
        The true mask.

    Returns
    -------
    ndarray of int32, shape (2, 256)
        Counts outside (row 0) and inside (row 1).
    """
    level = np.minimum((probability * LEVELS).astype(np.int64), LEVELS - 1)
    joint = np.bincount((truth * LEVELS + level).ravel(), minlength=2 * LEVELS)
    return joint.reshape(2, LEVELS).astype(np.int32)


def write(
    path: Path, names: list[str], counts: NDArray[np.int32], about: Mapping[str, str]
) -> None:
    """Write names, counts of shape (cases, 2, 256) and their origin, whole or not at all."""

    def save(stream: BinaryIO) -> None:
        np.savez_compressed(stream, names=np.array(names), counts=counts, **about)

    write_whole(path, save)
