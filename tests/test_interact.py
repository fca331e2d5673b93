"""The sliders: the page, the live widget, and what happens when something is wrong."""

import base64
import functools
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from io import BytesIO

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbclient
import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from confseg import interact, plots
from confseg.interact import MAX_FRAMES, explore

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(autouse=True)
def no_display():
    with mpl.rc_context():
        # Docstring examples run in the same process and leave figures and a style behind.
        plt.close("all")
        mpl.rcdefaults()
        plt.switch_backend("agg")
        yield
        assert plt.get_fignums() == []
        plt.close("all")


def draw(a=2, b="x"):
    """A line whose slope is a.

    More that nobody needs to hear.
    """
    figure, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, len(str(b))], [0, float(a)])
    return figure


class Page(HTMLParser):
    """Elements of a piece of HTML: (tag, attributes, text), and what is not closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names))
        self.elements.append([tag, dict(attrs), ""])
        if tag not in ("img", "input"):
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag):
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data):
        if self.open:
            self.elements[self.open[-1]][2] += data

    def all(self, tag):
        return [(attributes, text) for name, attributes, text in self.elements if name == tag]

    def one(self, tag):
        (element,) = self.all(tag)
        return element

    def data(self, name):
        return json.loads(re.search(rf"var {name} = (.*);\n", self.one("script")[1])[1])


def page(explorer):
    shown = Page(explorer._repr_html_())
    assert shown.open == []
    return shown


def decode(source):
    head, data = source.split(",")
    assert head == "data:image/webp;base64"
    return Image.open(BytesIO(base64.b64decode(data, validate=True)))


# The page


def test_page_holds_one_frame_and_one_alternative_text_per_position():
    shown = page(explore(draw, a=[1, 2, 3], b=["x", "xyz"], alt="Slope {a}, width {b}."))
    frames, alts = shown.data("frames"), shown.data("alts")
    assert len(set(frames)) == 6
    assert {decode(frame).size for frame in frames} == {(200, 100)}
    assert decode(frames[0]).format == "WEBP"
    assert alts == [f"Slope {a}, width {b}." for a in (1, 2, 3) for b in ("x", "xyz")]
    assert shown.data("texts") == [["1", "2", "3"], ["x", "xyz"]]


def test_frame_of_a_position_shows_that_position():
    explorer = explore(draw, a=[1, 3], b=["x", "xyz"])
    singles = [explore(draw, a=[a], b=[b]).frames[0] for a in (1, 3) for b in ("x", "xyz")]
    assert list(explorer.frames) == singles


def test_page_starts_at_the_defaults_of_draw_or_else_at_the_first_value():
    shown = page(explore(draw, a=[1, 2, 3], b=["y", "xyz"]))
    image, _ = shown.one("img")
    assert image["src"] == shown.data("frames")[2]
    assert image["alt"] == shown.data("alts")[2] == "A line whose slope is a, at a = 2, b = y."
    assert [attributes["value"] for attributes, _ in shown.all("input")] == ["1", "0"]
    assert [text for _, text in shown.all("output")] == ["2", "y"]


def test_every_slider_is_native_labeled_and_says_its_value():
    shown = page(explore(draw, a=[1, 2.5], b=["<b>", "y"], labels={"a": "slope <α>"}))
    assert [text for _, text in shown.all("label")] == ["slope <α>", "b"]
    for i, ((label, _), (slider, _), (output, text)) in enumerate(
        zip(shown.all("label"), shown.all("input"), shown.all("output"), strict=True)
    ):
        assert slider["type"] == "range"
        assert (slider["min"], slider["max"], slider["step"]) == ("0", "1", "1")
        assert label["for"] == slider["id"] == output["for"]
        assert slider["aria-valuetext"] == text == ["1", "<b>"][i]


BROWSER = """
const element = () => ({setAttribute(name, value) { this[name] = value; }});
const image = {}, sliders = [element(), element()], outputs = [element(), element()];
const root = {
  querySelector: () => image,
  querySelectorAll: (tag) => ({input: sliders, output: outputs})[tag],
};
const document = {querySelectorAll: () => [root]};
%s
sliders[0].value = "2";
sliders[1].value = "1";
root.oninput();
console.log(JSON.stringify([image, sliders, outputs]));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="runs the script of the page in Node")
def test_script_shows_the_frame_of_both_sliders():
    shown = page(explore(draw, a=[1, 2, 3], b=["x", "xyz"]))
    script = BROWSER % shown.one("script")[1]
    ran = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True)
    image, sliders, outputs = json.loads(ran.stdout)
    assert image == {"src": shown.data("frames")[5], "alt": shown.data("alts")[5]}
    assert image["alt"].endswith("at a = 3, b = xyz.")
    assert [slider["aria-valuetext"] for slider in sliders] == ["3", "xyz"]
    assert [output["textContent"] for output in outputs] == ["3", "xyz"]


def test_page_asks_for_nothing_from_outside():
    text = explore(draw, a=[1, 2])._repr_html_()
    shown = Page(text)
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)
    assert shown.one("script")[0] == {}
    assert not {tag for tag, _, _ in shown.elements} & {"link", "iframe", "style", "object"}


def test_page_is_a_white_card_that_fits_a_phone_and_does_not_jump():
    shown = page(explore(draw, a=[1, 2]))
    classes = [attributes.get("class") for _, attributes, _ in shown.elements]
    assert classes[:3] == ["confseg-explore", "confseg-explore-frame", "confseg-explore-controls"]
    assert "background:#fff" in shown.elements[0][1]["style"]
    image, _ = shown.one("img")
    assert (image["width"], image["height"]) == ("192", "96")  # 2 x 1 inches of 96 CSS pixels
    assert "max-width:100%" in image["style"]
    assert "height:auto" in image["style"]


def test_alternative_text_cannot_break_the_page():
    nasty = 'a < b & "c" </script><!--'
    shown = page(explore(draw, a=[1, 2], alt=lambda a: f"{nasty}{a}"))
    assert shown.one("img")[0]["alt"] == f"{nasty}2"
    assert shown.data("alts") == [f"{nasty}1", f"{nasty}2"]


def test_ids_are_the_same_in_every_run_and_differ_between_objects_of_a_page():
    def identity(**options):
        return page(explore(draw, **options)).elements[0][1]["id"]

    first = identity(a=[1, 2])
    assert first == identity(a=[1, 2])
    others = [
        identity(a=[1, 3]),
        identity(b=[1, 2]),
        identity(a=[1, 2], alt="other"),
        identity(a=[1, 2], labels={"a": "α"}),
    ]
    assert len({first, *others}) == 5
    assert first == "confseg-explore-6d1d20f3a1"  # made of words, so the same on every machine


def test_page_is_the_same_twice():
    assert explore(draw, a=[1, 2])._repr_html_() == explore(draw, a=[1, 2])._repr_html_()


def test_frames_of_the_book_stay_small():
    plots.style()
    scores = np.outer(np.hanning(48), np.hanning(48))

    def book(cutoff):
        figure, axes = plt.subplots(1, 2, figsize=(7, 3.6))
        plots.show_slice(axes[0], scores, truth=scores > 0.5, outer=scores >= cutoff)
        plots.loss_curves(axes[1], [[0, 0.5, 1]], [[0, 0.2, 1]], 0.2, calibrated=cutoff)
        return figure

    explorer = explore(book, cutoff=[0.1, 0.3, 0.5, 0.7])
    assert decode(page(explorer).one("img")[0]["src"]).size == (1008, 518)
    assert explorer.nbytes == sum(map(len, explorer.frames))
    assert explorer.nbytes < 4 * 40_000
    assert len(explorer._repr_html_()) < 1.4 * explorer.nbytes + 60_000


# What draw may do


def returns_axes(a):
    return draw(a).axes[0]


def returns_nothing(a):
    draw(a)


def returns_figure_without_pyplot(a):
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([0, 1], [0, float(a)])
    return figure


def returns_subfigure_axes(a):
    part = plt.figure(figsize=(2, 1)).subfigures(1, 2)[0]
    return part.subplots()


@pytest.mark.parametrize(
    "function",
    [
        returns_axes,
        returns_nothing,
        returns_figure_without_pyplot,
        returns_subfigure_axes,
        functools.partial(draw, b="x"),
    ],
)
def test_draw_may_return_figure_axes_or_nothing(function):
    explorer = explore(function, a=[1, 2])
    assert Image.open(BytesIO(explorer.frames[0])).size == (200, 100)
    assert plt.get_fignums() == []


def test_figures_of_the_reader_stay_open():
    mine = plt.figure()
    explore(draw, a=[1, 2])
    assert plt.get_fignums() == [mine.number]
    plt.close(mine)


def test_draw_may_return_the_same_figure_every_time():
    figure = plt.figure(figsize=(2, 1))
    ax = figure.subplots()

    def redraw(a):
        ax.cla()
        ax.plot([0, a])
        return figure

    assert len(set(explore(redraw, a=[1, 2, 2]).frames)) == 2


def test_transparent_figures_stand_on_white():
    def clear(a):
        return Figure(figsize=(1, 1), facecolor="none")

    frame = Image.open(BytesIO(explore(clear, a=[1]).frames[0])).convert("RGB")
    assert frame.getextrema() == ((255, 255),) * 3


def test_alternative_text_without_a_docstring():
    assert explore(lambda a: draw(a), a=[1]).alts == ("Figure drawn, at a = 1.",)
    assert explore(functools.partial(draw), a=[1]).alts == ("Figure drawn, at a = 1.",)


# Values


@pytest.mark.parametrize(
    ("given", "received", "text"),
    [
        (np.arange(0.1, 0.5, 0.1), [0.1, 0.2, 0.3, 0.4], "0.1…0.4"),
        (np.linspace(0.05, 0.5, 10)[2:4], [0.15, 0.2], "0.15…0.2"),
        (np.array([0.05, 0.1], np.float32), [0.05, 0.1], "0.05…0.1"),
        ([0.1 + 0.2, 1e-17], [0.3, 1e-17], "0.3…1e−17"),
        ([1 / 3, 1234567.0], [1 / 3, 1234567.0], "0.333333…1234567"),
        ([-0.5], [-0.5], "−0.5"),
        (range(1, 4), [1, 2, 3], "1…3"),
        (np.array([10, 20]), [10, 20], "10…20"),
        (("mm", "cube"), ["mm", "cube"], "mm…cube"),
        (iter([True, False]), [True, False], "True…False"),
        ([np.inf, 0.12345678901], [np.inf, 0.12345678901], "inf…0.123457"),
    ],
)
def test_values_reach_draw_as_they_were_meant_and_read_as_they_were_typed(given, received, text):
    calls = []

    def note(a):
        calls.append(a)
        return draw()

    explorer = explore(note, a=given)
    assert calls == received
    assert [type(call) for call in calls] == [type(value) for value in received]
    assert repr(explorer).startswith(f"explore(a={text}: ")


def test_plain_text_counts_the_positions():
    assert repr(explore(draw, a=[1])) == "explore(a=1: 1 position)"
    assert repr(explore(draw, a=[1, 2], b=["x", "y"])) == "explore(a=1…2, b=x…y: 4 positions)"


# Errors


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"a": []}, ValueError, "a: expected at least one value"),
        ({"a": 3}, TypeError, "a: expected a sequence of values; got 3"),
        ({"a": "abc"}, TypeError, "a: expected a sequence of values; got 'abc'"),
        ({}, ValueError, "one or two sliders; got 0"),
        ({"a": [1], "b": [1], "c": [1]}, ValueError, "one or two sliders; got 3"),
        ({"a": range(11), "b": range(11)}, ValueError, "11 a x 11 b = 121"),
    ],
)
def test_bad_values_are_refused_before_anything_is_drawn(values, error, message):
    def never(**position):
        pytest.fail("drawn")

    with pytest.raises(error, match=message):
        explore(never, **values)


def test_as_many_frames_as_allowed_are_allowed():
    blank = Figure(figsize=(1, 1))
    assert len(explore(lambda a: blank, a=range(MAX_FRAMES)).frames) == MAX_FRAMES


def test_draw_must_be_callable():
    with pytest.raises(TypeError, match="draw must be a function; got list"):
        explore([1], a=[1])


def fails_at_two(a):
    plt.figure()
    return draw(1 / (2 - a))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (fails_at_two, "draw failed at a=2: ZeroDivisionError: division by zero"),
        (lambda a: plt.subplots()[1].plot([1]), "a=1: TypeError: it returned list, not a Matplot"),
        (lambda a: None, "a=1: TypeError: it returned nothing and opened no figure"),
        (lambda b: draw(b), "a=1: TypeError: .*unexpected keyword argument 'a'"),
    ],
)
def test_a_position_that_fails_is_named_and_leaves_no_figure(function, message):
    with pytest.raises(RuntimeError, match=message):
        explore(function, a=[1, 2])
    assert plt.get_fignums() == []


def test_figures_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"\(96, 96\) CSS pixels at a=1, but \(192, 96\) at a=2"):
        explore(lambda a: plt.figure(figsize=(a, 1)), a=[1, 2])


# The live widget


def test_without_a_kernel_there_is_no_widget():
    bundle = explore(draw, a=[1, 2])._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}


def test_in_a_kernel_both_are_offered(monkeypatch):
    monkeypatch.setattr(interact, "_in_kernel", lambda: True)
    explorer = explore(draw, a=[1, 2])
    bundle = explorer._repr_mimebundle_(include=None, exclude=None)
    assert set(bundle) == {"text/plain", "text/html", WIDGET}
    assert bundle["text/plain"] == repr(explorer)
    assert bundle[WIDGET] == explorer._repr_mimebundle_()[WIDGET]  # one widget per object


def test_moving_a_live_slider_draws_anew():
    lengths = {"x": 1}

    def live(a=2, b="x"):
        return draw(a * lengths["x"], b)

    explorer = explore(live, a=[1, 2, 3], b=["x", "xyz"], labels={"a": "slope"})
    image, first, second = explorer.widget.children
    assert (first.description, second.description) == ("slope", "b")
    assert (first.label, second.label) == ("2", "x")
    assert bytes(image.value) == explorer.frames[2]
    first.index = 2
    second.index = 1
    assert bytes(image.value) == explorer.frames[5]
    assert image.tooltip == explorer.alts[5]
    lengths["x"] = 3  # the reader changed something in another cell
    first.index = 0
    assert bytes(image.value) == explore(draw, a=[3], b=["xyz"]).frames[0]
    assert image.format == "webp"


def run(*cells):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells]


def test_in_a_real_kernel():
    setup, bad, moved = run(
        "import matplotlib.pyplot as plt\n"
        "from confseg.interact import explore\n"
        "def draw(a=0.2):\n"
        "    figure, ax = plt.subplots(figsize=(2, 1))\n"
        "    ax.plot([0, a])\n"
        "shown = explore(draw, a=[0.1, 0.2, 0.3])\n"
        "shown",
        "try:\n"
        "    explore(lambda a: 1 / a, a=[1, 0])\n"
        "except RuntimeError as error:\n"
        "    print(error)",
        "image, slider = shown.widget.children\n"
        "slider.index = 2\n"
        "bytes(image.value) == shown.frames[2], plt.get_fignums()",
    )
    (output,) = setup  # and no picture beside it: every figure was closed
    assert set(output["data"]) == {"text/plain", "text/html", WIDGET}
    assert output["data"]["text/plain"] == "explore(a=0.1…0.3: 3 positions)"
    assert Page(output["data"]["text/html"]).one("img")[0]["alt"] == "Figure drawn, at a = 0.2."
    assert bad[0]["text"].startswith("draw failed at a=1: TypeError: it returned float")
    assert moved[0]["data"]["text/plain"] == "(True, [])"
