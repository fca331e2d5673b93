"""Every chapter is course material: what it asks of its readers, a quiz, exercises with answers.

Stored outputs are compared with fresh ones elsewhere (nbval), so here they may be trusted.
"""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from confseg import Quiz

CHAPTERS = sorted((Path(__file__).parents[1] / "book").glob("ch*.ipynb"))

BOX = re.compile(
    r"^:::\{admonition\} In this chapter\n:class: tip\n.*?^:::$", re.MULTILINE | re.DOTALL
)
EXERCISE = re.compile(r"^`{3,}\{exercise(?:-start)?\}.*\n:label: (\S+)", re.MULTILINE)
FOLDED = re.compile(r"^`{3,}\{solution(?:-start)?\} (\S+)\n:class: dropdown$", re.MULTILINE)
CHECK = re.compile(r"\bcheck\(.*?\"([0-9a-f]{12})\"", re.DOTALL)


def faults(notebook: NotebookNode) -> list[str]:
    """Say what a chapter lacks as course material."""
    return [*box_faults(notebook), *quiz_faults(notebook), *exercise_faults(notebook)]


def text_of(notebook: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def box_faults(notebook: NotebookNode) -> list[str]:
    """Look for the box: goals, needs, and how long it takes."""
    boxes = [box for box in BOX.findall(text_of(notebook)) if "will be able" in box]
    if len(boxes) != 1:
        return [f"{len(boxes)} boxes say what the reader will be able to do"]
    plain = boxes[0].replace("*", "")
    needs, times = "You need" in plain, re.search(r"Reading \d+ min, running \d+ s\.", plain)
    return [
        f"no {name} in the box" for name, ok in {"needs": needs, "times": times}.items() if not ok
    ]


def quiz_faults(notebook: NotebookNode) -> list[str]:
    """Look for the quiz: one, in its section, with three questions, and shown."""
    sections = re.findall(r"^## (.+)$", text_of(notebook), re.MULTILINE)
    if "Exercises" not in sections or sections[sections.index("Exercises") - 1] != "Quiz":
        return ["no section 'Quiz' right before the section 'Exercises'"]
    cells = [cell for cell in notebook.cells if re.search(r"\bQuiz\(", cell.source)]
    if len(cells) != 1:
        return [f"{len(cells)} quizzes"]
    cell, found = cells[0], []
    last = ast.parse(cell.source).body[-1]
    assert isinstance(last, ast.Expr) and isinstance(last.value, ast.Call)
    questions = ast.literal_eval(last.value.args[0])
    if len(questions) != 3 or not all(len(answers) in (3, 4) for answers in questions.values()):
        found.append("not three questions with three or four answers each")
    if "remove-input" not in cell.metadata.get("tags", []):
        found.append("the quiz shows its code, and with it the answers")
    html = [output.get("data", {}).get("text/html") for output in cell.outputs]
    if html != [Quiz(questions)._repr_html_()]:
        found.append("the quiz does not show its questions")
    return found


def exercise_faults(notebook: NotebookNode) -> list[str]:
    """Look for exercises, their solutions, and solutions that pass the check."""
    labels, solved = EXERCISE.findall(text_of(notebook)), FOLDED.findall(text_of(notebook))
    asked, answered = checks(notebook)
    found = [] if 3 <= len(labels) <= 5 else [f"{len(labels)} exercises"]
    if labels != solved:
        found.append(f"exercises {labels}, folded solutions of {solved}")
    if not asked:
        found.append("no exercise checks its answer")
    wrong = [label for label, digest in asked.items() if answered.get(label) != digest]
    return [*found, *(f"{label}: the solution does not pass the check" for label in wrong)]


def checks(notebook: NotebookNode) -> tuple[dict[str, str], dict[str, str]]:
    """The digest that each exercise asks for, and the one for which its solution was right."""
    asked, answered, exercise, solution = {}, {}, "", ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            if ends := re.findall(
                r"^`{3,}\{solution-(start|end)\}(.*)$", cell.source, re.MULTILINE
            ):
                solution = ends[-1][1].strip()
            if labels := EXERCISE.findall(cell.source):
                exercise = labels[-1]
        elif match := CHECK.search(cell.source):
            printed = "".join(output.get("text", "") for output in cell.outputs)
            if solution and "Right.\n" in printed:
                answered[solution] = match[1]
            elif not solution and "Not answered yet" in printed:
                asked[exercise] = match[1]
    return asked, answered


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_a_chapter_is_course_material(path: Path) -> None:
    assert faults(nbformat.read(path, as_version=4)) == []


BOX_TEXT = """\
:::{admonition} In this chapter
:class: tip
**You will be able to** add.

**You need** to count.

**Reading** 1 min, running 2 s.
:::

## Quiz"""
QUESTIONS = {f"{i}?": {"a": "Right: yes.", "b": "No: no.", "c": "No: no."} for i in range(3)}
EXERCISES = """\
## Exercises

```{exercise} Sum
:label: ex-sum
```"""
SOLUTION = "```{solution-start} ex-sum\n:class: dropdown\n```"
OTHERS = """\
```{solution-end}
```
""" + "".join(
    f"""
````{{exercise}}
:label: ex-{i}
````

````{{solution}} ex-{i}
:class: dropdown
````
"""
    for i in range(2)
)


def printing(text: str) -> list[NotebookNode]:
    return [new_output("stream", name="stdout", text=text)]


def chapter() -> NotebookNode:
    """A chapter without faults."""
    html = {"text/html": Quiz(QUESTIONS)._repr_html_()}
    quiz = new_code_cell(
        f"Quiz({QUESTIONS})",
        metadata={"tags": ["remove-input"]},
        outputs=[new_output("execute_result", html, execution_count=1)],
    )
    asked = 'answer = ...\ncheck(answer, "9b3a4415e8bc")'
    return new_notebook(
        cells=[
            new_markdown_cell(BOX_TEXT),
            quiz,
            new_markdown_cell(EXERCISES),
            new_code_cell(asked, outputs=printing("Not answered yet: put it there.\n")),
            new_markdown_cell(SOLUTION),
            new_code_cell('check(9 / 10, "9b3a4415e8bc")', outputs=printing("Right.\n")),
            new_markdown_cell(OTHERS),
        ]
    )


def test_a_chapter_without_faults_passes() -> None:
    assert faults(chapter()) == []


def replaced(cell: int, old: str, new: str) -> Callable[[NotebookNode], Any]:
    """A fault: other words in the source of one cell."""

    def change(notebook: NotebookNode) -> None:
        assert old in notebook.cells[cell].source
        notebook.cells[cell].source = notebook.cells[cell].source.replace(old, new)

    return change


def printed(cell: int, text: str) -> Callable[[NotebookNode], Any]:
    """A fault: another output of one cell."""

    def change(notebook: NotebookNode) -> None:
        notebook.cells[cell].outputs = printing(text)

    return change


FAULTS: dict[str, list[Callable[[NotebookNode], Any]]] = {
    "0 boxes": [
        replaced(0, "will be able", "can"),
        replaced(0, "In this chapter", "Before you start"),
    ],
    "no needs in the box": [replaced(0, "You need", "Take")],
    "no times in the box": [replaced(0, "running 2 s", "running")],
    "no section 'Quiz'": [
        replaced(0, "## Quiz", "## Questions"),
        replaced(2, "## Ex", "## Tasks: ex"),
    ],
    "0 quizzes": [replaced(1, "Quiz(", "print(")],
    "three or four answers": [
        replaced(1, "'2?'", "'1?'"),
        replaced(1, "'b': 'No: no.', ", ""),
    ],
    "shows its code": [lambda notebook: notebook.cells[1].metadata.pop("tags")],
    "does not show its questions": [printed(1, "Quiz")],
    "1 exercises": [replaced(6, "{exercise}", "{note}")],
    "folded solutions": [
        replaced(6, ":class: dropdown", ""),
        replaced(6, "{solution} ex-1", "{solution} ex-0"),
        replaced(4, "ex-sum", "ex-other"),
    ],
    "no exercise checks": [replaced(3, "check(", "print("), printed(3, "")],
    "does not pass": [
        printed(5, "Not yet: this is not the answer. Try again.\n"),
        replaced(5, "9b3a4415e8bc", "0123456789ab"),
        replaced(4, "ex-sum", "ex-other"),
    ],
}


@pytest.mark.parametrize(
    ("fault", "change"),
    [(fault, change) for fault, changes in FAULTS.items() for change in changes],
)
def test_every_fault_is_found(fault: str, change: Callable[[NotebookNode], Any]) -> None:
    notebook = chapter()
    change(notebook)
    assert any(fault in found for found in faults(notebook))
