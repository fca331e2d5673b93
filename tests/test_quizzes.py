"""Quizzes: what is refused, and what the page shows to mouse, keyboard and screen reader."""

from xml.etree import ElementTree

import pytest

from confseg import Quiz

ANSWERS = {"less < more": "Right: `a < b` & so on.", "more": "No: not so."}


def test_the_page_shows_every_text_escaped_and_closed():
    tree = ElementTree.fromstring(Quiz({"Which?": ANSWERS, "And `x`?": ANSWERS})._repr_html_())
    assert tree.tag == "ol"
    first, second = tree
    assert "".join(second[0].itertext()) == "And x?"
    assert [code.text for code in second[0].iter("code")] == ["x"]
    found = {
        "".join(part[0].itertext()): "".join(part[1].itertext()) for part in first.iter("details")
    }
    assert found == {"less < more": "Right: a < b & so on.", "more": "No: not so."}
    assert [part.get("class") for part in first.iter("details")] == ["right", "wrong"]


def test_nothing_is_open_or_scripted_from_the_start():
    html = Quiz({"Which?": ANSWERS})._repr_html_()
    assert " open" not in html
    assert "<script" not in html
    assert html.count("<summary>") == 2  # the element that takes the keyboard's focus


def test_the_text_does_not_give_the_answer_away():
    assert repr(Quiz({"Which?": ANSWERS})) == "1. Which?\n   a) less < more\n   b) more"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"a": "Right: yes.", "b": "Right: yes."}, "has 2, 2 of them right"),
        ({"a": "No: no.", "b": "No: no."}, "has 2, 0 of them right"),
        ({"a": "Right: yes."}, "has 1, 1 of them right"),
        ({"a": "Right: yes.", "b": "Wrong."}, "explanation of 'b' must begin with"),
        ({"a": "Right: yes.", "b": ""}, "explanation of 'b' must begin with"),
    ],
)
def test_a_question_has_one_right_answer_and_explains_all(answers, message):
    with pytest.raises(ValueError, match=message):
        Quiz({"Which?": answers})
