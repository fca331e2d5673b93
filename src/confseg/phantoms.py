"""Seeded synthetic lesions and a segmenter whose faults can be set, many per second.

A lesion is a ball whose surface is roughened by a smooth random field. The segmenter sees the
signed distance to the surface through a bias and a smooth random error, and reports a
probability. Every case is drawn independently from one law, so cases are exchangeable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, special

from .case import Case, Spacing
from .fields import signed_distance

# Cases are made in batches: the filters then work on one large array.
_BATCH = 64

# Polyps: a quarter of the size for which PraNet computes its scores.
_SIDE = 88
_PIXELS = np.indices((_SIDE, _SIDE), dtype=np.float64)[:, np.newaxis]


@dataclass(frozen=True)
class Lesions:
    """The population of lesions.

    Parameters
    ----------
    shape : tuple of int, default (48, 48)
        Shape of the image in voxels; two or three axes.
    radius : (float, float), default (6.0, 13.0)
        Smallest and largest radius (voxels), drawn uniformly.
    roughness : float, default 1.5
        Standard deviation (voxels) of the displacement of the surface.
    bumps : float, default 4.0
        Correlation length (voxels) of that displacement.
    spacing : tuple of float, optional
        Voxel spacing in mm that the cases carry.
    """

    shape: tuple[int, ...] = (48, 48)
    radius: tuple[float, float] = (6.0, 13.0)
    roughness: float = 1.5
    bumps: float = 4.0
    spacing: Spacing | None = None


@dataclass(frozen=True)
class Segmenter:
    """A segmenter with faults that can be set.

    Parameters
    ----------
    bias : float, default 0.0
        Shift of the contour (voxels); positive draws lesions too large.
    noise : float, default 1.5
        Standard deviation (voxels) of its error.
    correlation : float, default 4.0
        Correlation length (voxels) of the error.
    softness : float, default 1.5
        Scale (voxels) of the probability's fall across the contour: small is overconfident.
    """

    bias: float = 0.0
    noise: float = 1.5
    correlation: float = 4.0
    softness: float = 1.5


def cases(
    n: int,
    lesions: Lesions = Lesions(),
    segmenter: Segmenter = Segmenter(),
    seed: int | np.random.SeedSequence = 0,
) -> Iterator[Case]:
    """Draw independent phantom cases.

    Parameters
    ----------
    n : int
        Number of cases.
    lesions : Lesions
        The population they come from.
    segmenter : Segmenter
        What scores them.
    seed : int or numpy.random.SeedSequence, default 0
        Equal seeds give equal lesions, whatever the segmenter.

    Yields
    ------
    Case
        Score: probabilities in float64; one patient per case, other seeds, other patients.

    Examples
    --------
    >>> first, second = cases(2, seed=7)
    >>> first.score.shape, first.name, first.patient
    ((48, 48), 'phantom 0', 'patient 7-0')
    >>> worse = next(cases(1, segmenter=Segmenter(noise=3.0), seed=7))
    >>> bool((worse.truth == first.truth).all())
    True
    """
    sequence, known_as = _sequence(seed)
    of_lesions, of_errors = (np.random.default_rng(s) for s in _two_streams(sequence))
    for start in range(0, n, _BATCH):
        depth = _depths(of_lesions, lesions)
        error = segmenter.noise * smooth_noise(of_errors, depth.shape, segmenter.correlation)
        score = special.expit((depth + segmenter.bias + error) / segmenter.softness)
        for i in range(min(_BATCH, n - start)):
            yield Case(
                score[i],
                depth[i] > 0,
                lesions.spacing,
                name=f"phantom {start + i}",
                patient=f"patient {known_as}-{start + i}",
            )


def polyps(n: int, seed: int | np.random.SeedSequence = 0) -> Iterator[Case]:
    """Draw score maps like those of a network that looks for polyps in endoscopy images.

    Most are good. The error varies from image to image, and where it is large the scores are
    less extreme. In 7% a part of the polyp is not seen, in 8% a fold of the bowel is taken for a
    second polyp, in 3% the polyp is hardly seen at all. Around the predicted mask the score is
    lowest; it rises again farther away.

    Parameters
    ----------
    n : int
        Number of cases.
    seed : int or numpy.random.SeedSequence, default 0
        Seed.

    Yields
    ------
    Case
        Images of 88 x 88 pixels without a unit of length, probabilities in float64; one patient
        per case, other seeds, other patients.

    Examples
    --------
    >>> case = next(polyps(1))
    >>> case.score.shape, case.name, case.spacing
    ((88, 88), 'polyp 0', None)
    """
    sequence, known_as = _sequence(seed)
    rng = np.random.default_rng(sequence)
    for start in range(0, n, _BATCH):
        depth, log_odds = _scored_polyps(rng)
        score = special.expit(log_odds)
        for i in range(min(_BATCH, n - start)):
            yield Case(
                score[i],
                depth[i] > 0,
                name=f"polyp {start + i}",
                patient=f"patient {known_as}-{start + i}",
            )


def scans(
    masks: ArrayLike,
    noise: float = 0.5,
    correlation: float = 1.0,
    seed: int | np.random.SeedSequence = 0,
) -> Iterator[Case]:
    """Raw images of given lesions, for segmenters that are still to be trained.

    Parameters
    ----------
    masks : array_like of bool, shape (n, ...)
        The true masks, such as those of `cases`.
    noise : float, default 0.5
        Standard deviation of the noise; the lesion is brighter than its surroundings by 1.
    correlation : float, default 1.0
        Correlation length (voxels) of the noise.
    seed : int or numpy.random.SeedSequence, default 0
        Seed of the noise.

    Yields
    ------
    Case
        Its `score` is the raw image; one patient per case.

    Examples
    --------
    >>> image = next(scans([case.truth for case in cases(1)]))
    >>> float(image.score[image.truth].mean() - image.score[~image.truth].mean()) > 0.8
    True
    """
    rng = np.random.default_rng(seed)
    for i, mask in enumerate(np.asarray(masks)):
        error = noise * smooth_noise(rng, (1, *mask.shape), correlation)[0]
        yield Case(mask + error, mask, name=f"phantom {i}", patient=f"patient {i}")


@dataclass(frozen=True)
class Atlas:
    """A segmenter that can be trained in no time: it remembers, and compares.

    Training stores the images with the signed distances to the contours of their true masks.
    The score of a new image is the mean of these distances, each weighted by how alike the two
    images are: by ``exp(-d / (2 bandwidth**2))``, ``d`` being the mean squared difference.

    Parameters
    ----------
    bandwidth : float, default 0.15
        Small: the most similar case decides, and a case that was trained on is known by heart.
        Large: every image gets the mean shape.

    Raises
    ------
    ValueError
        When trained on a mask that is empty or the whole image.

    References
    ----------
    Shape-based averaging of several atlases, as in Rohlfing and Maurer (2007).

    Examples
    --------
    >>> one, two = scans([case.truth for case in cases(2)])
    >>> segment = Atlas(bandwidth=0.1)([one, two])
    >>> bool(((segment(one.score) > 0) == one.truth).all())
    True
    """

    bandwidth: float = 0.15

    def __call__(self, cases: Sequence[Case]) -> Callable[..., NDArray[np.float64]]:
        """Remember the cases; the result is called with an image (and its spacing, unused)."""
        images = np.array([case.score for case in cases])
        distances = np.array([_INSIDE(case.truth) for case in cases])
        if not np.isfinite(distances).all():
            raise ValueError("a mask to learn from has no contour: it is empty, or the whole image")

        def segment(image: NDArray, spacing: Spacing | None = None) -> NDArray[np.float64]:
            squares = (images - image) ** 2
            unlike = squares.reshape(len(squares), -1).mean(axis=1)
            weights = special.softmax(-unlike / (2 * self.bandwidth**2))
            return np.tensordot(weights, distances, axes=1)

        return segment


_INSIDE = signed_distance()


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], correlation: float
) -> NDArray[np.float64]:
    """Gaussian random fields of unit variance, independent along the first axis.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    shape : tuple of int
        Number of fields, then the shape of one.
    correlation : float
        Standard deviation (voxels) of the smoothing kernel; 0 gives white noise.

    Returns
    -------
    ndarray of float64
        The fields; periodic at the borders, so that the variance is the same everywhere.
    """
    white = rng.standard_normal(shape)
    if correlation == 0:
        return white
    widths = (0.0,) + (correlation,) * (len(shape) - 1)
    smooth = ndimage.gaussian_filter(white, widths, mode="wrap")
    return smooth / _kernel_norm(shape[1:], correlation)


@lru_cache
def _kernel_norm(shape: tuple[int, ...], correlation: float) -> float:
    impulse = np.zeros(shape)
    impulse[(0,) * len(shape)] = 1.0
    return float(np.linalg.norm(ndimage.gaussian_filter(impulse, correlation, mode="wrap")))


def _depths(rng: np.random.Generator, lesions: Lesions) -> NDArray[np.float64]:
    """Signed distance to the surface for a batch, positive inside; lesion is where it is > 0."""
    ndim = len(lesions.shape)
    column = (_BATCH,) + (1,) * ndim
    radius = rng.uniform(*lesions.radius, size=column)
    squares = np.zeros((_BATCH, *lesions.shape))
    for axis, length in enumerate(lesions.shape):
        center = (length - 1) / 2 + rng.uniform(-2, 2, size=column)
        along = np.arange(length).reshape((length,) + (1,) * (ndim - 1 - axis))
        squares += (along - center) ** 2
    bumps = smooth_noise(rng, squares.shape, lesions.bumps)
    return radius - np.sqrt(squares) + lesions.roughness * bumps


def _scored_polyps(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Depth in the polyp (> 0 inside) and log-odds of a batch; lengths in pixels."""
    one = (_BATCH, 1, 1)  # a number per image
    radius = np.clip(rng.lognormal(np.log(14), 0.4, one), 5, 30)
    center = rng.uniform(20, _SIDE - 20, (2, *one))
    depth = _ellipses(rng, radius, center) + smooth_noise(rng, (_BATCH, _SIDE, _SIDE), 6)
    hard = rng.lognormal(np.log(0.9), 0.6, one)
    error = smooth_noise(rng, depth.shape, 6)
    seen = depth + hard * error
    angle, reach = rng.uniform(0, 2 * np.pi, one), rng.uniform(0.1, 0.9, one) * radius
    rows, columns = _PIXELS - center
    beyond = reach - np.cos(angle) * rows - np.sin(angle) * columns
    seen = np.where(rng.random(one) < 0.07, np.minimum(seen, beyond), seen)
    log_odds = seen / (0.4 + 0.7 * hard)
    fold = _ellipses(rng, rng.uniform(3, 8, one), rng.uniform(8, _SIDE - 8, (2, *one)))
    fold = np.minimum(fold, rng.uniform(0, 5, one))
    log_odds = np.where(rng.random(one) < 0.08, np.maximum(log_odds, fold), log_odds)
    haze = error - 3 - 6 * np.exp(np.minimum(seen, 0) / 6)
    log_odds = np.where(seen > 0, log_odds, np.maximum(log_odds, haze))
    return depth, log_odds - np.where(rng.random(one) < 0.03, rng.uniform(3, 12, one), 0)


def _ellipses(
    rng: np.random.Generator, radius: NDArray[np.float64], center: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Radius minus distance from the center, in ellipses of that mean radius."""
    angle, root = rng.uniform(0, np.pi, radius.shape), rng.uniform(0.8, 1, radius.shape)
    rows, columns = _PIXELS - center
    along = np.cos(angle) * columns + np.sin(angle) * rows
    across = np.cos(angle) * rows - np.sin(angle) * columns
    return radius - np.hypot(along * root, across / root)


def _sequence(seed: int | np.random.SeedSequence) -> tuple[np.random.SeedSequence, str]:
    """The seed as a sequence, and what tells its patients from those of another seed."""
    sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return sequence, "-".join(map(str, (sequence.entropy, *sequence.spawn_key)))


def _two_streams(sequence: np.random.SeedSequence) -> list[np.random.SeedSequence]:
    # Built from the key, not spawned: spawning would change the caller's object.
    return [
        np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, stream))
        for stream in range(2)
    ]
