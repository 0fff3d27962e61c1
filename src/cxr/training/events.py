"""TensorBoard's events, written by the thread that calls.

TensorBoard's SummaryWriter has a thread, which a full disk ends with a traceback, and the training then waits
for it forever.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cxr.files import explain_os_errors

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event


class Events:
    """A file of events.

    Args:
        folder: Where to.
        step: Step that a run continues from: points of later steps, which an interrupted run left, are not
            shown.

    Raises:
        CxrError: The disk is full or the folder cannot be written; also from `add`.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}"
        self.path = folder / name
        with explain_os_errors(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            self._records = RecordWriter(self.path.open("ab"))
            self._write(Event(file_version="brain.Event:2"))
            # tells TensorBoard to forget points from this step on
            self._write(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step, by name."""
        if values:
            points = [self._summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
            with explain_os_errors(self.path):
                self._write(self._event(step=step, summary=self._summary(value=points)))

    def close(self) -> None:
        """Close the file; all is flushed, and an error was raised by the write that had it."""
        with suppress(OSError):
            self._records.close()

    def _write(self, event: "Event") -> None:
        event.wall_time = time.time()
        try:
            self._records.write(event.SerializeToString())
            self._records.flush()
        except OSError:
            self.close()  # nothing of it is left to be written when Python removes the file object
            raise
