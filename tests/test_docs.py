"""The documents name only what is there."""

import ast
import re
from pathlib import Path

HOME = Path(__file__).parents[1]


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_a_test_that_is_there() -> None:
    named = re.findall(
        r"`(tests/[\w/]+\.py)::(\w+)`", (HOME / "docs" / "reliability.md").read_text(encoding="utf-8")
    )
    assert len(named) >= 35
    gone = [f"{file}::{name}" for file, name in named if name not in functions_of(HOME / file)]
    assert not gone


def test_links_of_the_documents_lead_somewhere() -> None:
    for page in (HOME / "README.md", *(HOME / "docs").glob("*.md"), HOME / "benchmarks" / "README.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
