"""Measure the speed and the memory of the package; prints goals and measured ratios.

    python benchmarks/run.py

Ratios are taken within one run, so they hold on a slow or a busy machine about as well as on
a fast one. This measures and never fails.

The part on files says what a case costs from a packed file to its numbers, in seconds of one
processor core: times cases and divided by cores, it is the time of a large run. "Unpacking" is
gzip alone on the same files, as a share of that; no program that reads them can do with less.
Memory should be the same for 100 cases as for 1000, but for what is kept of each case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from files import memory_of_files, size_of_tables, speed_of_files, speed_of_quantile
from measure import fastest, peak_memory
from rivals import (
    MOST_HALVINGS,
    algorithm_1,
    iterated_dilation,
    one_pass,
    whole_distance_transform,
)
from scan import RADIUS, SHAPE, in_8_bits, in_fortran_order, make_scan

from confseg import CLS, Case, ConfidenceSets, Margin, fields, phantoms
from confseg.critical import outer_cutoff_unchecked

EPS, COVERAGE = 0.1, 0.99
MB = 1e6


def main() -> None:
    """Print one table after the other."""
    case = make_scan()
    print(f"One case of {' x '.join(map(str, SHAPE))}, float32, lesion of {RADIUS} voxels radius")
    table(("measured", "ratio", "goal", "seconds"), [*speed_of_cls(case), *speed_of_margins(case)])
    print("\nMemory")
    table(("measured", "MB", "to compare with"), [*memory_of_one(case), *memory_of_many()])
    print("\nMany small cases (48 x 48), one process")
    table(("method", "cases per second"), cases_per_second())
    print("\nThat large case from .nii.gz files, one process")
    table(
        ("command", "score file", "CPU seconds", "cases per second", "unpacking", "peak MB"),
        speed_of_files(),
    )
    print("\nMemory, from files")
    table(("measured", "MB", ""), memory_of_files())
    print("\nTable of one row per case")
    table(("table", "bytes per row", "MB per million"), size_of_tables())
    print("\nCut-off from numbers in a table")
    table(("cases", "CPU seconds"), speed_of_quantile())


def speed_of_cls(case: Case) -> Iterator[tuple[str, ...]]:
    """The critical value, with all checks, as `calibrate` computes it."""

    def ours(scan: Case) -> float:
        return fastest(lambda: CLS(EPS, 0.5).calibrate([scan]))

    for scan, layout in ((case, "C order"), (in_fortran_order(case), "Fortran order, as NIfTI")):
        yield ratio(
            f"CLS / one pass over both images, {layout}",
            ours(scan),
            fastest(lambda scan=scan: one_pass(scan)),
            "at most 2",
        )
    for scan, kind in ((case, "smooth scores"), (in_8_bits(case), "scores in 8 bits")):
        halvings = algorithm_1(scan, EPS)[1]
        stops = "stopped by us" if halvings == MOST_HALVINGS else "stops by itself"
        search = fastest(lambda scan=scan: algorithm_1(scan, EPS), repeats=2)
        label = f"Algorithm 1 (delta = 1e-4, {kind}: {halvings} halvings, {stops})"
        # The search reads the scores unchecked; CLS finds NaN and values outside [0, 1] as well.
        alone = fastest(lambda scan=scan: outer_cutoff_unchecked(scan.score, scan.truth, EPS))
        yield ratio(f"{label} / critical value, unchecked too", search, alone, "at least 50")
        yield ratio(f"{label} / CLS with all checks", search, ours(scan), "")


def speed_of_margins(case: Case) -> Iterator[tuple[str, ...]]:
    """Margins in mm and in steps, with all checks, as `calibrate` computes them."""
    for metric, rival, name, goal in (
        ("mm", whole_distance_transform, "SciPy's transform of the volume", "at least 20"),
        ("cross", iterated_dilation, "iterated dilation", "more than 1"),
    ):
        method = Margin(0.5, COVERAGE, metric)
        ours = fastest(lambda method=method: method.calibrate([case]), repeats=3)
        theirs = fastest(lambda rival=rival: rival(case, COVERAGE), repeats=1)
        yield ratio(f"{name} / margin in {metric}", theirs, ours, goal)


def ratio(label: str, above: float, below: float, goal: str) -> tuple[str, ...]:
    """One line of the table of speeds."""
    return label, f"{above / below:.3g}", goal, f"{above:.3f} / {below:.3f}"


def memory_of_one(case: Case) -> Iterator[tuple[str, ...]]:
    """All temporaries of one case together, at their largest."""
    mask, box = case.truth.nbytes / MB, (2 * RADIUS) ** 3 * case.score.itemsize / MB
    allowed = f"{mask:.1f} (one boolean volume) + {box:.1f} (lesion's box)"
    for name, method in {
        "CLS": CLS(EPS, 0.5),
        "sets, identity": ConfidenceSets(0.5, inner=fields.identity, outer=fields.identity),
        "margin in mm": Margin(0.5, COVERAGE),
        "margin in steps": Margin(0.5, COVERAGE, "cross"),
    }.items():
        peak = peak_memory(lambda method=method: method.calibrate([case])) / MB
        yield f"{name}: temporaries of the large case", f"{peak:.1f}", allowed


def memory_of_many() -> Iterator[tuple[str, ...]]:
    """Peak memory of a calibration over streamed cases, which should not grow."""
    image = (64, 64, 16)
    truth = np.zeros(image, dtype=bool)
    truth[20:40, 20:40, 4:12] = True

    def stream(n: int) -> Iterator[Case]:
        rng = np.random.default_rng(0)
        return (Case(rng.random(image, dtype=np.float32), truth) for _ in range(n))

    for n in (100, 10_000):
        peak = peak_memory(lambda n=n: CLS(EPS, 0.1).calibrate(stream(n))) / MB
        held = n * truth.size * 5 / MB
        yield f"CLS: {n} streamed cases", f"{peak:.1f}", f"{held:.0f} if all were held"


def cases_per_second() -> Iterator[tuple[str, ...]]:
    """How many cases a second each method calibrates on, and how many phantoms are drawn."""
    cases = list(phantoms.cases(1000))
    calls: dict[str, Callable[[], object]] = {
        "drawing phantoms": lambda: list(phantoms.cases(1000)),
        "CLS": lambda: CLS(EPS, 0.1).calibrate(cases),
        "sets, joint, logit": lambda: ConfidenceSets(0.1).calibrate(cases),
        "margin in mm": lambda: Margin(0.1).calibrate(cases),
        "margin in steps of the cross": lambda: Margin(0.1, metric="cross").calibrate(cases),
    }
    for name, call in calls.items():
        yield name, f"{1000 / fastest(call, repeats=3):,.0f}"


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> None:
    """Print rows in aligned columns."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  " + "  ".join(cells).rstrip())


if __name__ == "__main__":
    main()
