"""Screens: no text is markup, none acts, none is cut off."""

import ast
import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import RenderableType
from rich.text import Text

from cxr import console
from cxr.console import line, progress, say, stack, warn
from cxr.report import terminal
from cxr.report.document import Estimate, Table
from cxr.streams import guarded
from cxr.text import visible
from tests.test_architecture import SOURCE
from tests.test_text import ANY

MARKUP = "[bold]x[/bold] [/R] [red]y[/] :smile: [link=http://x]z[/link]"


def screen(what: RenderableType, columns: int = 80) -> str:
    """What a terminal of so many columns is sent."""
    target = console.out()
    target.file, target.width = io.StringIO(), columns
    target.print(what)
    return target.file.getvalue()


def test_text_is_never_markup() -> None:
    table = Table("", (MARKUP, "n"), ((MARKUP, 1),), "lr")
    for what in (MARKUP, Text(MARKUP), line(MARKUP), stack(line(MARKUP), MARKUP)):
        assert screen(what).strip().splitlines()[0] == MARKUP
    assert screen(terminal.render(table)).count(MARKUP) == 2


def test_messages_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"a\nerror: fake {MARKUP}\x1b[2J")
    warn("b\r\x9b")
    assert capsys.readouterr().err == f"a\\nerror: fake {MARKUP}\\x1b[2J\nwarning: b\\r\\x9b\n"


@settings(max_examples=150, deadline=None)
@given(st.lists(ANY.filter(str.strip), min_size=1, max_size=3), st.integers(16, 120))
@example(["👩\u200d⚕️ lung", "心" * 60, "x" * 300], 40)
@example(["[/b]", "\x1b]0;PWN\x07", "a\nb\tc"], 30)
def test_a_table_shows_every_letter_of_every_cell(names: list[str], columns: int) -> None:
    rows = tuple((name, Estimate(0.812), "0.780-0.840") for name in names)
    table = Table("", ("Finding", "AUROC", "95 %"), rows, "lrr")
    lines = screen(terminal.render(table), columns).splitlines()
    assert not [
        letter for text in lines for letter in text if visible(letter) != letter and not is_mark(letter)
    ]
    assert re.sub(r"\s", "", "".join(map(visible, names))) in first_column(table, columns)
    if columns >= 60:
        assert sum("0.812" in text and "0.780-0.840" in text for text in lines) == len(names)


def is_mark(letter: str) -> bool:
    return visible("a" + letter) == "a" + letter


def first_column(table: Table, columns: int) -> str:
    """The text of the first column without blanks, whatever lines it is folded into."""
    blank = replace(table, rows=tuple((row[0], "", "") for row in table.rows))
    body = screen(terminal.render(blank), columns).splitlines()
    start = next(place for place, text in enumerate(body) if set(text.strip()) == {"─"})
    return re.sub(r"\s", "", "".join(body[start + 1 :]))


def test_the_words_of_a_progress_bar_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(console, "err", type(console.err)(stderr=False))
    console.err.file, console.err.width = file, 120
    with progress("{task.fields[status]}") as bar:
        bar.disable = False
        bar.add_task(MARKUP, total=3, status="[/x]\x1b[2J")
        file.write("".join(screen(bar.get_renderable(), 200)))
    assert MARKUP in file.getvalue() and "[/x]\\x1b[2J" in file.getvalue()


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_progress_bar_moves_the_cursor_and_what_is_said_meanwhile_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    with guarded():
        monkeypatch.setattr(console, "err", type(console.err)(stderr=True))
        with progress() as bar:
            bar.add_task("pack", total=3)
            console.say("a\x1b[2J")
            print("b\x1b[2J", file=sys.stderr)
    sent = stderr.getvalue()
    assert "a\\x1b[2J" in sent and "\x1b[2Kb" in sent and "\x1b[2J" not in sent
    assert "\x1b[?25l" in sent and "\\x1b[?25l" not in sent


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_no_other_file_makes_screens_tables_or_lines_of_its_own() -> None:
    makers = {"Console", "Table", "Text", "Markdown", "Panel", "TextColumn", "print", "inspect"}
    found = [
        f"{path.relative_to(SOURCE)}: {node.module}.{name.name}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "rich"
        for name in node.names
        if name.name in makers and path.name not in ("console.py", "terminal.py")
    ]
    assert found == []


def test_markup_is_nowhere_turned_on_and_nothing_is_printed_past_the_doors() -> None:
    # what may print: a config, JSON, help, an empty line
    doors = {"streams.py", "status.py", "config.py", "check.py"}
    every = [(path, name, call) for path in SOURCE.rglob("*.py") for name, call in calls(path)]
    words = [
        (path.name, word.arg, ast.unparse(word.value)) for path, _, call in every for word in call.keywords
    ]
    assert [word for word in words if word[1:] in (("markup", "True"), ("emoji", "True"))] == []
    assert {path.name for path, name, _ in every if name == "print"} <= doors
    assert [path for path, name, _ in every if re.fullmatch(r"sys\.std(out|err)\.write|.*\.echo", name)] == []
