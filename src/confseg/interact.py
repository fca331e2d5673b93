"""One object for interaction: sliders that work with a kernel, and without one.

`explore` draws a figure at every position of its sliders. A notebook with a live kernel shows
ipywidgets and draws anew at every move; a static page shows the frames drawn beforehand behind
native HTML sliders, with no kernel and no request to anywhere.
"""

import base64
import hashlib
import html
import inspect
import itertools
import json
import math
import string
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from io import BytesIO
from typing import Any, Final

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

__all__ = ["MAX_FRAMES", "Explorer", "explore"]

MAX_FRAMES: Final = 120
"""Most frames of one object: some 25 kB each, all of them inside the page."""

_CSS_PIXELS_PER_INCH: Final = 96

_PAGE: Final = string.Template("""\
<div class="confseg-explore" id="$id" style="background:#fff;color:#1f2933;color-scheme:light;\
border:1px solid #d5dade;border-radius:.5rem;padding:.5rem;margin:1rem 0">
<img class="confseg-explore-frame" src="$src" alt="$alt" width="$width" height="$height" \
style="display:block;max-width:100%;height:auto;margin:0 auto;background:#fff">
<div class="confseg-explore-controls" style="display:grid;gap:.25rem .75rem;align-items:center;\
grid-template-columns:auto minmax(7rem,1fr) minmax(3rem,auto);max-width:${width}px;\
margin:.5rem auto 0">
$controls
</div>
<script>
(function () {
  var frames = $frames;
  var alts = $alts;
  var texts = $texts;
  document.querySelectorAll("#$id").forEach(function (root) {
    var image = root.querySelector("img");
    var sliders = root.querySelectorAll("input");
    var outputs = root.querySelectorAll("output");
    root.oninput = function () {
      var frame = 0;
      sliders.forEach(function (slider, i) {
        var text = texts[i][slider.value];
        frame = frame * texts[i].length + Number(slider.value);
        outputs[i].textContent = text;
        slider.setAttribute("aria-valuetext", text);
      });
      image.src = frames[frame];
      image.alt = alts[frame];
    };
  });
})();
</script>
</div>
""")

# The slider itself tells a screen reader its text, so the output beside it keeps quiet.
_CONTROL: Final = string.Template("""\
<label for="$id-$i">$label</label>
<input type="range" id="$id-$i" min="0" max="$last" step="1" value="$start" autocomplete="off" \
aria-valuetext="$text" style="width:100%;min-height:2.25rem;margin:0;accent-color:#0f766e">
<output for="$id-$i" aria-live="off" style="text-align:right">$text</output>""")


class Explorer:
    """A figure at every position of one or two sliders; :func:`confseg.interact.explore` makes one.

    Attributes
    ----------
    frames : tuple of bytes
        One WebP image per position, the last slider moving fastest.
    alts : tuple of str
        The alternative text of each frame.

    Examples
    --------
    >>> def draw(n):
    ...     return plt.figure(figsize=(1, 1), layout="none")
    >>> explore(draw, n=[1, 2, 3])
    explore(n=1…3: 3 positions)
    """

    def __init__(
        self,
        draw: Callable[..., Any],
        values: Mapping[str, Iterable[Any]],
        alt: str | Callable[..., str] | None,
        labels: Mapping[str, str],
    ) -> None:
        self._draw = draw
        self._values = {name: _finite(name, given) for name, given in values.items()}
        _check_size(self._values)
        self._texts = {name: [_text(v) for v in given] for name, given in self._values.items()}
        self._labels = {name: labels.get(name, name) for name in values}
        self._starts = _starts(draw, self._values)
        positions = [
            dict(zip(self._values, position, strict=True))
            for position in itertools.product(*self._values.values())
        ]
        self.alts = tuple(self._alt(alt, position) for position in positions)
        self.frames, self._size = self._render(positions)

    @property
    def nbytes(self) -> int:
        """Bytes of all frames together; a page needs a third more for its text form.

        Examples
        --------
        >>> def draw(n):
        ...     return plt.figure(figsize=(1, 1), layout="none")
        >>> explore(draw, n=[1, 2, 3]).nbytes < 1000
        True
        """
        return sum(map(len, self.frames))

    @cached_property
    def widget(self) -> Any:
        """The live form: sliders that call ``draw`` anew, with what the kernel holds by then.

        Examples
        --------
        >>> def draw(n):
        ...     return plt.figure(figsize=(1, 1), layout="none")
        >>> image, slider = explore(draw, n=[1, 2, 3]).widget.children
        >>> slider.label
        '1'
        """
        import ipywidgets  # here, as it is slow to import and only needed in a kernel

        image = ipywidgets.Image(
            value=self.frames[self._frame_index(self._starts)],
            format="webp",
            tooltip=self.alts[self._frame_index(self._starts)],
            layout=ipywidgets.Layout(width=f"{self._size[0]}px", max_width="100%"),
        )
        sliders = [
            ipywidgets.SelectionSlider(
                options=texts,
                index=start,
                description=self._labels[name],
                style={"description_width": "initial"},
                layout=ipywidgets.Layout(width=f"{self._size[0]}px", max_width="100%"),
            )
            for (name, texts), start in zip(self._texts.items(), self._starts, strict=True)
        ]

        def redraw(_change: Any) -> None:
            indices = [slider.index for slider in sliders]
            chosen = zip(self._values.items(), indices, strict=True)
            image.value, _ = self._frame({name: given[i] for (name, given), i in chosen})
            image.tooltip = self.alts[self._frame_index(indices)]

        for slider in sliders:
            slider.observe(redraw, names="index")
        return ipywidgets.VBox([image, *sliders])

    def __repr__(self) -> str:
        ranges = ", ".join(f"{name}={_span(texts)}" for name, texts in self._texts.items())
        count = len(self.frames)
        return f"explore({ranges}: {count} position{'' if count == 1 else 's'})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Offer everything; a live front end takes the widget, a static page the HTML."""
        bundle = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if not _in_kernel():
            return bundle
        return self.widget._repr_mimebundle_() | bundle

    def _repr_html_(self) -> str:
        start = self._frame_index(self._starts)
        sources = ["data:image/webp;base64," + base64.b64encode(f).decode() for f in self.frames]
        return _PAGE.substitute(
            id=self._id(),
            src=sources[start],
            alt=html.escape(self.alts[start]),
            width=self._size[0],
            height=self._size[1],
            controls="\n".join(self._control(i) for i in range(len(self._values))),
            frames=_script(sources),
            alts=_script(self.alts),
            texts=_script(list(self._texts.values())),
        )

    def _id(self) -> str:
        """The same wherever the notebook runs: made of words and positions, not of pixels."""
        name = getattr(self._draw, "__qualname__", type(self._draw).__qualname__)
        words = json.dumps([name, self._texts, self._labels, self.alts])
        return "confseg-explore-" + hashlib.sha256(words.encode()).hexdigest()[:10]

    def _control(self, i: int) -> str:
        name = list(self._values)[i]
        return _CONTROL.substitute(
            id=self._id(),
            i=i,
            label=html.escape(self._labels[name]),
            last=len(self._texts[name]) - 1,
            start=self._starts[i],
            text=html.escape(self._texts[name][self._starts[i]]),
        )

    def _frame_index(self, indices: Iterable[int]) -> int:
        lengths = [len(given) for given in self._values.values()]
        return int(np.ravel_multi_index(tuple(indices), lengths))

    def _alt(self, alt: str | Callable[..., str] | None, position: dict[str, Any]) -> str:
        if callable(alt):
            return alt(**position)
        if alt is not None:
            return alt.format(**position)
        where = ", ".join(f"{self._labels[name]} = {_text(v)}" for name, v in position.items())
        # Objects that are called, such as a partial, have the docstring of their class.
        doc = (inspect.getdoc(self._draw) or "") if inspect.isroutine(self._draw) else ""
        summary = " ".join(doc.partition("\n\n")[0].split()).rstrip(".")
        return f"{summary or 'Figure drawn'}, at {where}."

    def _render(self, positions: list[dict[str, Any]]) -> tuple[tuple[bytes, ...], tuple[int, int]]:
        frames: list[bytes] = []
        size = (0, 0)
        for position in positions:
            frame, now = self._frame(position)
            if frames and now != size:
                raise ValueError(
                    f"every figure must have one size, or the page would jump: {size} CSS pixels "
                    f"at {_where(positions[0])}, but {now} at {_where(position)}"
                )
            frames.append(frame)
            size = now
        return tuple(frames), size

    def _frame(self, position: dict[str, Any]) -> tuple[bytes, tuple[int, int]]:
        """Draw one position as WebP, and say how many CSS pixels it measures."""
        before = set(plt.get_fignums())
        try:
            figure = _figure(self._draw(**position), set(plt.get_fignums()) - before)
            plt.close(figure)
            size = figure.get_size_inches() * _CSS_PIXELS_PER_INCH
            return _webp(figure), (round(size[0]), round(size[1]))
        except Exception as error:
            name = type(error).__name__
            raise RuntimeError(f"draw failed at {_where(position)}: {name}: {error}") from error
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)


def explore(
    draw: Callable[..., Any],
    /,
    *,
    alt: str | Callable[..., str] | None = None,
    labels: Mapping[str, str] | None = None,
    **values: Iterable[Any],
) -> Explorer:
    """Let a reader move one or two sliders and see a figure change.

    With a live kernel the sliders are ipywidgets and every move calls ``draw``. Everywhere else
    the frames drawn now stand behind native HTML sliders: no kernel, no request, usable by
    keyboard. All frames are drawn at once, so a position that fails stops the cell.

    Parameters
    ----------
    draw : callable
        Called with one value per name. Returns a Matplotlib figure or axes, or returns nothing
        after drawing on a new pyplot figure. All its figures must have one size.
        The sliders start at its own default values where these are among the values, at
        the first value otherwise.
    alt : str or callable, optional
        Alternative text of a frame, saying what is to be seen: a format string of the values, or
        a function of them. By default the first paragraph of ``draw``'s docstring, with the
        values added.
    labels : mapping of str, optional
        What a slider is called, where its name is not enough: ``{"alpha": "risk level α"}``.
    **values : sequences
        The positions of each slider: numbers or strings. Decimals that a range blurred
        (``0.30000000000000004``) are handed to ``draw`` as the decimal that was meant.

    Returns
    -------
    Explorer
        An object that the notebook shows; ``nbytes`` is the size of its frames.

    Raises
    ------
    TypeError
        If ``draw`` cannot be called or values are not a sequence.
    ValueError
        If there are no values, not one or two sliders, more than 120 positions, or figures of
        different sizes.
    RuntimeError
        If ``draw`` fails at a position, or returns no figure; the message names the position.

    Examples
    --------
    >>> def draw(alpha=0.1):
    ...     "A bar as high as what was promised."
    ...     figure, ax = plt.subplots(figsize=(2, 2))
    ...     ax.bar(0, 1 - alpha)
    ...     return figure
    >>> shown = explore(draw, alpha=[0.05, 0.1, 0.2], labels={"alpha": "risk level α"})
    >>> shown
    explore(alpha=0.05…0.2: 3 positions)
    >>> shown.alts[1]
    'A bar as high as what was promised, at risk level α = 0.1.'
    """
    if not callable(draw):
        raise TypeError(f"draw must be a function; got {type(draw).__name__}")
    return Explorer(draw, values, alt, labels or {})


def _finite(name: str, given: Any) -> list[Any]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"{name}: expected a sequence of values; got {given!r}")
    values = [_tidy(value) for value in given]
    if not values:
        raise ValueError(f"{name}: expected at least one value; got none")
    return values


def _tidy(value: Any) -> Any:
    """A Python scalar, and the decimal that was meant where a range blurred its last bits.

    Exact ranks read the decimal: 0.30000000000000004 is not 3/10.
    """
    if isinstance(value, np.floating) and value.itemsize < 8:
        return float(str(value))
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        short = float(f"{value:.12g}")
        return short if math.isclose(short, value, rel_tol=1e-14, abs_tol=1e-15) else value
    return value


def _text(value: Any) -> str:
    """A value as it was typed; a long fraction shortened to six digits."""
    if not isinstance(value, float):
        return str(value)
    full = f"{value:.10g}"
    return (full if len(full) < 10 else f"{value:.6g}").replace("-", "−")


def _span(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{texts[0]}…{texts[-1]}"


def _where(position: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in position.items())


def _check_size(values: Mapping[str, list[Any]]) -> None:
    if not 1 <= len(values) <= 2:
        raise ValueError(f"expected one or two sliders; got {len(values)}")
    count = math.prod(map(len, values.values()))
    if count > MAX_FRAMES:
        grid = " x ".join(f"{len(given)} {name}" for name, given in values.items())
        raise ValueError(f"at most {MAX_FRAMES} frames fit on a page; {grid} = {count}")


def _starts(draw: Callable[..., Any], values: Mapping[str, list[Any]]) -> list[int]:
    parameters = inspect.signature(draw).parameters
    defaults = {name: p.default for name, p in parameters.items()}
    return [
        given.index(defaults[name]) if defaults.get(name) in given else 0
        for name, given in values.items()
    ]


def _figure(drawn: Any, opened: set[int]) -> Figure:
    """The figure that ``draw`` meant, whatever it returned."""
    if drawn is None:
        if not opened:
            raise TypeError("it returned nothing and opened no figure: return the figure")
        return plt.gcf()
    if isinstance(drawn, Axes):
        drawn = drawn.figure.canvas.figure  # of a subfigure too
    if isinstance(drawn, Figure):
        return drawn
    raise TypeError(f"it returned {type(drawn).__name__}, not a Matplotlib figure or axes")


def _webp(figure: Figure) -> bytes:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba()))
    page = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn)
    buffer = BytesIO()
    page.convert("RGB").save(buffer, "WEBP", quality=80, method=6)
    return buffer.getvalue()


def _script(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c")


def _in_kernel() -> bool:
    from IPython import get_ipython  # comes with ipywidgets, and is as slow to import

    return getattr(get_ipython(), "kernel", None) is not None
