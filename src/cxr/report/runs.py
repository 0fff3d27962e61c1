"""The table of runs: filtered, sorted, on the terminal and as CSV."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import yaml

from cxr.config.key_tree import flatten, suggest, walk
from cxr.config.schema import Config
from cxr.config.yaml_reader import read_argument
from cxr.errors import CxrError
from cxr.report.document import Cell, Estimate, Table, Text
from cxr.report.run_list import RunFacts
from cxr.text import quote, shorten

_WIDE = 100  # columns of a terminal on which recipe and data have a column each

Value = str | int | float | None


class _Column(NamedTuple):
    """How a column gets its value, and whether the largest stands first where it is sorted by."""

    value: Callable[[RunFacts], Value]
    largest_first: bool = False


COLUMNS = {
    "run": _Column(lambda run: run.name),
    "recipe": _Column(lambda run: run.config.recipe if run.config else ""),
    "backbone": _Column(lambda run: run.config.model.backbone if run.config else ""),
    "data": _Column(lambda run: run.data),
    "epochs": _Column(lambda run: run.num_epochs, True),
    "epochs_planned": _Column(lambda run: run.config.train.epochs if run.config else None, True),
    "best_epoch": _Column(lambda run: run.best_epoch or None, True),
    "val_auroc": _Column(lambda run: run.val_auroc, True),
    "test_auroc": _Column(lambda run: run.test_auroc, True),
    "test_auroc_low": _Column(lambda run: run.test_auroc_low, True),
    "test_auroc_high": _Column(lambda run: run.test_auroc_high, True),
    "date": _Column(lambda run: run.time.isoformat(" ", "seconds") if run.time else "", True),
    "bytes": _Column(lambda run: run.num_bytes, True),
    "problem": _Column(lambda run: run.problem),
    "note": _Column(lambda run: run.note),
}
"""Of the CSV file; --sort takes their names."""


def sort_runs(runs: Sequence[RunFacts], column: str) -> list[RunFacts]:
    """The runs by a column: metrics, dates and sizes from the largest, text from A; without a value last.

    Raises:
        CxrError: There is no such column.
    """
    if column not in COLUMNS:
        raise CxrError(f"--sort {shorten(column, 60)}: no such column", f"it is one of {', '.join(COLUMNS)}")
    value_of, largest_first = COLUMNS[column]
    # None cannot be compared with a number
    with_value = [run for run in runs if value_of(run) not in (None, "")]
    without = [run for run in runs if value_of(run) in (None, "")]

    def key(run: RunFacts) -> Any:  # noqa: ANN401  text or a number, the same in all runs
        return value_of(run)

    return [*sorted(with_value, key=key, reverse=largest_first), *without]


def filter_runs(runs: Sequence[RunFacts], conditions: Sequence[str]) -> list[RunFacts]:
    """The runs that meet every condition: KEY=VALUE of the recipe, or a text that is part of the run's name.

    Raises:
        CxrError: A key that no recipe has, or a value that is no YAML.
    """
    found = list(runs)
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if equals:
            wanted = _read_value(key, value)
            found = [run for run in found if _has(run, key, wanted, value)]
        else:
            found = [run for run in found if condition.lower() in run.name.lower()]
    return found


def _read_value(key: str, text: str) -> object:
    path = tuple(key.split("."))
    # an entry of a list has the keys of its section
    of_any_dataset = re.sub(r"\balso\.\d+\.", "", key)  # data.also.0.source -> data.source
    if of_any_dataset not in {".".join(known) for known, _, is_section in walk(Config) if not is_section}:
        problem = f"--filter {shorten(key, 60)}: no such key{suggest(path)}"
        raise CxrError(problem, "cxr config demo prints every key; text without = is looked for in names")
    try:
        return read_argument(text)
    except yaml.YAMLError:
        raise CxrError(
            f"--filter {shorten(key, 60)}: {quote(text)} is no YAML value", "check its quotes"
        ) from None


def _has(run: RunFacts, key: str, value: object, text: str) -> bool:
    """Whether the recipe has this value, also where it is a text that looks like a number."""
    if run.config is None:
        return False
    keys = flatten(run.config.model_dump(mode="json"))
    return key in keys and (keys[key] == value or keys[key] == text)


def summary(runs: Sequence[RunFacts], width: int) -> tuple[Text | Table, ...]:
    """The runs as a table, and below it a line for what cannot be read, for a terminal so wide."""
    shown = [run for run in runs if run.time]
    table = _wide_table(shown) if width >= _WIDE else _narrow_table(shown)
    lines = [Text(f"{run.name}: {run.note}", "note") for run in shown if run.note]
    lines += [Text(f"{run.name}: {run.problem}", "note") for run in runs if run.problem]
    return (*([table] if shown else []), *lines)


def _wide_table(runs: Sequence[RunFacts]) -> Table:
    columns = ("Run", "Recipe", "Data", "Epochs", "Val. AUROC", "Test AUROC", "Saved", "Size")
    rows = [(run.name, _text(run, "recipe"), run.data, *_numbers(run, "%Y-%m-%d %H:%M")) for run in runs]
    return Table("", columns, tuple(rows), "lllrrrlr")


def _narrow_table(runs: Sequence[RunFacts]) -> Table:
    """For 80 columns: recipe and data in one column, the date without its time."""
    columns = ("\nRun", "Recipe,\ndata", "\nEpochs", "Val.\nAUROC", "Test\nAUROC", "\nSaved", "\nSize")
    rows = []
    for run in runs:
        about = ", ".join(filter(None, (_text(run, "recipe"), run.data)))
        rows.append((run.name, about, *_numbers(run, "%Y-%m-%d")))
    return Table("", columns, tuple(rows), "llrrrlr")


def _text(run: RunFacts, column: str) -> str:
    return str(COLUMNS[column].value(run))


def _numbers(run: RunFacts, time_format: str) -> tuple[Cell, ...]:
    """Epochs, AUROCs, date and size."""
    planned = f"/{run.config.train.epochs}" if run.config else ""
    size = f"{run.num_bytes / 1e9:.1f} GB" if run.num_bytes >= 1e9 else f"{run.num_bytes / 1e6:.0f} MB"
    return (
        f"{run.num_epochs}{planned}",
        Estimate(run.val_auroc),
        Estimate(run.test_auroc, run.test_auroc_low, run.test_auroc_high),
        run.time.strftime(time_format) if run.time else "",
        size,
    )
