"""cxr init: look at a table or a folder of images, propose a recipe, ask, and write it."""

import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cxr.check.run import run_check
from cxr.config.load import load
from cxr.console import err, say, warn
from cxr.errors import CxrError
from cxr.files import write_text
from cxr.propose.choices import ANSWERED, read_given
from cxr.propose.find_dataset import Start, find_start
from cxr.propose.propose import Proposal, propose
from cxr.propose.text import render
from cxr.replace import refuse_existing
from cxr.streams import show
from cxr.text import visible

_NONE = "none"
_QUESTIONS = {
    "data.columns.image": "Which column names the image file?",
    "data.columns.patient": "Which column names the patient (none: each image counts as one)?",
    "data.findings": "Which findings (names, separated by commas)?",
    "data.split": "How to split the images (random, column of a table, official lists of a dataset)?",
}
"""The question on each key, asked where the proposal has it."""


def init(
    path: Path,
    csv: Path | None,
    images: Path | None,
    overrides: Sequence[str],
    yes: bool,
    overwrite: bool,
) -> None:
    """Write a recipe that `cxr check --quick` finds ready, and print the next commands.

    Args:
        path: The YAML file to write.
        csv: The table of labels.
        images: The folder of the images.
        overrides: `key=value` texts, which go before every proposal.
        yes: Ask nothing.
        overwrite: Replace a file that is there.

    Raises:
        CxrError: The file is there, the dataset cannot be read, or training would refuse it.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise CxrError(f"{path}: a recipe's name ends in .yaml", f"cxr init {path}.yaml")
    refuse_existing(path, overwrite, "take another name")
    given = read_given(overrides)
    source = given.get("data.source", (None, ""))[0]
    # 1. which reader, 2. the recipe with its reasons, 3. questions where somebody is there to answer
    start = find_start(csv, images, str(source) if source is not None else None)
    proposal = propose(start, given)
    for note in proposal.notes:
        say(note)
    if not yes and sys.stdin is not None and sys.stdin.isatty():
        proposal = _ask(start, proposal, given)
    text = render(proposal, shlex.quote(str(path)), _command(path, csv, images, overrides))
    # 4. nothing is written that the check would refuse
    _try_out(path, text)
    write_text(path, text)
    for warning in proposal.warnings:
        warn(warning)
    recipe = shlex.quote(str(path))
    show(f"{path}: source {start.source}, findings {', '.join(proposal.findings)}")
    show(f"next: cxr check {recipe}")
    show(f"then: cxr train {recipe}")


def _command(path: Path, csv: Path | None, images: Path | None, overrides: Sequence[str]) -> str:
    """The command that writes the recipe."""
    words = ["cxr", "init", str(path)]
    words += ["--csv", str(csv)] if csv else []
    words += ["--images", str(images)] if images else []
    return shlex.join([*words, *overrides])


def _try_out(path: Path, text: str) -> None:
    """Refuse a recipe that `cxr check --quick` would not find ready; nothing is written then.

    Raises:
        CxrError: Every problem that the check has found.
    """
    with tempfile.TemporaryDirectory() as folder:
        # under the same name, as the run folder is called after the recipe
        trial = Path(folder) / path.name
        write_text(trial, text)
        try:
            config = load(trial)
        except CxrError as error:  # an override that the config refuses
            problems = [problem.replace(str(trial), str(path)) for problem in error.problems]
            raise CxrError(problems, error.hint) from None
        check = run_check(config, quick=True).check
    if not check.ready:
        raise CxrError([*check.problems], "; ".join(check.hints) or "correct the table")


def _ask(start: Start, proposal: Proposal, given: dict[str, tuple[object, str]]) -> Proposal:
    """The proposal after the user's answers; an empty answer takes what is proposed."""
    for key, question in _QUESTIONS.items():
        # asked again after an answer that cannot be; a key that an answer has taken away is not asked
        while key in proposal.choices.keys and key not in given:
            choice = proposal.choices.keys[key]
            for reason in (*choice.why, *choice.facts):
                say(f"  {reason}")
            proposed = _as_text(choice.value)
            answer = _read_answer(f"{question} [{proposed}] ")
            if not answer or answer == proposed:
                break
            try:
                changed = given | {key: (_as_value(key, answer), ANSWERED)}
                # proposed again: an answer changes what depends on it, as the patient the split
                proposal = propose(start, changed)
            except CxrError as error:  # another answer may be right
                say(error.render())
                continue
            given |= changed
    return proposal


def _read_answer(question: str) -> str:
    """A line of the terminal.

    Raises:
        KeyboardInterrupt: The terminal is closed.
    """
    err.print(visible(question), end="", soft_wrap=True)
    line = sys.stdin.readline()
    if not line:
        raise KeyboardInterrupt
    return line.strip()


def _as_text(value: object) -> str:
    """A proposed value as an answer would write it."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return _NONE if value is None else str(value)


def _as_value(key: str, answer: str) -> object:
    """An answer as the config reads it."""
    if key == "data.findings":
        names = [name.strip() for name in answer.split(",") if name.strip()]
        return names[0] if len(names) == 1 and names[0] in ("nih14", "chexpert14", "chexpert5") else names
    return None if key == "data.columns.patient" and answer == _NONE else answer
