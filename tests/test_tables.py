"""Tables: aligned as text, escaped and complete as HTML."""

import pytest

from confseg.tables import Table


def test_columns_are_aligned_and_no_line_ends_in_a_blank():
    text = repr(Table(["name", "a", "bc"], [["x", 10, "1"], ["longer", 1, ""]]))
    assert text.splitlines() == ["name     a  bc", "x       10   1", "longer   1"]


def test_html_holds_every_text_escaped_with_a_header_per_column():
    html = Table(["a < b", "n"], [["x & y", "1"]])._repr_html_()
    assert html.count('<th scope="col"') == 2
    assert "a &lt; b" in html
    assert "x &amp; y" in html
    assert '<td style="text-align: right">1</td>' in html


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"expected 2 entries, found \['x'\]"):
        Table(["a", "b"], [["x"]])
