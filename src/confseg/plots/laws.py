"""Coverage against its exact law, and the ranks that the law comes from."""

from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .look import (
    ACCENT,
    DASHDOT,
    DASHED,
    INNER,
    MARKERS,
    NEUTRAL,
    OUTER,
    PALE,
    PALE_ACCENT,
    SERIES,
    TEXT,
    current,
    label,
    mark_x,
    outer_legend,
)


def coverage_histogram(
    ax: Axes | None,
    coverages: ArrayLike,
    law: Any,
    alpha: float,
    *,
    xlabel: str = "share of new cases covered",
) -> Axes:
    """Compare coverages seen over many calibration sets with their exact law.

    Parameters
    ----------
    ax : Axes or None
        Axes, ``None`` for the current ones.
    coverages : array_like, shape (repetitions,)
        One coverage per calibration set, between 0 and 1.
    law : frozen SciPy distribution
        The exact law: continuous on [0, 1] (beta), or discrete on 0..m (beta-binomial), which
        is divided by m here.
    alpha : float
        Risk level; ``1 - alpha`` is marked as what was promised.
    xlabel : str
        What is covered.

    Returns
    -------
    Axes
        The axes.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> law = stats.beta(90, 10)
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = coverage_histogram(ax, law.rvs(200, random_state=0), law, 0.1)
    >>> ax.get_ylabel()
    'calibration sets (%)'
    """
    ax = current(ax)
    coverages = np.asarray(coverages, dtype=float)
    edges = _histogram_edges(coverages, law)
    weights = np.full(coverages.size, 100 / coverages.size)
    shares, _ = np.histogram(coverages, edges, weights=weights)
    ax.bar(edges[:-1], shares, np.diff(edges), align="edge", color=PALE, edgecolor="white")
    x, y = _law_curve(law, edges)
    ax.plot(x, y, color=ACCENT, linestyle="solid", marker="." if _is_discrete(law) else "")
    top = 1.35 * max(shares.max(), y.max())
    mean = law.mean() / _law_total(law)
    mark_x(ax, 1 - alpha, f"promised {1 - alpha:.3g}", NEUTRAL, left=True)
    mark_x(ax, mean, f"mean of the\nexact law {mean:.3f}", ACCENT, "solid")
    seen = f"{coverages.size:,} sets,\nmean {coverages.mean():.3f}"
    # Coverages far below their law fill the left corner, and leave the middle free.
    left = 0.4 if mean - coverages.mean() > np.ptp(edges) / 3 else 0.01
    label(ax, left, 0.8, seen, TEXT, offset=(0, 0), va="top", xycoords="axes fraction")
    ax.set(xlabel=xlabel, ylabel="calibration sets (%)", ylim=(0, top))
    return ax


def law_band(
    ax: Axes | None,
    x: ArrayLike,
    laws: Sequence[Any],
    mean: ArrayLike | None = None,
    sd: ArrayLike | None = None,
    *,
    level: float = 0.9,
    promised: ArrayLike | None = None,
    xlabel: str = "risk level α",
    ylabel: str = "share of new cases covered",
) -> Axes:
    """Draw the band that exact laws predict, and what was observed, against a setting.

    Parameters
    ----------
    ax : Axes or None
        Axes, ``None`` for the current ones.
    x : array_like, shape (k,)
        The setting: risk levels, split ratios, numbers of cases.
    laws : sequence of k frozen SciPy distributions
        Continuous on [0, 1], or discrete on 0..m (then divided by m).
    mean, sd : array_like, shape (k,), optional
        Observed mean and standard deviation over repetitions, drawn as points with bars.
    level : float
        Probability that the band holds.
    promised : float or array_like, shape (k,), optional
        What was promised, ``1 - alpha``.
    xlabel, ylabel : str
        Axis labels.

    Returns
    -------
    Axes
        The axes.

    Raises
    ------
    ValueError
        If there are not as many laws as settings.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = law_band(ax, [0.1, 0.2], [stats.beta(90, 10), stats.beta(80, 20)], [0.91, 0.79])
    >>> ax.get_xlabel()
    'risk level α'
    """
    ax = current(ax)
    x = np.asarray(x, dtype=float)
    if len(laws) != x.size:
        raise ValueError(f"expected one law per setting: {x.size} settings, {len(laws)} laws")
    tail = (1 - level) / 2
    low, middle, high = np.array(
        [np.array([law.ppf(tail), law.mean(), law.ppf(1 - tail)]) / _law_total(law) for law in laws]
    ).T
    ax.fill_between(
        x,
        low,
        high,
        color=ACCENT,
        alpha=0.2,
        linewidth=0,
        label=f"{100 * level:g}% band of the exact law",
    )
    ax.plot(x, middle, color=ACCENT, linestyle="solid", label="mean of the exact law")
    if promised is not None:
        ax.plot(
            x,
            np.broadcast_to(promised, x.shape),
            color=NEUTRAL,
            linestyle=DASHED,
            label="promised",
        )
    if mean is not None:
        name = "observed" if sd is None else "observed: mean ± sd"
        ax.errorbar(x, mean, sd, color=TEXT, linestyle="none", marker="o", capsize=4, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    return outer_legend(ax)


def count_law(
    ax: Axes | None,
    counts: Mapping[str, ArrayLike],
    law: Any,
    *,
    xlabel: str = "promises kept",
    ylabel: str = "calibration sets (%)",
) -> Axes:
    """Draw how often each count was seen, as markers over the bars of an exact law.

    Parameters
    ----------
    ax : Axes or None
        Axes, ``None`` for the current ones.
    counts : mapping of str to array_like of int, shape (repetitions,)
        Counts by name, such as compliant cases among ``m`` new ones after each of many
        calibrations.
    law : frozen SciPy distribution
        Discrete and with finite support, such as `confseg.compliance_law` gives it.
    xlabel, ylabel : str
        Axis labels.

    Returns
    -------
    Axes
        The axes.

    Raises
    ------
    ValueError
        If a count lies outside the support of the law.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> law = stats.betabinom(10, 9, 2)
    >>> ax = count_law(ax, {"drawn": law.rvs(200, random_state=1)}, law)
    >>> ax.get_ylabel()
    'calibration sets (%)'
    """
    ax = current(ax)
    low, high = (int(end) for end in law.support())
    k = np.arange(low, high + 1)
    ax.bar(k, 100 * law.pmf(k), color=PALE_ACCENT, edgecolor=ACCENT, label="exact law")
    looks = zip(cycle(SERIES), cycle(MARKERS))
    for (name, seen), (line, marker) in zip(counts.items(), looks, strict=False):
        values = np.asarray(seen, dtype=int)
        if values.min() < low or values.max() > high:
            raise ValueError(f"{name}: expected counts from {low} to {high}, found others")
        shares = 100 * np.bincount(values - low, minlength=k.size) / values.size
        look: dict[str, Any] = {"marker": marker, "markersize": 9, "markeredgecolor": "white"}
        ax.plot(k, shares, color=line.color, linestyle="none", label=name, **look)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.locator_params(axis="x", integer=True)
    return outer_legend(ax)


def ranks(
    ax: Axes | None,
    values: ArrayLike,
    rank: int,
    *,
    new: float | None = None,
    xlabel: str = "calibration number of a case",
) -> Axes:
    """Show the n numbers of a calibration set, their n + 1 gaps, and the chosen rank.

    The number of a new case falls into each gap with the same probability; the shaded gaps lie
    below the value of the chosen rank.

    Parameters
    ----------
    ax : Axes or None
        Axes, ``None`` for the current ones.
    values : array_like, shape (n,)
        Calibration numbers, in any order.
    rank : int
        The rank of the quantile, 1 to n, or n + 1 for infinity.
    new : float, optional
        The number of a new case.
    xlabel : str
        What the numbers are.

    Returns
    -------
    Axes
        The axes.

    Raises
    ------
    ValueError
        If the rank is not between 1 and n + 1.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = ranks(ax, [0.3, 0.1, 0.7], 2)
    >>> ax.get_title(loc="left")
    '2 of 4 gaps lie below the value of rank 2'
    """
    ax = current(ax)
    values = np.sort(np.asarray(values, dtype=float).ravel())
    n = values.size
    if not 1 <= rank <= n + 1:
        raise ValueError(f"rank must be between 1 and n + 1 = {n + 1}; got {rank}")
    span = np.ptp(values) or 1
    bounds = np.array([values[0] - 0.12 * span, *values, values[-1] + 0.12 * span])
    for gap, (left, right) in enumerate(pairwise(bounds), start=1):
        below = gap <= rank
        shades = ("#B9D3EA", "#D5E5F3") if below else ("#E3E7EA", "#F1F3F4")
        ax.axvspan(left, right, 0.26, 0.6, color=shades[gap % 2], linewidth=0)
        if right - left > 0.025 * span * len(str(gap)):  # wide enough for its number
            ax.text(
                (left + right) / 2,
                0.68,
                f"{gap}",
                ha="center",
                va="center",
                color=OUTER if below else NEUTRAL,
            )
    ax.plot(values, np.full(n, 0.43), linestyle="none", marker="o", color=TEXT, markersize=8)
    quantile = bounds[rank]
    ax.vlines(quantile, 0.26, 0.92, color=OUTER, linestyle=DASHDOT, clip_on=False)
    value = "+∞" if rank > n else f"{values[rank - 1]:.3g}".replace("-", "−")
    inward = ("right", -6) if rank > n / 2 else ("left", 6)
    label(ax, quantile, 0.87, f"rank {rank}: {value}", OUTER, ha=inward[0], offset=(inward[1], 0))
    if new is not None:
        ax.plot(new, 0.43, linestyle="none", marker="D", color=INNER, markersize=10)
        label(ax, new, 0.15, "new case", INNER, offset=(0, 0), ha="center")
    ax.set_title(f"{rank} of {n + 1} gaps lie below the value of rank {rank}", loc="left")
    ax.set(xlabel=xlabel, ylim=(0, 1), xlim=(bounds[0], bounds[-1]), yticks=[])
    ax.spines["left"].set_visible(False)
    return ax


def _law_total(law: Any) -> float:
    """What a law counts up to: m for a discrete law of counts, 1 for one of shares."""
    return law.support()[1] if _is_discrete(law) else 1.0


def _is_discrete(law: Any) -> bool:
    return isinstance(law.dist, stats.rv_discrete)


def _histogram_edges(coverages: NDArray[np.float64], law: Any) -> NDArray[np.float64]:
    """About 30 bins over everything seen and nearly everything the law expects."""
    total = _law_total(law)
    low = min(coverages.min(), law.ppf(0.001) / total)
    high = max(coverages.max(), law.ppf(0.999) / total)
    if not _is_discrete(law):
        return np.linspace(low, high, 31)
    # Whole counts in every bin, or bins would differ in how many counts they hold.
    first, last = round(low * total), round(high * total)
    step = -(-(last - first + 1) // 30)
    return (np.arange(first, last + step + 1, step) - 0.5) / total


def _law_curve(law: Any, edges: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """The law on the scale of the histogram: percent of calibration sets per bin."""
    if not _is_discrete(law):
        x = np.linspace(edges[0], edges[-1], 301)
        return x, 100 * law.pdf(x) * (edges[1] - edges[0])
    return (edges[:-1] + edges[1:]) / 2, 100 * np.diff(law.cdf(edges * _law_total(law)))
