"""What a recipe will say: keys with their values and reasons, and what the user has decided."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from cxr.config.load import refuse_blanks
from cxr.config.yaml_reader import explain_yaml, read_argument
from cxr.errors import CxrError

GIVEN = "as given on the command line"
ANSWERED = "your answer"

_PATHS = ("data.root", "data.csv", "store.path", "out")

Given = Mapping[str, tuple[object, str]]
"""(value, where it comes from) of each dotted key that the user has decided."""


@dataclass(frozen=True)
class Choice:
    """A key of the recipe.

    Attributes:
        value: As YAML holds it.
        why: The reasons, a line each.
        facts: What else is to be known about it, a line each.
    """

    value: object
    why: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()


@dataclass
class Choices:
    """The keys of a recipe in their order; what the user has decided goes before any other choice.

    Attributes:
        given: What the user has decided.
        keys: The choice of each dotted key.
    """

    given: Given
    keys: dict[str, Choice] = field(default_factory=dict)

    def choose(self, key: str, value: object, *why: str, facts: Sequence[str] = ()) -> None:
        """Set a key, unless the user has decided on it or inside it; a reason that is empty is left out."""
        # the user has decided on a part of it: the whole is theirs
        if any(name.startswith(f"{key}.") for name in self.given):
            return
        if key in self.given:
            value, source = self.given[key]
            why = (source,)
        self.keys[key] = Choice(value, tuple(reason for reason in why if reason), tuple(facts))

    def add_given(self, section: str) -> None:
        """Add the keys of a section that the user has decided on and nothing else needed to choose."""
        for key in self.given:
            if key.partition(".")[0] == section and key not in self.keys:
                self.choose(key, None)

    def nested(self, section: str) -> dict[str, object]:
        """The values of a section as a tree, as the config reads it."""
        tree: dict[str, object] = {}
        for key, choice in self.keys.items():
            first, *path = key.split(".")
            if first == section and path:
                # down the path, making what is not there yet
                inside = tree
                for name in path[:-1]:
                    deeper = inside.setdefault(name, {})
                    if not isinstance(deeper, dict):
                        raise CxrError(f"{key}: {name} is given as a value, too", "give either, not both")
                    inside = deeper
                inside[path[-1]] = choice.value
        return tree


def read_given(overrides: Sequence[str]) -> dict[str, tuple[object, str]]:
    """What `key.sub=value` texts decide; a mapping of columns decides on each key in it.

    Raises:
        CxrError: A text of another form.
    """
    refuse_blanks(overrides)
    given: dict[str, tuple[object, str]] = {}
    for text in overrides:
        key, equals, raw = text.partition("=")
        if not equals or not re.fullmatch(r"\w+(\.[\w -]+)*", key):
            hint = "an override is key=value, such as data.columns.patient=mrn"
            raise CxrError(f"{text}: is no override", f"{hint}; cxr config demo prints all keys")
        try:
            value = read_argument(raw)
        except yaml.YAMLError as error:
            problem = explain_yaml(error, raw)[1]
            raise CxrError(f"{text}: {problem}", "put text with signs into quotes") from None
        given |= {name: (plain_number(name, inside), GIVEN) for name, inside in _flatten(key, value)}
    return given


def _flatten(key: str, value: object) -> Iterator[tuple[str, object]]:
    """(dotted key, value) of what a text sets: of a whole section or of data.columns, each key in it."""
    if isinstance(value, Mapping) and (key == "data.columns" or "." not in key):
        for name, inside in value.items():
            yield from _flatten(f"{key}.{name}", inside)
    else:
        yield key, value


def plain_number(key: str, value: object) -> object:
    """A number as Python's own, which YAML can write; a path that looks like one as it was written."""
    written = getattr(value, "written", None)  # see yaml_reader.WrittenInt
    if written is None:
        return value
    if key in _PATHS:
        return written
    return int(value) if isinstance(value, int) else float(str(value))
