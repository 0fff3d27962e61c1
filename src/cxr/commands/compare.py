"""cxr compare: runs or predictions files on the same images, or two on images of other patients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from cxr.evaluation.family import MOST_MODELS, compare_family, letter
from cxr.evaluation.join import DEFAULT, LabelOptions
from cxr.evaluation.prediction_files import read_files
from cxr.evaluation.reader_files import read_thresholds
from cxr.evaluation.seeds import compare_seeds
from cxr.evaluation.unpaired import compare_unpaired
from cxr.report import compare as report
from cxr.report import compare_many
from cxr.report.document import Table, Text
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
        # runs have thresholds of their own
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
_OWN_KEYS = ("threshold", "tta", "unit", "combine")
"""Keys of eval that each model is predicted and its thresholds are chosen with."""
_SHARED_KEYS = ("interval", "draws", "draw_seed")
"""Keys of eval that a comparison has once."""


@dataclass(frozen=True)
class Plan:
    """What is compared with what.

    Attributes:
        against: A model that each other is compared with; every pair where not given.
        unpaired: Two models on images of other patients.
        seeds: Each so many models in a row are runs of one recipe; 0 where every model stands for itself.
    """

    against: str | None = None
    unpaired: bool = False
    seeds: int = 0

    def check(self, models: Sequence[Target]) -> None:
        """Refuse options that do not go together, and numbers of models that they do not go with.

        Raises:
            CxrError: Each of them.
        """
        given = {
            "--against": self.against is not None,
            "--unpaired": self.unpaired,
            "--seeds": self.seeds > 0,
        }
        named = [name for name, is_given in given.items() if is_given]
        if len(named) > 1:
            raise CxrError(f"{named[1]}: cannot be combined with {named[0]}", "give one of them")
        num = len(models)
        if self.seeds:
            if self.seeds < 2 or num % self.seeds:
                problem = f"--seeds: {count(num, 'model')} are no recipes of {count(self.seeds, 'run')} each"
                raise CxrError(
                    problem, "give the runs of one recipe, then as many of the next; at least two each"
                )
            return
        most = 2 if self.unpaired else MOST_MODELS
        if not 2 <= num <= most:
            takes = (
                "--unpaired takes two models" if self.unpaired else f"cxr compare takes two to {MOST_MODELS}"
            )
            raise CxrError(f"{count(num, 'model')} given", f"{takes}: runs, or CSV files of predictions")
        self.reference(models)

    def reference(self, models: Sequence[Target]) -> int | None:
        """The place of the model that each other is compared with.

        Raises:
            CxrError: It is none of the models.
        """
        if self.against is None:
            return None
        names = [str(model.path) for model in models]
        if self.against not in names:
            raise CxrError(
                f"--against: {self.against} is none of the models", f"it is one of {', '.join(names)}"
            )
        return names.index(self.against)


EVERY_PAIR = Plan()


def compare(
    arguments: list[str],
    split: str | None,
    out: Path | None,
    labels: Path | None,
    options: LabelOptions = DEFAULT,
    points: OperatingPoints = NO_POINTS,
    plan: Plan = EVERY_PAIR,
) -> None:
    """Compare runs or predictions files, print the differences, and write them where `out` is given."""
    targets = parse_targets(arguments)
    plan.check(targets.models)
    if targets.all_predictions:
        refuse_split(split)
    points.check(targets.models)
    # every side is predicted before any is compared: a mistake in the last shows early
    opened = [_open(model, targets, split or "test", labels, options, points) for model in targets.models]
    sides = [note_other_keys(*each, opened[0], place) for place, each in enumerate(opened)]
    config = opened[0][1]  # the eval keys of the first side hold for all
    terminal().print(render(*_compare(sides, config, plan, plan.reference(targets.models), out)))
    if out is not None:
        show(f"comparison: {out / 'comparison.html'}")


def _compare(
    sides: Sequence[Compared], config: Eval, plan: Plan, reference: int | None, out: Path | None
) -> tuple[Text | Table, ...]:
    """What the terminal shows; the files are written where `out` is given."""
    if plan.seeds:
        seeds = compare_seeds(sides, plan.seeds, config)
        if out is not None:
            compare_many.write_seeds(seeds, out)
        return compare_many.seeds_summary(seeds)
    if len(sides) > 2:
        family = compare_family(sides, config, reference)
        if out is not None:
            compare_many.write_family(family, out)
        return compare_many.family_summary(family)
    # B less A: the model that the other is compared with is subtracted, by default the first
    first, second = (sides[1], sides[0]) if reference == 1 else (sides[0], sides[1])
    compare_two = compare_unpaired if plan.unpaired else compare_models
    comparison = compare_two(first, second, config)
    if out is not None:
        report.write(comparison, out)
    return report.summary(comparison)


def note_other_keys(side: Compared, config: Eval, first: tuple[Compared, Eval], place: int) -> Compared:
    """The side, with notes on keys of eval that differ from those of the first, and whose hold."""
    values, of_first = config.model_dump(), first[1].model_dump()
    notes = []
    for key in (*_OWN_KEYS, *_SHARED_KEYS):
        if values[key] == of_first[key]:
            continue
        whose = "each has its own" if key in _OWN_KEYS else f"that of {letter(0)} holds for all"
        shown = f"{letter(0)} {of_first[key]}, {letter(place)} {values[key]}"
        notes.append(f"eval.{key} differs: {shown}; {whose}")
    return replace(side, notes=(*side.notes, *notes))


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
        # the option's files are in the order of the CSV files, runs between them not counted
        place = [each for each in targets.models if each.kind == "predictions"].index(model)
        validation = points.validation[place] if points.validation else None
        found = read_files([model.path], config, labels, validation, options=options)
        thresholds = found.thresholds
        if points.thresholds and config.scores == "raw":
            raise CxrError(
                "--thresholds: raw scores have no thresholds", "leave it out, or give probabilities"
            )
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
    # a report beside another file may be about other images
    if predictions.name != "predictions.csv":
        return ()
    about = read_about(predictions.with_name("report.json"))
    return tuple((key, about[key]) for key in MADE if key in about)
