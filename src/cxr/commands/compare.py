"""cxr compare: two runs or predictions files on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr.commands.targets import (
    Target,
    Targets,
    file_options,
    parse_targets,
    refuse_file_options,
    refuse_split,
)
from cxr.config.schema import Eval
from cxr.console import count
from cxr.console import out as terminal
from cxr.errors import CxrError
from cxr.evaluation.compare import MADE, Compared
from cxr.evaluation.compare import compare as compare_models
from cxr.evaluation.join import DEFAULT, LabelOptions
from cxr.evaluation.prediction_files import read_files
from cxr.evaluation.reader_files import read_thresholds
from cxr.report import compare as report
from cxr.report.json_file import read_about
from cxr.report.terminal import render
from cxr.streams import show


@dataclass(frozen=True)
class OperatingPoints:
    """Where the thresholds of predictions files come from: a file for each of them, in their order, or none.

    Attributes:
        validation: CSV files of validation images, on which thresholds are chosen.
        thresholds: `metrics.csv` files of `cxr eval`, whose thresholds are taken.
    """

    validation: tuple[Path, ...] = ()
    thresholds: tuple[Path, ...] = ()

    def check(self, models: Sequence[Target]) -> None:
        """Refuse another number of files than of predictions files.

        Raises:
            CxrError: Another number, or both kinds of files.
        """
        num = sum(model.kind == "predictions" for model in models)
        for option, files in (("--validation", self.validation), ("--thresholds", self.thresholds)):
            if files and len(files) != num:
                problem = f"{option}: {count(len(files), 'file')} for {count(num, 'CSV')} of predictions"
                raise CxrError(
                    problem, f"give {option} FILE once for each CSV, in their order; runs have theirs"
                )
        if self.validation and self.thresholds:
            raise CxrError("--thresholds: cannot be combined with --validation", "give one of them")


NO_POINTS = OperatingPoints()


def compare(
    arguments: list[str],
    split: str | None,
    out: Path | None,
    labels: Path | None,
    options: LabelOptions = DEFAULT,
    points: OperatingPoints = NO_POINTS,
) -> None:
    """Compare two runs or predictions files, print the differences, and write them where `out` is given."""
    targets = parse_targets(arguments)
    if len(targets.models) != 2:
        problem = f"{count(len(targets.models), 'model')} given"
        raise CxrError(problem, "cxr compare takes two: runs, or CSV files of predictions")
    if targets.all_predictions:
        refuse_split(split)
    points.check(targets.models)
    sides = [_open(model, targets, split or "test", labels, options, points) for model in targets.models]
    (first, config), (second, _) = sides  # the eval keys of the first side hold for both
    comparison = compare_models(first, second, config)
    if out is not None:
        report.write(comparison, out)
    terminal().print(render(*report.summary(comparison)))
    if out is not None:
        show(f"comparison: {out / 'comparison.md'}")


def _open(
    model: Target,
    targets: Targets,
    split: str,
    labels: Path | None,
    options: LabelOptions,
    points: OperatingPoints,
) -> tuple[Compared, Eval]:
    """One side of a comparison, and the config that it is evaluated with."""
    if model.kind == "predictions":
        config, options = file_options(targets.overrides, options, has_labels=labels is not None)
        place = [each for each in targets.models if each.kind == "predictions"].index(model)
        validation = points.validation[place] if points.validation else None
        found = read_files([model.path], config, labels, validation, options=options)
        thresholds = found.thresholds
        if points.thresholds:
            thresholds = read_thresholds(points.thresholds[place], found.evaluated.findings)
        notes = tuple(f"{model.path}: {note}" for note in found.evaluated.notes)
        made = _read_made(model.path)
        return Compared(str(model.path), found.evaluated, thresholds, notes, made), config
    refuse_file_options(labels, options)
    from cxr.model.candidate import overrides_for
    from cxr.model.evaluate import predict_for_comparison

    overrides = overrides_for(model.path, targets.paths, targets.overrides)
    return predict_for_comparison(model.path, overrides, split, targets.recipe)


def _read_made(predictions: Path) -> tuple[tuple[str, str], ...]:
    """What the report beside a predictions.csv of cxr eval says of the images; nothing of another file."""
    if predictions.name != "predictions.csv":
        return ()
    about = read_about(predictions.with_name("report.json"))
    return tuple((key, about[key]) for key in MADE if key in about)
