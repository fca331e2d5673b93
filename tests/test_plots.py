"""The figures: what is drawn is what was given, legible, and told apart without color."""

import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.cbook import pts_to_prestep
from matplotlib.colors import to_hex, to_rgb
from scipy import stats

from confseg import plots


@pytest.fixture(autouse=True)
def book_style():
    """The style of the book, without a display; figures are closed afterwards."""
    with mpl.rc_context():
        plt.switch_backend("agg")
        plots.style()
        yield
        plt.close("all")


def band_mask(rows=8, columns=10):
    mask = np.zeros((rows, columns), bool)
    mask[2:5, 3:7] = True
    return mask


# Outlines

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8))


def signed_area(polygon):
    x, y = polygon.T
    return 0.5 * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])


@given(masks)
def test_outlines_enclose_exactly_the_pixels_of_the_mask(mask):
    polygons = plots.outline(mask)
    assert sum(map(signed_area, polygons)) == mask.sum()
    centers = np.argwhere(np.ones_like(mask))[:, ::-1]
    inside = [mpl.path.Path(polygon).contains_points(centers) for polygon in polygons]
    odd = np.sum(inside, axis=0) % 2 == 1 if inside else np.zeros(mask.size, bool)
    np.testing.assert_array_equal(odd, mask.ravel())


@given(masks)
def test_outlines_run_once_along_every_pixel_edge_of_the_mask_and_along_no_other(mask):
    steps = [np.abs(np.diff(polygon, axis=0)) for polygon in plots.outline(mask)]
    assert all(np.count_nonzero(step, axis=1).max() == 1 for step in steps)  # no diagonals
    padded = np.pad(mask, 1)
    edges = sum(np.count_nonzero(np.diff(padded.astype(int), axis=axis)) for axis in (0, 1))
    assert sum(step.sum() for step in steps) == edges


def test_outline_of_one_pixel_is_the_square_around_it():
    (square,) = plots.outline(np.eye(3, 3) * [0, 1, 0])
    assert {tuple(corner) for corner in square} == set(itertools.product([0.5, 1.5], repeat=2))


def test_pixels_that_touch_at_a_corner_are_outlined_separately():
    assert [len(polygon) for polygon in plots.outline(np.eye(3))] == [5, 5, 5]
    assert [len(polygon) for polygon in plots.outline(np.eye(3)[::-1])] == [5, 5, 5]


# Slices


def drawn(ax):
    return {line.get_gid(): line for line in ax.lines if line.get_gid()}


def test_every_role_has_its_color_and_its_own_line_style():
    mask = band_mask()
    ax = plots.show_slice(None, mask * 0.5, mask, mask, mask, mask)
    lines = drawn(ax)
    colors = {name: line.get_color() for name, line in lines.items()}
    assert colors == {
        "truth": "#E6A700",
        "predicted mask": "#5B6770",
        "outer set": "#0B5FA5",
        "inner set": "#C1272D",
    }
    dashes = {str(line._unscaled_dash_pattern) for line in lines.values()}
    assert len(dashes) == 4
    assert next(iter(lines)) == "truth"  # below the lines that have gaps


def test_outlines_on_the_slice_are_those_of_the_masks():
    ax = plots.show_slice(None, np.zeros((8, 10)), truth=band_mask(), names={"truth": "reader 4"})
    x, y = drawn(ax)["reader 4"].get_data()
    assert (np.nanmin(x), np.nanmax(x), np.nanmin(y), np.nanmax(y)) == (2.5, 6.5, 1.5, 4.5)


def test_empty_and_full_masks_are_called_so_and_the_full_one_is_visible():
    full = np.ones((8, 10), bool)
    ax = plots.show_slice(None, np.zeros((8, 10)), inner=~full, outer=full)
    labels = {line.get_label() for line in ax.lines}
    assert labels == {"inner set (empty)", "outer set (whole slice)"}
    outer = drawn(ax)["outer set"]
    assert not outer.get_clip_on()
    assert np.nanmax(outer.get_xdata()) == 9.5


@pytest.mark.parametrize(("spacing", "aspect"), [(None, 1), ((3, 0.5), 6), ((0.7, 0.7), 1)])
def test_a_millimeter_is_as_long_in_both_directions(spacing, aspect):
    for ax in (
        plots.show_slice(None, np.zeros((8, 10)), spacing=spacing),
        plots.readers(plt.figure().gca(), None, [band_mask()], spacing=spacing),
    ):
        assert ax.get_aspect() == pytest.approx(aspect)
        assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 9.5), (7.5, -0.5))


@pytest.mark.parametrize(("spacing", "length"), [(0.7, 10), (0.05, 0.5), (0.001, 0.1), (6, 50)])
def test_scale_bar_is_as_long_as_it_says(spacing, length):
    ax = plots.show_slice(None, np.zeros((50, 50)), spacing=(1, spacing))
    (bar,) = (line for line in ax.lines if line.get_label() == "_scale")
    assert np.ptp(bar.get_xdata()) * spacing == pytest.approx(length)
    assert ax.texts[0].get_text() == f"{length:g} mm"


@pytest.mark.parametrize(
    ("image", "limits", "shown"),
    [
        ([[0.2, 0.4]], None, (0, 1)),
        ([[-3.0, 2.0]], None, (-3, 2)),
        ([[-np.inf, np.inf, np.nan, 2, 7]], None, (2, 7)),
        ([[-np.inf, np.nan]], None, (0, 1)),
        ([[0.2, 0.4]], (0.1, 0.5), (0.1, 0.5)),
    ],
)
def test_gray_levels_are_comparable_between_scores(image, limits, shown):
    for ax in (
        plots.show_slice(None, image, limits=limits),
        plots.readers(plt.figure().gca(), image, [np.ones_like(image)], limits=limits),
    ):
        assert ax.images[0].get_clim() == shown


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.show_slice(None, np.zeros((2, 3, 4))), r"two dimensions; got .*2, 3, 4"),
        (lambda: plots.show_slice(None, np.zeros(3)), "two dimensions"),
        (
            lambda: plots.show_slice(None, np.zeros((2, 3)), inner=np.ones((3, 2))),
            r"inner set: expected .*\(2, 3\); got \(3, 2\)",
        ),
        (
            lambda: plots.show_slice(None, np.zeros((2, 3)), spacing=(1, 1, 1)),
            "spacing of rows and columns",
        ),
        (lambda: plots.readers(None, None, []), "got 0"),
        (lambda: plots.readers(None, None, [np.eye(2)] * 5), "got 5"),
        (lambda: plots.readers(None, None, [np.eye(2), np.eye(3)]), "reader 2: expected"),
        (lambda: plots.gray_key(None), "no image"),
        (lambda: plots.law_band(None, [1, 2], [stats.beta(1, 1)]), "2 settings, 1 laws"),
        (lambda: plots.count_law(None, {"a": [5]}, stats.betabinom(4, 3, 1)), "a: expected counts"),
        (lambda: plots.loss_curves(None, [[0]], [[0]], critical=[0]), "give it as well"),
        (lambda: plots.ranks(None, [1, 2], 4), "between 1 and n .* = 3; got 4"),
        (lambda: plots.ranks(None, [1, 2], 0), "got 0"),
    ],
)
def test_bad_input_is_refused_with_what_was_found(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_readers_differ_in_color_and_line():
    ax = plots.readers(None, np.eye(4), [np.eye(4)] * 4, names=["A", "B", "C", "D"])
    lines = drawn(ax)
    assert list(lines) == ["A", "B", "C", "D"]
    assert len({line.get_color() for line in lines.values()}) == 4
    assert len({str(line._unscaled_dash_pattern) for line in lines.values()}) == 4


def test_legend_of_one_slice_shows_its_lines():
    ax = plots.show_slice(None, np.zeros((8, 10)), truth=band_mask(), inner=band_mask())
    assert plots.mask_legend(ax) is ax
    plots.mask_legend()
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["truth", "inner set"]
    assert [line.get_color() for line in legend.get_lines()] == [plots.TRUTH, plots.INNER]


def test_legend_of_several_slices_names_every_role_once():
    figure, axes = plt.subplots(1, 2)
    image = np.zeros((8, 10))
    plots.show_slice(axes[0], image, truth=band_mask(), outer=band_mask(), spacing=(1, 1))
    plots.show_slice(axes[1], image, truth=band_mask(), outer=np.ones((8, 10)))
    assert plots.mask_legend(axes) is axes
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["truth", "outer set"]


def test_legend_breaks_where_the_figure_is_narrow():
    names = ["a long name of a line", "another long name of a line"]
    columns = {}
    for width in (3, 9):
        ax = plt.figure(figsize=(width, 3)).gca()
        plots.readers(ax, None, [np.eye(3)] * 2, names=names)
        columns[width] = plots.mask_legend(ax).get_legend()._ncols
    assert columns == {3: 1, 9: 2}


# Coverage and its laws


def heights(ax):
    return np.array([bar.get_height() for bar in ax.patches])


def test_coverage_histogram_of_shares():
    law = stats.beta(91, 10)
    seen = law.rvs(3000, random_state=0)
    ax = plots.coverage_histogram(None, seen, law, 0.1)
    assert heights(ax).sum() == pytest.approx(100)
    x, y = ax.lines[0].get_data()
    width = ax.patches[0].get_width()
    np.testing.assert_allclose(y, 100 * width * law.pdf(x))
    # 3000 draws: a bin of 11% has a standard error of 0.6%.
    middle = [bar.get_x() + width / 2 for bar in ax.patches]
    np.testing.assert_allclose(heights(ax), 100 * width * law.pdf(middle), atol=2.5)
    marks = [line.get_xdata()[0] for line in ax.lines[1:3]]
    np.testing.assert_allclose(marks, [0.9, 91 / 101])
    assert "promised 0.9" in [text.get_text() for text in ax.texts]
    assert f"3,000 sets,\nmean {seen.mean():.3f}" in [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("m", [1, 7, 20, 277])
def test_coverage_histogram_of_counts_has_as_many_counts_in_every_bin(m):
    law = stats.betabinom(m, 91, 10)
    counts = law.rvs(500, random_state=0)
    ax = plots.coverage_histogram(None, counts / m, law, 0.1)
    assert heights(ax).sum() == pytest.approx(100)
    edges = m * np.array([bar.get_x() for bar in ax.patches])
    np.testing.assert_allclose(edges % 1, 0.5)
    step = round(m * ax.patches[0].get_width())
    for edge, height, expected in zip(edges, heights(ax), ax.lines[0].get_ydata(), strict=True):
        held = np.arange(round(edge + 0.5), round(edge + 0.5) + step)
        assert height == pytest.approx(100 * np.isin(counts, held).mean())
        assert expected == pytest.approx(100 * law.pmf(held).sum())


def test_a_histogram_far_from_its_law_shows_both():
    law = stats.beta(91, 10)
    ax = plots.coverage_histogram(None, [0.3, 0.35], law, 0.1)
    assert heights(ax).sum() == pytest.approx(100)
    assert ax.lines[0].get_xdata()[-1] > law.mean()


@pytest.mark.parametrize("center", [0.4, 0.9])
def test_the_label_of_a_histogram_is_clear_of_its_bars(center):
    plots.style()
    seen = stats.norm(center, 0.03).rvs(500, random_state=0)
    ax = plots.coverage_histogram(None, seen, stats.beta(91, 10), 0.1)
    ax.figure.canvas.draw()
    [text] = [text for text in ax.texts if text.get_text().startswith("500 sets")]
    box = text.get_window_extent()
    assert not any(bar.get_window_extent().overlaps(box) for bar in ax.patches if bar.get_height())


def test_law_band_holds_the_level_asked_for():
    laws = [stats.betabinom(40, 18, 2), stats.beta(18, 2)]
    ax = plots.law_band(
        None, [0.1, 0.2], laws, [0.9, 0.8], [0.1, 0.2], level=0.8, promised=[0.9, 0.8]
    )
    corners = ax.collections[0].get_paths()[0].vertices
    for x, law, total in zip([0.1, 0.2], laws, [40, 1], strict=True):
        band = corners[corners[:, 0] == x, 1]
        assert {band.min(), band.max()} == {law.ppf(0.1) / total, law.ppf(0.9) / total}
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.9, 0.9])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [0.9, 0.8])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "80% band of the exact law",
        "mean of the exact law",
        "promised",
        "observed: mean ± sd",
    ]


def test_counts_are_shares_over_the_bars_of_their_law():
    law = stats.betabinom(4, 3, 1)
    ax = plots.count_law(None, {"good": [4, 4, 3, 1], "bad": [0, 0, 2, 2]}, law)
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], 100 * law.pmf(range(5)))
    assert ax.lines[0].get_ydata().tolist() == [0, 25, 0, 25, 50]
    assert ax.lines[1].get_ydata().tolist() == [50, 0, 50, 0, 0]
    assert len({line.get_marker() for line in ax.lines}) == 2
    assert len({line.get_color() for line in ax.lines}) == 2


# Losses, compactness, margins, ranks


@given(
    st.lists(st.integers(0, 10), min_size=1, max_size=12),
    st.lists(st.floats(0, 10), min_size=1, max_size=20),
)
def test_step_curve_is_the_loss_at_every_cutoff(lesion, cutoffs):
    """The drawn line, looked up between and at its corners, against brute force."""
    lesion = np.array(lesion)
    corners = np.unique([-1, *lesion, 11])
    loss = [np.mean(lesion < c) for c in corners]
    ax = plots.loss_curves(plt.figure(1, clear=True).gca(), [corners], [loss])
    x, y = pts_to_prestep(*ax.lines[0].get_data())
    for cutoff in {*cutoffs, *lesion.tolist()}:
        at = y[2 * np.searchsorted(corners, cutoff)]  # its right end belongs to a step
        assert ax.lines[0].get_drawstyle() == "steps-pre"
        assert at == np.mean(lesion < cutoff)
    assert x[-1] == 11


def test_loss_curves_mark_tolerance_critical_values_and_the_calibrated_cutoff():
    ax = plots.loss_curves(
        None, [[0, 1]] * 3, [[0, 1]] * 3, 0.2, critical=[0.3, 0.4, 0.6], calibrated=0.3
    )
    *_, tolerance, critical, calibrated = ax.lines
    assert set(tolerance.get_ydata()) == {0.2}
    np.testing.assert_array_equal(critical.get_data(), [[0.3, 0.4, 0.6], [0.2, 0.2, 0.2]])
    assert set(calibrated.get_xdata()) == {0.3}
    assert {text.get_text() for text in ax.texts} == {"tolerated ε = 0.2", "calibrated\n0.3"}


def test_loss_histograms_count_only_losses_above_the_tolerance():
    ax = plots.loss_histograms(None, [3 / 10, 4 / 10, 1, 0], [0.1, 0.3, 0.3, 0.1], 0.3)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "threshold 0.5: 50.0% above ε",
        "calibrated: 0.0% above ε",
    ]


@pytest.mark.parametrize(("eps", "side"), [(0.1, "left"), (0.9, "right")])
def test_label_of_the_tolerance_stays_in_the_picture(eps, side):
    ax = plots.loss_histograms(None, [0.1], [0.2], eps)
    assert ax.texts[0].get_ha() == side


def test_compactness_shows_mean_and_spread_of_repetitions():
    repeated = np.array([[0.2, 0.4], [0.1, 0.3]])
    ax = plots.compactness_curve(None, [0.1, 0.2], {"a": repeated, "b": [0.5, 0.4]})
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.3, 0.2])
    corners = ax.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(0.1)
    assert corners[:, 1].max() == pytest.approx(0.4)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_labels_at_the_ends_of_curves_do_not_overlap_and_keep_their_order(ends):
    ax = plt.figure(1, clear=True).gca()
    curves = {f"{i}": [1, end] for i, end in enumerate(ends)}
    plots.compactness_curve(ax, [0, 1], curves)
    heights = {text.get_text(): text.xy[1] for text in ax.texts}
    order = sorted(curves, key=lambda name: curves[name][1])
    gaps = np.diff([heights[name] for name in order])
    assert gaps.min() >= 0.074 * np.ptp(ax.get_ylim())
    assert np.mean(list(heights.values())) == pytest.approx(np.mean(ends))


def test_margin_plot_is_the_share_of_lesions_covered():
    margins = np.array([0, 1, 1, 2, np.inf])
    ax = plots.margin_plot(None, margins, 2.0, 0.2)
    x, y = ax.lines[0].get_data()
    assert ax.lines[0].get_drawstyle() == "steps-post"
    for margin in (0, 0.5, 1, 1.5, 2, 2.2):
        at = y[np.searchsorted(x, margin, side="right") - 1]
        assert at == np.mean(margins <= margin)
    assert y[-1] == 0.8  # a lesion that no margin covers is never counted as covered
    assert ax.get_xlabel() == "margin (mm)"
    assert ax.get_xlim()[1] == pytest.approx(2.2)


def test_the_label_of_a_margin_plot_is_clear_of_its_curve():
    plots.style()
    margins = stats.lognorm(1.8).rvs(500, random_state=0)  # a long tail
    ax = plots.margin_plot(None, margins, np.quantile(margins, 0.9), 0.1)
    ax.figure.canvas.draw()
    [text] = [text for text in ax.texts if text.get_text() == "1 − α = 0.9"]
    box = text.get_window_extent()
    curve = ax.transData.transform(ax.lines[0].get_xydata())
    assert not any(box.contains(x, y) for x, y in curve)


def test_margin_plot_without_any_finite_margin():
    ax = plots.margin_plot(None, [np.inf, np.inf], np.inf, 0.1, unit="steps")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["no finite margin"]
    assert ax.lines[0].get_ydata()[-1] == 0


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_ranks_shade_the_gaps_below_the_value(rank):
    values = [0.5, 0.1, 0.9, 0.3]
    ax = plots.ranks(None, values, rank, new=0.2)
    shades = [to_hex(span.get_facecolor()).upper() for span in ax.patches]
    below = [shade in ("#B9D3EA", "#D5E5F3") for shade in shades]
    assert below == [True] * rank + [False] * (5 - rank)
    rights = [span.get_x() + span.get_width() for span in ax.patches]
    np.testing.assert_allclose(rights[:-1], sorted(values))
    said = {text.get_text() for text in ax.texts}
    value = "+∞" if rank == 5 else f"{sorted(values)[rank - 1]:g}"
    assert {f"rank {rank}: {value}", "new case", "1", "5"} <= said


def test_ranks_of_one_value_and_of_tied_negative_values():
    assert len(plots.ranks(None, [2.0], 2).patches) == 2
    ax = plots.ranks(plt.figure().gca(), [-1, -1, -1.0], 2)
    assert "rank 2: −1" in [text.get_text() for text in ax.texts]


# All of them

RNG_LAW = stats.betabinom(100, 91, 10)
FIGURES = {
    "slice": lambda ax: plots.mask_legend(
        plots.gray_key(
            plots.show_slice(ax, band_mask() / 2, *[band_mask()] * 4, spacing=(2, 1)), "score"
        )
    ),
    "readers": lambda ax: plots.mask_legend(plots.readers(ax, None, [band_mask()] * 4)),
    "coverage": lambda ax: plots.coverage_histogram(
        ax, RNG_LAW.rvs(100, random_state=0) / 100, RNG_LAW, 0.1
    ),
    "counts": lambda ax: plots.count_law(
        ax, {f"draw {i}": RNG_LAW.rvs(100, random_state=i) for i in range(3)}, RNG_LAW
    ),
    "band": lambda ax: plots.law_band(
        ax, [0.1, 0.2], [RNG_LAW, stats.beta(80, 21)], [0.9, 0.8], [0.1, 0.1], promised=[0.9, 0.8]
    ),
    "loss": lambda ax: plots.loss_curves(
        ax, [[0, 0.4, 1]], [[0, 0, 1]], 0.2, critical=[0.4], calibrated=0.4
    ),
    "losses": lambda ax: plots.loss_histograms(ax, [0.5, 0.6], [0.1, 0.2], 0.4),
    "compactness": lambda ax: plots.compactness_curve(
        ax, [0.1, 0.2], {f"ε = {e}": [0.5 - e, 0.4 - e] for e in (0.1, 0.2, 0.3)}
    ),
    "margin": lambda ax: plots.margin_plot(
        ax, {"90%": [0, 1, 2], "100%": [1, 3, np.inf]}, {"90%": 2.0, "100%": np.inf}, 0.1
    ),
    "ranks": lambda ax: plots.ranks(ax, np.arange(9) ** 1.5, 9, new=3.3),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_return_their_axes_and_stay_in_the_frame_and_legible(name):
    figure, ax = plt.subplots(figsize=(7, 4.4))
    assert FIGURES[name](ax) is ax
    figure.canvas.draw()
    box = figure.get_tightbbox()
    assert box.x0 > -0.02
    assert box.y0 > -0.02
    assert box.x1 < 7.02
    assert box.y1 < 4.42
    shown = [text for text in figure.findobj(mpl.text.Text) if text.get_text()]
    # 12 points on a figure of 7 inches are 8 CSS pixels on a phone of 360.
    assert min(text.get_fontsize() for text in shown) >= 12


@pytest.mark.parametrize("name", FIGURES)
def test_figures_say_what_their_axes_mean(name):
    ax = FIGURES[name](None)
    assert ax is plt.gca()
    for axis in (ax.xaxis, ax.yaxis):
        assert bool(axis.get_label_text()) or not len(axis.get_ticklocs())


# Machado, Oliveira and Fernandes (2009), severity 1: what a color becomes, in linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = [
    [0.4124, 0.3576, 0.1805],
    [0.2126, 0.7152, 0.0722],
    [0.0193, 0.1192, 0.9505],
]


def as_seen(color, deficiency):
    """CIELAB coordinates of a color as a person with a deficiency sees it."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
    xyz = np.array(TO_XYZ) @ seen / [0.9505, 1, 1.089]
    fx, fy, fz = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize(
    "colors",
    [(plots.TRUTH, plots.INNER, plots.OUTER), [line.color for line in plots.READERS]],
    ids=["roles", "readers"],
)
def test_colors_are_told_apart_with_every_color_vision(deficiency, colors):
    seen = [as_seen(color, deficiency) for color in colors]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(distances) > 30  # a just noticeable difference is about 2.3


def test_the_palette_is_frozen():
    with pytest.raises(TypeError):
        plots.LINES["truth"] = None
    with pytest.raises(AttributeError):
        plots.LINES["truth"].color = "red"
