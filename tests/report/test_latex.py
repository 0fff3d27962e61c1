import re

from hypothesis import given
from hypothesis import strategies as st

from cxr.report.document import Estimate, Table
from cxr.report.latex import escape, render_paragraphs, render_table

COMMAND = re.compile(
    r"\\(?:textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|textquotedbl)\{\}|\\[{}$&#%_]"
)


@given(st.text())
def test_no_letter_of_a_text_is_a_command(text: str) -> None:
    rest = COMMAND.sub("", escape(text)).replace("{[}", "").replace("{]}", "")
    assert not set(rest) & set('\\{}$&#%_~^[]<>|"\n\r')


def test_a_table_has_its_columns_and_numbers() -> None:
    table = Table("A_b", ("", "n & m"), (("x%", Estimate(0.5, 0.4, 0.6)), ("y", 1200)), "lr", ("Note 5 %",))
    text = render_table(table)
    assert r"\caption{A\_b}" in text and r"\begin{tabular}{lr}" in text
    assert "x\\% & 0.500 (0.400-0.600) \\\\\ny & 1,200 \\\\\n" in text
    assert r" & n \& m \\" in text and r"Note 5 \%" in text


def test_citations_become_commands_and_other_brackets_do_not() -> None:
    text = render_paragraphs([("Data", "Images [he2016] and [AUTHOR: dates].")], [("he2016", "He K & al.")])
    assert text.startswith(r"\paragraph{Data} Images~\cite{he2016} and {[}AUTHOR: dates{]}.")
    assert r"\bibitem{he2016} He K \& al." in text
