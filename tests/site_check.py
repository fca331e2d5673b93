"""Look for faults in built HTML pages, without a network and without a browser.

Reported are links and anchors that lead nowhere, pictures without alternative text, ids used twice,
and everything a page would fetch from another host.
"""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Elements whose addresses the browser fetches by itself, and the attributes that hold them.
FETCHED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "track": ("src",),
    "input": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
# Of <link>, these only name another page; any other relation makes the browser fetch.
LINK_NAMES_A_PAGE = {
    "canonical",
    "alternate",
    "next",
    "prev",
    "search",
    "index",
    "author",
    "license",
}
CSS_ADDRESS = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s]+)""")
CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
ELSEWHERE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
IN_SCRIPT = re.compile(r"""["'`]((?:https?:)?//[\w.-]+\.\w+[^"'`]*)""")
PICTURE_FILE = re.compile(r"\S+\.(?:png|jpe?g|gif|svg|webp)", re.IGNORECASE)


@dataclass
class Page(HTMLParser):
    """What one page holds that can be at fault."""

    path: Path
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)  # lead to a page or a file
    fetched: list[str] = field(default_factory=list)  # loaded without a click
    pictures: list[dict[str, str]] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    inside: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.inside = tag
        self.ids += [values["id"]] if values.get("id") else []
        if tag == "a" and "name" in values and values["name"] != values.get("id"):
            self.ids.append(values["name"])
        if tag in ("a", "area") and "href" in values:
            self.links.append(values["href"])
        if tag == "img":
            self.pictures.append(values)
        if "style" in values:
            self.styles.append(values["style"])
        for name in FETCHED.get(tag, ()):
            addresses = values.get(name, "")
            if name == "srcset":
                self.fetched += [part.split()[0] for part in addresses.split(",") if part.strip()]
            elif addresses:
                self.fetched.append(addresses)
        if tag == "link" and "href" in values:
            relations = set(values.get("rel", "").split())
            (self.links if relations <= LINK_NAMES_A_PAGE else self.fetched).append(values["href"])
        if tag == "meta" and values.get("http-equiv", "").lower() == "refresh":
            self.links.append(values.get("content", "").partition("url=")[2])

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "style":
            self.styles.append(data)
        elif self.inside == "script":
            self.scripts.append(data)


def css_addresses(text: str) -> list[str]:
    """Find what a style sheet fetches."""
    return CSS_ADDRESS.findall(CSS_COMMENT.sub("", text))


def lacks_alternative_text(picture: dict[str, str]) -> bool:
    """Whether a picture says nothing to somebody who cannot see it.

    A file name is not an alternative text; it is what the builder writes when it was given none.
    """
    if picture.get("role") == "presentation" or picture.get("aria-hidden") == "true":
        return False
    alt = picture.get("alt", "").strip()
    return not alt or alt == picture.get("src") or bool(PICTURE_FILE.fullmatch(alt))


def check_site(root: Path) -> list[str]:
    """List the faults of all pages and style sheets below `root`, one line each."""
    root = root.resolve()
    # What lies in _static and ends in .html are templates of the theme, not pages.
    paths = (path for path in sorted(root.rglob("*.html")) if "_static" not in path.parts)
    pages = {path: Page(path) for path in paths}
    faults = []

    def check_address(path: Path, address: str) -> str | None:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            return None
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        target = target / "index.html" if target.is_dir() else target
        if not target.is_relative_to(root):
            return f"leads out of the site: {address}"
        if not target.is_file():
            return f"broken link: {address}"
        anchor = unquote(parts.fragment)
        if anchor and target in pages and anchor not in pages[target].ids:
            return f"broken anchor: {address}"
        return None

    for path, page in pages.items():
        found = [check_address(path, address) for address in page.links + page.fetched]
        found += [f"id used twice: {i}" for i in sorted(set(page.ids)) if page.ids.count(i) > 1]
        found += [
            f"picture without alternative text: {picture.get('src', '')[:80]}"
            for picture in page.pictures
            if lacks_alternative_text(picture)
        ]
        outside = page.fetched + [a for style in page.styles for a in css_addresses(style)]
        outside = [address for address in outside if ELSEWHERE.match(address)]
        outside += [address for script in page.scripts for address in IN_SCRIPT.findall(script)]
        found += [f"fetched from another host: {address}" for address in outside]
        faults += [f"{path.relative_to(root)}: {fault}" for fault in found if fault]
    for path in sorted(root.rglob("*.css")):
        for address in css_addresses(path.read_text(encoding="utf-8")):
            if ELSEWHERE.match(address):
                faults.append(f"{path.relative_to(root)}: fetched from another host: {address}")
    return faults
