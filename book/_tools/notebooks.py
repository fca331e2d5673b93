"""Run the book's notebooks and store their text outputs, without pictures.

    python book/_tools/notebooks.py book/*.ipynb           run and store
    python book/_tools/notebooks.py --check book/*.ipynb   say what is wrong with what is stored

Text, numbers and HTML are stored, so that nbval can compare them. Pictures, widgets and timings
are not: they differ between machines, and git would carry every version of them.
"""

import argparse
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbval.plugin import get_sanitize_patterns

SANITIZE = Path(__file__).parents[2] / "tests" / "nbval_sanitize.cfg"
TIMEOUT = 300  # seconds per cell, as in _config.yml
KEPT = ("text/", "application/papermill.record/text/")  # the second is glued text
KERNEL = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}


def sanitize(text: str) -> str:
    """Remove what differs between two runs, by the rules with which nbval compares."""
    for regex, replacement in get_sanitize_patterns(SANITIZE.read_text()):
        text = re.sub(regex, replacement, text)
    return text


def strip(notebook: NotebookNode) -> None:
    """Keep the text of the outputs and drop pictures, widgets, timings and versions, in place."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.kernelspec = KERNEL
    notebook.metadata.language_info = {
        "name": "python",
        "pygments_lexer": "ipython3",
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if "traceback" in output:
                output.traceback = []  # full of paths; name and message of the error are compared
            if "text" in output:
                output.text = sanitize(output.text)
            if "data" in output:
                output.data = {
                    mime: sanitize(text) if isinstance(text, str) else text
                    for mime, text in output.data.items()
                    if mime.startswith(KEPT)
                }
                # What belongs to a type that was dropped goes with it; glue needs the rest.
                output.metadata = {
                    k: v for k, v in output.metadata.items() if k == "scrapbook"
                }


def run(path: Path) -> Path:
    """Execute one notebook in its own folder and write it back, stripped."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        coalesce_streams=True,
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            # nbval keeps no history either; with it, a `;` at the end would hide a value from one
            # of the two and not from the other.
            client.execute_cell(cell, index, store_history=False)
    number(notebook)
    strip(notebook)
    nbformat.write(notebook, path)
    return path


def number(notebook: NotebookNode) -> None:
    """Number the code cells and their values: nbval passes over cells without a number."""
    cells = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.strip()
    ]
    for count, cell in enumerate(cells, start=1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count


def faults(path: Path) -> list[str]:
    """Say what is wrong with the outputs that a notebook stores."""
    found = []
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        where = f"{path.name}, cell {number}"
        if cell.execution_count is None:
            found.append(f"{where}: was never run, so that nothing is compared")
        for output in cell.outputs:
            dropped = [
                mime
                for mime in output.get("data", {})
                if not mime.startswith(KEPT)
            ]
            if dropped:
                found.append(f"{where}: stores {', '.join(dropped)}")
            if "<matplotlib." in output.get("data", {}).get("text/plain", ""):
                found.append(
                    f"{where}: shows a Matplotlib object; end the cell with plt.show()"
                )
            if "data:image" in str(output):
                found.append(f"{where}: stores an inline picture")
            if (
                output.output_type == "error"
                and "raises-exception" not in cell.metadata.get("tags", [])
            ):
                found.append(f"{where}: stores an error")
    return found


def main() -> int:
    """Run or check the notebooks named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="run nothing, report faults"
    )
    parser.add_argument("notebooks", nargs="+", type=Path)
    arguments = parser.parse_args()
    if arguments.check:
        found = [fault for path in arguments.notebooks for fault in faults(path)]
        print("\n".join(found), end="\n" if found else "")
        return bool(found)
    with ProcessPoolExecutor(2) as pool:
        for path in pool.map(run, arguments.notebooks):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
