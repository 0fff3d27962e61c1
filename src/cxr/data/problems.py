"""Problems of a config's datasets, gathered stage by stage: training stops at a stage, a check continues."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from cxr.errors import CxrError

_T = TypeVar("_T")

MAIN = "data"
"""The section of the config that holds the first dataset; further ones are in `data.also.0` and so on."""


@dataclass
class Problems:
    """Problems of one dataset, or of all of them together.

    Attributes:
        key: Section of the config that the dataset is in, such as `data.also.0`.
        errors: Why training is refused; may name patients.
        hints: What to do about them, each once.
        warnings: What is not refused, and a person should know.
        for_report: The errors as a report may hold them, which is handed on: without the ids of patients.
        private: Those of the errors that name patients, for the terminal alone.
    """

    key: str = MAIN
    errors: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    for_report: list[str] = field(default_factory=list)
    private: list[str] = field(default_factory=list)

    def add(self, errors: Sequence[str], hint: str, for_report: Sequence[str] = ()) -> None:
        """Note errors; `for_report` are the same without the ids of patients, where they name any."""
        self.errors += errors
        self.for_report += for_report or errors
        self.private += errors if for_report else ()
        # once, though several problems may have it
        if hint not in self.hints:
            self.hints.append(hint)

    def add_by_policy(self, policy: str, text: str, hint: str) -> None:
        """Note an error, or only a warning where a key such as data.missing is `skip`."""
        if policy == "error":
            self.add([text], hint)
        else:
            self.warnings.append(text)

    def add_error(self, error: CxrError) -> None:
        """Note an error that was raised."""
        self.add(error.problems, error.hint)

    def attempt(self, stage: Callable[[], _T]) -> _T | None:
        """What a stage returns, or None once its error is noted."""
        try:
            with in_section(self.key):
                return stage()
        except CxrError as error:
            self.add_error(error)
            return None


@dataclass
class Stages:
    """Problems of each dataset and of all together, and whether a stage that has some is the last.

    Attributes:
        datasets: Problems of each dataset.
        together: Problems that no dataset has alone.
        stop: Whether `end_stage` raises: True for training and packing, False for a check.
    """

    datasets: tuple[Problems, ...]
    together: Problems = field(default_factory=Problems)
    stop: bool = True

    def end_stage(self) -> None:
        """Raise all problems that the stage has found.

        Raises:
            CxrError: There are errors, unless they are only gathered.
        """
        if not self.stop:
            return
        every = (*self.datasets, self.together)
        # of all datasets at once, in their order
        errors = [text for problems in every for text in problems.errors]
        hints = [hint for problems in every for hint in problems.hints]
        if errors:
            raise CxrError(errors, "; ".join(dict.fromkeys(hints)))


def new_stages(num_datasets: int, stop: bool = True) -> Stages:
    """No problems yet, of so many datasets."""
    keys = [MAIN, *(f"data.also.{number}" for number in range(num_datasets - 1))]
    return Stages(tuple(Problems(key) for key in keys), stop=stop)


@contextmanager
def in_section(key: str) -> Iterator[None]:
    """Errors of a further dataset, which is read as if it were the only one, begin with their section.

    A reader of datasets knows nothing of `data.also`: it calls its keys data.csv, data.root and so on.
    """
    try:
        yield
    except CxrError as error:
        if key == MAIN:
            raise
        hint = error.hint
        if any("data." in text for text in (*error.problems, hint)):
            hint += f" (write {key}.KEY for data.KEY)"
        raise CxrError([f"{key}: {text}" for text in error.problems], hint) from None
