"""The colors and lines of the roles, and what all figures have in common."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

TRUTH: Final = "#E6A700"
INNER: Final = "#C1272D"
OUTER: Final = "#0B5FA5"
ACCENT: Final = "#0F766E"
NEUTRAL: Final = "#5B6770"
TEXT: Final = "#1F2933"
PALE: Final = "#C9D1D6"
PALE_ACCENT: Final = "#B9DAD6"


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


DASHED: Final = (0, (4, 1.6))
DASHDOT: Final = (0, (6, 1.6, 1.2, 1.6))
DOTTED: Final = (0, (1.2, 1.4))

LINES: Final[Mapping[str, Line]] = MappingProxyType(
    {
        "truth": Line(TRUTH, "solid", "truth", halo=TEXT),
        "prediction": Line(NEUTRAL, DOTTED, "predicted mask"),
        "outer": Line(OUTER, DASHDOT, "outer set"),
        "inner": Line(INNER, DASHED, "inner set"),
    }
)
"""Roles in drawing order: what has gaps lies on top of what has none."""

READERS: Final = (
    Line("#009E73", "solid", "reader 1"),
    Line("#D55E00", DASHED, "reader 2"),
    Line("#7B3FA0", DASHDOT, "reader 3"),
    Line("#111111", DOTTED, "reader 4"),
)
"""Four colors that readers with any of the three color-vision deficiencies tell apart."""

SERIES: Final = (
    Line(OUTER, "solid", ""),
    Line("#D55E00", DASHED, ""),
    Line("#7B3FA0", DASHDOT, ""),
    Line("#009E73", DOTTED, ""),
    Line("#111111", (0, (8, 2)), ""),
)
MARKERS: Final = "oX^sD"


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
                color=[line.color for line in SERIES],
                linestyle=[line.style for line in SERIES],
            ),
        }
    )


def current(ax: Axes | None) -> Axes:
    """The axes, or the current ones for None."""
    return plt.gca() if ax is None else ax


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
    ax = current(ax)
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


def mark_x(
    ax: Axes, x: float, text: str, color: str, line: Any = DASHED, *, left: bool = False
) -> None:
    """A vertical line with its label at the top, on its right unless told otherwise."""
    ax.axvline(x, color=color, linestyle=line, linewidth=1.8)
    side: dict[str, Any] = {"ha": "right", "offset": (-6, 0)} if left else {"ha": "left"}
    label(ax, x, 0.98, text, color, va="top", xycoords=ax.get_xaxis_transform(), **side)


def mark_y(ax: Axes, y: float, text: str, color: str, *, right: bool = False) -> None:
    """A horizontal line with its label above it at the left, or below it at the right."""
    ax.axhline(y, color=color, linestyle=DASHED, linewidth=1.8)
    side: dict[str, Any] = {"ha": "right", "offset": (-4, -11)} if right else {"offset": (4, 11)}
    label(ax, float(right), y, text, color, xycoords=ax.get_yaxis_transform(), **side)


def outer_legend(ax: Axes, **options: Any) -> Axes:
    """A legend outside the axes, above them unless told otherwise, where no curve can be."""
    names = ax.get_legend_handles_labels()[1]
    cell = ax.get_subplotspec()
    share = 1 if cell is None else len(cell.colspan) / cell.get_gridspec().ncols
    columns = columns_within(names, share * ax.figure.bbox.width / ax.figure.dpi)
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": columns}
    ax.legend(**(place | options))
    return ax


def columns_within(names: Iterable[str], width: float) -> int:
    """How many columns of a legend fit into a width in inches."""
    names = list(names)
    entry = (0.48 * max(map(len, names), default=0) + 5) * plt.rcParams["font.size"] / 72
    return int(np.clip(width // entry, 1, max(len(names), 1)))
