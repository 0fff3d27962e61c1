"""YAML files and `key.sub=value` overrides -> Config, with the file and the line of every mistake."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from cxr.config.key_tree import KeyPath, suggest
from cxr.config.recipes import OF_RUN, find_recipe
from cxr.config.renamed import RENAMED
from cxr.config.schema import Config
from cxr.config.yaml_reader import MAX_BYTES, compose, construct, explain_yaml, read_argument, read_text
from cxr.console import say
from cxr.errors import CxrError
from cxr.text import quote, shorten, visible

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_Model = TypeVar("_Model", bound=BaseModel)
Places = dict[KeyPath, str]
"""Where each key was written: `FILE:LINE`, or the override's text."""


_MOST_KEYS = 8  # data.also.0.columns.image has five


def load(path: Path, overrides: Sequence[str] = (), quiet: bool = False) -> Config:
    """The Config of a recipe with overrides such as `train.epochs=3` laid over it.

    Args:
        path: A YAML file, a run folder, or the name of a recipe that comes with cxr, such as
            `nih_densenet121`.
        overrides: The texts.
        quiet: Whether nothing is printed of keys that have another name now.

    Raises:
        CxrError: All mistakes at once: unreadable file, YAML syntax; duplicate, unknown, missing, wrong keys.
    """
    refuse_blanks(overrides)
    path = find_recipe(path)
    places: Places = {}
    problems: list[str] = []
    # 1. the file, 2. overrides, later ones over earlier ones, 3. every mistake of both at once
    values = _read(path, places, problems)
    for text in overrides:
        _override(values, text, places, problems)
    if not quiet:
        _note_renamed(values, places)
    # runs of an earlier version do not name their recipe
    recipe = "" if path.name == OF_RUN else visible(path.stem)
    # what a recipe need not say: its folder and its name
    values = {"out": f"runs/{path.stem}", "recipe": recipe, "data": {}} | values
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        problems += _explain(error, path, places)
    if problems:
        raise CxrError(sorted(problems, key=_by_line), "cxr config demo prints every key with its meaning")
    return config


def refuse_blanks(overrides: Sequence[str]) -> None:
    """Refuse `train.epochs = 3`, which the shell hands over in three parts, or in quotes in one.

    Raises:
        CxrError: An equals sign stands at the end or the beginning of an argument, or behind a blank.
    """
    for number, text in enumerate(overrides):
        if re.match(r"[\w.]+\s+=\s*\S", text):
            raise CxrError(f"{shorten(text, 120)}: blanks around =", _without_blanks(text))
        ends, begins = text.endswith("="), text.startswith("=")
        before = overrides[number - 1] if begins and number else ""
        after = overrides[number + 1] if ends and number + 1 < len(overrides) else ""
        # `train.epochs = 3` comes as three arguments, `train.epochs= 3` as two
        if begins or (after and "=" not in after):
            parts = [part for part in (before, text, after) if part]
            if len(parts) == 1:
                continue  # `=3` alone has another error
            problem = f"{shorten(' '.join(parts), 120)}: blanks around ="
            raise CxrError(problem, _without_blanks("".join(parts)))


def _without_blanks(text: str) -> str:
    key, _, value = text.partition("=")
    return f"write it without blanks: {shorten(f'{key.strip()}={value.strip()}', 120)}"


def override(
    config: _Model,
    overrides: Sequence[str],
    reset: Sequence[str] = (),
    values: Mapping[str, Mapping[str, object]] | None = None,
) -> _Model:
    """A config, or another tree of its sections, with `key.sub=value` texts laid over it.

    Args:
        config: What the texts change.
        overrides: The texts.
        reset: Sections that start at their defaults instead of the config's values.
        values: Python values by section and key, set before the texts.

    Raises:
        CxrError: Every unknown key and wrong value.
    """
    places: Places = {}
    problems: list[str] = []
    # back to what YAML can hold, so that every value is checked again
    tree = config.model_dump(mode="json") | {section: {} for section in reset}
    for section, inside in (values or {}).items():
        tree[section] = tree[section] | dict(inside)
    for text in overrides:
        _override(tree, text, places, problems)
    try:
        changed = type(config).model_validate(tree)
    except ValidationError as error:
        problems += _explain(error, Path("config"), places)
    if problems:
        raise CxrError(problems, "an override is key=value, with a key that cxr config CONFIG prints")
    return changed


def _note_renamed(values: Mapping[str, object], places: Places) -> None:
    """Note keys that have another name now; they are read under it."""
    for key in RENAMED:
        section = values.get(key.section)
        if isinstance(section, Mapping) and key.old in section:
            old, new = (f"{key.section}.{name}" for name in (key.old, key.new))
            say(
                f"{places.get((key.section, key.old), old)}: {old} is now called {new}; "
                "the old name still works"
            )


def _read(path: Path, places: Places, problems: list[str]) -> dict[str, Any]:
    text = read_text(path)
    try:
        node = compose(text)
        if not isinstance(node, yaml.MappingNode):
            raise CxrError(f"{path}:1: a config is a mapping of keys to values", "cxr config demo shows one")
        _note_places(node, (), path, places, problems)
        values: dict[str, Any] = construct(node)
    except yaml.YAMLError as error:
        line, what = explain_yaml(error, text)
        hint = (
            "check indentation, colons and quotes at that line; "
            "values are numbers, text, lists and mappings only"
        )
        raise CxrError(f"{path}{f':{line}' if line else ''}: {what}", hint) from None
    return values


def _note_places(node: yaml.Node, at: KeyPath, path: Path, places: Places, problems: list[str]) -> None:
    if isinstance(node, yaml.SequenceNode):
        for number, entry in enumerate(node.value):
            places[(*at, str(number))] = f"{path}:{entry.start_mark.line + 1}"
            _note_places(entry, (*at, str(number)), path, places, problems)
    if not isinstance(node, yaml.MappingNode):
        return
    # YAML itself would take the last of two equal keys in silence
    first: dict[str, int] = {}
    for key_node, value_node in node.value:
        name, line = str(key_node.value), key_node.start_mark.line + 1
        if key_node.tag.endswith(":merge"):
            _note_merged(value_node, at, path, places)
            continue
        if name in first:
            dotted = _dotted((*at, name))
            problems.append(f"{path}:{line}: {dotted} is given twice (first on line {first[name]})")
        first.setdefault(name, line)
        places[(*at, name)] = f"{path}:{line}"
        _note_places(value_node, (*at, name), path, places, problems)


def _note_merged(node: yaml.Node, at: KeyPath, path: Path, places: Places) -> None:
    """Add the places of keys from a merge (`<<`), except those that the section itself sets."""
    for mapping in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        merged: Places = {}
        _note_places(mapping, at, path, merged, [])
        for keys, place in merged.items():
            places.setdefault(keys, place)


def _override(values: dict[str, Any], text: str, places: Places, problems: list[str]) -> None:
    key, equals, raw = text.partition("=")
    keys, shown = tuple(key.split(".")), shorten(text, 120) or "''"
    if not equals or not all(keys):
        problems.append(f"{shown}: an override is key=value, such as train.epochs=3")
        return
    if len(keys) > _MOST_KEYS or len(text) > MAX_BYTES:
        problems.append(f"{shown}: is nested too deeply, or too long")
        return
    try:
        value = read_argument(raw)
    except yaml.YAMLError as error:
        what = explain_yaml(error, raw)[1]
        is_ours = type(error) is yaml.MarkedYAMLError  # PyYAML's words are about lines and columns
        problems.append(f"{shown}: {what}" if is_ours else f"{shown}: {quote(raw)} is no YAML value")
        return
    section: Any = values
    for name in keys[:-1]:
        section = _enter(section, name)
    try:
        section[_place(keys[-1]) if isinstance(section, list) else keys[-1]] = value
    except (TypeError, IndexError):
        problems.append(f"{shown}: the list in {_dotted(keys[:-1])} has no such entry; the first is 0")
        return
    for depth in range(1, len(keys)):
        # a section that only overrides make has its place there, for errors of the whole section
        places.setdefault(keys[:depth], shown)
    places[keys] = shown


def _enter(section: Any, name: str) -> Any:  # noqa: ANN401  what YAML holds
    """The mapping or the list of mappings under a key, begun where there is neither; None outside a list."""
    if section is None or isinstance(section, list):
        place = _place(name)
        entry = section[place] if section and place < len(section) else None
        return entry if isinstance(entry, dict) else None
    inside = section.get(name)
    is_list = isinstance(inside, list) and any(isinstance(entry, dict) for entry in inside)
    if not is_list and not isinstance(inside, dict):
        section[name] = {}
    return section[name]


def _place(name: str) -> int:
    """The place in a list that a key names; one that no list has where it is no number."""
    return int(name) if re.fullmatch("[0-9]{1,6}", name) else MAX_BYTES


def _dotted(keys: KeyPath) -> str:
    return ".".join(shorten(key, 60) or "''" for key in keys)


def _explain(error: ValidationError, path: Path, places: Places) -> list[str]:
    """One line a wrong key; alternatives of a union that fail together are one mistake."""
    lines: dict[KeyPath, str] = {}
    for item in error.errors(include_url=False):
        keys = tuple(str(part) for part in item["loc"])
        if item["type"] == "missing":
            lines[keys] = f"{_nearest(keys, places, path)[0]}: {_dotted(keys)} is missing"
        elif item["type"] == "extra_forbidden":
            # a name like it is looked for only where few are wrong: each search takes time
            lines[keys] = (
                f"{places.get(keys, path)}: unknown key {_dotted(keys)}"
                f"{suggest(keys) if len(lines) < 100 else ''}"
            )
        else:
            place, known = _nearest(keys, places, path)
            # alternatives of a union each have an error: the first is shown
            lines.setdefault(known, f"{place}: {_dotted(known)}: {_say(item)}")
    return list(lines.values())


def _say(item: "ErrorDetails") -> str:
    """What is wrong with a value, in YAML's words rather than Python's."""
    message, given = item["msg"].removeprefix("Value error, "), f", not {quote(item['input'])}"
    if item["type"] == "model_type":
        return "is a section: give it keys, or leave it out"
    if item["type"] == "value_error" or isinstance(item["input"], dict):
        given = ""
    message = f"{message[0].lower()}{message[1:]}".replace("tuple", "list").replace("dictionary", "mapping")
    return message + given


def _nearest(keys: KeyPath, places: Places, path: Path) -> tuple[str, KeyPath]:
    for depth in range(len(keys), 0, -1):
        if keys[:depth] in places:
            return places[keys[:depth]], keys[:depth]
    return str(path), keys


def _by_line(problem: str) -> tuple[int, str]:
    found = re.match(r"[^:]*:(\d{1,9}): ", problem)
    return (int(found[1]) if found else 10**6, problem)
