"""The tables of the page on a million volumes, from the laws and the arithmetic that it names."""

import re
from pathlib import Path

import pytest

from confseg import coverage_law

PAGE = (Path(__file__).parents[1] / "book/at_scale.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading, without its first two lines."""
    table = PAGE[PAGE.index(heading) :].split("\n\n")[0].splitlines()
    return [[cell.strip(" `%") for cell in line.strip("|").split("|")] for line in table[2:]]


def test_the_bounds_are_those_of_the_beta_law():
    bounds = rows("| Calibration cases")
    assert len(bounds) == 4
    for n, *ends in bounds:
        law = coverage_law(int(n.replace(",", "")), 0.1)
        for end, share in zip(ends, (0.05, 0.95), strict=True):
            digits = len(end.split(".")[1])
            assert end == f"{100 * law.ppf(share):.{digits}f}"


def test_hours_and_rates_follow_from_the_seconds_and_the_bytes():
    costs = {(row[0].split("`")[0], row[1]): row for row in rows("| Command | Scores as")}
    totals = rows("| Command | Core hours")
    assert len(totals) == 2
    for command, core_hours, hours, read, rate in totals:
        _, _, size, seconds, *_ = costs[command, "float32"]
        megabytes, seconds = float(size.split()[0]), float(seconds)
        assert float(core_hours) == pytest.approx(1e6 * seconds / 3600, rel=0.03)
        assert float(hours) == pytest.approx(1e6 * seconds / 3600 / 64, rel=0.03)
        assert float(read.split()[0]) == pytest.approx(megabytes, rel=0.03)  # TB of a million
        found = re.match(r"[\d.]+", rate)
        assert float(found.group()) == pytest.approx(64 * megabytes / seconds / 1000, rel=0.05)
