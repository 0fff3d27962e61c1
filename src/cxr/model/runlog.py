"""What a run leaves beside its checkpoints: log.jsonl, TensorBoard events, and an orderly stop on a signal."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from cxr.files import explain_os_errors, write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Value = str | int | float | None


class RunLog:
    """Appends one JSON object a line to log.jsonl and, where TensorBoard is installed, the same numbers to its events.

    Args:
        folder: The run folder.
        step: Step the run goes on from; lines of later steps, which an interrupted run left, are taken out.
        epochs: Epochs the run has finished; lines of later ones are taken out too.
        enabled: False on all processes but the first.
    """

    def __init__(self, folder: Path, step: int, epochs: int, enabled: bool) -> None:
        self.path, self.enabled = folder / "log.jsonl", enabled
        self._board = _open_tensorboard(folder / "tensorboard", step) if enabled else None
        if enabled:
            write_text(self.path, "".join(line for line in _read_lines(self.path) if _is_before(line, step, epochs)))

    def write(self, kind: str, step: int, values: dict[str, Value]) -> None:
        """One line: `kind` is `step`, `train` or `epoch`."""
        if not self.enabled:
            return
        with explain_os_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step} | values) + "\n")
        for name, value in values.items():
            if self._board is not None and isinstance(value, int | float):
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Flush TensorBoard's events."""
        if self._board is not None:
            self._board.close()


def _read_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith("\n")]


def _is_before(line: str, step: int, epochs: int) -> bool:
    values = json.loads(line)
    return bool(values["step"] <= step and values.get("epoch", 0) <= epochs)


def _open_tensorboard(folder: Path, step: int) -> "SummaryWriter | None":
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
