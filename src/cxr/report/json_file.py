"""What the JSON files of reports have in common: the facts, then what made them."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from cxr.files import write_text
from cxr.text import DISCLAIMER, json_text


def write(path: Path, facts: Mapping[str, object], notes: Sequence[str]) -> None:
    """Write strict JSON with the notes, versions and the disclaimer behind the facts, atomically."""
    closing = {"notes": list(notes), "versions": versions(), "disclaimer": DISCLAIMER}
    write_text(path, json_text(dict(facts) | closing, 2))


def versions() -> dict[str, str]:
    """Versions of Python and of what computed the metrics."""
    names = ("cxr", "numpy", "scipy", "scikit-learn", "pandas")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
