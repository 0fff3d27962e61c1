from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.serving import Serving, serving


@pytest.fixture(scope="package")
def served(wary: Path) -> Iterator[Serving]:
    """A server of a run with an OOD detector."""
    with serving(wary) as server:
        yield server


@pytest.fixture(scope="session")
def png(nih_root: Path) -> bytes:
    """A radiograph."""
    return min((nih_root / "images").iterdir()).read_bytes()
