"""The runs in a folder, with what their small files say; a folder that is no run comes with a reason."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cxr.config.data import OneDataset
from cxr.config.load import load
from cxr.config.schema import Config
from cxr.errors import CxrError
from cxr.paths import check_listable, exists
from cxr.report.curves import find_best
from cxr.report.run_files import LOG, RECIPE, merge_epochs, read_log

_BEST, _LAST, _REPORT = "best.safetensors", "last.pt", "eval_test/report.json"
_NO_RUN = "holds no run"
_OF_TRACKERS = ("mlruns", "wandb")
_MAX_DEPTH = 4  # of folders below the one that is searched
_MAX_REPORT_BYTES = 50_000_000


@dataclass(frozen=True)
class RunFacts:
    """A run, or a folder that is none.

    Attributes:
        name: Its folder, as seen from the one that was searched.
        problem: Why it is no run, or what of it cannot be read.
        note: What a reader of its metrics must know.
        config: The recipe; None where it cannot be read.
        num_epochs: Finished epochs.
        best_epoch: Of best.safetensors; 0 where that is not known.
        val_auroc: Mean AUROC of the validation images at the best epoch.
        test_auroc: Mean AUROC of the test images.
        test_auroc_low: Lower end of its interval.
        test_auroc_high: Upper end.
        time: When the training was last saved; None for a folder that is no run.
        num_bytes: Of all files in the folder.
    """

    name: str
    problem: str = ""
    note: str = ""
    config: Config | None = None
    num_epochs: int = 0
    best_epoch: int = 0
    val_auroc: float | None = None
    test_auroc: float | None = None
    test_auroc_low: float | None = None
    test_auroc_high: float | None = None
    time: datetime | None = None
    num_bytes: int = 0

    @property
    def data(self) -> str:
        """Names of the datasets that it is trained on."""
        parts = (self.config.data, *self.config.data.also) if self.config else ()
        return " + ".join(map(_name_dataset, parts))


def _name_dataset(part: OneDataset) -> str:
    if part.source in ("table", "folder"):
        return part.name or f"{part.source} {part.root.name}"
    return part.name or part.dataset or part.source


class _Row(BaseModel):
    """A row of a report's summary."""

    finding: str
    auroc: float | None = None
    auroc_low: float | None = None
    auroc_high: float | None = None


class _Report(BaseModel):
    """What is read of a report.json."""

    model_config = ConfigDict(frozen=True)
    about: dict[str, str] = {}
    summary: list[_Row] = []

    @property
    def mean(self) -> _Row:
        """The row of the mean over the findings."""
        return next((row for row in self.summary if row.finding == "mean"), _Row(finding="mean"))

    @property
    def epoch(self) -> int:
        """Of the checkpoint that was evaluated; 0 where the report does not say it."""
        found = re.search(r"epoch (\d{1,9}), step", self.about.get("model", ""))
        return int(found[1]) if found else 0


def list_runs(folder: Path) -> list[RunFacts]:
    """Every run in a folder, or the one that the folder is; and each folder in it without a run. By name.

    Raises:
        CxrError: There is no such folder, or it may not be listed.
    """
    if not exists(folder):
        raise CxrError(f"{folder}: no such folder", "cxr train demo makes the first run, in runs/demo")
    check_listable(folder)
    found = []
    for path, problem in _search(folder, 0, set()):
        name = os.path.relpath(path, folder) if path != folder else folder.resolve().name
        found.append(RunFacts(name, problem) if problem else _read_run(path, name))
    return sorted(found, key=lambda run: run.name)


def _search(folder: Path, depth: int, seen: set[tuple[int, int]]) -> Iterator[tuple[Path, str]]:
    """(folder, empty) of runs, (folder, why it is none) of others; what is in a run is not searched."""
    try:
        status, entries = folder.stat(), list(os.scandir(folder))
    except OSError as error:
        yield folder, f"cannot be read: {error.strerror}"
        return
    # a folder is known by its device and number, whatever it is called
    if (status.st_dev, status.st_ino) in seen:
        yield folder, "is a link to a folder that is listed already"
        return
    seen.add((status.st_dev, status.st_ino))

    if _is_run(folder, entries):
        yield folder, ""
        return
    # links last: they may lead in a circle, or to a run that is here too
    entries.sort(key=lambda entry: (entry.is_symlink(), entry.name))
    below = [
        found
        for entry in entries
        if depth < _MAX_DEPTH and not _is_hidden(entry) and _holds(entry.is_dir)
        for found in _search(folder / entry.name, depth + 1, seen)
    ]
    # one line for a folder without any run, not one for each folder in it
    if depth and all(problem == _NO_RUN for _, problem in below):
        yield folder, _NO_RUN
    else:
        yield from below


def _is_run(folder: Path, entries: list[os.DirEntry[str]]) -> bool:
    """Whether a training wrote into a folder, or an evaluation of a model from elsewhere."""
    names = {entry.name for entry in entries if _holds(entry.is_file)}
    reports = (entry.name for entry in entries if entry.name.startswith("eval_"))
    return bool(names & {_BEST, _LAST, LOG}) or any(
        os.path.exists(folder / name / "report.json") for name in reports
    )


def _is_hidden(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".") or entry.name in _OF_TRACKERS


def _holds(question: Callable[[], bool]) -> bool:
    """The answer; no where the system does not tell, as of a link to itself."""
    try:
        return question()
    except OSError:
        return False


def _read_run(folder: Path, name: str) -> RunFacts:
    """What the files of a run say; what cannot be read is left out, with its reason in `problem`."""
    problems, note = list[str](), ""
    try:
        config = load(folder / RECIPE, quiet=True)
    except CxrError as error:
        config = None
        num_more = len(error.problems) - 1
        problems.append(
            error.problems[0].replace(f"{folder}{os.sep}", "") + f" (and {num_more} more)" * (num_more > 0)
        )
    # lines of steps are passed over unread: a log has many more of them than of epochs
    history = merge_epochs(read_log(folder / LOG, warns=False, having='"epoch"'))
    best = find_best(history)
    report = _Report()
    try:
        report = _read_report(folder / _REPORT)
    except (OSError, ValueError):
        problems.append(f"{_REPORT}: cannot be read")
    if report.epoch and best and report.epoch != best:
        note = (
            f"its test AUROC is of epoch {report.epoch}, and the best is now epoch {best}: cxr eval it again"
        )
    return RunFacts(
        name,
        "; ".join(problems),
        note,
        config,
        sum("val_loss" in epoch for epoch in history),
        best,
        history[best - 1].get("val_auroc") if best else None,
        report.mean.auroc,
        report.mean.auroc_low,
        report.mean.auroc_high,
        _find_time(folder),
        _sum_bytes(folder),
    )


def _read_report(path: Path) -> _Report:
    """What a report says; nothing where there is none.

    Raises:
        OSError or ValueError: It cannot be read.
    """
    if not path.is_file():
        return _Report()
    # of anybody's folder: a file that fills the memory is not read
    if path.stat().st_size > _MAX_REPORT_BYTES:
        raise ValueError("is no report of ours")
    return _Report.model_validate_json(path.read_bytes())


def _find_time(folder: Path) -> datetime:
    """When a training was last saved; resuming one that has ended changes last.pt least."""
    # the first that is there
    for name in (_LAST, _BEST, LOG, RECIPE, _REPORT):
        with suppress(OSError):
            return datetime.fromtimestamp((folder / name).stat().st_mtime).astimezone()
    return datetime.fromtimestamp(folder.stat().st_mtime).astimezone()


def _sum_bytes(folder: Path) -> int:
    total = 0
    for path, _, files in os.walk(folder):  # follows no links
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size
    return total
