"""Score maps and true masks from NIfTI files, and masks back into them.

An image keeps the axes and the orientation of its file; nothing is turned or resampled. The
spacing is that of the header, with which the affine must agree. A score map and its truth must
lie on one grid. Probabilities of several classes, in a fourth axis or in nnU-Net's ``.npz``,
become one map of the lesion.
"""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from .case import Case, Spacing, extent, naming
from .exact import as_decimal
from .manifest import Row, Rule
from .storage import write_whole

NIFTI_ENDINGS = (".nii.gz", ".nii")

GRID_TOLERANCE = 0.5
"""How far two affines may place a corner of one image apart, in edges of the smallest voxel.

Up to one half, voxels of one index are nearer to each other than to any other voxel. The rounding
of a slanted image's directions shifts far corners by a third of an edge, in published data.
"""

# Shares by which rounding in files may change what is meant to be the same.
_SPACING_TOLERANCE = 0.01
_SQUARE_TOLERANCE = 1e-3
_SUM_TOLERANCE = 0.01
# So far rounding moves a probability beyond 0 or 1: 255 times 1/255 in 32 bits, a float32 softmax.
_ROUNDING = 1e-6
# Share of a mask that agrees with its probabilities; post-processing may change a part of it.
_MOST = 0.5

_MM = {"mm": 1.0, "micron": 1e-3, "meter": 1e3, "unknown": 1.0}

ANY_LABEL = Rule()


@dataclass(frozen=True, eq=False)
class Image:
    """An image and where its voxels lie.

    Attributes
    ----------
    values : ndarray
        The voxels, in the order of the file.
    affine : ndarray of float, shape (4, 4)
        From voxel indices to the file's unit of length.
    unit : str
        That unit as NIfTI calls it; "unknown" counts as mm.
    spacing : tuple of float or None
        Edge lengths of a voxel in mm; None for a photograph, a single slice of unknown unit.
    path : pathlib.Path
        The file, for messages.
    """

    values: NDArray
    affine: NDArray[np.float64]
    unit: str
    spacing: Spacing | None
    path: Path


@dataclass(frozen=True)
class Reading:
    """How files become cases, where more than one way is possible.

    Parameters
    ----------
    channel : int, optional
        Which class of a score with several is the lesion, counted from 0. Without it the classes
        must be probabilities that add up to 1; those whose number the label rule takes for
        lesion are added.
    labels : tuple of int, optional
        The labels that a truth may hold besides 0; without it any whole number.
    """

    channel: int | None = None
    labels: tuple[int, ...] | None = None


def read_case(row: Row, reading: Reading | None = None) -> Case:
    """Score, truth and spacing of one row of a manifest.

    Parameters
    ----------
    row : Row
        A row with both files.
    reading : Reading, optional
        How they are read, where more than one way is possible.

    Returns
    -------
    Case
        The case, named as in the manifest.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged or says something else than was expected, or the two do not lie on
        one grid; the message names the case and the files.
    """
    reading = reading or Reading()
    with naming(f"case {row.case!r}"):
        if row.score is None or row.truth is None:
            raise ValueError(f"expected a score and a truth, found {row.score} and {row.truth}")
        score = read_score(row.score, row.rule, reading.channel)
        truth = read_labels(row.truth, reading.labels)
        check_same_grid(score, truth)
    return Case(
        score.values,
        row.rule.mask(truth.values),
        score.spacing,
        name=row.case,
        patient=row.patient,
        group=row.group,
    )


def files_of(row: Row) -> list[Path]:
    """The files of a row, with the one beside an ``.npz`` that says where its voxels lie."""
    files = [file for file in (row.score, row.truth) if file is not None]
    if row.score is not None and (beside := _beside(row.score)) is not None:
        files.append(beside)
    return files


def read_score(path: Path, rule: Rule = ANY_LABEL, channel: int | None = None) -> Image:
    """The score map of the lesion.

    Parameters
    ----------
    path : pathlib.Path
        A NIfTI file, or nnU-Net's ``.npz`` of probabilities with the NIfTI file of the same name
        beside it, which says where the voxels lie.
    rule : Rule
        Which classes are the lesion, where there are several and no `channel` is chosen.
    channel : int, optional
        The class that is the lesion.

    Returns
    -------
    Image
        One number per voxel. Probabilities that rounding has moved beyond 0 or 1, by a millionth
        at most, are moved back.

    Raises
    ------
    FileNotFoundError
        If the file, or the one beside it, is missing.
    ValueError
        If it is damaged, or does not hold what was asked for.
    """
    image = _read_npz(path) if path.name.endswith(".npz") else read_nifti(path)
    several = image.values.ndim > 3
    if channel is not None and not several:
        raise ValueError(f"{path} holds one map, so there is no channel {channel} to choose")
    with naming(str(path)):
        lesion = _lesion(image.values, rule, channel) if several else image.values
        return Image(_rounded_back(lesion), image.affine, image.unit, image.spacing, path)


def read_labels(path: Path, labels: Collection[int] | None = None) -> Image:
    """A label image.

    Parameters
    ----------
    path : pathlib.Path
        A NIfTI file.
    labels : collection of int, optional
        The labels that it may hold besides 0.

    Returns
    -------
    Image
        Whole numbers from 0 on.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If it is damaged, has several channels, or holds other labels.
    """
    image = read_nifti(path)
    if image.values.ndim > 3:
        raise ValueError(f"{path}: a truth has one label per voxel, found {image.values.shape}")
    found = np.unique(image.values[image.values != 0])  # most of a truth is background
    wrong = found[~(np.isfinite(found) & (found >= 0) & (found == np.round(found)))]
    if wrong.size:
        raise ValueError(f"{path}: labels are whole numbers from 0 on, found {wrong[0]!s}")
    if labels is not None and (others := sorted(set(found.tolist()) - set(labels))):
        raise ValueError(f"{path}: expected labels among {sorted({0, *labels})}, found {others}")
    return image


def read_nifti(path: Path) -> Image:
    """An image from ``.nii`` or ``.nii.gz``, with axes of length 1 after the third removed.

    Parameters
    ----------
    path : pathlib.Path
        The file. It is read to its end, so that the checksum of a packed file is compared.

    Returns
    -------
    Image
        The image as it is stored.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no NIfTI file, is damaged, or its header contradicts itself.
    """
    image = _parsed(path)
    with _parsing(path):
        values = np.asarray(image.dataobj)
    _check_numbers(path, values)
    extra = tuple(axis for axis in range(3, values.ndim) if values.shape[axis] == 1)
    values = values.squeeze(extra)
    with naming(str(path)):
        unit = _unit(image)
        spacing = _spacing(image, unit)
    return Image(values, image.affine, unit, spacing, path)


def check_same_grid(score: Image, truth: Image) -> None:
    """Raise ValueError unless two images have one shape and one place."""
    both = f"{score.path} and {truth.path}"
    if score.values.shape != truth.values.shape:
        raise ValueError(
            f"{both} have the shapes {score.values.shape} and {truth.values.shape}, expected one"
        )
    edges = nib.affines.voxel_sizes(score.affine)
    ends = [(0, length - 1) for length in (*score.values.shape, 1, 1)[:3]]
    corners = np.stack(np.meshgrid(*ends), axis=-1).reshape(-1, 3)
    apart = nib.affines.apply_affine(score.affine, corners) - nib.affines.apply_affine(
        truth.affine, corners
    )
    farthest, allowed = np.linalg.norm(apart, axis=1).max(), GRID_TOLERANCE * edges.min()
    if farthest > allowed:
        raise ValueError(
            f"{both} have one shape but other affines: a corner lies {farthest:.4g} apart, at most "
            f"{allowed:.4g} is expected. Was one of them resampled, or turned?"
            f"{_unsure_of_place(score.path)}{_unsure_of_place(truth.path)}"
        )


def _unsure_of_place(path: Path) -> str:
    """What a header leaves open about where its voxels lie; other programs may decide otherwise."""
    path = _beside(path) or path
    header = _parsed(path).header
    with _parsing(path):
        sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    if sform is None and qform is None:
        return f" The header of {path} does not say where its voxels lie."
    if sform is not None and qform is not None and not np.allclose(sform, qform, atol=1e-2):
        return f" The sform and the qform of {path} differ; the sform was taken."
    return ""


def write_mask(path: Path, mask: NDArray[np.bool_], like: Image) -> None:
    """Write a mask as ``.nii.gz`` on the grid of the image it was made from, whole or not at all.

    Parameters
    ----------
    path : pathlib.Path
        The file; its folder must exist.
    mask : ndarray of bool
        The mask, 1 where it is True.
    like : Image
        Whose affine and unit the file gets.
    """
    image = nib.Nifti1Image(mask.astype(np.uint8), like.affine)
    # Both ways to say where the voxels lie, since some programs read only the one or the other.
    image.set_sform(like.affine, code="scanner")
    image.set_qform(like.affine, code="scanner")
    image.header.set_xyzt_units(like.unit)
    packed = gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)
    write_whole(path, lambda stream: stream.write(packed))


def _parsed(path: Path) -> nib.Nifti1Image:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if not path.name.endswith(NIFTI_ENDINGS):
        raise ValueError(f"{path}: expected a file that ends in {' or '.join(NIFTI_ENDINGS)}")
    with _parsing(path):
        content = path.read_bytes()
        content = gzip.decompress(content) if path.name.endswith(".gz") else content
        # Asked here, since nibabel would mend and log what it does not know.
        if content[344:347] == b"n+1":
            return nib.Nifti1Image.from_bytes(content)
        if content[4:7] == b"n+2":
            return nib.Nifti2Image.from_bytes(content)
    raise ValueError(f"{path} is no NIfTI file, or cut off within its header")


def _check_numbers(path: Path, values: NDArray) -> None:
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{path} holds no numbers but {values.dtype}")


@contextmanager
def _parsing(path: Path, expected: str = "") -> Iterator[None]:
    """Around libraries that parse a file: whatever a damaged one makes them raise names it."""
    try:
        yield
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} cannot be read{expected}: {reason}") from error


def _unit(image: nib.Nifti1Image) -> str:
    try:
        return image.header.get_xyzt_units()[0]
    except KeyError:
        raise ValueError(f"the header has no unit {image.header['xyzt_units']}") from None


def _spacing(image: nib.Nifti1Image, unit: str) -> Spacing | None:
    """Edge lengths of a voxel in mm; ValueError where affine and header contradict each other."""
    axes = min(len(image.shape), 3)
    affine = image.affine[:3, :axes]
    edges = np.linalg.norm(affine, axis=0)
    if not np.isfinite(image.affine).all() or edges.min() <= 0:
        raise ValueError(f"the affine is no affine: {image.affine.tolist()}")
    # 0.3 and not 0.30000001: stored in 32 bits, and free of what turning does to an affine.
    stored = [as_decimal("an edge of a voxel", edge) for edge in image.header.get_zooms()[:axes]]
    if not np.allclose(edges, stored, rtol=_SPACING_TOLERANCE, atol=0):
        raise ValueError(f"the affine gives voxels of {edges.tolist()}, the header {stored}")
    directions = affine / edges
    if not np.allclose(directions.T @ directions, np.eye(axes), rtol=0, atol=_SQUARE_TOLERANCE):
        raise ValueError(
            "the axes are not at right angles, as after a tilt of the scanner, so that distances "
            "would be wrong: resample the scan first, and what belongs to it"
        )
    if unit == "unknown" and (axes < 3 or image.shape[2] == 1):
        return None
    return tuple(edge * _MM[unit] for edge in stored)


def _read_npz(path: Path) -> Image:
    """nnU-Net's probabilities, whose axes are (class, z, y, x), on the grid of the file beside."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    found = _beside(path)
    if found is None:
        raise FileNotFoundError(
            f"{path} does not say where its voxels lie: expected {path.stem}.nii.gz beside it"
        )
    grid = read_nifti(found)
    with (
        _parsing(path, ", expected an array 'probabilities'"),
        np.load(path, allow_pickle=False) as arrays,
    ):
        values = arrays["probabilities"].T
    _check_numbers(path, values)
    if values.ndim != 4 or values.shape[:3] != grid.values.shape:
        raise ValueError(
            f"{path} holds probabilities of the shape {values.shape[::-1]}, expected "
            f"(classes, {', '.join(map(str, grid.values.shape[::-1]))}) as {found.name} has it"
        )
    with naming(str(path)):
        _check_made_from(values, grid)
    return Image(values, grid.affine, grid.unit, grid.spacing, path)


def _check_made_from(probabilities: NDArray, mask: Image) -> None:
    """Raise ValueError if a mask, as nnU-Net writes it, lies elsewhere than its probabilities."""
    inside = mask.values > 0
    classes, labels = probabilities[inside], mask.values[inside]
    # Everywhere, not only inside: of regions, which may overlap, none takes the background.
    exclusive = np.abs(probabilities.sum(axis=-1, dtype=np.float64) - 1) <= _SUM_TOLERANCE
    if not exclusive.all() or not np.isin(labels, np.arange(probabilities.shape[-1])).all():
        return  # regions, or another image than a mask
    agreeing = np.mean(classes.argmax(axis=-1) == labels) if labels.size else 1.0
    if agreeing < _MOST:
        raise ValueError(
            f"only {agreeing:.0%} of the lesion voxels of {mask.path.name} have their likeliest "
            "class there. Were the probabilities turned? nnU-Net's NibabelIOWithReorient leaves "
            "them in the orientation RAS: hand it scans that are stored so"
        )


def _beside(path: Path) -> Path | None:
    """The NIfTI file beside an ``.npz`` file; None if there is none, or the file is another."""
    if not path.name.endswith(".npz"):
        return None
    names = (path.with_name(path.name[: -len(".npz")] + end) for end in NIFTI_ENDINGS)
    return next((file for file in names if file.is_file()), None)


def _lesion(values: NDArray, rule: Rule, channel: int | None) -> NDArray:
    """One map from several classes, which lie along the last of four axes."""
    if values.ndim > 4:
        raise ValueError(f"expected at most one axis of classes, found the shape {values.shape}")
    classes = values.shape[-1]
    if channel is not None:
        if not 0 <= channel < classes:
            raise ValueError(f"there is no channel {channel}: expected one from 0 to {classes - 1}")
        return values[..., channel]
    chosen = np.flatnonzero(rule.mask(np.arange(classes)))
    if not chosen.size:
        raise ValueError(f"none of the {classes} classes is lesion by the rule {rule.text!r}")
    total = values.sum(axis=-1, dtype=np.float64)
    if not (np.abs(total - 1) <= _SUM_TOLERANCE).all() or values.min() < -_ROUNDING:
        raise ValueError(
            f"the {classes} channels are no probabilities of classes: their sums range from "
            f"{total.min():.4g} to {total.max():.4g}, expected 1. Logits need a softmax first; "
            "where the channels do not exclude each other, choose one"
        )
    if chosen.size == 1:
        return values[..., chosen[0]]
    return np.minimum(values[..., chosen].sum(axis=-1, dtype=np.float64), 1.0)


def _rounded_back(score: NDArray) -> NDArray:
    """A score map of which rounding has left no probability outside 0 and 1; logits stay."""
    if not score.size or score.dtype.kind == "b":
        return score
    low, high = extent(score)
    if 0 <= low <= high <= 1:
        return score
    if score.dtype.kind in "iu":
        raise ValueError(
            f"whole numbers from {low:g} to {high:g} are no score map: expected floats, or a mask "
            "of 0 and 1. Were probabilities stored as integers? The header must then say by which "
            "factor (scl_slope), such as 1/255"
        )
    return np.clip(score, 0, 1) if low >= -_ROUNDING and high <= 1 + _ROUNDING else score
