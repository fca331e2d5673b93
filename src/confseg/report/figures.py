"""Figures of a report, as images inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from .. import plots
from ..boxes import Box, bounding_box, grow_box, whole_box
from ..case import Case

_AROUND = 8  # voxels at least that are shown around a lesion


def score_histogram(scores: NDArray[np.float64], limit: float, what: str, unit: str) -> str:
    """Histogram of the nonconformity scores with their conformal quantile.

    Parameters
    ----------
    scores : ndarray of float
        The scores; infinite ones are counted in the caption.
    limit : float
        The quantile.
    what : str
        What the scores are of, such as "outer".
    unit : str
        What has one score, "case" or "patient".

    Returns
    -------
    str
        A figure in HTML.
    """
    finite = scores[np.isfinite(scores)]
    high, low = int(np.isposinf(scores).sum()), int(np.isneginf(scores).sum())
    line = f"The dashed line is their quantile, {limit:.6g}." if np.isfinite(limit) else ""
    text = (
        f"Histogram of {finite.size} nonconformity scores ({what}): of each {unit} the cut-off "
        "at which the promise is just kept, turned so that larger is worse. "
        f"{high} more are infinite, {low} minus infinite. {line}"
    ).strip()
    with plt.rc_context():
        plots.style()
        figure = Figure(figsize=(7.0, 2.8))
        ax = figure.subplots()
        if finite.size:
            ax.hist(finite, bins="sqrt", color=plots.NEUTRAL, edgecolor="white")
        if np.isfinite(limit):
            ax.axvline(limit, color=plots.OUTER, linestyle="--")
        ax.set(xlabel="nonconformity score", ylabel="number")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        return _html(figure, text)


def slices(
    cases: Sequence[tuple[Case, Mapping[str, NDArray[np.bool_]]]], names: Mapping[str, str]
) -> str:
    """One slice of each case, where most voxels are wrong, around the lesion, with its masks.

    Parameters
    ----------
    cases : sequence of (Case, dict of str to ndarray of bool)
        The cases and their regions by side.
    names : dict of str to str
        What the legend calls the sides.

    Returns
    -------
    str
        A figure in HTML.
    """
    shown = ", ".join(case.name for case, _ in cases)
    text = (
        f"Score maps of {shown} around the lesion, in the slice with most wrong voxels, with the "
        "outlines of the truth and of the calibrated masks."
        + " Slices and axes are counted from 1."
        * any(case.score.ndim == 3 for case, _ in cases)
    )
    with plt.rc_context():
        plots.style()
        figure = Figure(figsize=(7.0, 3.5))
        axes = np.atleast_1d(figure.subplots(1, len(cases)))
        for ax, (case, regions) in zip(axes, cases, strict=True):
            _show(ax, case, regions, names)
        plots.mask_legend(axes)
        return _html(figure, text)


def _show(
    ax: Axes, case: Case, regions: Mapping[str, NDArray[np.bool_]], names: Mapping[str, str]
) -> None:
    cut = _worst_slice(case, regions)
    shown = [axis for axis, place in enumerate(cut) if isinstance(place, slice)]
    masks = {"truth": case.truth[cut], **{side: region[cut] for side, region in regions.items()}}
    box = _near_lesion(masks)
    plots.show_slice(
        ax,
        case.score[cut][box],
        **{name: mask[box] for name, mask in masks.items()},
        spacing=None if case.spacing is None else [case.spacing[axis] for axis in shown],
        names=names,
    )
    where = [
        f"slice {place + 1} of {case.score.shape[axis]} along axis {axis + 1}"
        for axis, place in enumerate(cut)
        if not isinstance(place, slice)
    ]
    ax.set_title("\n".join([case.name, *where]), fontsize=11, parse_math=False)


def _near_lesion(masks: Mapping[str, NDArray[np.bool_]]) -> Box:
    """The part of a slice with truth and inner set, and as much again around it."""
    truth = masks["truth"]
    box = bounding_box(truth | masks.get("inner", truth))
    if box is None:
        return whole_box(truth.shape)
    around = max(_AROUND, *(side.stop - side.start for side in box))
    return grow_box(box, [around] * truth.ndim, truth.shape)


def _worst_slice(case: Case, regions: Mapping[str, NDArray[np.bool_]]) -> tuple:
    """Where most voxels are wrong, else where most are lesion; across the thickest axis."""
    if case.score.ndim not in (2, 3):
        raise ValueError(f"expected two or three axes to show, found {case.score.ndim}")
    if case.score.ndim == 2:
        return (slice(None), slice(None))
    edges = case.spacing or (1.0,) * case.score.ndim
    # Of axes as thick as each other the last one, as scans are stored.
    axis = max(range(len(edges)), key=lambda i: (edges[i], i))
    wrong = sum(
        case.truth & ~region if side == "outer" else region & ~case.truth
        for side, region in regions.items()
    )
    for voxels in (np.asarray(wrong, dtype=bool), case.truth, case.score > -np.inf):
        counts = voxels.sum(axis=tuple(i for i in range(voxels.ndim) if i != axis))
        if counts.any():
            break
    cut: list[slice | int] = [slice(None)] * case.score.ndim
    cut[axis] = int(counts.argmax())
    return tuple(cut)


def _html(figure: Figure, text: str) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    data = base64.b64encode(stream.getvalue()).decode()
    return (
        f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(text)}</figcaption></figure>"
    )
