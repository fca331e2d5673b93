"""The page: sections of text, tables and figures, in one file that asks for nothing else."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from .._version import __version__
from ..assess import Assessment, name_of, side_regions
from ..case import Case
from ..conformal import Promise, SplitConformal
from ..exact import conformal_rank, fewest_cases
from ..quantile import conformal_quantile, coverage_law
from ..saved import Saved
from . import checks, figures

_WORST = 3  # cases whose slices are shown
_LISTED = 10  # cases in the table of the worst

_STYLE = """
body { font: 11pt/1.45 sans-serif; color: #1f2933; background: #fff; max-width: 46rem;
  margin: 2rem auto; padding: 0 1rem }
h1, h2, h3 { line-height: 1.2; break-after: avoid }
th { text-align: left }
.wide { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-size: 10pt }
th, td { border-bottom: 1px solid #c9d1d6; padding: .25rem .6rem; vertical-align: top }
th + td { overflow-wrap: anywhere }
figure { margin: 1rem 0; break-inside: avoid }
img { max-width: 100% }
figcaption { font-size: 9.5pt; color: #5b6770 }
@page { margin: 18mm }
@media print { body { max-width: none; margin: 0 } tr { break-inside: avoid } }
"""


@dataclass(frozen=True)
class Order:
    """An order of the cases.

    Attributes
    ----------
    words : str
        What is ordered by what, as it is to be read.
    place : dict of str to int
        Where a case stands, by its name.
    """

    words: str
    place: Mapping[str, int]


@dataclass(frozen=True)
class Subject:
    """What a report is about.

    Attributes
    ----------
    saved : Saved
        The calibration.
    file_sha256 : str
        Of its file.
    cases : str
        The source of the cases, as it was given.
    cases_sha256 : str
        Of the list of cases.
    found : list of Assessment
        The calibration cases, measured anew from their files.
    read : callable
        Gives a case by its name, to show it.
    order : Order
        In which drift is looked for.
    """

    saved: Saved
    file_sha256: str
    cases: str
    cases_sha256: str
    found: Sequence[Assessment]
    read: Callable[[str], Case]
    order: Order


def page(subject: Subject) -> str:
    """The report.

    Parameters
    ----------
    subject : Subject
        What it is about.

    Returns
    -------
    str
        HTML.
    """
    sections = [
        "<h1>Report of a calibration</h1>",
        _paragraph(f"Made on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by confseg {__version__}."),
        "<h2>Data</h2>",
        _data(subject),
    ]
    for group, method in subject.saved.by_group().items():
        members = [each for each in subject.found if not group or each.group == group]
        if group:
            sections.append(f"<h2>Group {escape(group)}</h2>")
        sections += _of_method(method, members, subject)
    sections += ["<h2>Software</h2>", _versions(subject.saved)]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Report of a calibration</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _data(subject: Subject) -> str:
    saved, found = subject.saved, subject.found
    patients = {each.patient for each in found} - {""}
    groups = sorted({each.group for each in found} - {""})
    stored = saved.provenance.get("cases_sha256")
    unchanged = {None: "not recorded", subject.cases_sha256: "unchanged"}.get(stored, "changed")
    return _facts(
        {
            "Cases": f"{len(found)}, from {subject.cases}",
            "List of cases (SHA-256)": f"{subject.cases_sha256}; since calibration {unchanged}",
            "Patients": str(len(patients)) if patients else "not known",
            "Groups": ", ".join(groups) or "not known",
            "Cases with a lesion": str(sum(each.lesion > 0 for each in found)),
            "Voxels of a lesion": _range([each.lesion for each in found if each.lesion]),
            "Voxels of an image": _range([each.image for each in found]),
            **_in_mm(found),
            "Method": repr(next(iter(saved.by_group().values()))),
            "Label rule": ", ".join(saved.rules) or "not recorded",
            "Channel": "by the label rule"
            if saved.reading.channel is None
            else str(saved.reading.channel),
            "Calibration file (SHA-256)": subject.file_sha256,
            "Calibrated by": saved.provenance.get("command", "not recorded"),
            "Files": "Every score was computed anew from the files, and is the calibrated one.",
        }
    )


def _in_mm(found: Sequence[Assessment]) -> dict[str, str]:
    """Sizes that need no voxels to be understood; none where images are flat or of no scale."""
    spacings = [each.spacing for each in found if each.spacing and len(each.spacing) == 3]
    if len(spacings) < len(found):
        return {}
    edges = [np.unique(axis) for axis in zip(*spacings, strict=True)]
    volumes = [
        each.lesion * math.prod(spacing) / 1000
        for each, spacing in zip(found, spacings, strict=True)
        if each.lesion
    ]
    return {
        "Voxel spacing (mm)": ", ".join(
            " to ".join(_plain(end) for end in (axis[0], axis[-1])[: axis.size]) for axis in edges
        ),
        "Volume of a lesion (mL)": _range(volumes),
    }


def _of_method(
    method: SplitConformal, found: Sequence[Assessment], subject: Subject
) -> Iterable[str]:
    yield "<h2>What is promised</h2>"
    yield _paragraph(method.statement())
    yield "<h2>Cut-offs</h2>"
    yield _cutoffs(method)
    columns = method.nonconformity_.reshape(method.n_, -1).T
    for promise, scores in zip(method._promises, columns, strict=True):
        what = " and ".join(name_of(side, method) for side in promise.sides)
        yield f"<h2>Scores: {what}</h2>"
        yield figures.score_histogram(
            scores, conformal_quantile(scores, promise.alpha), what, method._unit.name
        )
        yield f"<h3>Checks: {what}</h3>"
        yield _table(
            ["check", "result", "what was seen"],
            [
                [c.subject, "look" if c.found else "fine", c.text]
                for c in _checks(method, promise, scores, found, subject.order)
            ],
        )
    yield "<h2>Sizes of the sets</h2>"
    yield _sizes(method, found)
    yield "<h2>Worst cases</h2>"
    yield from _worst(method, found, subject.read)


def _cutoffs(method: SplitConformal) -> str:
    rows: list[list[str]] = []
    for promise in method._promises:
        for name in promise.sides:
            side = method._sides[name]
            sign = ">=" if name == "outer" else ">"
            cutoff = method._calibrated().cutoffs[name]
            field = _in_words(side.field.to_dict())
            rows.append(
                [
                    name_of(name, method),
                    f"{field} {sign} {cutoff!r}",
                    *_law(method.n_, promise.alpha),
                ]
            )
    head = ["side", "the set is where", "rank", "promised", "expected", "band of the coverage"]
    return _table(head, rows) + _paragraph(
        "The cut-off is the score of this rank among the calibrated ones, turned back. The band "
        "holds the long-run share of new cases that keep the promise, in nine calibrations out of "
        f"ten; {method._above()} the share can be higher."
    )


def _in_words(field: object) -> str:
    """A field as its `to_dict` gives it: its name, and its parameters if it has any."""
    if isinstance(field, list):
        return ", ".join(map(_in_words, field))
    if not isinstance(field, dict):
        return str(field)
    words = {key.replace("_", " "): _in_words(value) for key, value in field.items()}
    name = words.pop("name").replace("_", " ")
    parameters = ", ".join(f"{key} {value}" for key, value in words.items())
    return f"{name} ({parameters})" if parameters else name


def _law(n: int, alpha: float) -> list[str]:
    if n < fewest_cases(alpha):
        return [f"none of {n}", f"{1 - alpha:.6g}", "1 (trivial)", "trivial"]
    rank = conformal_rank(n, alpha)
    low, high = coverage_law(n, alpha).interval(0.9)
    return [
        f"{rank} of {n}",
        f"{1 - alpha:.6g}",
        f"{rank / (n + 1):.4f}",
        f"{low:.4f} to {high:.4f}",
    ]


def _checks(
    method: SplitConformal,
    promise: Promise,
    scores: NDArray[np.float64],
    found: Sequence[Assessment],
    order: Order,
) -> list[checks.Check]:
    calibration = method._calibrated()
    names, by_patient = calibration.names, calibration.per == "worst"
    group: dict[str, str] = {}
    place: dict[str, int] = {}
    for each in found:
        name = each.patient if by_patient else each.name
        group[name] = each.group
        # A patient stands where the first of his cases does.
        place[name] = min(order.place[each.name], place.get(name, len(order.place)))
    along = np.argsort([place[name] for name in names])
    unit = "cases" if calibration.per == "case" else "patients"
    return [
        checks.ties(scores, promise.alpha, found),
        checks.outliers(scores, names),
        checks.groups(scores, promise.alpha, [group[name] for name in names]),
        checks.patients(calibration.patients, calibration.per),
        checks.order(scores[along], [names[i] for i in along], order.words),
        checks.left_out(calibration.excluded, unit),
    ]


def _sizes(method: SplitConformal, found: Sequence[Assessment]) -> str:
    found = [each for each in found if not each.left_out]
    shares = (0, 0.25, 0.5, 0.75, 1)
    rows = []
    for side in method._sides:
        name = name_of(side, method)
        voxels = np.array([each.region[side] for each in found], dtype=float)
        lesion = np.array([each.lesion for each in found], dtype=float)
        image = np.array([each.image for each in found], dtype=float)
        measures = {
            f"{name}: voxels": voxels,
            f"{name}: share of the image": voxels / image,
            f"{name}: in sizes of the lesion": (voxels / np.maximum(lesion, 1))[lesion > 0],
        }
        rows += [
            [measure, *(_plain(value) for value in np.quantile(values, shares))]
            for measure, values in measures.items()
            if values.size
        ]
    head = [
        "in the calibration cases",
        "smallest",
        "lower quarter",
        "median",
        "upper quarter",
        "largest",
    ]
    return _table(head, rows)


def _worst(
    method: SplitConformal, found: Sequence[Assessment], read: Callable[[str], Case]
) -> Iterable[str]:
    ranked = _worst_first(method, found)[:_LISTED]
    sides = list(method._sides)
    wrong = {"outer": "missed voxels", "inner": "false voxels"}
    head = ["case", "patient", "group", "lesion voxels", "promise kept"]
    for side in sides:
        head += [f"{name_of(side, method)} score", wrong[side]]
    rows = [
        [each.name, each.patient, each.group, f"{each.lesion:,}", "yes" if each.kept else "no"]
        + [
            entry
            for side in sides
            for entry in (f"{each.score[side]:.6g}", f"{each.wrong[side]:,}")
        ]
        for each in ranked
    ]
    yield _table(head, rows)
    shown = [read(each.name) for each in ranked[:_WORST]]
    if all(case.score.ndim in (2, 3) for case in shown):
        regions: list[Mapping[str, NDArray[np.bool_]]] = [
            side_regions(method, case.score, case.spacing) for case in shown
        ]
        names = {side: "calibrated mask" for side in sides if name_of(side, method) == "mask"}
        yield figures.slices(list(zip(shown, regions, strict=True)), names)


def _worst_first(method: SplitConformal, found: Sequence[Assessment]) -> list[Assessment]:
    """Those that break a promise, then by rank: scores of two promises have scales of their own."""
    counted = [each for each in found if not each.left_out]
    ranks = [
        rankdata([-max(each.score[side] for side in promise.sides) for each in counted], "min")
        for promise in method._promises
    ]
    kept = [each.kept for each in counted]
    return [counted[i] for i in np.lexsort((np.min(ranks, axis=0), kept))]


def _versions(saved: Saved) -> str:
    packages = ("confseg", "numpy", "scipy", "nibabel", "matplotlib", "scikit-image", "joblib")
    return _facts(
        {
            "Calibrated with confseg": saved.provenance.get("confseg_version", "not recorded"),
            "Python": f"{platform.python_version()} ({platform.system()}, {platform.machine()})",
            **{name: version(name) for name in packages},
        }
    )


def _range(values: Sequence[float]) -> str:
    if not values:
        return "none"
    low, median, high = map(_plain, (min(values), float(np.median(values)), max(values)))
    return f"{low} to {high}, median {median}"


def _plain(value: float) -> str:
    """A number with four digits, without an exponent where it is large."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>'
        for name, text in facts.items()
    )
    return f'<div class="wide"><table><tbody>{rows}</tbody></table></div>'


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Entries to the left, since many of them are sentences."""
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    body = "".join(lines[1:])
    return f'<div class="wide"><table><thead>{lines[0]}</thead><tbody>{body}</tbody></table></div>'


def _row(tag: str, entries: Iterable[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(str(entry))}</{tag}>' for entry in entries)}</tr>"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"
