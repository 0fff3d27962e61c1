"""cxr train --repeat: a run once more, its inputs checked first, and what differs in the end."""

from collections.abc import Sequence
from pathlib import Path

from cxr.commands.train import run_recipe
from cxr.config.load import load
from cxr.config.recipes import OF_RUN
from cxr.console import out as terminal
from cxr.console import say, warn
from cxr.data.dataset import Dataset
from cxr.errors import CxrError
from cxr.paths import is_file
from cxr.report import repeat as report
from cxr.report.document import Table, Text
from cxr.report.run_record import read_record
from cxr.report.terminal import render
from cxr.resume_command import command
from cxr.streams import show


def repeat(run: Path, overrides: Sequence[str], resume: bool, overwrite: bool, allow_changes: bool) -> None:
    """Train a run again into RUN-repeat or out=FOLDER, and report what differs from it.

    The order: 1. keys and files, 2. images, labels and, once they are packed, pixels, 3. training,
    4. the comparison.

    Raises:
        CxrError: No run; inputs that differ, unless they may; whatever training refuses.
    """
    from cxr.training.repeat import compare_runs, find_changed_data, find_changed_files, find_changed_keys
    from cxr.training.setup import identify

    if not is_file(run / OF_RUN):
        raise CxrError(f"{run}: is no run folder: there is no {OF_RUN}", "cxr runs lists runs")
    texts = _choose_folder(run, overrides)
    before, recipe = load(run / OF_RUN, []), load(run / OF_RUN, texts)
    if recipe.out.resolve() == run.resolve():
        raise CxrError(f"out={recipe.out}: is the run itself", "give the repeat another out=FOLDER")
    record = read_record(run)
    if record is None:
        say(f"{run}: has no run.json, since an earlier version wrote it: files cannot be checked")
    changes = find_changed_keys(before, recipe, record)
    if record is not None:
        changes += find_changed_files(run, record, recipe)
    _refuse(run, changes, allow_changes)

    def check(dataset: Dataset) -> None:
        found = find_changed_data(run, record, recipe, identify(dataset))
        new = [change for change in found if change not in changes]
        changes.extend(new)
        _refuse(run, new, allow_changes)

    def name_command(options: Sequence[str]) -> str:
        allowed = ["--allow-changes"] * allow_changes
        return command("train", "--repeat", run, *texts, *options, *allowed)

    is_first = run_recipe(recipe, resume, overwrite, name_command, lambda: name_command(["--resume"]), check)
    if not is_first:
        return
    compared = compare_runs(run, recipe.out, tuple(changes))
    report.write(compared, recipe.out)
    lines: list[Text | Table] = []
    for part in report.build_parts(compared):
        if isinstance(part, Table):
            lines += [Text(""), Text(part.title, "strong"), part]
        elif isinstance(part, Text):
            lines.append(part)
    terminal().print(render(*lines))
    for note in compared.notes:
        say(f"note: {note}")
    show(f"report: {recipe.out / report.PAGE}")


def _choose_folder(run: Path, overrides: Sequence[str]) -> list[str]:
    """The overrides with out=RUN-repeat, unless they name a folder."""
    if any(text.startswith("out=") for text in overrides):
        return list(overrides)
    folder = run.resolve() if run.name in ("", "..") else run
    return [*overrides, f"out={folder.with_name(folder.name + '-repeat')}"]


def _refuse(run: Path, changes: Sequence[str], allow_changes: bool) -> None:
    """Refuse inputs that are not those of the run, unless they may differ.

    Raises:
        CxrError: Each change.
    """
    if changes and not allow_changes:
        hint = "give it the run's own files, or --allow-changes, which lists them in the report"
        raise CxrError([f"{run}: {change}" for change in changes], hint)
    for change in changes:
        warn(f"{run}: {change}")
