"""Errors in Python's words: options of the command line are arguments here."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from cxr.errors import CxrError

_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)(?: (?:FILE|FOLDER)\b)?")


@contextmanager
def in_python() -> Iterator[None]:
    """Name arguments in the errors of the body, as `head_findings` for `--head-findings`."""
    try:
        yield
    except CxrError as error:
        problems = [name_arguments(problem) for problem in error.problems]
        hint = name_arguments(error.hint)
        if (tuple(problems), hint) == (error.problems, error.hint):
            raise
        raise CxrError(problems, hint) from None


def name_arguments(text: str) -> str:
    """The text with arguments in place of options."""
    return _OPTION.sub(lambda option: option[1].replace("-", "_") + "=", text)
