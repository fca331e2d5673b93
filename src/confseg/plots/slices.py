"""Slices in gray, with the outlines of their masks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from .look import LINES, NEUTRAL, READERS, TEXT, Line, columns_within, current, label, outer_legend


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
    >>> import matplotlib.pyplot as plt
    >>> score = np.outer([0.1, 0.9, 0.2], [0.2, 0.9, 0.9, 0.1])
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = show_slice(ax, score, prediction=score >= 0.5, outer=score >= 0.1, spacing=(1, 0.5))
    >>> [line.get_label() for line in ax.lines]
    ['predicted mask', 'outer set', '_scale']
    """
    shape = np.shape(image)
    ax = _slice(current(ax), image, shape, spacing, limits)
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
    >>> import matplotlib.pyplot as plt
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = readers(ax, None, [np.eye(3), np.ones((3, 3))])
    >>> [line.get_label() for line in ax.lines]
    ['reader 1', 'reader 2 (whole slice)']
    """
    if not 1 <= len(masks) <= len(READERS):
        raise ValueError(f"expected 1 to {len(READERS)} masks, one per reader; got {len(masks)}")
    shape = np.shape(masks[0] if image is None else image)
    ax = _slice(current(ax), image, shape, spacing, limits)
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
    >>> import matplotlib.pyplot as plt
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = mask_legend(show_slice(ax, np.zeros((2, 2)), truth=np.eye(2)))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['truth']
    """
    if axes is None or isinstance(axes, Axes):
        return outer_legend(
            current(axes), loc="upper center", bbox_to_anchor=(0.5, 0), **legend_options
        )
    several = list(np.ravel(np.asarray(axes, dtype=object)))
    # One name per role: that a set is empty in one of the slices is not said for all of them.
    lines = {line.get_gid(): line for ax in several for line in ax.lines if line.get_gid()}
    figure = several[0].figure
    columns = columns_within(lines, figure.bbox.width / figure.dpi)
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
    >>> import matplotlib.pyplot as plt
    >>> _, ax = plt.subplots(num=1, clear=True)
    >>> ax = gray_key(show_slice(ax, np.eye(2)), "probability")
    >>> ax.images[0].colorbar.ax.get_ylabel()
    'probability'
    """
    ax = current(ax)
    if not ax.images:
        raise ValueError("the axes show no image: call show_slice first")
    bar = ax.figure.colorbar(ax.images[-1], ax=ax, shrink=0.8, pad=0.02, aspect=18, label=name)
    bar.outline.set_edgecolor(NEUTRAL)
    return ax


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
