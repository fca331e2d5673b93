"""What the book's pages need beyond the themes and extensions they are built with.

- No page asks another host for anything: scripts and styles from elsewhere are left out.
- Binder, Colab and repository buttons appear once `repository: url` is set in `_config.yml`.
- Every id is there once: sphinx-proof and sphinx-exercise give all theorems, proofs, exercises
  and solutions of a page the same.
- A chapter's number is the one in its file name: it stays when chapters before it are missing.
- The pages of source code lead back to where the reference lists a name. Sphinx expects all names
  of one file under one module, and here some stand under `confseg` and some under their own.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx_external_toc.collectors import TocTreeCollectorWithStyles

SHARED_IDS = ["proof-content", "exercise-content", "solution-content"]
CHAPTER = re.compile(r"book/ch(\d+)_")
SOURCE = re.compile(r"_modules/(confseg/.+)")
LISTED = re.compile(r"(book/api\.html#)confseg\.([\w.]+)")
ELSEWHERE = re.compile(r"(https?:)?//")
# Thebe fetches its code from another host; the state of live widgets only serves scripts that do.
UNWANTED = re.compile(r"thebe|widget-state", re.IGNORECASE)


def need_an_address(app: Sphinx, config: Config) -> None:
    """Show the buttons that lead to the repository only where its address is known."""
    options = config.html_theme_options
    if options.get("repository_url"):
        options["use_repository_button"] = True
    else:
        options.pop("launch_buttons", None)


def drop_thebe_settings(
    app: Sphinx, doctree: nodes.document, docname: str
) -> None:
    """Remove the settings that sphinx-thebe writes into each page."""
    for node in list(doctree.findall(nodes.raw)):
        if "thebe" in node.astext():
            node.parent.remove(node)


def tidy_proofs(app: Sphinx, doctree: nodes.document) -> None:
    """Number the ids that the boxes of a page share, and set the word "Proof" apart."""
    for number, node in enumerate(doctree.findall(nodes.Element)):
        if len(node["ids"]) == 1 and node["ids"][0] in SHARED_IDS:
            node["ids"] = [f"{node['ids'][0]}-{number}"]
        elif node["ids"] == ["proof"]:
            node["ids"] = [f"proof-{number}"]
            first = node[0][0]
            rest = first.astext().removeprefix("Proof.")
            node[0].replace(
                first, [nodes.emphasis("", "Proof."), nodes.Text(rest)]
            )


def stay_on_this_host(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: Any,
) -> None:
    """Leave out scripts and style sheets that would be fetched from another host."""

    def wanted(asset: Any) -> bool:
        text = " ".join(
            [str(asset.filename), *map(str, asset.attributes.values())]
        )
        return not (ELSEWHERE.match(str(asset.filename)) or UNWANTED.search(text))

    for kind in ("script_files", "css_files"):
        context[kind] = [
            asset for asset in context.get(kind, []) if wanted(asset)
        ]


def lead_back(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: Any,
) -> None:
    """Correct links from a page of source code to names that its module lists itself."""
    if not (match := SOURCE.match(pagename)):
        return
    module, listed = match[1].replace("/", "."), app.env.get_domain("py").objects

    def listed_name(link: re.Match[str]) -> str:
        own = f"{module}.{link[2]}"
        known = f"confseg.{link[2]}" in listed or own not in listed
        return link[0] if known else f"{link[1]}{own}"

    context["body"] = LISTED.sub(listed_name, context["body"])


def number_chapters_by_file(env: BuildEnvironment) -> None:
    """Put the number of a chapter's file name in place of its rank in the table of contents."""
    for docname, numbers in env.toc_secnumbers.items():
        if not (match := CHAPTER.match(docname)):
            continue
        chapter = int(match[1])
        for anchor, number in numbers.items():
            numbers[anchor] = (chapter, *number[1:]) if number else number
        for node in [
            env.titles[docname],
            *env.tocs[docname].findall(nodes.reference),
        ]:
            if node.get("secnumber"):
                node["secnumber"] = [chapter, *node["secnumber"][1:]]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the functions above to the build."""
    assign = TocTreeCollectorWithStyles.assign_section_numbers

    def assign_and_renumber(
        self: TocTreeCollectorWithStyles, env: BuildEnvironment
    ) -> list[str]:
        changed = assign(self, env)
        number_chapters_by_file(env)
        return changed

    # Figures and theorems take their numbers right after the sections: there is no event between.
    TocTreeCollectorWithStyles.assign_section_numbers = assign_and_renumber
    app.connect("config-inited", need_an_address)
    app.connect("doctree-read", tidy_proofs)
    app.connect("doctree-resolved", drop_thebe_settings, priority=900)
    app.connect("html-page-context", lead_back)
    app.connect("html-page-context", stay_on_this_host, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
