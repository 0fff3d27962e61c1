"""How the code is cut, counted from its source: the table of docs/architecture.md.

`python -m benchmarks.structure [FOLDER]` prints it. FOLDER is a `src/cxr`, by default
this one, so that an older checkout can be counted by the same rules.
"""

import ast
import io
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cxr

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """A file: its dotted name below the package, its text and its tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The top-level folder, `.` for files that stand in none."""
        return self.name.split(".")[0] if "." in self.name else "."


def read_modules(folder: Path) -> dict[str, Module]:
    """Every module below the package's folder, by its dotted name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        name = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text(encoding="utf-8")
        found[name] = Module(name, text, ast.parse(text))
    return found


def imports(module: Module, modules: dict[str, Module], *, only_top: bool = False) -> dict[str, str]:
    """Local name -> module it is, or module and `:name` of what it is from one, of every import from the package."""
    found: dict[str, str] = {}
    for node in module.tree.body if only_top else ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cxr":
            origin = (node.module or "").removeprefix("cxr").removeprefix(".")
            for alias in node.names:
                whole = f"{origin}.{alias.name}".removeprefix(".")
                found[alias.asname or alias.name] = whole if whole in modules else f"{origin}:{alias.name}"
    return found


def circles(modules: dict[str, Module]) -> list[set[str]]:
    """Groups of modules that import each other, however deep the imports stand (Tarjan 1972)."""
    graph = {name: {value.split(":")[0] for value in imports(module, modules).values()} & modules.keys()
             for name, module in modules.items()}  # fmt: skip
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in graph[name]:
            if other not in order:
                visit(other)
            if other in stack:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == order[name]:
            group = set(stack[stack.index(name) :])
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(group)

    for name in graph:
        if name not in order:
            visit(name)
    return found


def functions(modules: dict[str, Module]) -> Iterator[tuple[Module, Function]]:
    """Every function and method."""
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, Function):
                yield module, node


def count_comments(text: str) -> int:
    """Comments, directives for tools left out."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    directives = ("# noqa", "# type:", "# fmt:")
    return sum(token.type == tokenize.COMMENT and not token.string.startswith(directives) for token in tokens)


def called_once(modules: dict[str, Module]) -> int:
    """Private module-level functions whose name stands once in their file beside the definition."""
    num = 0
    for module in modules.values():
        private = {node.name for node in module.tree.body
                   if isinstance(node, Function) and node.name.startswith("_")}  # fmt: skip
        used = Counter(node.id for node in ast.walk(module.tree) if isinstance(node, ast.Name))
        num += sum(used[name] == 1 for name in private)
    return num


def files_entered(modules: dict[str, Module], module: str, function: str, parameter: str) -> set[str]:
    """Files whose functions a parameter or a part of it is handed to, from call to call, its own file included."""
    known = {(one.name, node.name): node for one, node in functions(modules)}
    todo, done = [(module, function, parameter)], set()
    while todo:
        at = todo.pop()
        if at in done or (at[0], at[1]) not in known:
            continue
        done.add(at)
        names = imports(modules[at[0]], modules)
        for call in (node for node in ast.walk(known[at[0], at[1]]) if isinstance(node, ast.Call)):
            target = _target(call.func, at[0], names, modules)
            if target not in known:
                continue
            arguments = known[target].args
            accepted = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
            for number, given in enumerate(call.args):
                if _root(given) == at[2] and number < len(accepted):
                    todo.append((*target, accepted[number]))
            todo += [(*target, one.arg) for one in call.keywords
                     if one.arg and _root(one.value) == at[2]]  # fmt: skip
    return {name for name, _, _ in done}


def _root(value: ast.expr) -> str:
    """The variable of `config` and of `config.data.root`."""
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else ""


def _target(func: ast.expr, here: str, names: dict[str, str], modules: dict[str, Module]) -> tuple[str, str]:
    """(module, function) that a call names, as far as imports say."""
    if isinstance(func, ast.Name):
        origin, _, name = names.get(func.id, f"{here}:{func.id}").partition(":")
        return origin, name or func.id
    if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
        return names.get(func.value.id, ""), func.attr
    return "", ""


def measure(folder: Path) -> list[tuple[str, str]]:
    """(what, value) of each row of the table."""
    modules = read_modules(folder)
    lines = {name: len(module.text.splitlines()) for name, module in modules.items()}
    total = sum(lines.values())
    lengths = [(node.end_lineno or 0) - node.lineno + 1 for _, node in functions(modules)]
    rooms: Counter[str] = Counter()
    for name, module in modules.items():
        rooms[module.room] += lines[name]
    largest, most = rooms.most_common(1)[0]
    comments = sum(count_comments(module.text) for module in modules.values())
    rows = [
        ("lines", f"{total:,}"),
        ("files", f"{len(modules):,}"),
        ("longest file", f"{max(lines.values()):,} lines"),
        ("functions", f"{len(lengths):,}"),
        ("their length, median", f"{statistics.median(lengths):.0f} lines"),
        ("their length, 90th percentile", f"{statistics.quantiles(lengths, n=10)[-1]:.0f} lines"),
        ("private helpers called once", f"{called_once(modules):,}"),
        ("comments per 100 lines", f"{100 * comments / total:.1f}"),
        ("circles of imports", f"{len(circles(modules))}"),
        ("largest room", f"{largest}, {100 * most / total:.0f} % of the lines"),
    ]
    for title, starts in WALKS.items():
        start = next((one for one in starts if one[0] in modules), None)
        if start:
            rows.append((title, f"{len(files_entered(modules, *start))}"))
    return rows


WALKS = {
    "files that the config enters in check": [
        ("commands.check", "check", "config"),
        ("check.command", "check", "config"),
    ],
    "files that the config enters in train": [
        ("training.train", "train", "config"),
        ("model.train", "train", "config"),
    ],
}
"""Where the walks begin: today's place, then that of older checkouts."""


if __name__ == "__main__":
    for what, value in measure(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(cxr.__file__).parent):
        print(f"| {what} | {value} |")
