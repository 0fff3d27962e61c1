"""Which keys there are: the tree of sections, walked over its types."""

import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

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
