"""Quizzes whose every answer explains itself, without a script: in a notebook and on the pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from string import ascii_lowercase

_VERDICTS = ("Right: ", "No: ")


@dataclass(frozen=True, repr=False)
class Quiz:
    """A few questions; the last expression of a notebook cell shows them.

    An answer is opened with the mouse or the keyboard (Tab, then Enter or the space bar) and
    says whether it is right, and why.

    Parameters
    ----------
    questions : mapping of str to mapping of str to str
        Question, answers and explanations: ``{question: {answer: explanation}}``. The
        explanation of the right answer begins with ``"Right: "``, every other with ``"No: "``.
        What stands between backticks is shown as code.

    Raises
    ------
    ValueError
        If a question has fewer than two answers, not exactly one right one, or an explanation
        that does not say whether its answer is right.

    Examples
    --------
    >>> Quiz({"Which rank has the quantile at n = 9, alpha = 0.1?": {
    ...     "8": "No: that is the rank without the new case.",
    ...     "9": "Right: 0.9 times 10.",
    ... }})
    1. Which rank has the quantile at n = 9, alpha = 0.1?
       a) 8
       b) 9
    """

    questions: Mapping[str, Mapping[str, str]]

    def __post_init__(self) -> None:
        for question, answers in self.questions.items():
            for answer, explanation in answers.items():
                if not explanation.startswith(_VERDICTS):
                    raise ValueError(
                        f"the explanation of {answer!r} must begin with 'Right: ' or 'No: ', "
                        f"found {explanation!r}"
                    )
            right = sum(text.startswith(_VERDICTS[0]) for text in answers.values())
            if len(answers) < 2 or right != 1:
                raise ValueError(
                    "a question needs at least two answers, one of them right; "
                    f"{question!r} has {len(answers)}, {right} of them right"
                )

    def __repr__(self) -> str:
        lines = []
        for number, (question, answers) in enumerate(self.questions.items(), start=1):
            lines.append(f"{number}. {question}")
            lines += [f"   {a}) {text}" for a, text in zip(ascii_lowercase, answers, strict=False)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        items = "".join(_item(question, answers) for question, answers in self.questions.items())
        return f'<ol class="confseg-quiz">{items}</ol>'


def _item(question: str, answers: Mapping[str, str]) -> str:
    opened = "".join(
        f'<details class="{"right" if explanation.startswith(_VERDICTS[0]) else "wrong"}">'
        f"<summary>{_text(answer)}</summary><p>{_text(explanation)}</p></details>"
        for answer, explanation in answers.items()
    )
    return f"<li><p>{_text(question)}</p>{opened}</li>"


def _text(text: str) -> str:
    """Escaped, with code between backticks, and the verdict in bold."""
    shown = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return re.sub(rf"^({'|'.join(map(str.strip, _VERDICTS))})", r"<strong>\1</strong>", shown)
