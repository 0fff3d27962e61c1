"""YAML from anybody -> plain values, quickly and in little memory, whatever is in it.

PyYAML is slow, so the size of a file is limited. Aliases multiply values, so their number is limited too. If
a value does not fit its tag, the error names the line; PyYAML itself would raise any of Python's exceptions.
Numbers are those of YAML 1.2, with `_` between digits: `010`, `1:30` and dates are text.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from cxr.errors import CxrError
from cxr.paths import explain, refuse_pipe
from cxr.text import quote, visible

MAX_BYTES = 100_000  # half a second of PyYAML; the largest shipped config has 3,000
MAX_VALUES, MAX_DEPTH = 10_000, 20

_PREFIX = "tag:yaml.org,2002:"
_KINDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false",
          "null": "null",
          "seq": "a list", "map": "a mapping"}  # fmt: skip
_NUMBERS = {
    "int": r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+|0b[01]+)",
    # the digits before a point are matched once: two loops over them would take hours for a megabyte
    "float": r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+|[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*"
             r"(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
}  # fmt: skip
_OWN_RULES = ("int", "float", "timestamp", "value")  # those of YAML 1.1 that are not ours


def read_text(path: Path) -> str:
    """The text of a file in UTF-8 or UTF-16.

    Raises:
        CxrError: No file, a folder, a pipe or a device, one that may not be read, too large, or no text.
    """
    hint = "a config is a YAML text file"
    refuse_pipe(path)
    try:
        with path.open("rb") as file:
            # one byte more than allowed tells that it is too large, without reading all of it
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise CxrError(f"{path}: no such file", "cxr recipes lists the recipes that come with cxr") from None
    except OSError as error:
        raise explain(error, path) from None
    if len(data) > MAX_BYTES:
        raise CxrError(f"{path}: is larger than {MAX_BYTES:,} bytes", hint)
    try:
        return data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        # lines are counted in bytes, as the text could not be read
        line = data.count(b"\n", 0, error.start) + 1
        raise CxrError(f"{path}:{line}: is no text in UTF-8: {error.reason}", hint) from None


def compose(text: str) -> yaml.Node | None:
    """The nodes of a text, each with its line; None where nothing is in it.

    Raises:
        yaml.YAMLError: No YAML, too many values once aliases are written out, or nested too deeply.
    """
    return _compose(text)[0]


def _compose(text: str) -> tuple[yaml.Node | None, bool]:
    """(the nodes of a text, whether it has a comment)."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    # PyYAML's scanner: the letter "\\UFFFFFFFF", a version of 5,000 digits
    except (ValueError, OverflowError):
        raise yaml.MarkedYAMLError(problem="has an escape or a number that is too large",
                                   problem_mark=loader.get_mark()) from None  # fmt: skip
    finally:
        loader.dispose()
    return node, loader.has_comment


def read_argument(text: str) -> Any:  # noqa: ANN401  what YAML holds
    """The value of a command-line argument: YAML, but text without quotes is kept letter by letter.

    `hub:` is text, and no mapping with a key that has no value. In a file ` #2` begins a comment, `--- ` a
    document, and blanks at the ends are cut; names of folders may hold all of these.

    Raises:
        yaml.YAMLError: As `compose` and `construct`; a comment behind a quoted text, a list or a mapping.
    """
    node, has_comment = _compose(text)
    if _is_text_with_colon(node):
        return text
    is_plain = node is None or (isinstance(node, yaml.ScalarNode) and node.style is None)
    if is_plain and not text.lstrip().startswith("!"):
        is_text = node is not None and node.tag == _PREFIX + "str"
        return text if has_comment or is_text else construct(node)
    if has_comment:
        assert node is not None
        raise _refuse("has a comment after its value: put a text that holds # into quotes", node)
    return construct(node)


def _is_text_with_colon(node: yaml.Node | None) -> bool:
    """Whether YAML takes a text that ends in a colon for a mapping."""
    if not isinstance(node, yaml.MappingNode) or node.flow_style or len(node.value) != 1:
        return False
    (key, value), *_ = node.value
    return isinstance(key, yaml.ScalarNode) and key.style is None and value.value == ""


def construct(node: yaml.Node | None) -> Any:  # noqa: ANN401  what YAML holds
    """The value of a node: numbers, text, lists, and mappings whose keys are text as it is written.

    Raises:
        yaml.YAMLError: Another tag, or a value that is not of its tag.
    """
    return None if node is None else _Loader("").construct_document(node)


def explain_yaml(error: yaml.YAMLError, text: str) -> tuple[int | None, str]:
    """(line from 1 on where it is known, what is wrong with the text)."""
    if isinstance(error, yaml.reader.ReaderError):
        return text.count(
            "\n", 0, error.position
        ) + 1, f"has the character {error.character:#04x}, which YAML has not"
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark else None, getattr(error, "problem", None) or str(error)


class WrittenInt(int):
    """A whole number that is not written as Python writes it, such as `2_020`; a path may have that name."""

    written: str


class WrittenFloat(float):
    """As `WrittenInt`, such as `1e3`."""

    written: str


def _as_written(value: int | float, text: str) -> int | float:
    """The number, which knows its text where that is another than Python's."""
    if str(value) == text:
        return value
    number = WrittenInt(value) if isinstance(value, int) else WrittenFloat(value)
    number.written = text
    return number


class _Loader(yaml.SafeLoader):
    """SafeLoader with our rules for numbers and keys, and with limits."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.has_comment = False
        self._depth = self._num_nodes = 0
        # (values, depth) of each node, aliases written out
        self._measures: dict[yaml.Node, tuple[int, int]] = {}

    def scan_to_next_token(self) -> None:
        """Go to the next token, and note a comment: nothing else with a `#` stands between tokens."""
        start = self.pointer
        super().scan_to_next_token()
        self.has_comment |= "#" in self.buffer[start : self.pointer]

    def scan_block_scalar_ignored_line(self, start_mark: Any) -> None:  # noqa: ANN401
        """The rest of the line behind `|` or `>`, as `scan_to_next_token`."""
        start = self.pointer
        super().scan_block_scalar_ignored_line(start_mark)
        self.has_comment |= "#" in self.buffer[start : self.pointer]

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401
        """The next node, once it is known to be neither too deep nor too large."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._depth, self._num_nodes = self._depth + 1, self._num_nodes + 1
        if self._num_nodes > MAX_VALUES:
            raise _refuse(f"holds more than {MAX_VALUES:,} values", event)
        if self._depth > MAX_DEPTH:
            raise _refuse(f"is nested more than {MAX_DEPTH} deep", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not isinstance(event, yaml.AliasEvent):
            assert node is not None
            self._measures[node] = self._measure(node)
        elif node not in self._measures:  # which is noted at the node's end
            raise _refuse("an alias (*name) stands inside what it names", event)
        return node

    def _measure(self, node: yaml.Node) -> tuple[int, int]:
        inside: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            inside = node.value
        elif isinstance(node, yaml.MappingNode):
            inside = [one for pair in node.value for one in pair]
        # an alias counts as often as it stands there: nine lines of aliases can mean a billion values
        values = 1 + sum(self._measures[one][0] for one in inside)
        depth = 1 + max((self._measures[one][1] for one in inside), default=0)
        if values > MAX_VALUES:
            raise _refuse(
                f"holds more than {MAX_VALUES:,} values, once its aliases (*name) are written out", node
            )
        if depth > MAX_DEPTH:
            raise _refuse(
                f"is nested more than {MAX_DEPTH} deep, once its aliases (*name) are written out", node
            )
        return values, depth

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401
        """A value of its tag."""
        kind = node.tag.removeprefix(_PREFIX)
        if kind not in _KINDS:
            raise _refuse(f"no value of a config has the tag {node.tag.replace(_PREFIX, '!!')}", node)
        if (
            kind == "null"
            and isinstance(node, yaml.ScalarNode)
            and node.value.lower() not in ("", "~", "null")
        ):
            raise _refuse(f"{quote(node.value)} is not {_KINDS[kind]}", node)
        if kind == "int" and len(node.value) > 100:
            raise _refuse(f"{quote(node.value)} is too large a number", node)
        try:
            value = super().construct_object(node, deep)
        # SafeLoader takes a tag's word
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
            raise _refuse(f"{quote(node.value)} is not {_KINDS[kind]}", node) from None
        if isinstance(value, int) and abs(value) >= 1 << 63:
            raise _refuse(f"{quote(node.value)} is too large a number", node)
        return _as_written(value, node.value) if type(value) in (int, float) else value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping with merges (`<<`) resolved; keys are text as written, also `no` and `1`."""
        if not isinstance(node, yaml.MappingNode):
            raise _refuse("is not a mapping", node)
        self.flatten_mapping(node)
        mapping = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.removeprefix(_PREFIX) not in _KINDS:
                raise _refuse("a key is text, not a list, a mapping or something with a tag", key)
            mapping[key.value] = self.construct_object(value, deep)
        return mapping


def _refuse(what: str, where: yaml.Node | yaml.Event) -> yaml.MarkedYAMLError:
    mark: Any = where.start_mark
    return yaml.MarkedYAMLError(problem=what, problem_mark=mark)


def _rules() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """By first letter, which plain scalars are no text: the rules of SafeLoader with our own for numbers."""
    rules = {
        # the resolver tries the rules of a scalar's first letter alone
        first: [(tag, pattern) for tag, pattern in pairs if tag.removeprefix(_PREFIX) not in _OWN_RULES]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for kind, pattern in _NUMBERS.items():
        for first in "-+.0123456789":
            rules.setdefault(first, []).append((_PREFIX + kind, re.compile(f"(?:{pattern})$")))
    return rules


_Loader.yaml_implicit_resolvers = _rules()


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes text that either YAML 1.1 or our rules take for something else."""

    yaml_implicit_resolvers = {  # noqa: RUF012  PyYAML looks for it in the class
        first: yaml.SafeDumper.yaml_implicit_resolvers.get(first, []) + pairs
        for first, pairs in _rules().items()
    }


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Text in double quotes if it holds invisible characters: other styles would break its line."""
    style = '"' if visible(text) != text else None
    return dumper.represent_scalar(_PREFIX + "str", text, style)


_Dumper.add_representer(str, _represent_text)


def dump(value: object) -> str:
    """A value as YAML on one line, which `construct` reads back; escapes stand for what cannot be seen."""
    # letters as they are, unless one of them cannot be seen
    for as_it_is in (True, False):
        text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10**6, sort_keys=False,
                         allow_unicode=as_it_is).removesuffix("...\n").removesuffix("\n")  # fmt: skip
        if visible(text) == text:
            break
    return text
