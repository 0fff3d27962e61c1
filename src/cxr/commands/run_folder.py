"""Where the report of a command on a run goes, and which runs are refused."""

from pathlib import Path

from cxr.errors import CxrError
from cxr.model.external import is_external
from cxr.paths import is_folder


def report_folder(run: Path, out: Path | None, name: str) -> Path:
    """Where a report goes: `out`, or a folder of this name in the run folder."""
    return out or (run if is_folder(run) else run.parent) / name


def refuse_external(run: Path) -> None:
    """Refuse a model of which only the weights are known.

    Raises:
        CxrError: It is one.
    """
    if is_external(run):
        problem = f"{run}: cxr knows nothing of its training"
        raise CxrError(problem, "give a run folder that cxr train wrote")
