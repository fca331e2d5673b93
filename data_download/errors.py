"""What can go wrong, for the command line to tell."""

from __future__ import annotations


class DownloadError(RuntimeError):
    """A data set could not be had; the message says why and what to do."""


class ByHandError(DownloadError):
    """A data set is not downloaded at all; the message says how to get it by hand."""
