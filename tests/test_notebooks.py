"""What the notebooks store, and the tool that stores it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))


def load_tool() -> ModuleType:
    """Import book/_tools/notebooks.py, which is a script and no part of a package."""
    path = ROOT / "book" / "_tools" / "notebooks.py"
    spec = importlib.util.spec_from_file_location("notebooks", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = load_tool()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_stored_outputs_have_no_faults(path: Path) -> None:
    assert tool.faults(path) == []


def write(folder: Path, *cells: nbformat.NotebookNode) -> Path:
    path = folder / "notebook.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def shown(**data: str) -> nbformat.NotebookNode:
    """Make a cell that was run and stores one output, its types given by name."""
    types = {"png": "image/png", "html": "text/html", "plain": "text/plain"}
    output = new_output("display_data", {types[name]: text for name, text in data.items()})
    return new_code_cell("1", execution_count=1, outputs=[output])


ERROR = new_output("error", ename="ValueError", evalue="", traceback=[])
FAULTY = {
    "was never run": new_code_cell("1"),
    "image/png": shown(png="iVBORw0KGgo=", plain="<Figure size 640x480 with 1 Axes>"),
    "inline picture": shown(html='<img src="data:image/webp;base64,UklGRg==" alt="A frame">'),
    "Matplotlib object": shown(plain="<matplotlib.legend.Legend at 0x0>"),
    "an error": new_code_cell("1", execution_count=1, outputs=[ERROR]),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_every_fault_is_found(tmp_path: Path, fault: str) -> None:
    faults = tool.faults(write(tmp_path, FAULTY[fault]))
    assert len(faults) == 1
    assert fault in faults[0]


def test_sound_cells_pass(tmp_path: Path) -> None:
    wanted = new_code_cell(
        "1", execution_count=1, outputs=[ERROR], metadata={"tags": ["raises-exception"]}
    )
    cells = [shown(plain="0.9"), shown(html="<b>0.9</b>"), new_code_cell(""), wanted]
    assert tool.faults(write(tmp_path, *cells)) == []


SOURCE = """
import sys, warnings
import matplotlib.pyplot as plt
class Frames:
    def _repr_mimebundle_(self, include=None, exclude=None):
        html = '<img src="data:image/webp;base64,UklGRg==" alt="A frame">'
        widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}
        return {"text/html": html, "text/plain": "frames"} | widget
plt.plot([1, 2])
warnings.warn("careful")
print(object())
Frames()
"""


def test_running_stores_text_and_no_pictures(tmp_path: Path) -> None:
    path = write(tmp_path, new_code_cell("# nothing to print\nx = 1"), new_code_cell(SOURCE))
    tool.run(path)
    assert tool.faults(path) == []
    outputs = str([cell.outputs for cell in nbformat.read(path, as_version=4).cells])
    for dropped in ("image/png", "base64", "widget-view", "ipykernel_", str(tmp_path)):
        assert dropped not in outputs
    for kept in ("<Figure size", "careful", "A frame", "object object at 0x0"):
        assert kept in outputs
    first = path.read_bytes()
    tool.run(path)
    assert path.read_bytes() == first
