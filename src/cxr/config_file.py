"""YAML files and `key.sub=value` overrides -> Config, with the file and the line of every mistake."""

import difflib
import re
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from cxr.config import Config
from cxr.errors import CxrError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_Model = TypeVar("_Model", bound=BaseModel)
KeyPath = tuple[str, ...]
Places = dict[KeyPath, str]
"""Where each key was written: `FILE:LINE`, or the override's text."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `1e-4` as a number and a date as text, as YAML 1.2 does."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The Config of a YAML file with overrides such as `train.epochs=3` laid over it.

    Raises:
        CxrError: Every mistake at once: unreadable file, YAML syntax, duplicate, unknown, missing or wrong keys.
    """
    places: Places = {}
    problems: list[str] = []
    values = _read(path, places, problems)
    for text in overrides:
        _override(values, text, places, problems)
    values = {"out": f"runs/{path.stem}", "data": {}} | values
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        problems += _explain(error, path, places)
    if problems:
        raise CxrError(sorted(problems, key=_by_line), "cxr config configs/demo.yaml prints every key with its meaning")
    return config


def override(config: _Model, overrides: Sequence[str], anew: Sequence[str] = ()) -> _Model:
    """A config, or another tree of its sections, with `key.sub=value` texts laid over it.

    Args:
        config: What the texts change.
        overrides: The texts.
        anew: Sections that begin at their defaults rather than at what the config says.

    Raises:
        CxrError: Every unknown key and wrong value.
    """
    places: Places = {}
    problems: list[str] = []
    values = config.model_dump(mode="json") | {section: {} for section in anew}
    for text in overrides:
        _override(values, text, places, problems)
    try:
        changed = type(config).model_validate(values)
    except ValidationError as error:
        problems += _explain(error, Path("config"), places)
    if problems:
        raise CxrError(problems, "an override is key=value, with a key that cxr config CONFIG prints")
    return changed


def _read(path: Path, places: Places, problems: list[str]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, _Loader)
    except FileNotFoundError:
        raise CxrError(f"{path}: no such file", "shipped recipes are in configs/, such as configs/demo.yaml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CxrError(f"{path}: cannot be read: {error}", "a config is a YAML text file") from None
    except yaml.YAMLError as error:
        raise CxrError(f"{path}{_syntax(error)}", "check indentation, colons and quotes at that line") from None
    except RecursionError:
        raise CxrError(f"{path}: is nested too deeply", "see configs/demo.yaml for the shape") from None
    if not isinstance(node, yaml.MappingNode):
        raise CxrError(f"{path}:1: a config is a mapping of keys to values", "see configs/demo.yaml for the shape")
    try:
        _note_places(node, (), path, places, problems)
        values: dict[str, Any] = _Loader(text).construct_document(node)
    except yaml.YAMLError as error:
        raise CxrError(f"{path}{_syntax(error)}", "values are numbers, text, lists and mappings only") from None
    except RecursionError:
        raise CxrError(f"{path}: an alias (*name) stands inside what it names", "write the values out") from None
    return values


def _syntax(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error)
    return f":{mark.line + 1}: {what}" if mark else f": {what}"


def _note_places(node: yaml.Node, at: KeyPath, path: Path, places: Places, problems: list[str]) -> None:
    if isinstance(node, yaml.SequenceNode):
        for number, entry in enumerate(node.value):
            places[(*at, str(number))] = f"{path}:{entry.start_mark.line + 1}"
            _note_places(entry, (*at, str(number)), path, places, problems)
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[str, int] = {}
    for key_node, value_node in node.value:
        name, line = str(key_node.value), key_node.start_mark.line + 1
        if name in first:
            dotted = ".".join((*at, name))
            problems.append(f"{path}:{line}: {dotted} is given twice (first on line {first[name]})")
        first.setdefault(name, line)
        places[(*at, name)] = f"{path}:{line}"
        _note_places(value_node, (*at, name), path, places, problems)


def _override(values: dict[str, Any], text: str, places: Places, problems: list[str]) -> None:
    key, equals, raw = text.partition("=")
    keys = tuple(key.split("."))
    if not equals or not all(keys):
        problems.append(f"{text}: an override is key=value, such as train.epochs=3")
        return
    try:
        value = yaml.load(raw, _Loader)
    except yaml.YAMLError:
        problems.append(f"{text}: {raw!r} is no YAML value")
        return
    section: Any = values
    for name in keys[:-1]:
        section = _enter(section, name)
    try:
        section[int(keys[-1]) if isinstance(section, list) else keys[-1]] = value
    except (TypeError, ValueError, IndexError):
        problems.append(f"{text}: the list in {'.'.join(keys[:-1])} has no such entry; the first is 0")
        return
    for depth in range(1, len(keys)):
        places.setdefault(keys[:depth], text)
    places[keys] = text


def _enter(section: Any, name: str) -> Any:  # noqa: ANN401  what YAML holds
    """The mapping or the list of mappings under a key, begun where there is neither; None outside a list."""
    if section is None or isinstance(section, list):
        entry = section[int(name)] if section and name.isdigit() and int(name) < len(section) else None
        return entry if isinstance(entry, dict) else None
    inside = section.get(name)
    is_list = isinstance(inside, list) and any(isinstance(entry, dict) for entry in inside)
    if not is_list and not isinstance(inside, dict):
        section[name] = {}
    return section[name]


def _explain(error: ValidationError, path: Path, places: Places) -> list[str]:
    """One line a wrong key; alternatives of a union that fail together are one mistake."""
    lines: dict[KeyPath, str] = {}
    for item in error.errors(include_url=False):
        keys = tuple(str(part) for part in item["loc"])
        if item["type"] == "missing":
            lines[keys] = f"{_nearest(keys, places, path)[0]}: {'.'.join(keys)} is missing"
        elif item["type"] == "extra_forbidden":
            lines[keys] = f"{places.get(keys, path)}: unknown key {'.'.join(keys)}{_suggest(keys)}"
        else:
            place, known = _nearest(keys, places, path)
            lines.setdefault(known, f"{place}: {'.'.join(known)}: {_say(item)}")
    return list(lines.values())


def _say(item: "ErrorDetails") -> str:
    """What is wrong with a value, in YAML's words rather than Python's."""
    message, given = item["msg"].removeprefix("Value error, "), f", not {item['input']!r}"
    if item["type"] == "model_type":
        return "is a section: give it keys, or leave it out"
    if item["type"] == "value_error" or isinstance(item["input"], dict):
        given = ""
    message = message.replace("tuple", "list").replace("dictionary", "mapping")
    return f"{message[0].lower()}{message[1:]}{given}"


def _nearest(keys: KeyPath, places: Places, path: Path) -> tuple[str, KeyPath]:
    for depth in range(len(keys), 0, -1):
        if keys[:depth] in places:
            return places[keys[:depth]], keys[:depth]
    return str(path), keys


def _suggest(keys: KeyPath) -> str:
    close = difflib.get_close_matches(keys[-1], _siblings(keys), n=1)
    if close:
        return f"; did you mean {close[0]}?"
    elsewhere = [".".join(path) for path, _, _ in walk(Config) if path[-1] == keys[-1]]
    return f"; did you mean {elsewhere[0]}?" if elsewhere else ""


def _siblings(keys: KeyPath) -> list[str]:
    """The known keys beside the last one, in a section or in an entry of a list of sections."""
    model: type[BaseModel] = Config
    for name in (key for key in keys[:-1] if not key.isdigit()):
        field = model.model_fields.get(name)
        inside = field and (_section(field.annotation) or _entry(field.annotation))
        if not inside:
            return []
        model = inside
    return list(model.model_fields)


def _by_line(problem: str) -> tuple[int, str]:
    found = re.match(r"[^:]*:(\d+): ", problem)
    return (int(found[1]) if found else 10**6, problem)


def walk(model: type[BaseModel], at: KeyPath = ()) -> Iterator[tuple[KeyPath, str, bool]]:
    """(key path, meaning, is a section) of every key, in the order they are declared."""
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        meaning = field.description or (section and section.__doc__) or ""
        yield (*at, name), meaning, section is not None
        if section:
            yield from walk(section, (*at, name))


def _section(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401  an annotation has no narrower type
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), None)


def _entry(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401  an annotation has no narrower type
    """The section that each entry of a list is, if it is one."""
    return _section(get_args(annotation)[0]) if get_origin(annotation) is tuple else None


def render(config: Config) -> str:
    """The config as YAML that `load` reads back, each key followed by its meaning as a comment."""
    return "\n".join(_lines(config, 0)) + "\n"


def _lines(section: BaseModel, depth: int) -> Iterator[str]:
    plain = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        value, inside = getattr(section, name), _section(field.annotation)
        meaning = field.description or (inside and inside.__doc__) or ""
        entries = [one for one in value if isinstance(one, BaseModel)] if isinstance(value, tuple) else []
        is_plain = not entries and not isinstance(value, BaseModel)
        text = f"{'  ' * depth}{name}:{f' {_flow(plain[name])}' if is_plain else ''}"
        yield f"{text:<40}  # {meaning}"
        for entry in entries:
            first, *others = _lines(entry, depth + 2)
            yield from ("  " * (depth + 1) + "- " + first.lstrip(), *others)
        if isinstance(value, BaseModel):
            yield from _lines(value, depth + 1)


def _flow(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    return text.removesuffix("...\n").removesuffix("\n")
