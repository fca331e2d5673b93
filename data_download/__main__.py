"""Command line: ``python -m data_download lidc``; ``--help`` says what else."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Sequence

from confseg.datasets import cache_folder

from . import lidc
from .errors import DownloadError
from .provide import Request, in_short, look, provide
from .registry import DATA_SETS, DataSet, File

_EPILOG = """\
The destination is --dest, else the environment variable CONFSEG_DATA, else the cache folder of the
platform. At present: {folder}

A mirror is a folder that holds the data sets as they were published, unpacked or as archives, or an
address below which the archives lie. The data set NAME becomes the folder NAME of the destination,
with one row per case in NAME/cases.csv (lidc: one .npz file, read by confseg.datasets).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Provide the data sets named on the command line; the exit status is 0 if all are there."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        print("\n\n".join(describe(name) for name in DATA_SETS))
        return 0
    names = list(DATA_SETS) if options.all else options.names
    if not names:
        parser.error(f"name a data set, or say --all: {', '.join(DATA_SETS)}")
    for name in names:
        if name not in DATA_SETS:
            parser.error(f"there is no data set {name!r}; there is: {', '.join(DATA_SETS)}")
    if options.dest:
        os.environ["CONFSEG_DATA"] = options.dest
    act = _verify if options.verify else _provider(options.mirror, options.yes)
    failed = [name for name in names if not _done(act, DATA_SETS[name])]
    if failed and len(names) > 1:
        print(f"data_download: not there: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def describe(name: str) -> str:
    """The registry's entry for a reader."""
    entry = DATA_SETS[name]
    facts = {
        "gives": entry.provides,
        "from": entry.source,
        "download": entry.size,
        "license": entry.license,
        "needs": {
            "nothing": "",
            "license": "its terms accepted (--yes)",
            "account": "an account or a form, and --mirror FOLDER",
        }[entry.needs],
        "labels": f"{entry.labels}; lesion: {entry.rule}" if entry.rule else entry.labels,
        "cite": entry.citation,
        "by hand": entry.by_hand,
    }
    lines = [f"{name}: {entry.title}"]
    for key, value in facts.items():
        lines += _wrapped(key, value)
    for file in entry.files:
        lines += _wrapped("file", _file_facts(file))
    if entry.checked:
        seen = f"{entry.checked.what}: digest {entry.checked.digest}"
        lines += _wrapped("checked", seen)
    return "\n".join(lines)


def _file_facts(file: File) -> str:
    size = f", {file.size / 1e6:.1f} MB" if file.size else ""
    sums = [f"SHA-256 {file.sha256}"] * bool(file.sha256) + [f"MD5 {file.md5}"] * bool(file.md5)
    seen = "seen by this project" if file.verified else "not verified by this project"
    told = ", ".join(sums) or "no checksum published; the first download records it"
    return f"{file.name}{size}: {told}; {seen}; found in {file.found_in}"


def _wrapped(key: str, value: str) -> list[str]:
    return textwrap.wrap(
        value,
        width=96,
        initial_indent=f"  {key:10}",
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_download",
        description="Fetch public data sets, and turn each into a list of cases.",
        epilog=_EPILOG.format(folder=cache_folder()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of: {', '.join(DATA_SETS)}")
    parser.add_argument("--list", action="store_true", help="say what there is, and stop")
    parser.add_argument("--all", action="store_true", help="every data set")
    parser.add_argument("--dest", metavar="FOLDER", help="where to put the data sets")
    parser.add_argument("--mirror", metavar="FOLDER_OR_URL", help="where to take them from")
    parser.add_argument(
        "--verify", action="store_true", help="only compare what is there with its checksums"
    )
    parser.add_argument("--yes", action="store_true", help="the terms of the data are accepted")
    return parser


def _done(act: Callable[[DataSet], None], entry: DataSet) -> bool:
    """Whether it worked; if not, say why."""
    try:
        act(entry)
    except (DownloadError, OSError) as error:
        print(f"data_download: {error}", file=sys.stderr, flush=True)
        return False
    return True


def _provider(mirror: str | None, yes: bool) -> Callable[[DataSet], None]:
    def act(entry: DataSet) -> None:
        if entry.made_of:
            act(DATA_SETS[entry.made_of])
        if entry.builder == "lidc":
            lidc.provide()
        else:
            request = Request(cache_folder(), mirror, lambda entry: yes or _ask(entry))
            provide(entry, request)

    return act


def _verify(entry: DataSet) -> None:
    """Raise DownloadError unless a data set is there and whole."""
    wrong = lidc.look() if entry.builder == "lidc" else look(entry, cache_folder(), thorough=True)
    if wrong:
        raise DownloadError(f"{entry.name}: {in_short(wrong)}")
    print(f"{entry.name}: whole, every checksum as recorded", flush=True)


def _ask(entry: DataSet) -> bool:
    """Ask whether the terms are accepted; without anyone to ask, they are not."""
    if not sys.stdin.isatty():
        return False
    print(f"{entry.name} is under: {entry.license}\nTerms: {entry.source}")
    return input("Accepted? [y/N] ").strip().lower() in {"y", "yes"}


if __name__ == "__main__":
    sys.exit(main())
