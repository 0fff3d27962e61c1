"""Reports of other commands in a run folder, which the page of an evaluation leads to."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cxr.report import json_file
from cxr.report.document import Items, Part, Text

_PAGES = {
    "explain_*/explain.html": "Heat maps scored against boxes",
    "inspect/inspect.html": "What the network has learned",
    "shortcuts/shortcuts.html": "Shortcuts: the chest or the scanner?",
    "robustness/robustness.html": "How easily the model is fooled",
}
"""Where the commands explain, inspect, shortcuts and robustness put their pages, below the run folder."""
_OLDER = "made before the checkpoint was written"


@dataclass(frozen=True)
class Further:
    """Pages that are there.

    Attributes:
        titles: Of each page.
        links: To each page, from the folder of the evaluation.
        notes: What to say of each page.
        warnings: Of the report on shortcuts.
    """

    titles: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def parts(self) -> tuple[Part, ...]:
        """The section of the page; nothing where there is no further report."""
        if not self.titles:
            return ()
        text = Text("Of the same run, as far as they were there when this page was written.", "soft")
        return (text, Items(self.titles, "Further reports", notes=self.notes, links=self.links))


NO_FURTHER = Further()


def find_further(home: Path, folder: Path, checkpoint: str = "best.safetensors") -> Further:
    """The pages in a run folder, for a report that is written into `folder`."""
    titles, links, notes = [], [], []
    warnings: list[str] = []
    for pattern, title in _PAGES.items():
        for page in sorted(home.glob(pattern)):
            # a page that is older than the checkpoint is of other weights
            is_old = _modified(page) < _modified(home / checkpoint)
            titles.append(f"{title} ({page.parent.name})" if "*" in pattern else title)
            links.append(quote(Path(os.path.relpath(page, folder)).as_posix()))
            notes.append(_OLDER if is_old else "")
            if page.name == "shortcuts.html" and not is_old:
                warnings += json_file.read_texts(page.with_suffix(".json"), "warnings")
    return Further(
        tuple(titles), tuple(links), tuple(notes), tuple(f"cxr shortcuts: {line}" for line in warnings)
    )


def _modified(path: Path) -> float:
    """When a file was written; 0 where it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
