"""The files of a run beside its checkpoints; whatever is damaged there is left out with a warning."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cxr.config.key_tree import walk
from cxr.config.load import load
from cxr.config.recipes import OF_RUN
from cxr.config.schema import Config
from cxr.console import count, warn
from cxr.errors import CxrError

LOG, TEXT_LOG, COUNTS, RECIPE = "log.jsonl", "train.log", "counts.json", OF_RUN
CURVES, TRACKER_RUNS = "curves.png", "trackers.json"
_T = TypeVar("_T")
_HISTORY = ("loss", "val_loss", "val_auroc", "lr", "best")


class Cells(BaseModel):
    """Labels of one finding in one split."""

    finding: str
    positive: int = Field(ge=0)
    negative: int = Field(ge=0)
    soft: int = Field(ge=0)
    masked: int = Field(ge=0)


class Counts(BaseModel):
    """counts.json of a run: by split, rows left out by reason."""

    images: dict[str, int]
    patients: dict[str, int]
    dropped: dict[str, int]
    cells: dict[str, list[Cells]]

    @model_validator(mode="after")
    def _splits_agree(self) -> "Counts":
        findings = {tuple(cell.finding for cell in cells) for cells in self.cells.values()}
        if not self.images.keys() == self.patients.keys() == self.cells.keys() or len(findings) > 1:
            raise ValueError("its splits differ")
        return self


@dataclass(frozen=True)
class Training:
    """What a run folder knows beyond its checkpoint; empty where predictions came without a run.

    Attributes:
        history: Per epoch `loss`, `val_loss`, `val_auroc`, `lr` and `best`, each where the log has it.
        counts: What it was trained, validated and tested on.
        config: The recipe as YAML.
    """

    history: Sequence[Mapping[str, float | None]] = ()
    counts: Counts | None = None
    config: str = ""


class Line(BaseModel):
    """One line of log.jsonl."""

    model_config = ConfigDict(frozen=True)
    kind: str
    step: int = Field(ge=0)
    epoch: int = Field(0, ge=0)
    loss: float | None = None
    val_loss: float | None = None
    val_auroc: float | None = None
    lr: float | None = None
    seconds: float | None = None
    best: int = 0


def read_training(folder: Path) -> Training:
    """What a run folder knows; files that are missing or damaged are left out."""
    return Training(
        tuple(merge_epochs(read_log(folder / LOG))),
        _attempt(folder / COUNTS, _read_counts),
        _attempt(folder / RECIPE, _read_recipe) or "",
    )


def merge_epochs(lines: Iterable[Line]) -> list[dict[str, float | None]]:
    """What a log says of each epoch, in their order; names that it does not have are left out."""
    history: dict[int, dict[str, float | None]] = {}
    for line in lines:
        if line.kind in ("train", "epoch"):
            values = {name: getattr(line, name) for name in _HISTORY if name in line.model_fields_set}
            # a resumed run has logged some epochs twice: what came later counts
            history[line.epoch] = history.get(line.epoch, {}) | values
    return [history[epoch] for epoch in sorted(history)]


def read_log(path: Path, warns: bool = True, having: str = "") -> list[Line]:
    """The whole lines of a log that hold a text; with `warns`, a warning counts those cut or garbled."""
    lines, num_bad = [], 0
    for text in read_lines(path):
        if having not in text:
            continue
        try:
            lines.append(parse_line(text))
        except ValueError:
            num_bad += 1
    if num_bad and warns:
        warn(f"{path}: {count(num_bad, 'line')} left out, cut or garbled; was the disk full?")
    return lines


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, its unfinished last line included; no lines where there is no file.

    Bytes that are no text are replaced.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    except OSError as error:
        warn(f"{path}: left out, cannot be read: {error.strerror}")
        return []


def parse_line(text: str) -> Line:
    """One line of a log.

    Raises:
        ValueError: It is cut or garbled.
    """
    try:
        return Line.model_validate(json.loads(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _attempt(path: Path, read: Callable[[Path], _T]) -> _T | None:
    """What `read` makes of a file; None where there is none, and with a warning where it is damaged."""
    try:
        return read(path) if path.is_file() else None
    except (OSError, ValueError, RecursionError, CxrError):
        warn(f"{path}: cut or garbled, left out of the report")
        return None


def _read_counts(path: Path) -> Counts:
    return Counts.model_validate_json(path.read_bytes())


def _read_recipe(path: Path) -> str:
    """The text of config.yaml, whose last line is that of the last key."""
    text = path.read_text(encoding="utf-8")
    # a recipe that no longer loads is not shown either
    load(path)
    # a file that was cut at a line's end is whole YAML, with defaults for the keys that are gone
    last = [keys[-1] for keys, _, is_section in walk(Config) if not is_section][-1]
    if not text.endswith("\n") or not text.splitlines()[-1].strip().startswith(f"{last}:"):
        raise ValueError("it ends early")
    return text
