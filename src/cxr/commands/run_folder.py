"""Where the report of a command on a run goes, and which runs are refused."""

import re
from pathlib import Path

from cxr.download import hub
from cxr.errors import CxrError
from cxr.paths import is_folder
from cxr.text import short_name


def home_of(run: Path) -> Path:
    """The folder of a run, in which its reports stand: `runs/hub_OWNER_NAME_REVISION` of a downloaded one."""
    if hub.is_named(run):
        name = str(run).partition("#")[0]
        return Path("runs") / short_name(re.sub(r"[^A-Za-z0-9_.+-]+", "_", name))
    return run if is_folder(run) else run.parent


def report_folder(run: Path, out: Path | None, name: str) -> Path:
    """Where a report goes: `out`, or a folder of this name in the run folder."""
    return out or home_of(run) / name


def refuse_external(run: Path) -> None:
    """Refuse a model of which only the weights are known.

    Raises:
        CxrError: It is one.
    """
    from cxr.model.external import is_external  # imports torch, which predictions files do not need

    if is_external(run):
        problem = f"{run}: cxr knows nothing of its training"
        raise CxrError(problem, "give a run folder that cxr train wrote")
