"""Imports go downwards only: the order of the rooms in docs/architecture.md, read from the source."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cxr
from benchmarks.structure import circles, read_modules
from tests.helpers.fakes import write_lines

SOURCE = Path(cxr.__file__).parent
ROOMS = ("foundation", "config", "fields", "images", "phantom", "labels", "evaluation", "report", "data", "download",
         "weights", "model", "training", "explain", "deploy", "check", "checklist", "propose", "api", "commands",
         "cli")  # fmt: skip
"""The folders, from the ground up; `foundation` is the files that stand in none."""

NO_TORCH = ("config", "fields", "images", "phantom", "labels", "evaluation", "report", "propose", "download")

NO_TORCH_FILES = (
    "cxr.api.model", "cxr.api.explanation", "cxr.api.inputs", "cxr.api.outcomes", "cxr.api.words",
    "cxr.commands.predict", "cxr.deploy.calibrated", "cxr.deploy.journal", "cxr.deploy.onnx_file",
    "cxr.deploy.onnx_format", "cxr.deploy.onnx_runtime", "cxr.deploy.open_runtime", "cxr.deploy.overlay_names",
    "cxr.deploy.overlays", "cxr.deploy.predict_all", "cxr.deploy.predict_files", "cxr.deploy.predict_output",
    "cxr.deploy.protobuf", "cxr.deploy.runtime", "cxr.explain.lettering", "cxr.explain.overlay",
    "cxr.explain.overlay_png", "cxr.explain.panel", "cxr.explain.scale", "cxr.model.ood",
)  # fmt: skip
"""Files of other rooms that `cxr predict model.onnx` and `cxr.load("model.onnx")` use."""

MAX_LINES = 300


def room(module: str) -> str:
    """The room of `cxr.x.y`; `cxr` itself is the door of `api`."""
    if module == "cxr":
        return "api"
    first = module.split(".")[1] if "." in module else ""
    return "cli" if first == "__main__" else first if first in ROOMS else "foundation"


@cache
def modules() -> list[tuple[str, ast.Module]]:
    named = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        named.append((name, ast.parse(path.read_text(encoding="utf-8"))))
    return named


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("cxr"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cxr"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def edges() -> list[tuple[str, str]]:
    """(module, what it imports): read by the process that tests them, not by each that collects tests."""
    return [(module, imported) for module, tree in modules() for imported in imports(tree)]


def test_there_is_something_to_check() -> None:
    assert len(edges()) > 100
    assert {room(module) for module, _ in edges()} == set(ROOMS)


def test_a_file_imports_only_from_rooms_above_it() -> None:
    upward = [
        f"{module} imports {imported}"
        for module, imported in edges()
        if ROOMS.index(room(imported)) > ROOMS.index(room(module))
    ]
    assert upward == []


def test_no_file_imports_another_that_imports_it_in_turn() -> None:
    assert circles(read_modules(SOURCE)) == []


def test_the_leaves_can_be_deleted() -> None:
    users = {leaf: {room(module) for module, imported in edges() if room(imported) == leaf} - {leaf}
             for leaf in ("explain", "deploy", "check", "checklist", "propose")}  # fmt: skip
    alone = {leaf: {"commands"} for leaf in ("check", "checklist", "propose")}
    assert users == {"explain": {"api", "commands", "deploy"}, "deploy": {"api", "commands"}, **alone}


def test_no_line_is_long() -> None:
    lines = {
        f"{path}:{number}": len(line)
        for path in SOURCE.rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    }
    assert {place: length for place, length in lines.items() if length > 110} == {}


def test_no_file_is_long() -> None:
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCE.rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_relative_imports_are_not_used() -> None:
    levels = [module for module, tree in modules() for node in ast.walk(tree)
              if isinstance(node, ast.ImportFrom) and node.level]  # fmt: skip
    assert levels == []


IMPORTS = """
import contextlib, io, json, sys

def load(step, names):
    print(json.dumps([step, sorted(set(names) & set(sys.modules))]))

import cxr.cli
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    cxr.cli.main(["--help"])
load("help", ("torch", "pandas", "numpy", "pydantic", "yaml", "sklearn", "cv2", "rich"))
for room, files in json.loads(sys.argv[1]):
    for file in files:
        __import__(file)
    heavy = ("sklearn", "scipy.stats", "rich.table", "matplotlib") if room == "evaluation" else ()
    load(room, ("torch", "torchvision", "torchxrayvision", *heavy))
from cxr.evaluation import prediction_files
def stop(*arguments):
    load("eval of a file", ("torch", "torchvision", "matplotlib"))
    sys.exit(0)
prediction_files.score = stop
import cxr.commands.init, cxr.commands.download, cxr.commands.check
load("commands before a training", ("torch", "torchvision", "torchxrayvision"))
for file in json.loads(sys.argv[3]):
    __import__(file)
load("files of other rooms", ("torch", "torchvision", "torchxrayvision"))
cxr.cli.main(["eval", sys.argv[2]])
"""
"""Loads more and more in one Python and prints after each step what is in memory: nothing leaves it again."""


def test_help_rooms_that_read_and_count_and_eval_of_a_file_import_nothing_heavy(tmp_path: Path) -> None:
    # the evaluation comes before other rooms, which may import what it may not
    order = ("evaluation", *(name for name in NO_TORCH if name != "evaluation"))
    rooms = [(name, [module for module, _ in modules() if room(module) == name]) for name in order]
    assert all(len(files) > 1 for _, files in rooms)
    scores = write_lines(tmp_path / "test.csv", ["image,y_Mass,p_Mass", "a.png,1,0.5", "b.png,0,0.25"])
    command = [sys.executable, "-c", IMPORTS, json.dumps(rooms), str(scores), json.dumps(NO_TORCH_FILES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found == [
        [step, []]
        for step in ("help", *order, "commands before a training", "files of other rooms", "eval of a file")
    ]
