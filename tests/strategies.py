"""Random images for the property tests: every dtype, layout and awkward truth."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from confseg import Case

FLOATS = ("<f2", "<f4", "<f8", ">f2", ">f4", ">f8")
TOLERANCES = (0.0, 0.05, 0.1, 0.25, 0.29, 0.3, 1 / 3, 0.5, 0.7, 0.99)
SPACINGS = (0.1, 0.3, 0.5, 0.625, 0.7, 1.0, 1.25, 2.5, 3.0)


# One to four axes; the fewer, the longer, so that there is room around a lesion.
shapes = st.sampled_from([(1, 14), (2, 9), (3, 5), (4, 4)]).flatmap(
    lambda kind: st.tuples(*[st.integers(1, kind[1])] * kind[0])
)


@st.composite
def layouts(draw, array: np.ndarray) -> np.ndarray:
    """The same values, laid out in memory in another way."""
    kind = draw(st.sampled_from(["C", "F", "reversed", "strided", "transposed", "read-only"]))
    if kind == "C":
        return array
    if kind == "F":
        return np.asfortranarray(array)
    if kind == "reversed":
        flip = (slice(None, None, -1),) * array.ndim
        return array[flip].copy()[flip]
    if kind == "strided":
        wide = np.zeros([2 * side for side in array.shape], dtype=array.dtype)
        every_other = (slice(None, None, 2),) * array.ndim
        wide[every_other] = array
        return wide[every_other]
    if kind == "transposed":
        return np.ascontiguousarray(array.T).T
    array = array.copy()
    array.flags.writeable = False
    return array


@st.composite
def truths(draw, shape: tuple[int, ...], empty: bool = True) -> np.ndarray:
    """A truth: random, one voxel, a block (often at the border), everything, or nothing."""
    kinds = ["random", "voxel", "block", "full", *(["empty"] if empty else [])]
    kind = draw(st.sampled_from(kinds))
    truth = np.full(shape, kind == "full")
    if kind == "random":
        truth = draw(masks(shape))
    elif kind == "block":
        ends = [sorted(draw(st.tuples(*[st.integers(0, side)] * 2))) for side in shape]
        truth[tuple(slice(low, high) for low, high in ends)] = True
    if kind == "voxel" or not (empty or truth.any()):
        truth[draw(st.tuples(*[st.integers(0, side - 1) for side in shape]))] = True
    return draw(layouts(truth))


@st.composite
def images(draw, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Finite floats between two bounds: from a few odd ones with many ties, or all over."""
    dtype = np.dtype(draw(st.sampled_from(FLOATS)))
    floats = st.floats(low, high, width=8 * dtype.itemsize)
    pool = np.array([low, high, *draw(st.lists(floats, max_size=9))], dtype=dtype)
    if draw(st.booleans()):
        values = pool[draw(_numbers(shape, "u1")) % len(pool)]
    else:
        values = (low + (high - low) * (draw(_numbers(shape, "u4")) / 2**32)).astype(dtype)
    return draw(layouts(values))


def masks(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    """Masks with any voxels."""
    return _numbers(shape, "u1").map(lambda numbers: numbers % 2 == 1)


def _numbers(shape: tuple[int, ...], dtype: str) -> st.SearchStrategy[np.ndarray]:
    """Unsigned integers, made from one draw of bytes: fast, and they shrink to 0."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return st.binary(min_size=size, max_size=size).map(
        lambda data: np.frombuffer(data, dtype).reshape(shape)
    )


@st.composite
def confined(draw, shape: tuple[int, ...]) -> np.ndarray:
    """Probabilities that are 0 outside of a block, as those of a segmenter nearly are."""
    values, block = draw(images(shape)), draw(truths(shape))
    return np.where(block, values, np.zeros((), values.dtype))


def scores(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    """Probabilities of any float type, or a bool mask."""
    return st.one_of(images(shape), confined(shape), truths(shape))


@st.composite
def fields(draw) -> tuple[np.ndarray, np.ndarray]:
    """A field of any sign, sometimes infinite, with a truth."""
    shape = draw(shapes)
    field = draw(images(shape, -4.0, 4.0))
    if draw(st.booleans()):
        ends = np.array([0, 0, np.inf, -np.inf], dtype=field.dtype)
        field = field + ends[draw(_numbers(shape, "u1")) % 4]
    return field, draw(truths(shape))


@st.composite
def cases(draw, empty: bool = False, spaced: bool = False) -> Case:
    """A case with a score between 0 and 1."""
    shape = draw(shapes)
    spacing = draw(st.tuples(*[st.sampled_from(SPACINGS)] * len(shape))) if spaced else None
    return Case(draw(scores(shape)), draw(truths(shape, empty)), spacing, name="random")


def calibration_sets(**kinds) -> st.SearchStrategy[list[Case]]:
    """Three to five cases: with alpha of 0.25 or more never too few."""
    return st.lists(cases(**kinds), min_size=3, max_size=5)


alphas = st.sampled_from([0.25, 0.3, 0.5, 0.7])
tolerances = st.sampled_from(TOLERANCES)
