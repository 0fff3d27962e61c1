"""What a run leaves beside its checkpoints: log.jsonl, whose numbers trackers get too, and train.log."""

import json
from datetime import datetime
from pathlib import Path

from cxr.console import count, warn
from cxr.files import explain_os_errors, write_text
from cxr.report.run_files import LOG, TEXT_LOG, parse_line, read_lines
from cxr.training.tracking import Trackers

Value = str | int | float | None


class TextLog:
    """train.log: the messages of a training and its progress, each line with its time.

    Lines that come before `open` are kept until then: the folder may yet be refused.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._lines_before_open: list[str] = []

    def open(self, folder: Path, resume: bool) -> None:
        """Write to a run folder from now on; a resumed run continues the file."""
        self._path = folder / TEXT_LOG
        if not resume:
            write_text(self._path, "")
        self._append(self._lines_before_open)
        self._lines_before_open = []

    def note(self, message: str) -> None:
        """Add a line.

        Raises:
            CxrError: The disk is full; the run can be resumed.
        """
        text = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S%z} {message}\n"
        if self._path is None:
            self._lines_before_open.append(text)
        else:
            self._append([text])

    def _append(self, lines: list[str]) -> None:
        assert self._path is not None
        with (
            explain_os_errors(self._path),
            self._path.open("a", encoding="utf-8", errors="backslashreplace") as file,
        ):
            file.writelines(lines)


class RunLog:
    """Appends JSON objects to log.jsonl, and hands the same numbers to the trackers.

    Args:
        folder: The run folder.
        step: Step that the run continues from; lines of later steps, left by an interrupted run, are removed.
        epochs: Epochs that the run has finished; lines of later ones are removed too.
        enabled: False on all processes but the first.
        text: train.log, for lines that are not printed on the terminal.
        trackers: TensorBoard and others.

    Raises:
        CxrError: The disk is full or the folder cannot be written.
    """

    def __init__(
        self, folder: Path, step: int, epochs: int, enabled: bool, text: TextLog, trackers: Trackers
    ) -> None:
        self.path, self.enabled, self.text, self.trackers = folder / LOG, enabled, text, trackers
        if enabled:
            write_text(self.path, "".join(f"{line}\n" for line in _earlier_lines(self.path, step, epochs)))

    def write(self, kind: str, step: int, values: dict[str, Value]) -> None:
        """Append one line; `kind` is `first`, `step`, `train` or `epoch`.

        Raises:
            CxrError: The disk is full; the run can be resumed.
        """
        if not self.enabled:
            return
        with explain_os_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step} | values) + "\n")
        # texts and unknown values are for the log alone
        numbers = {
            f"{kind}/{name}": value for name, value in values.items() if isinstance(value, int | float)
        }
        self.trackers.write(step, numbers)


def _earlier_lines(path: Path, step: int, epochs: int) -> list[str]:
    """The lines of a run up to the step that it is resumed from; prints how many were cut or garbled."""
    kept, num_bad = [], 0
    for text in read_lines(path):
        try:
            line = parse_line(text)
        except ValueError:
            num_bad += 1
            continue
        # later lines are of steps that the resumed run takes again
        if line.step <= step and line.epoch <= epochs:
            kept.append(text)
    if num_bad:
        warn(f"{path}: {count(num_bad, 'line')} removed, cut or garbled")
    return kept
