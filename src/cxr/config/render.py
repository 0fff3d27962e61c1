"""A Config as YAML, each key with its meaning beside it."""

from collections.abc import Iterator

from pydantic import BaseModel

from cxr.config.keys import find_section
from cxr.config.schema import Config
from cxr.config.yaml_reader import dump


def render(config: Config) -> str:
    """The config as YAML that `load` reads back, each key followed by its meaning as a comment."""
    return "\n".join(_lines(config, 0)) + "\n"


def _lines(section: BaseModel, depth: int) -> Iterator[str]:
    plain = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        value, inside = getattr(section, name), find_section(field.annotation)
        meaning = field.description or (inside and inside.__doc__) or ""
        entries = [one for one in value if isinstance(one, BaseModel)] if isinstance(value, tuple) else []
        is_plain = not entries and not isinstance(value, BaseModel)
        text = f"{'  ' * depth}{name}:{f' {dump(plain[name])}' if is_plain else ''}"
        yield f"{text:<40}  # {meaning}"
        for entry in entries:
            first, *others = _lines(entry, depth + 2)
            yield from ("  " * (depth + 1) + "- " + first.lstrip(), *others)
        if isinstance(value, BaseModel):
            yield from _lines(value, depth + 1)
