"""The body of cxr check: check all datasets of a config, write the reports, print."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from cxr.check import document, samples, summary
from cxr.check.run import Checked, run_check
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


def check(config: Config, recipe: Path, out: Path | None, quick: bool = False) -> tuple[bool, Path]:
    """(whether cxr train would start, the page); prints what was found, writes check.json and check.html.

    Of several datasets each is also shown alone, and written into a folder of its name below that folder.

    Args:
        config: The recipe, with overrides.
        recipe: Its file, which names the report.
        out: The folder; None takes checks/<recipe>, or one beside it where that holds a check of other data.
        quick: Decode no file.

    Raises:
        CxrError: A phantom that is not generated yet, or a folder that cannot be written.
    """
    subject = _hash_subject(config, recipe)
    folder = out or _choose_folder(config, recipe, subject)
    if out and _holds_other_check(out, subject):
        warn(f"{out}: the report of another check is replaced")
    # the folder of the report is skipped: its thumbnails are no images of the dataset
    checked = run_check(config, quick, [folder])
    # each dataset first, so that what all have in common stands last, above the prompt
    for part in checked.parts:
        name = part.check.part
        _show(part, f"{recipe.stem}, {name}", folder / name, name, subject)
        print()
    _show(checked, recipe.stem, folder, "all datasets together" if checked.parts else "", subject)
    return checked.check.ready, folder / "check.html"


def _hash_subject(config: Config, recipe: Path) -> str:
    """A hash of what is checked: the recipe's path and the datasets that it and its overrides name."""
    datasets = [
        # absolute, as a relative path means another folder elsewhere
        (data.source, os.path.abspath(data.root), str(data.csv), data.dataset, data.name)
        for data in (config.data, *config.data.also)
    ]
    text = repr((os.path.abspath(recipe), datasets))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def _choose_folder(config: Config, recipe: Path, subject: str) -> Path:
    """checks/<recipe>, or checks/<recipe>-<root>-<hash> where the first holds the report of another check."""
    usual = Path("checks") / short_name(recipe.stem)
    if not _holds_other_check(usual, subject):
        return usual
    # the folder's name tells two reports apart for a person, the hash for certain
    root = re.sub(r"[^\w.+-]+", "_", Path(os.path.abspath(config.data.root)).name)
    name = short_name(f"{usual.name}-{root}")
    folder = usual.with_name(f"{name}-{subject[:6]}")
    say(f"{usual} holds the report of a check of other data and stays; this report is written to {folder}")
    return folder


def _holds_other_check(folder: Path, subject: str) -> bool:
    """Whether a folder holds the report of a check of something else, or one that cannot be recognised."""
    path = folder / _REPORT
    if not is_file(path):
        return False
    try:
        facts: Any = json.loads(path.read_text(encoding="utf-8"))
        return bool(facts["subject"] != subject)
    # no report of ours, or one of an older cxr
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return True


def _show(checked: Checked, name: str, folder: Path, heading: str, subject: str) -> None:
    """Write both reports and print the first."""
    write_text(folder / _REPORT, summary.render_json(checked.check, subject))
    page = document.page(checked.check, samples.take(checked), name)
    write_text(folder / "check.html", html.render(page))
    if heading:
        terminal().print(line(heading, style="bold"))
    terminal().print(render(*summary.summary(checked.check)), soft_wrap=False)
    for text in checked.private:
        say(f"{text} (named here, and in no report)")
    show(f"report: {folder / 'check.html'}")
