"""Make a table of the book from one that ``confseg score`` wrote.

    python -m data_download picai
    confseg score cases.csv -o scored.csv --coverages 1 0.9 ...
    python book/_tools/tables.py picai cases.csv scored.csv --extra center --columns dice ...

It keeps the columns that a chapter uses and adds columns of the manifest. The table, without any
image, is ``book/tables/NAME.csv``; beside it, NAME.provenance.json says where it comes from.
"""

import argparse
import csv
import hashlib
import io
import json
import shlex
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "book" / "tables"
REGISTRY = ROOT / "data_download" / "registry.toml"
ALWAYS = ["case", "patient", "group"]


def joined(
    manifest: Path, scored: Path, extra: Sequence[str], columns: Sequence[str]
) -> str:
    """Join the kept columns of `scored` with `extra` ones of the manifest, as CSV.

    Raises
    ------
    ValueError
        If the two files name other cases, or one lacks a column.
    """
    listed, numbers = _rows(manifest), _rows(scored)
    if [row["case"] for row in listed] != [row["case"] for row in numbers]:
        raise ValueError(f"{manifest} and {scored} name other cases")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*ALWAYS, *extra, *columns])
    for case, row in zip(listed, numbers, strict=True):
        missing = [name for name in extra if name not in case]
        missing += [name for name in columns if name not in row]
        if missing:
            raise ValueError(f"no columns {missing} in {manifest} or {scored}")
        kept = [row[name] for name in [*ALWAYS, *columns]]
        kept[len(ALWAYS) : len(ALWAYS)] = [case[name] for name in extra]
        writer.writerow(kept)
    return text.getvalue()


def provenance(
    name: str, manifest: Path, scored: Path, extra: Sequence[str], table: str
) -> str:
    """Say what a table is and how it was made, as JSON; without folders of this machine."""
    origin = json.loads(scored.with_suffix(".provenance.json").read_text())
    digest = hashlib.sha256(scored.read_bytes()).hexdigest()
    if digest != origin["table_sha256"]:
        raise ValueError(f"{scored} is not the table of its provenance")
    columns = table.split("\n", 1)[0].split(",")[len(ALWAYS) + len(extra) :]
    score = [Path(word).name for word in shlex.split(origin["command"])]
    step = f"python book/_tools/tables.py {name} {manifest.name} {scored.name}"
    step += f" --extra {' '.join(extra)}" if extra else ""
    entry = tomllib.loads(REGISTRY.read_text(encoding="utf-8"))[name]
    data = {
        "data": entry["title"],
        **{key: entry[key] for key in ("source", "license", "citation")},
        "commands": [
            f"python -m data_download {name}",
            shlex.join(score),
            f"{step} --columns {' '.join(columns)}",
        ],
        "confseg_version": origin["confseg_version"],
        "cases_sha256": origin["cases_sha256"],
        "scored_sha256": origin["table_sha256"],
        "rows": origin["rows"],
        "table_sha256": hashlib.sha256(table.encode()).hexdigest(),
    }
    return json.dumps(data, indent=1) + "\n"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("name", help="of the data set and of the table")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("scored", type=Path, help="what confseg score wrote")
    parser.add_argument(
        "--extra", nargs="*", default=[], help="columns of the manifest"
    )
    parser.add_argument(
        "--columns", nargs="+", required=True, help="columns to keep"
    )
    parser.add_argument(
        "--to", type=Path, default=TABLES, help="folder to write to"
    )
    options = parser.parse_args(arguments)
    table = joined(
        options.manifest, options.scored, options.extra, options.columns
    )
    origin = provenance(
        options.name, options.manifest, options.scored, options.extra, table
    )
    options.to.mkdir(parents=True, exist_ok=True)
    (options.to / f"{options.name}.csv").write_text(table, encoding="utf-8")
    beside = options.to / f"{options.name}.provenance.json"
    beside.write_text(origin, encoding="utf-8")


if __name__ == "__main__":
    main()
