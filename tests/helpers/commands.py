"""Commands run in the tests' own process, and the tables that they write."""

import csv
from pathlib import Path

import pytest

from cxr.cli import main


def call(*arguments: str | Path) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table by their column names."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
