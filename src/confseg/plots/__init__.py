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

from .laws import count_law, coverage_histogram, law_band, ranks
from .look import (
    ACCENT,
    INNER,
    LINES,
    NEUTRAL,
    OUTER,
    READERS,
    TEXT,
    TRUTH,
    Line,
    label,
    style,
)
from .losses import loss_curves, loss_histograms
from .sizes import compactness_curve, margin_plot
from .slices import gray_key, mask_legend, outline, readers, show_slice

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
