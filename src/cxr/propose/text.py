"""A proposal as a commented YAML file, which `cxr.config.load` reads back."""

import textwrap
from collections.abc import Iterator, Sequence

from cxr.config.yaml_reader import dump
from cxr.propose.choices import Choice
from cxr.propose.propose import Proposal
from cxr.propose.training import SECTIONS
from cxr.text import visible

_WIDTH = 100
_HARDWARE = "one CUDA GPU with 16 GB or more"


def render(proposal: Proposal, name: str, command: str) -> str:
    """The recipe: its head as the shipped ones have it, then each key below its reasons.

    Args:
        proposal: What it says.
        name: The file, as `cxr train` is given it.
        command: By which it was written.
    """
    lines = [f"# cxr train {visible(name)}", f"# Written by: {visible(command)}"]
    for note in proposal.notes:
        lines += _comment(f"{note[0].upper()}{note[1:]}")
    for warning in proposal.warnings:
        lines += _comment(f"WARNING: {warning}")
    lines.append(f"# Hardware: {_HARDWARE}.   Time: not yet measured.   Score: not yet measured.")
    top = {key: choice for key, choice in proposal.choices.keys.items() if "." not in key}
    for key, choice in top.items():
        lines += [*_reasons(choice), f"{key}: {dump(choice.value)}"]
    for section in ("data", *SECTIONS):
        lines += _section(section, proposal.choices.keys)
    return "\n".join(lines) + "\n"


def _section(section: str, keys: dict[str, Choice]) -> list[str]:
    """The lines of a section, and of the sections inside it; none where no key is in it."""
    inside = {key.split(".")[1:][0] for key in keys if key.startswith(f"{section}.")}
    if not inside:
        return []
    lines = [f"{section}:"]
    begun: set[str] = set()
    for key, choice in keys.items():
        first, *path = key.split(".")
        if first != section or not path or path[0] in begun:
            continue
        if len(path) == 1:
            lines += _key(path[0], choice, 1)
        else:  # a section inside: all of its keys stand together
            begun.add(path[0])
            deeper = {name: value for name, value in keys.items() if name.startswith(f"{first}.{path[0]}.")}
            lines.append(f"  {path[0]}:")
            for name, value in deeper.items():
                lines += _key(name.split(".", 2)[2], value, 2)
    return lines


def _key(name: str, choice: Choice, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for line in [*_reasons(choice, indent), f"{name}: {dump(choice.value)}"]:
        yield indent + line


def _reasons(choice: Choice, indent: str = "") -> list[str]:
    lines: list[str] = []
    for text in (*choice.why, *choice.facts):
        lines += _comment(text, _WIDTH - len(indent))
    return lines


def _comment(text: str, width: int = _WIDTH) -> Sequence[str]:
    """Comment lines of a text, in which nothing can end the comment."""
    begin = "# " + " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        visible(text.strip()), width, initial_indent=begin, subsequent_indent=f"{begin}  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
