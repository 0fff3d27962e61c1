"""The documents name only what is there, and their commands are commands."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from cxr.cli import app
from cxr.config.load import load, override
from cxr.config.recipes import is_recipe_name
from cxr.config.schema import Config

HOME = Path(__file__).parents[1]
PAGES = sorted([HOME / "README.md", HOME / "CONTRIBUTING.md", *(HOME / "docs").rglob("*.md")])
BASE = load(HOME / "configs" / "demo.yaml")


@cache
def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def commands() -> Iterator[tuple[str, str]]:
    """(page, command) of every command of cxr in a block of code, or with arguments between backquotes."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        blocks = re.findall(r"^```\w*\n(.*?)^```|^    (cxr .*)$", text, re.M | re.S)
        lines = [line for block, indented in blocks for line in (block + indented).splitlines()]
        lines += re.findall(r"`(cxr [a-z]+ [^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
        for line in lines:
            found = re.match(r"(?:[A-Z_]+=\S+ )*(?:torchrun .*-m )?(cxr .*)", line.strip())
            if found and "..." not in line and "…" not in line:
                yield page.name, found[1]


def test_every_promise_names_a_test_that_is_there() -> None:
    named = re.findall(
        r"`(tests/[\w/]+\.py)::(\w+)`", (HOME / "docs" / "reliability.md").read_text(encoding="utf-8")
    )
    assert len(named) >= 35
    gone = [f"{file}::{name}" for file, name in named if name not in functions_of(HOME / file)]
    assert not gone


def test_links_of_the_documents_lead_somewhere() -> None:
    for page in (*PAGES, HOME / "benchmarks" / "README.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_a_command_of_the_documents_is_one_with_options_and_keys_that_exist(page: str, command: str) -> None:
    _, name, *arguments = shlex.split(command, comments=True)
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    if name.startswith("-"):
        return
    assert name in known, command
    if {"COMMAND", "RECIPE", "NAME"} & {name, *arguments}:
        return
    arguments = [text for text in arguments if not re.fullmatch(r"\[.*\]", text)]
    is_whole = any(
        not text.startswith("-") for text in arguments
    )  # else a mention, as `cxr predict --heatmaps`
    known[name].make_context(name, arguments, resilient_parsing=not is_whole)
    overrides = [text for text in arguments if re.match(r"[a-z_0-9.]+=", text)]
    recipes = [Path(text) for text in arguments if is_recipe_name(Path(text))]
    if recipes:
        load(recipes[0], overrides)
    elif name not in ("predict", "phantom"):
        override(BASE, [text for text in overrides if not text.startswith("data.also.0.")])


def test_the_page_of_errors_quotes_errors_that_there_are() -> None:
    text = (HOME / "docs" / "faq.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^## `([^`]+)`|^\| `([^`]+)` \|", text, re.M)
    code = " ".join(path.read_text(encoding="utf-8") for path in (HOME / "src").rglob("*.py"))
    code = re.sub(r'"\s*f?"', "", code)
    assert len(quoted) >= 10
    assert [heading + row for heading, row in quoted if heading + row not in code] == []


def test_every_key_of_the_documents_is_one() -> None:
    sections = "|".join(Config.model_fields)
    keys = set()
    for page in PAGES:
        keys |= set(re.findall(rf"`((?:{sections})\.[a-z_.]+)(?:=[^`]*)?`", page.read_text(encoding="utf-8")))
    assert len(keys) > 40
    no_keys = {"eval.views", "train.log", "log.jsonl", "recipe.yaml"} | {
        key for key in keys if key.endswith((".py", ".onnx"))
    }  # an old name, and files
    for key in keys - no_keys:
        section: object = BASE
        for name in key.split("."):
            assert hasattr(section, name), key
            section = getattr(section, name)
