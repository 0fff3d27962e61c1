"""cxr runs: the table of the runs in a folder."""

from collections.abc import Sequence
from pathlib import Path

from cxr.console import out, say
from cxr.errors import CxrError
from cxr.paths import is_folder
from cxr.report.run_list import RunFacts, list_runs
from cxr.report.runs import COLUMNS, filter_runs, sort_runs, summary
from cxr.report.terminal import render


def runs(folder: Path, sort: str, conditions: Sequence[str], csv: Path | None) -> None:
    """Print the runs in a folder, sorted and filtered; write them as CSV where a file is given."""
    if csv and is_folder(csv):
        raise CxrError(f"{csv}: is a folder", "--csv names a file")
    found = sort_runs(filter_runs(list_runs(folder), conditions), sort)
    if csv:
        _write_csv(csv, found)
    if not found:
        which = f" with {' and '.join(conditions)}" if conditions else ""
        say(f"{folder}: no run{which}")
        return
    terminal = out()
    terminal.print(render(*summary(found, terminal.width)))


def _write_csv(path: Path, found: Sequence[RunFacts]) -> None:
    import pandas as pd

    from cxr.csv_files import write_tables

    rows = [[column.value(run) for column in COLUMNS.values()] for run in found]
    # object: whole numbers stay whole in columns where some runs have none
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    write_tables(path.parent, {path.name: table})
