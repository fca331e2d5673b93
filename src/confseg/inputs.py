"""The cases of a command: a manifest, or folders whose files have matching names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .listing import first_few
from .manifest import PATHS, Row, Rule, read_manifest
from .nifti import NIFTI_ENDINGS


@dataclass(frozen=True)
class Source:
    """Cases and where their list comes from.

    Attributes
    ----------
    rows : list of Row
        The cases.
    name : str
        The manifest or the folders, as they were given.
    sha256 : str
        Of the manifest, or of the list of file names in the folders.
    """

    rows: list[Row]
    name: str
    sha256: str


def from_manifest(path: Path, truths: bool) -> Source:
    """The cases of a manifest.

    Parameters
    ----------
    path : pathlib.Path
        The CSV file.
    truths : bool
        Whether every case must have a truth; if not, truths are passed over.

    Returns
    -------
    Source
        The cases in the order of the file.

    Raises
    ------
    FileNotFoundError, ValueError
        As `confseg.manifest.read_manifest`.
    """
    rows = read_manifest(path, PATHS if truths else ("score",), truths)
    return Source(rows, str(path), hashlib.sha256(path.read_bytes()).hexdigest())


def from_folders(scores: Path, truths: Path | None, rule: Rule) -> Source:
    """The cases of a folder of scores, and of a folder of truths with the same names.

    Where a folder of scores holds ``.npz`` files, these are the scores, and the NIfTI files beside
    them only say where their voxels lie.

    Parameters
    ----------
    scores : pathlib.Path
        Folder of score maps.
    truths : pathlib.Path or None
        Folder of label images; None for new cases.
    rule : Rule
        Which labels are the lesion.

    Returns
    -------
    Source
        The cases by name, without patients and groups.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If a folder holds no images or one name twice, or the names do not match.
    """
    found = _images(scores, (".npz",)) or _images(scores, NIFTI_ENDINGS)
    if not found:
        raise ValueError(f"{scores} holds no .npz, .nii or .nii.gz files")
    if truths is None:
        truth_of: dict[str, Path] = {}
        _check_all_packed(scores, found)
    else:
        truth_of = _images(truths, NIFTI_ENDINGS)
        _check_matching((scores, found), (truths, truth_of))
    rows = [Row(name, score=found[name], truth=truth_of.get(name), rule=rule) for name in found]
    listed = "\n".join(
        f"{row.score and row.score.name}\t{row.truth and row.truth.name}" for row in rows
    )
    folders = [str(folder) for folder in (scores, truths) if folder is not None]
    return Source(rows, " and ".join(folders), hashlib.sha256(listed.encode()).hexdigest())


def _images(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    """The files with one of the endings, by their names without it."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    images: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        ending = next((end for end in endings if file.name.endswith(end)), None)
        if ending is None or file.name.startswith("."):
            continue
        name = file.name[: -len(ending)]
        if name in images:
            raise ValueError(f"case {name!r} comes twice: {images[name]} and {file}")
        images[name] = file
    return images


def _check_all_packed(folder: Path, scores: dict[str, Path]) -> None:
    """Beside ``.npz`` files a NIfTI file without one would be a mask, not a score, left out."""
    if alone := sorted(set(_images(folder, NIFTI_ENDINGS)) - set(scores)):
        raise ValueError(f"{folder} holds .npz files, but none of: {first_few(alone)}")


def _check_matching(scores: tuple[Path, dict], truths: tuple[Path, dict]) -> None:
    for (folder, names), (other, others) in ((scores, truths), (truths, scores)):
        if lacking := sorted(set(names) - set(others)):
            raise ValueError(
                f"{len(lacking)} of {len(names)} cases of {folder} are not in {other}: "
                f"{first_few(lacking)}"
            )
