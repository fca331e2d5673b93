"""Command line: ``python -m data_download lidc``."""

from __future__ import annotations

import argparse
import importlib
import sys
import textwrap
from collections.abc import Sequence

from confseg.datasets import cache_folder

from .fetch import DownloadError
from .registry import DATA_SETS


def main(arguments: Sequence[str] | None = None) -> int:
    """Provide the data sets named on the command line; the exit status is 0 if all are there."""
    parser = argparse.ArgumentParser(
        prog="python -m data_download",
        description="Fetch the public data sets of the book into the cache folder.",
        epilog="The cache folder is the environment variable CONFSEG_DATA, if set, else the "
        f"platform's. At present: {cache_folder()}",
    )
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of: {', '.join(DATA_SETS)}")
    parser.add_argument("--list", action="store_true", help="say what there is, and stop")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n\n".join(describe(name) for name in DATA_SETS))
        return 0
    if not options.names:
        parser.error(f"name a data set: {', '.join(DATA_SETS)}")
    for name in options.names:
        if name not in DATA_SETS:
            parser.error(f"there is no data set {name!r}; there is: {', '.join(DATA_SETS)}")
    try:
        for name in options.names:
            importlib.import_module(f"{__package__}.{name}").provide()
    except (DownloadError, OSError) as error:
        print(f"data_download: {error}", file=sys.stderr)
        return 1
    return 0


def describe(name: str) -> str:
    """The registry's entry for a reader."""
    entry = DATA_SETS[name]
    facts = {
        "gives": entry.provides,
        "from": entry.source,
        "download": f"{entry.download.name}, {entry.download.size / 1e6:.1f} MB",
        "SHA-256": entry.download.sha256,
        "license": entry.license,
        "cite": entry.citation,
    }
    lines = [f"{name}: {entry.title}"]
    for key, value in facts.items():
        lines += textwrap.wrap(
            value, width=96, initial_indent=f"  {key:10}", subsequent_indent=" " * 12
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
