"""The body of cxr check: survey, write, print."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from cxr.check import document, samples, summary
from cxr.check.survey import Survey, survey
from cxr.config.schema import Config
from cxr.console import line, say, warn
from cxr.console import out as terminal
from cxr.files import write_text
from cxr.paths import is_file
from cxr.report import html
from cxr.report.terminal import render
from cxr.streams import show
from cxr.text import short_name

_REPORT = "check.json"


def check(config: Config, recipe: Path, out: Path | None, quick: bool = False) -> bool:
    """Whether cxr train would begin; prints what was found and writes `check.json` and `check.html` into a folder.

    Of several archives, each is also shown by itself and written into a folder of its name below that.

    Args:
        config: What the recipe says, with overrides.
        recipe: Its file, which names the report.
        out: The folder; checks/<recipe> by default, or beside it where that holds the check of something else.
        quick: Decode no file.

    Raises:
        CxrError: Nothing to look at yet, or a folder that cannot be written.
    """
    subject = _subject(config, recipe)
    folder = out or _choose_folder(config, recipe, subject)
    if out and _is_of_another(out, subject):
        warn(f"{out}: the report of another check is replaced")
    found = survey(config, quick, [folder])
    for part in found.parts:
        _show(part, f"{recipe.stem}, {part.check.part}", folder / part.check.part, part.check.part, subject)
    _show(found, recipe.stem, folder, "all datasets together" if found.parts else "", subject)
    return found.check.ready


def _subject(config: Config, recipe: Path) -> str:
    """A hash of what is checked: the recipe's place and the datasets that it names, wherever overrides say they are."""
    datasets = [(one.source, os.path.abspath(one.root), str(one.csv), one.dataset, one.name)
                for one in (config.data, *config.data.also)]  # fmt: skip
    return hashlib.sha256(
        repr((os.path.abspath(recipe), datasets)).encode(errors="surrogateescape")
    ).hexdigest()[:16]


def _choose_folder(config: Config, recipe: Path, subject: str) -> Path:
    """checks/<recipe>, or checks/<recipe>-<root>-<hash> where the first holds the report of another check."""
    usual = Path("checks") / short_name(recipe.stem)
    if not _is_of_another(usual, subject):
        return usual
    root = re.sub(r"[^\w.+-]+", "_", Path(os.path.abspath(config.data.root)).name)
    folder = usual.with_name(f"{short_name(f'{usual.name}-{root}')}-{subject[:6]}")
    say(f"{usual} holds the report of a check of other data and stays; this one goes into {folder}")
    return folder


def _is_of_another(folder: Path, subject: str) -> bool:
    """Whether a folder holds a report that a check of this would not replace with one of the same."""
    if not is_file(folder / _REPORT):
        return False
    try:
        facts: Any = json.loads((folder / _REPORT).read_text(encoding="utf-8"))
        return bool(facts["subject"] != subject)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
    ):  # no report of ours, or one of an older cxr
        return True


def _show(found: Survey, name: str, folder: Path, heading: str, subject: str) -> None:
    write_text(folder / _REPORT, summary.render_json(found.check, subject))
    page = document.page(found.check, samples.take(found), name)
    write_text(folder / "check.html", html.render(page))
    if heading:
        terminal().print(line(heading, style="bold"))
    terminal().print(render(*summary.summary(found.check)), soft_wrap=False)
    for text in found.private:
        say(f"{text} (named here, and in no report)")
    show(f"report: {folder / 'check.html'}")
    if found.check.part:
        print()
