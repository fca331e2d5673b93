"""Checks of a calibration: what would make its promise weaker, or its law inexact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..assess import Assessment, repeated_patients
from ..listing import first_few
from ..martingale import drift
from ..quantile import conformal_quantile

_RARE = 0.01  # a p-value below which a finding is called one
_FAR = 3  # quartile ranges above the upper quartile


class Check(NamedTuple):
    """One check: what was looked at, whether something was found, and what it means."""

    subject: str
    found: bool
    text: str


def ties(scores: NDArray[np.float64], alpha: float, found: Sequence[Assessment]) -> Check:
    """Whether scores are equal: of different cases, which is harmless, or of copies of one."""
    values, counts = np.unique(scores, return_counts=True)
    equal = int(counts[counts > 1].sum())
    limit = conformal_quantile(scores, alpha)
    at_limit = int((scores == limit).sum())
    if not equal:
        return Check("Ties", False, "All scores are distinct.")
    where = f", {at_limit} of them at the quantile" if at_limit > 1 else ", none at the quantile"
    text = f"{equal} of {scores.size} scores equal another{where}. Ties of different cases can only"
    text += " raise the coverage above its law."
    if copies := _copies(found):
        text += (
            f" But {' and '.join(copies)} also have one size of image, lesion and regions: are they"
            " copies of one case? Copies can lower the coverage."
        )
    return Check("Ties", at_limit > 1 or bool(copies), text)


def _copies(found: Sequence[Assessment]) -> tuple[str, str] | None:
    """The first two cases whose numbers are the same, to the last bit."""
    known: dict[tuple[object, ...], str] = {}
    for each in found:
        numbers = (each.image, each.lesion, *each.score.items(), *each.region.items())
        first = known.setdefault(numbers, each.name)
        if not each.left_out and first != each.name:
            return first, each.name
    return None


def outliers(scores: NDArray[np.float64], names: Sequence[str]) -> Check:
    """Infinite scores, and those far above the others."""
    finite = scores[np.isfinite(scores)]
    low, high = np.quantile(finite, [0.25, 0.75]) if finite.size else (0.0, 0.0)
    # Where half of the scores are one number there is no range to measure by.
    far = scores > (high + _FAR * (high - low) if high > low else np.finfo(np.float64).max)
    if not far.any():
        return Check("Outliers", False, "No score lies far above the others, and none is infinite.")
    infinite = int(np.isposinf(scores).sum())
    told = [names[i] for i in np.argsort(-scores, kind="stable")[: far.sum()]]
    return Check(
        "Outliers",
        True,
        f"{int(far.sum())} scores lie more than {_FAR} quartile ranges above the upper quartile, "
        f"{infinite} of them infinite: {first_few(told)}. They count as they are; look at these "
        "cases.",
    )


def groups(scores: NDArray[np.float64], alpha: float, group: Sequence[str]) -> Check:
    """Whether a group fails more often than chance would have it."""
    sizes = Counter(group)
    if len(sizes) < 2:
        return Check("Groups", False, "The cases are of one group, or their groups are not known.")
    kept = scores <= conformal_quantile(scores, alpha)
    lines, found = [], False
    for name, size in sorted(sizes.items()):
        good = int(kept[[other == name for other in group]].sum())
        # If group and score have nothing to do with each other, the failures are dealt out blindly.
        p = stats.hypergeom(scores.size, int(kept.sum()), size).cdf(good)
        found = found or p < _RARE / len(sizes)
        lines.append(f"{name or 'without group'}: {good} of {size} (p = {p:.3g})")
    opening = (
        "Some groups keep the promise more rarely than chance would have it; calibrate by group."
        if found
        else "No group keeps the promise more rarely than chance would have it."
    )
    told = "; ".join(lines)
    return Check("Groups", found, f"{opening} At this calibration's own quantile: {told}.")


def patients(names: Sequence[str], per: str) -> Check:
    """Whether cases of one patient were counted as independent."""
    if per != "case":
        return Check("Patients", False, f"Patients were counted, not cases ({per}).")
    several, nameless = repeated_patients(names), sum(not name for name in names)
    if several:
        text = f"{several} patients have several cases, which were counted as independent."
        return Check("Patients", True, f"{text} The coverage can be lower than promised.")
    if nameless:
        text = f"{nameless} cases name no patient: whether they are independent is not known."
        return Check("Patients", True, text)
    return Check("Patients", False, "Every case is of another patient.")


def order(scores: NDArray[np.float64], names: Sequence[str], words: str) -> Check:
    """Whether scores change in an order, as they would not if cases were exchangeable."""
    found = []
    for word, values in (("grow", scores), ("fall", -scores)):
        # Two watches share the probability of a false alarm.
        report = drift(values, delta=_RARE / 2)
        if report.alarm is not None:
            found.append(f"they {word}, which was seen at case {names[report.alarm]}")
    if found:
        text = f"The scores change {words}: {' and '.join(found)}."
        return Check("Drift", True, f"{text} Do all cases come from one population?")
    return Check(
        "Drift",
        False,
        f"A bet on scores that grow or fall {words} did not win (false alarms: {_RARE:g}).",
    )


def left_out(excluded: int, unit: str) -> Check:
    """Whether there were cases without lesion."""
    if not excluded:
        return Check("Without lesion", False, "None was left out.")
    text = f"{excluded} {unit} without lesion were left out; the promise is not for such ones."
    return Check("Without lesion", True, text)
