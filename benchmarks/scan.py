"""The case that is measured: one large lesion in one large scan, as a network would score it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from confseg import Case

SHAPE = (128, 512, 512)
CENTER = (64, 250, 260)
RADIUS = 40
SPACING = (1.25, 0.703125, 0.703125)


def make_scan() -> Case:
    """A ball of 40 voxels radius; the segmenter draws it too small and off center."""
    truth = _depth(CENTER, RADIUS) > 0
    depth = _depth(tuple(c + 3 for c in CENTER), RADIUS - 2)
    depth += np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
    np.clip(depth / 2, -40, 40, out=depth)
    return Case(1 / (1 + np.exp(-depth)), truth, SPACING, name="scan")


def in_8_bits(case: Case) -> Case:
    """The same scan with probabilities in steps of 1/255, as many programs save them."""
    return replace(case, score=np.round(case.score * 255) / np.float32(255))


def in_fortran_order(case: Case) -> Case:
    """The same scan laid out as NIfTI files are read."""
    return replace(case, score=np.asfortranarray(case.score), truth=np.asfortranarray(case.truth))


def _depth(center: tuple[int, ...], radius: float) -> NDArray[np.float32]:
    """Depth below the surface of a ball in voxels, negative outside."""
    axes = [np.arange(n, dtype=np.float32) - c for n, c in zip(SHAPE, center, strict=True)]
    squares = sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True))
    return np.float32(radius) - np.sqrt(squares)
