"""What a promise costs: sizes of the sets, and margins."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from .look import NEUTRAL, SERIES, current, label, mark_y, outer_legend


def compactness_curve(
    ax: Axes | None,
    alphas: ArrayLike,
    compactness: ArrayLike | Mapping[str, ArrayLike],
    *,
    xlabel: str = "risk level α",
    ylabel: str = "share of the image predicted",
) -> Axes:
    """Draw how much of the image the calibrated sets hold against the risk level.

    Parameters
    ----------
    ax : Axes or None
        Axes, ``None`` for the current ones.
    alphas : array_like, shape (k,)
        Risk levels.
    compactness : array_like, shape (k,) or (k, repetitions), or mapping of name to such
        One curve, or several with direct labels; repetitions give a band of ± one standard
        deviation around their mean.
    xlabel, ylabel : str
        Axis labels.

    Returns
    -------
    Axes
        The axes.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = compactness_curve(ax, [0.1, 0.2], {"ε = 0": [0.5, 0.4], "ε = 0.1": [0.3, 0.2]})
    >>> sorted(text.get_text() for text in ax.texts)
    ['ε = 0', 'ε = 0.1']
    """
    ax = current(ax)
    alphas = np.asarray(alphas, dtype=float)
    curves = compactness if isinstance(compactness, Mapping) else {"": compactness}
    ends = {}
    for (name, curve), line in zip(curves.items(), cycle(SERIES), strict=False):
        values = np.asarray(curve, dtype=float).reshape(alphas.size, -1)
        mean, sd = values.mean(axis=1), values.std(axis=1)
        ax.fill_between(alphas, mean - sd, mean + sd, color=line.color, alpha=0.15, linewidth=0)
        ax.plot(alphas, mean, color=line.color, linestyle=line.style)
        ends[name] = (mean[-1], line.color)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_ylim(bottom=0)
    return _end_labels(ax, alphas[-1], ends)


def margin_plot(
    ax: Axes | None,
    margins: ArrayLike | Mapping[str, ArrayLike],
    calibrated: float | Mapping[str, float],
    alpha: float,
    *,
    unit: str = "mm",
    ylabel: str = "share of lesions covered",
) -> Axes:
    """Draw the share of lesions that a margin covers, and the margin calibration chose.

    Parameters
    ----------
    ax : Axes or None
        Axes, ``None`` for the current ones.
    margins : array_like, shape (cases,), or mapping of name to such
        The smallest margin that covers each lesion; ``inf`` where none does.
    calibrated : float or mapping of name to float
        The calibrated margin for each.
    alpha : float
        Risk level; ``1 - alpha`` is marked.
    unit : str
        Unit of the margins.
    ylabel : str
        What is covered.

    Returns
    -------
    Axes
        The axes.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = margin_plot(ax, {"90%": [0, 1, 2], "100%": [1, 3, np.inf]},
    ...                  {"90%": 2.0, "100%": np.inf}, 0.1)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['90%: 2 mm', '100%: no finite margin']
    """
    ax = current(ax)
    curves = margins if isinstance(margins, Mapping) else {"": margins}
    chosen = calibrated if isinstance(calibrated, Mapping) else {"": calibrated}
    right = 1.1 * max(_largest_finite(values) for values in (*curves.values(), *chosen.values()))
    for (name, values), line in zip(curves.items(), cycle(SERIES), strict=False):
        values = np.sort(np.asarray(values, dtype=float).ravel())
        reached = np.arange(values.size + 1) / values.size
        steps, margin = np.minimum(values, 2 * right), chosen[name]
        ax.step(
            [0, *steps, 2 * right],
            [0, *reached[1:], reached[np.isfinite(values).sum()]],
            where="post",
            color=line.color,
            linestyle=line.style,
            label=_margin_name(name, margin, unit),
        )
        if np.isfinite(margin):
            ax.vlines(margin, 0, 1 - alpha, color=line.color, linewidth=1.4)
            ax.plot(margin, 1 - alpha, marker="o", color=line.color, markersize=7)
    # Below the line at the right, where the curves have passed it.
    mark_y(ax, 1 - alpha, f"1 − α = {1 - alpha:g}", NEUTRAL, right=True)
    ax.set(xlabel=f"margin ({unit})", ylabel=ylabel, xlim=(0, right), ylim=(0, 1.06))
    return outer_legend(ax, title="calibrated margin")


def _end_labels(ax: Axes, x: float, ends: Mapping[str, tuple[float, str]]) -> Axes:
    """Labels at the right ends of curves, pushed apart where they would overlap."""
    gap = 0.075 * np.ptp(ax.get_ylim())
    names = sorted(ends, key=lambda name: ends[name][0])
    wanted = np.array([ends[name][0] for name in names])
    # The least heights that grow by at least the gap, then all moved down by what they rose.
    steps = gap * np.arange(wanted.size)
    heights = np.maximum.accumulate(wanted - steps) + steps
    heights -= np.mean(heights - wanted)
    for name, height in zip(names, heights, strict=True):
        label(ax, x, height, name, ends[name][1])
    return ax


def _largest_finite(values: ArrayLike) -> float:
    array = np.asarray(values, dtype=float)
    return float(np.max(array, initial=0.0, where=np.isfinite(array))) or 1.0


def _margin_name(name: str, margin: float, unit: str) -> str:
    amount = f"{margin:.3g} {unit}" if np.isfinite(margin) else "no finite margin"
    return f"{name}: {amount}" if name else amount
