"""The figures of the book: functions that take Matplotlib axes and return them.

Every function takes the axes first (``None`` for the current ones), then NumPy arrays, and
returns the axes. Roles have one color *and* one line style throughout the book, so that a
figure survives color blindness and a black-and-white printer:

========== ====== =========
role       color  line
========== ====== =========
truth      amber  solid
inner set  red    dashed
outer set  blue   dash-dot
prediction gray   dotted
========== ====== =========
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, pairwise
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = [
    "ACCENT",
    "INNER",
    "LINES",
    "NEUTRAL",
    "OUTER",
    "READERS",
    "TEXT",
    "TRUTH",
    "Line",
    "compactness_curve",
    "count_law",
    "coverage_histogram",
    "gray_key",
    "label",
    "law_band",
    "loss_curves",
    "loss_histograms",
    "margin_plot",
    "mask_legend",
    "outline",
    "ranks",
    "readers",
    "show_slice",
    "style",
]

TRUTH: Final = "#E6A700"
INNER: Final = "#C1272D"
OUTER: Final = "#0B5FA5"
ACCENT: Final = "#0F766E"
NEUTRAL: Final = "#5B6770"
TEXT: Final = "#1F2933"
_PALE: Final = "#C9D1D6"
_PALE_ACCENT: Final = "#B9DAD6"


class Line(NamedTuple):
    """How one role is drawn.

    Attributes
    ----------
    color : str
        Color of the line.
    style : str or tuple
        Matplotlib line style.
    name : str
        What the legend calls it.
    halo : str
        Color of the thin edge that keeps the line visible on black and on white.

    Examples
    --------
    >>> LINES["inner"].name
    'inner set'
    """

    color: str
    style: Any
    name: str
    halo: str = "white"


_DASHED: Final = (0, (4, 1.6))
_DASHDOT: Final = (0, (6, 1.6, 1.2, 1.6))
_DOTTED: Final = (0, (1.2, 1.4))

LINES: Final[Mapping[str, Line]] = MappingProxyType(
    {
        "truth": Line(TRUTH, "solid", "truth", halo=TEXT),
        "prediction": Line(NEUTRAL, _DOTTED, "predicted mask"),
        "outer": Line(OUTER, _DASHDOT, "outer set"),
        "inner": Line(INNER, _DASHED, "inner set"),
    }
)
"""Roles in drawing order: what has gaps lies on top of what has none."""

READERS: Final = (
    Line("#009E73", "solid", "reader 1"),
    Line("#D55E00", _DASHED, "reader 2"),
    Line("#7B3FA0", _DASHDOT, "reader 3"),
    Line("#111111", _DOTTED, "reader 4"),
)
"""Four colors that readers with any of the three color-vision deficiencies tell apart."""

_SERIES: Final = (
    Line(OUTER, "solid", ""),
    Line("#D55E00", _DASHED, ""),
    Line("#7B3FA0", _DASHDOT, ""),
    Line("#009E73", _DOTTED, ""),
    Line("#111111", (0, (8, 2)), ""),
)
_MARKERS: Final = "oX^sD"


def style() -> None:
    """Set Matplotlib's defaults for the book; call it once per notebook.

    Figures are 7 inches wide: about 680 pixels in the column of the page, 360 on a phone, where
    the text is still legible.

    Examples
    --------
    >>> with plt.rc_context():
    ...     style()
    ...     plt.rcParams["figure.facecolor"]
    'white'
    """
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 4.0),
            "figure.dpi": 144,
            "savefig.dpi": "figure",
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.facecolor": "white",
            "axes.edgecolor": NEUTRAL,
            "axes.labelcolor": TEXT,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 14,
            "axes.titlecolor": TEXT,
            "axes.labelsize": 14,
            "xtick.color": NEUTRAL,
            "ytick.color": NEUTRAL,
            "xtick.labelcolor": TEXT,
            "ytick.labelcolor": TEXT,
            "xtick.labelsize": 13,
            "ytick.labelsize": 13,
            "font.size": 13,
            "text.color": TEXT,
            "legend.fontsize": 13,
            "legend.frameon": False,
            "legend.handlelength": 2.8,
            "lines.linewidth": 2.2,
            "lines.dash_capstyle": "butt",
            "axes.prop_cycle": plt.cycler(
                color=[line.color for line in _SERIES],
                linestyle=[line.style for line in _SERIES],
            ),
        }
    )


def label(
    ax: Axes | None,
    x: float,
    y: float,
    text: str,
    color: str = TEXT,
    *,
    offset: tuple[float, float] = (6, 0),
    **text_options: Any,
) -> Axes:
    """Write a direct label beside a point, with a white edge that keeps it legible.

    Parameters
    ----------
    ax : Axes or None
        Axes, ``None`` for the current ones.
    x, y : float
        The labeled point, in data coordinates unless ``xycoords`` says otherwise.
    text : str
        The label.
    color : str
        Its color.
    offset : tuple of float
        Distance of the text from the point, in typographic points.
    **text_options
        Passed on to :meth:`matplotlib.axes.Axes.annotate` (``ha``, ``va``, ``xycoords``...).

    Returns
    -------
    Axes
        The axes.

    Examples
    --------
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = label(ax, 0.5, 0.5, "here", ha="left")
    >>> ax.texts[0].get_text()
    'here'
    """
    ax = _axes(ax)
    options: dict[str, Any] = {"va": "center", "annotation_clip": False} | text_options
    ax.annotate(
        text,
        (x, y),
        xytext=offset,
        textcoords="offset points",
        color=color,
        path_effects=[withStroke(linewidth=3, foreground="white")],
        **options,
    )
    return ax


def outline(mask: ArrayLike) -> list[NDArray[np.float64]]:
    """Trace the pixel edges between a mask and its complement.

    Unlike a contour through pixel centers it claims nothing between pixels: a mask of one pixel
    has a square around it. Pixels that touch at a corner only are outlined separately.

    Parameters
    ----------
    mask : array_like of bool, shape (rows, columns)
        The mask; it may be empty, or fill the image.

    Returns
    -------
    list of float arrays, shape (k, 2)
        Closed polygons ``(x, y)`` in pixel coordinates (pixel centers are integers), holes too.

    Examples
    --------
    >>> outline([[0, 1]])[0]
    array([[ 0.5, -0.5],
           [ 1.5, -0.5],
           [ 1.5,  0.5],
           [ 0.5,  0.5],
           [ 0.5, -0.5]])
    >>> outline([[0, 0]])
    []
    """
    following = _edges(np.asarray(mask, dtype=bool))
    polygons = []
    while following:
        start = next(iter(following))
        corner, heading, corners = start, (0, 0), []
        while corner in following:
            ahead = following[corner]
            # Two ways out of a corner where two pixels touch: turning right stays at one pixel.
            right = (-heading[1], heading[0])
            step = right if right in ahead else next(iter(ahead))
            ahead.remove(step)
            if not ahead:
                del following[corner]
            if step != heading:
                corners.append(corner)
            corner, heading = (corner[0] + step[0], corner[1] + step[1]), step
        polygons.append(np.array([*corners, start], dtype=float) - 0.5)
    return polygons


def _edges(mask: NDArray[np.bool_]) -> dict[tuple[int, int], set[tuple[int, int]]]:
    """Directed pixel edges, the mask on the right hand (y down): corner -> steps out of it."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    sides = (  # neighbor in (row, column); start of the edge from the pixel; its direction
        ((0, 1), (0, 0), (1, 0)),
        ((2, 1), (1, 1), (-1, 0)),
        ((1, 0), (0, 1), (0, -1)),
        ((1, 2), (1, 0), (0, 1)),
    )
    following: dict[tuple[int, int], set[tuple[int, int]]] = {}
    rows, columns = mask.shape
    for (row, column), (dx, dy), step in sides:
        neighbor = padded[row : row + rows, column : column + columns]
        for y, x in np.argwhere(inside & ~neighbor).tolist():
            following.setdefault((x + dx, y + dy), set()).add(step)
    return dict(sorted(following.items(), key=lambda item: item[0][::-1]))


def show_slice(
    ax: Axes | None,
    image: ArrayLike,
    truth: ArrayLike | None = None,
    prediction: ArrayLike | None = None,
    inner: ArrayLike | None = None,
    outer: ArrayLike | None = None,
    *,
    spacing: Sequence[float] | None = None,
    limits: tuple[float, float] | None = None,
    names: Mapping[str, str] | None = None,
) -> Axes:
    """Show one slice in gray with the outlines of its masks.

    Parameters
    ----------
    ax : Axes or None
        Axes, ``None`` for the current ones.
    image : array_like, shape (rows, columns)
        Score map or image.
    truth, prediction, inner, outer : array_like of bool, shape (rows, columns), optional
        Masks to outline along their pixel edges. An empty mask, and one that fills the slice,
        is called so in the legend.
    spacing : (float, float), optional
        Millimeters per pixel, (rows, columns): sets the aspect and adds a scale bar.
    limits : (float, float), optional
        Values shown black and white. By default 0 and 1 where the image stays between them, its
        own range otherwise.
    names : mapping, optional
        Other names for the legend, such as ``{"truth": "reader 4"}``.

    Returns
    -------
    Axes
        The axes; :func:`mask_legend` adds the legend and :func:`gray_key` the gray scale.

    Raises
    ------
    ValueError
        If the image is not two-dimensional or a mask has another shape.

    Examples
    --------
    >>> score = np.outer([0.1, 0.9, 0.2], [0.2, 0.9, 0.9, 0.1])
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = show_slice(ax, score, prediction=score >= 0.5, outer=score >= 0.1, spacing=(1, 0.5))
    >>> [line.get_label() for line in ax.lines]
    ['predicted mask', 'outer set', '_scale']
    """
    shape = np.shape(image)
    ax = _slice(_axes(ax), image, shape, spacing, limits)
    masks = {"truth": truth, "prediction": prediction, "inner": inner, "outer": outer}
    for role, line in LINES.items():
        if masks[role] is not None:
            name = (names or {}).get(role, line.name)
            _draw_outline(ax, masks[role], shape, line._replace(name=name))
    return _scale_bar(ax, shape, spacing)


def readers(
    ax: Axes | None,
    image: ArrayLike | None,
    masks: Sequence[ArrayLike],
    *,
    names: Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Show the outlines that several readers drew on one slice.

    Parameters
    ----------
    ax : Axes or None
        Axes, ``None`` for the current ones.
    image : array_like, shape (rows, columns), or None
        Image in gray; ``None`` leaves the slice white.
    masks : sequence of array_like of bool, shape (rows, columns)
        One mask per reader, four at most.
    names : sequence of str, optional
        Names of the readers, "reader 1" and so on by default.
    spacing, limits
        As for :func:`show_slice`.

    Returns
    -------
    Axes
        The axes; :func:`mask_legend` adds the legend.

    Raises
    ------
    ValueError
        If there are no masks or more than four, or shapes differ.

    Examples
    --------
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = readers(ax, None, [np.eye(3), np.ones((3, 3))])
    >>> [line.get_label() for line in ax.lines]
    ['reader 1', 'reader 2 (whole slice)']
    """
    if not 1 <= len(masks) <= len(READERS):
        raise ValueError(f"expected 1 to {len(READERS)} masks, one per reader; got {len(masks)}")
    shape = np.shape(masks[0] if image is None else image)
    ax = _slice(_axes(ax), image, shape, spacing, limits)
    names = names or [line.name for line in READERS[: len(masks)]]
    for mask, line, name in zip(masks, READERS, names, strict=False):
        _draw_outline(ax, mask, shape, line._replace(name=name))
    return _scale_bar(ax, shape, spacing)


def mask_legend(axes: Axes | Iterable[Axes] | None = None, **legend_options: Any) -> Any:
    """Add a legend of the outlines below one slice, or below a figure of several.

    Parameters
    ----------
    axes : Axes, iterable of Axes, or None
        The axes of one slice (``None`` for the current ones), or several axes of one figure,
        which then share one legend.
    **legend_options
        Passed on to Matplotlib's legend, such as ``ncols``.

    Returns
    -------
    Axes or iterable of Axes
        What was given.

    Examples
    --------
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = mask_legend(show_slice(ax, np.zeros((2, 2)), truth=np.eye(2)))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['truth']
    """
    if axes is None or isinstance(axes, Axes):
        return _legend(_axes(axes), loc="upper center", bbox_to_anchor=(0.5, 0), **legend_options)
    several = list(np.ravel(np.asarray(axes, dtype=object)))
    # One name per role: that a set is empty in one of the slices is not said for all of them.
    lines = {line.get_gid(): line for ax in several for line in ax.lines if line.get_gid()}
    figure = several[0].figure
    columns = _columns(lines, figure.bbox.width / figure.dpi)
    options = {"loc": "outside lower center", "ncols": columns} | legend_options
    figure.legend(lines.values(), lines.keys(), **options)
    return axes


def gray_key(ax: Axes | None, name: str = "score") -> Axes:
    """Add the gray scale of a slice beside it.

    Parameters
    ----------
    ax : Axes or None
        Axes that :func:`show_slice` drew on, ``None`` for the current ones.
    name : str
        What the gray level means, with its unit.

    Returns
    -------
    Axes
        The axes.

    Raises
    ------
    ValueError
        If the axes show no image.

    Examples
    --------
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = gray_key(show_slice(ax, np.eye(2)), "probability")
    >>> ax.images[0].colorbar.ax.get_ylabel()
    'probability'
    """
    ax = _axes(ax)
    if not ax.images:
        raise ValueError("the axes show no image: call show_slice first")
    bar = ax.figure.colorbar(ax.images[-1], ax=ax, shrink=0.8, pad=0.02, aspect=18, label=name)
    bar.outline.set_edgecolor(NEUTRAL)
    return ax


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
    >>> law = stats.beta(90, 10)
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = coverage_histogram(ax, law.rvs(200, random_state=0), law, 0.1)
    >>> ax.get_ylabel()
    'calibration sets (%)'
    """
    ax = _axes(ax)
    coverages = np.asarray(coverages, dtype=float)
    edges = _histogram_edges(coverages, law)
    weights = np.full(coverages.size, 100 / coverages.size)
    shares, _ = np.histogram(coverages, edges, weights=weights)
    ax.bar(edges[:-1], shares, np.diff(edges), align="edge", color=_PALE, edgecolor="white")
    x, y = _law_curve(law, edges)
    ax.plot(x, y, color=ACCENT, linestyle="solid", marker="." if _is_discrete(law) else "")
    top = 1.35 * max(shares.max(), y.max())
    mean = law.mean() / _law_total(law)
    _mark_x(ax, 1 - alpha, f"promised {1 - alpha:.3g}", NEUTRAL, left=True)
    _mark_x(ax, mean, f"mean of the\nexact law {mean:.3f}", ACCENT, "solid")
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
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = law_band(ax, [0.1, 0.2], [stats.beta(90, 10), stats.beta(80, 20)], [0.91, 0.79])
    >>> ax.get_xlabel()
    'risk level α'
    """
    ax = _axes(ax)
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
            linestyle=_DASHED,
            label="promised",
        )
    if mean is not None:
        name = "observed" if sd is None else "observed: mean ± sd"
        ax.errorbar(x, mean, sd, color=TEXT, linestyle="none", marker="o", capsize=4, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    return _legend(ax)


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
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> law = stats.betabinom(10, 9, 2)
    >>> ax = count_law(ax, {"drawn": law.rvs(200, random_state=1)}, law)
    >>> ax.get_ylabel()
    'calibration sets (%)'
    """
    ax = _axes(ax)
    low, high = (int(end) for end in law.support())
    k = np.arange(low, high + 1)
    ax.bar(k, 100 * law.pmf(k), color=_PALE_ACCENT, edgecolor=ACCENT, label="exact law")
    looks = zip(cycle(_SERIES), cycle(_MARKERS))
    for (name, seen), (line, marker) in zip(counts.items(), looks, strict=False):
        values = np.asarray(seen, dtype=int)
        if values.min() < low or values.max() > high:
            raise ValueError(f"{name}: expected counts from {low} to {high}, found others")
        shares = 100 * np.bincount(values - low, minlength=k.size) / values.size
        look: dict[str, Any] = {"marker": marker, "markersize": 9, "markeredgecolor": "white"}
        ax.plot(k, shares, color=line.color, linestyle="none", label=name, **look)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.locator_params(axis="x", integer=True)
    return _legend(ax)


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
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = loss_curves(ax, [[0, 0.4, 0.7, 1]], [[0, 0, 0.5, 1]], 0.5, critical=[0.7])
    >>> ax.lines[0].get_drawstyle()
    'steps-pre'
    """
    if critical is not None and tolerance is None:
        raise ValueError("critical values are marked on the tolerance: give it as well")
    ax = _axes(ax)
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
        _mark_y(ax, tolerance, f"tolerated ε = {tolerance:g}", INNER)
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
        _mark_x(ax, calibrated, f"calibrated\n{calibrated:.3g}", OUTER, _DASHDOT)
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
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = loss_histograms(ax, [0.5, 0.7], [0.1, 0.3], 0.4)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['threshold 0.5: 100.0% above ε', 'calibrated: 0.0% above ε']
    """
    ax = _axes(ax)
    looks: tuple[dict[str, Any], ...] = (
        {"color": _PALE, "histtype": "stepfilled"},
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
    _mark_x(ax, eps, f"tolerated ε = {eps:g}", INNER, left=eps > 0.6)
    return _legend(ax)


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
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = compactness_curve(ax, [0.1, 0.2], {"ε = 0": [0.5, 0.4], "ε = 0.1": [0.3, 0.2]})
    >>> sorted(text.get_text() for text in ax.texts)
    ['ε = 0', 'ε = 0.1']
    """
    ax = _axes(ax)
    alphas = np.asarray(alphas, dtype=float)
    curves = compactness if isinstance(compactness, Mapping) else {"": compactness}
    ends = {}
    for (name, curve), line in zip(curves.items(), cycle(_SERIES), strict=False):
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
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = margin_plot(ax, {"90%": [0, 1, 2], "100%": [1, 3, np.inf]},
    ...                  {"90%": 2.0, "100%": np.inf}, 0.1)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['90%: 2 mm', '100%: no finite margin']
    """
    ax = _axes(ax)
    curves = margins if isinstance(margins, Mapping) else {"": margins}
    chosen = calibrated if isinstance(calibrated, Mapping) else {"": calibrated}
    right = 1.1 * max(_largest_finite(values) for values in (*curves.values(), *chosen.values()))
    for (name, values), line in zip(curves.items(), cycle(_SERIES), strict=False):
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
    _mark_y(ax, 1 - alpha, f"1 − α = {1 - alpha:g}", NEUTRAL, right=True)
    ax.set(xlabel=f"margin ({unit})", ylabel=ylabel, xlim=(0, right), ylim=(0, 1.06))
    return _legend(ax, title="calibrated margin")


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
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = ranks(ax, [0.3, 0.1, 0.7], 2)
    >>> ax.get_title(loc="left")
    '2 of 4 gaps lie below the value of rank 2'
    """
    ax = _axes(ax)
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
    ax.vlines(quantile, 0.26, 0.92, color=OUTER, linestyle=_DASHDOT, clip_on=False)
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


def _axes(ax: Axes | None) -> Axes:
    return plt.gca() if ax is None else ax


def _mark_x(
    ax: Axes, x: float, text: str, color: str, line: Any = _DASHED, *, left: bool = False
) -> None:
    """A vertical line with its label at the top, on its right unless told otherwise."""
    ax.axvline(x, color=color, linestyle=line, linewidth=1.8)
    side: dict[str, Any] = {"ha": "right", "offset": (-6, 0)} if left else {"ha": "left"}
    label(ax, x, 0.98, text, color, va="top", xycoords=ax.get_xaxis_transform(), **side)


def _mark_y(ax: Axes, y: float, text: str, color: str, *, right: bool = False) -> None:
    """A horizontal line with its label above it at the left, or below it at the right."""
    ax.axhline(y, color=color, linestyle=_DASHED, linewidth=1.8)
    side: dict[str, Any] = {"ha": "right", "offset": (-4, -11)} if right else {"offset": (4, 11)}
    label(ax, float(right), y, text, color, xycoords=ax.get_yaxis_transform(), **side)


def _slice(
    ax: Axes,
    image: ArrayLike | None,
    shape: tuple[int, ...],
    spacing: Sequence[float] | None,
    limits: tuple[float, float] | None,
) -> Axes:
    """An image in pixel coordinates, the first row on top, square millimeters, no ticks."""
    if len(shape) != 2:
        raise ValueError(f"expected one slice of two dimensions; got shape {shape}")
    if spacing is not None and len(spacing) != 2:
        raise ValueError(f"expected the spacing of rows and columns; got {tuple(spacing)}")
    aspect = 1 if spacing is None else spacing[0] / spacing[1]
    if image is not None:
        low, high = limits or _gray_limits(np.asarray(image))
        ax.imshow(image, "gray", interpolation="nearest", aspect=aspect, vmin=low, vmax=high)
    rows, columns = shape
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xticks=[], yticks=[])
    ax.set_aspect(aspect)
    ax.spines[:].set_visible(True)
    return ax


def _gray_limits(image: NDArray[Any]) -> tuple[float, float]:
    """What is black and white: 0 and 1 for scores, the range of any other image."""
    finite = image[np.isfinite(image)]
    if finite.size and (finite.min() < 0 or finite.max() > 1):
        return float(finite.min()), float(finite.max())
    return 0.0, 1.0


def _draw_outline(ax: Axes, mask: Any, shape: tuple[int, ...], line: Line) -> None:
    mask = np.asarray(mask, dtype=bool)
    if mask.shape != shape:
        raise ValueError(f"{line.name}: expected a mask of shape {shape}; got {mask.shape}")
    state = "" if mask.any() and not mask.all() else " (whole slice)" if mask.all() else " (empty)"
    gap = np.full((1, 2), np.nan)
    x, y = np.concatenate([gap, *(part for path in outline(mask) for part in (path, gap))]).T
    # Not clipped, or the outline of a mask that fills the slice would lose its outer half.
    ax.plot(
        x,
        y,
        color=line.color,
        linestyle=line.style,
        linewidth=2.2,
        label=line.name + state,
        gid=line.name,
        solid_joinstyle="miter",
        solid_capstyle="projecting",
        clip_on=False,
        path_effects=[withStroke(linewidth=3.6, foreground=line.halo)],
    )


def _scale_bar(ax: Axes, shape: tuple[int, ...], spacing: Sequence[float] | None) -> Axes:
    """A round number of millimeters, at most a third of the width."""
    if spacing is None:
        return ax
    width = shape[1] * spacing[1]
    length = max((mm for mm in (0.5, 1, 2, 5, 10, 20, 50) if mm <= width / 3), default=0.1)
    left = 0.04 * shape[1]
    ends, row = [left - 0.5, left + length / spacing[1] - 0.5], 0.95 * shape[0] - 0.5
    ax.plot(
        ends,
        [row, row],
        color="white",
        linestyle="solid",
        linewidth=3,
        label="_scale",
        solid_capstyle="butt",
        path_effects=[withStroke(linewidth=5, foreground=TEXT)],
    )
    return label(ax, ends[0], row, f"{length:g} mm", offset=(0, 11))


def _legend(ax: Axes, **options: Any) -> Axes:
    """A legend outside the axes, above them unless told otherwise, where no curve can be."""
    names = ax.get_legend_handles_labels()[1]
    cell = ax.get_subplotspec()
    share = 1 if cell is None else len(cell.colspan) / cell.get_gridspec().ncols
    columns = _columns(names, share * ax.figure.bbox.width / ax.figure.dpi)
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": columns}
    ax.legend(**(place | options))
    return ax


def _columns(names: Iterable[str], width: float) -> int:
    """How many columns of a legend fit into a width in inches."""
    names = list(names)
    entry = (0.48 * max(map(len, names), default=0) + 5) * plt.rcParams["font.size"] / 72
    return int(np.clip(width // entry, 1, max(len(names), 1)))


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
