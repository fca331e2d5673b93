"""What can be downloaded, whose it is, and how to tell that it arrived whole.

The entries stand in ``registry.toml``, beside this file.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Needs = Literal["nothing", "license", "account"]


@dataclass(frozen=True)
class File:
    """One file, known by its checksum where one was published.

    Attributes
    ----------
    name : str
        What it is called.
    size : int
        In bytes; 0 if it was not published.
    sha256, md5 : str
        Checksums, empty if none was published.
    url : str
        Its public address, empty if a tool fetches it by name.
    verified : bool
        Whether this project has seen the file with this checksum.
    found_in : str
        Where the address and the checksum were read.
    """

    name: str
    size: int = 0
    sha256: str = ""
    md5: str = ""
    url: str = ""
    verified: bool = False
    found_in: str = ""

    @property
    def known_hash(self) -> str | None:
        """The published checksum as pooch wants it."""
        if self.sha256:
            return f"sha256:{self.sha256}"
        return f"md5:{self.md5}" if self.md5 else None


@dataclass(frozen=True)
class Checked:
    """What this project worked with: number of files, and a digest over all of them."""

    files: int
    digest: str
    what: str


@dataclass(frozen=True)
class DataSet:
    """One data set; the module ``data_download.<builder>`` provides it.

    Attributes
    ----------
    name : str
        The word for the command line.
    title, provides : str
        What it is, and what ends up in the destination.
    source : str
        Where it comes from.
    license, citation : str
        Its terms, and what to cite.
    labels, rule : str
        What the labels mean, and which of them are the lesion.
    size : str
        Of the download, in words.
    needs : {"nothing", "license", "account"}
        Whether terms must be accepted, or whether it lies behind a form.
    builder : str
        The module that turns it into cases.
    made_of : str
        Another data set that it is made of, instead of a download.
    mirror : str
        The file or folder that stands for the download in a mirror.
    members : str
        Regular expression for the members of the archive that are unpacked.
    by_hand : str
        How to get by hand what is not downloaded.
    files : tuple of File
        What is fetched.
    checked : Checked, optional
        What this project worked with.
    """

    name: str
    title: str
    provides: str
    source: str
    license: str
    citation: str
    labels: str
    size: str
    needs: Needs
    builder: str
    rule: str = ""
    made_of: str = ""
    mirror: str = ""
    members: str = ""
    by_hand: str = ""
    files: tuple[File, ...] = ()
    checked: Checked | None = None


def read_registry(path: Path) -> dict[str, DataSet]:
    """Every entry of a registry file by its name.

    Raises
    ------
    TypeError
        If an entry lacks a field, or has one that is not known.
    """
    with path.open("rb") as stream:
        tables = tomllib.load(stream)
    return {name: _data_set(name, table) for name, table in tables.items()}


def _data_set(name: str, table: dict[str, Any]) -> DataSet:
    # A line that is continued in the file brings its indentation along.
    text = {key: re.sub(r"\s+", " ", value) for key, value in table.items() if type(value) is str}
    files = tuple(File(**one) for one in table.get("files", ()))
    checked = Checked(**table["checked"]) if "checked" in table else None
    return DataSet(**{**table, **text, "name": name, "files": files, "checked": checked})


DATA_SETS = read_registry(Path(__file__).with_name("registry.toml"))
"""Every data set by its name."""
