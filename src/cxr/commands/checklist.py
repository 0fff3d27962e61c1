"""cxr checklist: what a paper about a run must report."""

from collections.abc import Sequence
from pathlib import Path

from cxr.checklist import document
from cxr.checklist.gather import gather
from cxr.console import out as terminal
from cxr.errors import CxrError
from cxr.model.external import is_external
from cxr.paths import is_folder
from cxr.report.terminal import render
from cxr.streams import show


def checklist(run: Path, overrides: Sequence[str], out: Path | None) -> Path:
    """Write the checklists, Table 1, the flow diagram and the methods of a run, and print a summary.

    Args:
        run: Run folder or checkpoint.
        overrides: KEY=VALUE texts, such as data.root=FOLDER.
        out: Folder of the files; None is `checklist` in the run folder.

    Returns:
        The page.

    Raises:
        CxrError: A model that cxr did not train, a damaged checkpoint, or a file that cannot be written.
    """
    if is_external(run):
        problem = f"{run}: cxr knows nothing of its training"
        raise CxrError(problem, "give a run folder that cxr train wrote")
    facts = gather(run, overrides)
    home = run if is_folder(run) else run.parent
    folder = out or home / "checklist"
    document.write(facts, folder)
    terminal().print(render(*document.summary(facts, document.fill(facts))))
    page = folder / "checklist.html"
    show(f"checklist: {page}")
    return page
