"""The directive `theorem-index`: every numbered statement of the book, with its page.

sphinx-proof keeps labels and numbers; the titles are collected here while the pages are read. The
list is put together when all pages are known.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode


class Statement(NamedTuple):
    """A theorem, lemma, definition or corollary."""

    label: str
    kind: str
    counter: str
    title: str


class theorem_index(nodes.General, nodes.Element):
    """Where the list will stand."""


class TheoremIndex(SphinxDirective):
    """List all numbered statements by chapter, in the order of the book."""

    def run(self) -> list[nodes.Node]:
        """Leave a mark; the page is read anew in each build, as others may change."""
        self.env.note_reread()
        return [theorem_index()]


def kept(env: BuildEnvironment) -> dict[str, list[Statement]]:
    """The statements of every page."""
    if not hasattr(env, "confseg_theorems"):
        env.confseg_theorems = {}  # type: ignore[attr-defined]
    return env.confseg_theorems  # type: ignore[attr-defined, no-any-return]


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the numbered statements of a page that was read."""
    numbered = [
        Statement(
            node["label"],
            node["realtype"],
            node["countertype"],
            node[0].astext().strip(),
        )
        for node in doctree.findall(nodes.Element)
        if "countertype" in node and node["label"] in node["ids"]
    ]
    if numbered:
        kept(app.env)[app.env.docname] = numbered


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Drop what is known of a page that is read again or gone."""
    kept(env).pop(docname, None)


def merge(
    app: Sphinx,
    env: BuildEnvironment,
    docnames: set[str],
    other: BuildEnvironment,
) -> None:
    """Take over what another process has read."""
    found = kept(other)
    kept(env).update({name: found[name] for name in docnames if name in found})


def entries(app: Sphinx, docname: str, page: str) -> Iterator[nodes.Node]:
    """One item for each statement of `page`, as links from `docname`."""
    numbers = app.env.toc_fignumbers[page]
    for label, kind, counter, title in kept(app.env)[page]:
        number = ".".join(map(str, numbers[counter][label]))
        text = nodes.Text(f"{kind.title()} {number} {title}".strip())
        link = make_refnode(app.builder, docname, page, label, text)
        yield nodes.list_item("", nodes.paragraph("", "", link))


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the list in the place of the mark."""
    for mark in list(doctree.findall(theorem_index)):
        chapters = nodes.definition_list()
        for page in sorted(kept(app.env)):
            number = app.env.toc_secnumbers.get(page, {}).get("", ())
            title = ". ".join([*map(str, number), app.env.titles[page].astext()])
            link = make_refnode(
                app.builder, docname, page, None, nodes.Text(title)
            )
            items = nodes.bullet_list("", *entries(app, docname, page))
            chapters += nodes.definition_list_item(
                "", nodes.term("", "", link), nodes.definition("", items)
            )
        mark.replace_self(chapters)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the functions above to the build."""
    app.add_node(theorem_index)
    app.add_directive("theorem-index", TheoremIndex)
    app.connect("doctree-read", collect)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("doctree-resolved", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
