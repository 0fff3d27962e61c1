"""A Config as YAML, each key with its meaning beside it."""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from cxr.config.key_tree import KeyPath, find_section, suggest
from cxr.config.schema import Config
from cxr.config.yaml_reader import dump
from cxr.errors import CxrError
from cxr.text import shorten


def render(config: Config, sections: Sequence[str] = ()) -> str:
    """The config as YAML that `load` reads back, each key followed by its meaning as a comment.

    Args:
        config: What is printed.
        sections: Dotted names of sections or keys that are printed alone, such as `train` or `data.columns`.

    Raises:
        CxrError: There is no such section or key.
    """
    lines = list(_lines(config, 0, ()))
    wanted = [tuple(name.split(".")) for name in sections]
    known = {path for path, _ in lines}
    problems = [
        f"{shorten('.'.join(path), 60)}: no such section or key{suggest(path)}"
        for path in wanted
        if path not in known
    ]
    if problems:
        raise CxrError(problems, "cxr config RECIPE prints all of them; KEY=VALUE changes one")
    # a section is printed below the names of the sections around it, so that the text is a config too
    shown = [
        line
        for path, line in lines
        if not wanted or any(path[: len(one)] == one or one[: len(path)] == path for one in wanted)
    ]
    return "\n".join(shown) + "\n"


def _lines(section: BaseModel, depth: int, at: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """(key path, line) of every key; the keys of a list's entries have the path of the list."""
    plain = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        path = (*at, name)
        value, inside = getattr(section, name), find_section(field.annotation)
        meaning = field.description or (inside and inside.__doc__) or ""
        entries = [one for one in value if isinstance(one, BaseModel)] if isinstance(value, tuple) else []
        is_plain = not entries and not isinstance(value, BaseModel)
        text = f"{'  ' * depth}{name}:{f' {dump(plain[name])}' if is_plain else ''}"
        yield path, f"{text:<40}  # {meaning}"
        for entry in entries:
            first, *others = (line for _, line in _lines(entry, depth + 2, path))
            yield path, "  " * (depth + 1) + "- " + first.lstrip()
            yield from ((path, line) for line in others)
        if isinstance(value, BaseModel):
            yield from _lines(value, depth + 1, path)
