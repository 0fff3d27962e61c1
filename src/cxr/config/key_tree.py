"""Which keys there are: the tree of sections, walked over its types."""

import difflib
import types
from collections.abc import Iterator, Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from cxr.config.schema import Config

_MAX_LETTERS = 40  # of a key that may be a slip of the pen
KeyPath = tuple[str, ...]


def walk(model: type[BaseModel], at: KeyPath = ()) -> Iterator[tuple[KeyPath, str, bool]]:
    """(key path, meaning, is a section) of every key, in the order they are declared."""
    for name, field in model.model_fields.items():
        section = find_section(field.annotation)
        meaning = field.description or (section and section.__doc__) or ""
        yield (*at, name), meaning, section is not None
        if section:
            yield from walk(section, (*at, name))


def find_section(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401  annotations have no type
    """The section that an annotation stands for, alone or beside None."""
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), None)


def find_entry(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401  annotations have no type
    """The section that each entry of a list is, if it is one."""
    return find_section(get_args(annotation)[0]) if get_origin(annotation) is tuple else None


def suggest(keys: KeyPath) -> str:
    """`; did you mean epochs?` for an unknown key, or nothing where no known key is close."""
    if len(keys[-1]) > _MAX_LETTERS:
        return ""
    close = difflib.get_close_matches(keys[-1], _siblings(keys), n=1)
    if close:
        return f"; did you mean {close[0]}?"
    # the right name in the wrong section
    elsewhere = [".".join(path) for path, _, _ in walk(Config) if path[-1] == keys[-1]]
    return f"; did you mean {elsewhere[0]}?" if elsewhere else ""


def _siblings(keys: KeyPath) -> list[str]:
    """The known keys beside the last one, in a section or in an entry of a list of sections."""
    model: type[BaseModel] = Config
    for name in (key for key in keys[:-1] if not key.isdigit()):
        field = model.model_fields.get(name)
        inside = field and (find_section(field.annotation) or find_entry(field.annotation))
        if not inside:
            return []
        model = inside
    return list(model.model_fields)


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """{"train.lr": 0.001, "data.also.0.root": ...} of the values of a config."""
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
            # entries of a list are told apart by their numbers, as overrides write them
            value = {str(number): entry for number, entry in enumerate(value)}
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
