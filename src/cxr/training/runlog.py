"""What a run leaves beside its checkpoints: log.jsonl, train.log and TensorBoard events."""

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cxr.console import count, warn
from cxr.files import explain_os_errors, write_text
from cxr.report.run_files import LOG, TEXT_LOG, parse_line, read_lines

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
    """Appends JSON objects to log.jsonl, and the same numbers to TensorBoard's events if it is installed.

    Args:
        folder: The run folder.
        step: Step that the run continues from; lines of later steps, left by an interrupted run, are removed.
        epochs: Epochs that the run has finished; lines of later ones are removed too.
        enabled: False on all processes but the first.
        text: train.log, for lines that are not printed on the terminal.

    Raises:
        CxrError: The disk is full or the folder cannot be written.
    """

    def __init__(self, folder: Path, step: int, epochs: int, enabled: bool, text: TextLog) -> None:
        self.path, self.enabled, self.text = folder / LOG, enabled, text
        self._events = _open_events(folder / "tensorboard", step) if enabled else None
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
        if self._events is not None:
            numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
            self._events.add(step, {f"{kind}/{name}": value for name, value in numbers.items()})

    def close(self) -> None:
        """Close TensorBoard's events."""
        if self._events is not None:
            self._events.close()


def _earlier_lines(path: Path, step: int, epochs: int) -> list[str]:
    """The lines of a run up to the step that it is resumed from; prints how many were cut or garbled."""
    kept, num_bad = [], 0
    for text in read_lines(path):
        try:
            line = parse_line(text)
        except ValueError:
            num_bad += 1
            continue
        if line.step <= step and line.epoch <= epochs:
            kept.append(text)
    if num_bad:
        warn(f"{path}: {count(num_bad, 'line')} removed, cut or garbled")
    return kept


class _Events(Protocol):
    def add(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


def _open_events(folder: Path, step: int) -> _Events | None:
    """TensorBoard's events, None where it is not installed.

    They are written by the calling thread. TensorBoard's SummaryWriter has a thread, which a full disk ends
    with a traceback, and the training then waits for it forever.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        return None

    class Events:
        def __init__(self) -> None:
            name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}"
            self.path = folder / name
            with explain_os_errors(self.path):
                folder.mkdir(parents=True, exist_ok=True)
                self.records = RecordWriter(self.path.open("ab"))
            self.write(Event(file_version="brain.Event:2"))
            # TensorBoard then shows no points of later steps, which an interrupted run left.
            self.write(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))

        def write(self, event: Event) -> None:
            event.wall_time = time.time()
            with explain_os_errors(self.path):
                self.records.write(event.SerializeToString())
                self.records.flush()

        def add(self, step: int, values: Mapping[str, float]) -> None:
            if values:
                points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
                self.write(Event(step=step, summary=Summary(value=points)))

        def close(self) -> None:
            with suppress(OSError):  # all is flushed; an error was raised by the write that had it
                self.records.close()

    return Events()
