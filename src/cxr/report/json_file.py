"""What the JSON files of reports have in common: the facts, then what made them."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from cxr.files import write_text
from cxr.text import DISCLAIMER, json_text

_MAX_BYTES = 50_000_000


def write(path: Path, facts: Mapping[str, object], notes: Sequence[str]) -> None:
    """Write `render` into a file, atomically."""
    write_text(path, render(facts, notes))


def render(facts: Mapping[str, object], notes: Sequence[str]) -> str:
    """Strict JSON with the notes, versions and the disclaimer behind the facts."""
    closing = {"notes": list(notes), "versions": versions(), "disclaimer": DISCLAIMER}
    return json_text(dict(facts) | closing, 2)


def versions() -> dict[str, str]:
    """Versions of Python and of what computed the metrics."""
    names = ("cxr", "numpy", "scipy", "scikit-learn", "pandas")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def read_about(path: Path) -> dict[str, str]:
    """The texts of `about` in a report.json; nothing where it is not there, or no such file."""
    about = _read_field(path, "about")
    if not isinstance(about, dict):
        return {}
    return {key: text for key, text in about.items() if isinstance(text, str)}


def read_texts(path: Path, field: str) -> list[str]:
    """The texts in a list of a report's JSON; none where it is not there, or no such file."""
    texts = _read_field(path, field)
    return [text for text in texts if isinstance(text, str)] if isinstance(texts, list) else []


def _read_field(path: Path, field: str) -> object:
    """A field of a JSON object in a file; None where either is not there."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:  # reading a pipe never ends
            return None
        found: object = json.loads(path.read_bytes())[field]
        return found
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
