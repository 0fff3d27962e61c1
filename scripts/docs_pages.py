"""Pages that the documentation site makes from the program itself: commands, keys of a recipe, measured speed.

A hook of mkdocs (mkdocs.yml); `scripts/docs` builds the site.
"""

import os
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from cxr.cli import app
from cxr.config.key_tree import find_section
from cxr.config.schema import Config

_ROOT = Path(__file__).parents[1]
_SIGNS = {Ge: ">=", Gt: ">", Le: "<=", Lt: "<"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the site, with the pages that are made here."""
    made = {
        "cli.md": commands_page(),
        "config.md": keys_page(),
        "speed.md": (_ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8"),
    }
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The text of a page, with links to files outside docs/ led to their page on the site."""
    markdown = re.sub(r"\]\((\.\./)+benchmarks/README\.md", "](speed.md", markdown)
    return re.sub(r"\]\((\.\./docs/)", "](", markdown)


def commands_page() -> str:
    """Every command with its help, as `cxr COMMAND -h` prints it."""
    os.environ["COLUMNS"] = os.environ["TERMINAL_WIDTH"] = "100"
    runner = CliRunner()
    parts = [
        "# Commands",
        "What `cxr COMMAND -h` prints. Keys of a recipe are on [their own page](config.md).",
    ]
    overview = runner.invoke(app, ["--help"], prog_name="cxr").output
    names = re.findall(r"^  ([a-z]+)  +\S", overview.partition("Commands:")[2], re.M)
    for name in names:
        text = runner.invoke(app, [name, "--help"], prog_name="cxr").output
        parts.append(f"## cxr {name}\n\n```text\n{text.strip()}\n```")
    return "\n\n".join(parts) + "\n"


def keys_page() -> str:
    """Every key of a recipe: values that it takes, default, meaning."""
    parts = [
        "# Keys of a recipe",
        "`cxr config RECIPE` prints them with the values of a recipe. On the command line a key is written with its "
        "section: `train.epochs=3`, `data.columns.image=file`.",
    ]
    parts += _sections(Config, "")
    return "\n\n".join(parts) + "\n"


def _sections(model: type[BaseModel], at: str) -> list[str]:
    heading = f"## {at}\n\n{(model.__doc__ or '').strip()}" if at else "## At the top"
    rows = ["| key | values | default | meaning |", "| --- | --- | --- | --- |"]
    inner: list[str] = []
    for name, field in model.model_fields.items():
        section = find_section(field.annotation)
        path = f"{at}.{name}".lstrip(".")
        if section:
            inner += _sections(section, path)
        else:
            meaning = (field.description or "").replace("|", "\\|").replace("<", "&lt;")
            rows.append(f"| `{path}` | {_values(field)} | {_default(field)} | {meaning} |")
    return [heading, "\n".join(rows), *inner]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "`null`"
    if value == "":
        return "empty"
    text = str(list(value)) if isinstance(value, tuple) else str(value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


def _values(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(limit, kind.__name__.lower()):g}"
        for limit in field.metadata
        for kind, sign in _SIGNS.items()
        if isinstance(limit, kind)
    ]
    return ", ".join([_type(field.annotation), *bounds])


def _type(annotation: Any) -> str:  # noqa: ANN401  annotations have no type
    """What a value may be, in YAML's words."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    plain = {int: "whole number", float: "number", bool: "true or false", str: "text", type(None): "null"}
    if annotation in plain:
        return plain[annotation]
    if annotation is Path:
        return "path"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return "mapping"
    kinds = [_type(inner) for inner in arguments if isinstance(inner, type) or get_args(inner)]
    return " or ".join(dict.fromkeys(kinds)) or "text"
