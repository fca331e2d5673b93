"""The built pages have no faults, and the check that says so finds every kind of fault."""

import re
from pathlib import Path

import nbformat
import pytest
import yaml
from site_check import check_site

ROOT = Path(__file__).parents[1]
BUILT = ROOT / "_build" / "html"


@pytest.fixture(scope="module")
def site() -> Path:
    if not (BUILT / "index.html").is_file():
        pytest.fail("The book is not built: run `make book` first.")
    return BUILT


def toc_entries() -> list[str]:
    """The files that `_toc.yml` names, without suffix."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *chapters]


def test_the_site_has_no_faults(site: Path) -> None:
    assert check_site(site) == []


@pytest.mark.parametrize("entry", toc_entries())
def test_every_entry_of_the_contents_is_a_page(site: Path, entry: str) -> None:
    assert (site / f"{entry}.html").is_file()


def test_every_chapter_is_in_the_contents() -> None:
    chapters = sorted(path.stem for path in (ROOT / "book").glob("*.ipynb"))
    assert (
        sorted(Path(entry).name for entry in toc_entries() if "/ch" in entry or "/index" in entry)
        == chapters
    )


def test_notebook_pages_offer_the_notebook(site: Path) -> None:
    for notebook in (ROOT / "book").glob("*.ipynb"):
        page = (site / "book" / f"{notebook.stem}.html").read_text()
        assert f'_sources/book/{notebook.name}"' in page


def test_every_numbered_statement_is_in_the_index(site: Path) -> None:
    index = (site / "book" / "theorems.html").read_text()
    for path in (ROOT / "book").glob("ch*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            labels = re.findall(r"^[`:]{3,}\{prf:.*\n:label: (\S+)", cell.source, re.MULTILINE)
            for label in labels:
                assert f'href="{path.stem}.html#{label}"' in index


def test_the_launch_buttons_wait_for_an_address(site: Path) -> None:
    address = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    pages = [path.read_text() for path in (site / "book").glob("*.html")]
    assert any("mybinder.org" in page for page in pages) == bool(address)


PAGE = '<!DOCTYPE html><html><head>{head}</head><body><h1 id="top">A page</h1>{body}</body></html>'
SOUND = """
<a href="#top">up</a> <a href="other.html#top">on</a> <a href="other.html?q=1">on</a>
<a href="https://example.org/x">elsewhere</a> <a href="mailto:a@example.org">mail</a>
<a href="sub/">down</a>
<img src="dot.png" alt="A dot"> <img src="data:image/png;base64,AA==" alt="The same dot">
<img src="dot.png" alt="" role="presentation">
<script src="own.js"></script> <script>const text = "no address";</script>
<div style="background: url(dot.png)"></div>
"""


def write_site(folder: Path, head: str = "", body: str = "", css: str = "") -> Path:
    """Write a small site around one page whose head, body and style sheet are given."""
    (folder / "sub").mkdir()
    for name in ("other.html", "sub/index.html"):
        (folder / name).write_text(PAGE.format(head="", body=""))
    for name in ("dot.png", "own.js"):
        (folder / name).write_text("")
    (folder / "own.css").write_text(css)
    (folder / "index.html").write_text(PAGE.format(head=head, body=body))
    return folder


def test_a_sound_site_passes(tmp_path: Path) -> None:
    head = (
        '<link rel="stylesheet" href="own.css"><link rel="canonical" href="https://example.org/">'
    )
    css = "/* https://example.org */ a { background: url('dot.png') }"
    assert check_site(write_site(tmp_path, head, SOUND, css)) == []


@pytest.mark.parametrize(
    ("fault", "body"),
    [
        ("broken link", '<a href="gone.html">x</a>'),
        ("broken link", '<img src="gone.png" alt="A dot">'),
        ("broken link", '<script src="gone.js"></script>'),
        ("broken link", '<img srcset="dot.png 1x, gone.png 2x" src="dot.png" alt="A dot">'),
        ("broken anchor", '<a href="#gone">x</a>'),
        ("broken anchor", '<a href="other.html#gone">x</a>'),
        ("broken anchor", '<a href="sub/#gone">x</a>'),
        ("leads out of the site", '<a href="../secret.html">x</a>'),
        ("id used twice", '<p id="top">x</p>'),
        ("without alternative text", '<img src="dot.png">'),
        ("without alternative text", '<img src="dot.png" alt="">'),
        ("without alternative text", '<img src="dot.png" alt="  ">'),
        ("without alternative text", '<img src="dot.png" alt="dot.png">'),
        ("without alternative text", '<img src="dot.png" alt="../_images/0af3.png">'),
        ("another host", '<img src="https://example.org/a.png" alt="A dot">'),
        ("another host", '<img srcset="https://example.org/a.png 2x" alt="A dot">'),
        ("another host", '<script src="//example.org/a.js"></script>'),
        ("another host", '<script>import("https://example.org/a.js")</script>'),
        ("another host", '<script>const base = "//example.org/";</script>'),
        ("another host", '<iframe src="http://example.org"></iframe>'),
        ("another host", '<video poster="http://example.org/a.png"></video>'),
        ("another host", '<div style="background: url(https://example.org/a.png)"></div>'),
        ("another host", "<style>@import 'https://example.org/a.css';</style>"),
        ("another host", '<style>a { src: url("//example.org/a.woff2") }</style>'),
    ],
)
def test_every_fault_of_a_body_is_found(tmp_path: Path, fault: str, body: str) -> None:
    faults = check_site(write_site(tmp_path, body=SOUND + body))
    assert len(faults) == 1
    assert fault in faults[0]


@pytest.mark.parametrize(
    "relation", ["stylesheet", "preload", "preconnect", "icon", "dns-prefetch"]
)
def test_links_of_a_head_that_fetch_are_found(tmp_path: Path, relation: str) -> None:
    head = f'<link rel="{relation}" href="https://example.org/a">'
    assert ["another host" in fault for fault in check_site(write_site(tmp_path, head))] == [True]


@pytest.mark.parametrize(
    "css", ["a { src: url(https://example.org/a.woff2) }", '@import "//example.org/a.css";']
)
def test_style_sheets_that_fetch_are_found(tmp_path: Path, css: str) -> None:
    faults = check_site(write_site(tmp_path, css=css))
    assert ["own.css: fetched from another host" in fault for fault in faults] == [True]


def test_a_redirect_to_nowhere_is_found(tmp_path: Path) -> None:
    head = '<meta http-equiv="Refresh" content="0; url=gone.html">'
    assert ["broken link" in fault for fault in check_site(write_site(tmp_path, head))] == [True]
