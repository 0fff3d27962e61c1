"""A run beside its repeat -> Document, repeat.json and repeat.md: what differs, and by how much."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cxr.console import count
from cxr.files import write_text
from cxr.report import json_file, markdown
from cxr.report.document import Cell, Document, Estimate, Items, Part, Table, Text, two_columns

JSON, PAGE = "repeat.json", "repeat.md"
METRICS = {"loss": "loss", "val_loss": "validation loss", "val_auroc": "validation AUROC"}
"""What is compared of each epoch, as log.jsonl names it, and its name for a reader."""
_DIGITS = 6


@dataclass(frozen=True)
class WeightDifference:
    """The weights of one file of both runs.

    Attributes:
        name: As `last.pt, EMA`.
        num_tensors: In either file.
        num_equal: Of these, equal bit for bit.
        largest: The largest absolute difference of two weights; nan where shapes, names or kinds differ.
    """

    name: str
    num_tensors: int
    num_equal: int
    largest: float

    @property
    def is_equal(self) -> bool:
        """Whether all are equal bit for bit."""
        return self.num_equal == self.num_tensors


@dataclass(frozen=True)
class Repeat:
    """A run beside its repeat.

    Attributes:
        run: The folder of the run.
        again: The folder of the repeat.
        changes: Inputs and keys that differ, and were allowed to.
        environment: (what, then, now) of each fact that differs.
        epochs: (epoch, its numbers in the run, those in the repeat), by the keys of METRICS.
        steps: (step, loss in the run, loss in the repeat) of each line of the logs; nan where one lacks it.
        weights: Of each file that both have.
        notes: What a reader must know.
    """

    run: str
    again: str
    changes: tuple[str, ...]
    environment: tuple[tuple[str, str, str], ...]
    epochs: tuple[tuple[int, Mapping[str, float], Mapping[str, float]], ...]
    steps: tuple[tuple[int, float, float], ...]
    weights: tuple[WeightDifference, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_identical(self) -> bool:
        """Whether every loss, every metric and every weight is the same; False where there is none."""
        are_equal = all(difference == 0 for difference in self.differences().values())
        return bool(self.epochs and self.weights) and are_equal and all(one.is_equal for one in self.weights)

    def differences(self) -> dict[str, float]:
        """The largest absolute difference by what is compared; nan where only one run has a number."""
        found = {
            title: _find_largest(
                (then.get(name, math.nan), now.get(name, math.nan)) for _, then, now in self.epochs
            )
            for name, title in METRICS.items()
        }
        return found | {"loss of a step": _find_largest((then, now) for _, then, now in self.steps)}


def _find_largest(pairs: Iterable[tuple[float, float]]) -> float:
    """The largest absolute difference; 0 of no pairs and of two undefined numbers, nan of one alone."""
    largest = 0.0
    for then, now in pairs:
        if math.isnan(then) and math.isnan(now):
            continue
        difference = abs(then - now)
        if math.isnan(difference):
            return math.nan
        largest = max(largest, difference)
    return largest


def write(repeat: Repeat, folder: Path) -> None:
    """Write repeat.json and repeat.md, each atomically."""
    facts = asdict(repeat) | {"identical": repeat.is_identical, "largest_differences": repeat.differences()}
    facts.pop("notes")
    json_file.write(folder / JSON, facts, repeat.notes)
    write_text(folder / PAGE, markdown.render(Document(f"Repeat of {repeat.run}", build_parts(repeat))))


def build_parts(repeat: Repeat) -> tuple[Part, ...]:
    """Verdict, environment, epochs, largest differences and weights, for every writer."""
    parts: list[Part] = [_describe_verdict(repeat)]
    parts += [Text(change, "bad", label="changed") for change in repeat.changes]
    if repeat.environment:
        parts.append(
            Table("Environment, where it differs", ("what", "run", "repeat"), repeat.environment, "lll")
        )
    parts.append(_tabulate_epochs(repeat))
    differences = [(name, _format(value)) for name, value in repeat.differences().items()]
    parts.append(two_columns("Largest differences", differences, ("of", "absolute difference")))
    parts.append(_tabulate_weights(repeat))
    if repeat.notes:
        parts.append(Items(repeat.notes, "Notes", "note"))
    return tuple(parts)


def _describe_verdict(repeat: Repeat) -> Text:
    if repeat.is_identical:
        text = "the repeat is identical: every loss, every metric and every weight, bit for bit"
        return Text(text, "good", label=repeat.again)
    if not repeat.epochs or not repeat.weights:
        return Text("cannot be compared: epochs or weights are missing", "bad", label=repeat.again)
    num_equal = sum(one.num_equal for one in repeat.weights)
    num_tensors = sum(one.num_tensors for one in repeat.weights)
    text = f"the repeat differs: {num_equal:,} of {count(num_tensors, 'tensor')} of weights are equal"
    return Text(text, "strong", label=repeat.again)


def _tabulate_epochs(repeat: Repeat) -> Table:
    columns = ["epoch"]
    for title in METRICS.values():
        columns += [title, "repeat"]
    rows: list[tuple[Cell, ...]] = []
    for epoch, then, now in repeat.epochs:
        cells = [Estimate(side.get(name), digits=_DIGITS) for name in METRICS for side in (then, now)]
        rows.append((str(epoch), *cells))
    return Table("Epochs", tuple(columns), tuple(rows), "l" + "r" * (len(columns) - 1))


def _tabulate_weights(repeat: Repeat) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (one.name, one.num_tensors, one.num_equal, "yes" if one.is_equal else "no", _format(one.largest))
        for one in repeat.weights
    ]
    columns = ("weights", "tensors", "equal", "bit for bit", "largest difference")
    return Table("Weights", columns, tuple(rows), "lrrrr")


def _format(value: float) -> str:
    """A difference as 0, 3.1e-05, or n/a where it is not defined."""
    return "n/a" if math.isnan(value) else "0" if value == 0 else f"{value:.2g}"
