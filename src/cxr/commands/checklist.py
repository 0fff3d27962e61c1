"""cxr checklist: what a paper about a run must report."""

from collections.abc import Sequence
from pathlib import Path

from cxr.checklist import document
from cxr.checklist.gather import gather
from cxr.commands.run_folder import refuse_external, report_folder
from cxr.console import out as terminal
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
    refuse_external(run)
    facts = gather(run, overrides)
    folder = report_folder(run, out, "checklist")
    document.write(facts, folder)
    terminal().print(render(*document.summary(facts, document.fill(facts))))
    page = folder / "checklist.html"
    show(f"checklist: {page}")
    return page
