"""Losses of cases, before and after calibration."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from .look import (
    DASHDOT,
    INNER,
    NEUTRAL,
    OUTER,
    PALE,
    TEXT,
    current,
    mark_x,
    mark_y,
    outer_legend,
)


def loss_curves(
    ax: Axes | None,
    cutoffs: Sequence[ArrayLike],
    losses: Sequence[ArrayLike],
    tolerance: float | None = None,
    *,
    critical: ArrayLike | None = None,
    calibrated: float | None = None,
    where: Literal["pre", "post"] = "pre",
    xlabel: str = "cut-off c",
    ylabel: str = "lesion missed (FNR)",
) -> Axes:
    """Draw the loss of each case against the cut-off as the step function that it is.

    Parameters
    ----------
    ax : Axes or None
        Axes, ``None`` for the current ones.
    cutoffs, losses : sequences of array_like
        One curve per case: increasing cut-offs and the loss at each of them.
    tolerance : float, optional
        Tolerated loss ε.
    critical : array_like, shape (cases,), optional
        Critical value of each case, marked on the line of the tolerance.
    calibrated : float, optional
        The calibrated cut-off.
    where : {"pre", "post"}
        Where the loss stays constant: "pre" up to and including a cut-off (masks
        ``score >= c``), "post" from it on (thresholds ``t = 1 - c``).
    xlabel, ylabel : str
        Axis labels.

    Returns
    -------
    Axes
        The axes.

    Raises
    ------
    ValueError
        If critical values are given without a tolerance.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = loss_curves(ax, [[0, 0.4, 0.7, 1]], [[0, 0, 0.5, 1]], 0.5, critical=[0.7])
    >>> ax.lines[0].get_drawstyle()
    'steps-pre'
    """
    if critical is not None and tolerance is None:
        raise ValueError("critical values are marked on the tolerance: give it as well")
    ax = current(ax)
    for cutoff, loss in zip(cutoffs, losses, strict=True):
        ax.step(
            cutoff,
            loss,
            where=where,
            color=NEUTRAL,
            linestyle="solid",
            linewidth=1.4,
            alpha=max(0.25, 1 / len(cutoffs) ** 0.5),
        )
    if tolerance is not None:
        mark_y(ax, tolerance, f"tolerated ε = {tolerance:g}", INNER)
    if critical is not None:
        critical = np.asarray(critical, dtype=float)
        ax.plot(
            critical,
            np.full(critical.size, tolerance),
            linestyle="none",
            marker="o",
            color=TEXT,
            markersize=7,
            markerfacecolor="white",
            clip_on=False,
        )
    if calibrated is not None:
        mark_x(ax, calibrated, f"calibrated\n{calibrated:.3g}", OUTER, DASHDOT)
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=(-0.03, 1.03))
    return ax


def loss_histograms(
    ax: Axes | None,
    before: ArrayLike,
    after: ArrayLike,
    eps: float,
    *,
    names: tuple[str, str] = ("threshold 0.5", "calibrated"),
    xlabel: str = "lesion missed (FNR)",
) -> Axes:
    """Compare the losses of test cases at a fixed threshold with those after calibration.

    Parameters
    ----------
    ax : Axes or None
        Axes, ``None`` for the current ones.
    before, after : array_like, shape (cases,)
        Losses between 0 and 1.
    eps : float
        Tolerated loss; the legend says how many cases exceed it.
    names : (str, str)
        Names of the two.
    xlabel : str
        What the loss is.

    Returns
    -------
    Axes
        The axes.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = loss_histograms(ax, [0.5, 0.7], [0.1, 0.3], 0.4)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['threshold 0.5: 100.0% above ε', 'calibrated: 0.0% above ε']
    """
    ax = current(ax)
    looks: tuple[dict[str, Any], ...] = (
        {"color": PALE, "histtype": "stepfilled"},
        {"color": OUTER, "histtype": "step", "linewidth": 2.4, "linestyle": "solid"},
    )
    for loss, name, look in zip((before, after), names, looks, strict=True):
        loss = np.asarray(loss, dtype=float)
        share = 100 * np.mean(loss > eps)
        ax.hist(
            loss,
            bins=20,
            range=(0, 1),
            weights=np.full(loss.size, 100 / loss.size),
            label=f"{name}: {share:.1f}% above ε",
            **look,
        )
    ax.set(xlabel=xlabel, ylabel="cases (%)", xlim=(0, 1))
    mark_x(ax, eps, f"tolerated ε = {eps:g}", INNER, left=eps > 0.6)
    return outer_legend(ax)
