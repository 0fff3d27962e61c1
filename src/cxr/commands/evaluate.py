"""cxr eval: score runs or predictions files, write the report, print it."""

import re
from collections.abc import Sequence
from pathlib import Path

from cxr.commands.run_folder import home_of
from cxr.commands.targets import (
    Target,
    Targets,
    file_options,
    is_published,
    parse_targets,
    refuse_file_options,
    refuse_split,
)
from cxr.console import out as terminal
from cxr.errors import CxrError
from cxr.evaluation import prediction_files
from cxr.evaluation.align import Average
from cxr.evaluation.join import DEFAULT, LabelOptions
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.report import Report, add_references
from cxr.paths import is_folder
from cxr.report import evaluation
from cxr.report.document import Part
from cxr.report.further import NO_FURTHER, Further, find_further
from cxr.report.run_files import Training, read_training
from cxr.report.terminal import render
from cxr.streams import show
from cxr.text import short_name

_MODEL_ENDINGS = re.compile(r"\.(safetensors|pth|pt|ckpt|tar|csv)(?=\.|#|$)")


def evaluate(
    arguments: list[str],
    split: str | None,
    out: Path | None,
    labels: Path | None,
    validation: Path | None,
    tune_on_test: bool,
    averaged: Average,
    allow_seen: bool,
    options: LabelOptions = DEFAULT,
    second: Sequence[Path] = (),
    num_examples: int = 3,
) -> Path:
    """Score runs or predictions files, averaged when there are several, write the report and print it.

    `second` are further tables of labels, which are set beside those of the report. The page of runs shows up
    to `num_examples` images of each finding and kind of call.

    Returns:
        The page of the report.
    """
    if num_examples < 0:
        raise CxrError(f"--examples {num_examples}: is negative", "give 0 for none")
    targets = parse_targets(arguments)
    first = targets.models[0]
    if targets.all_predictions:  # nothing on this path imports torch
        refuse_split(split)
        config, options = file_options(targets.overrides, options, has_labels=labels is not None)
        report, found = prediction_files.score_files(
            targets.paths, config, labels, validation, tune_on_test, averaged, options
        )
        report = add_references(report, found.evaluated, second, config, options)
        folder = out or first.path.with_name(short_name(first.path.stem) + "_report")
        return _write(report, found.rows, found.evaluated, folder, None)

    if any(model.kind == "predictions" for model in targets.models):
        problem = f"{first.path}: runs and predictions files cannot be combined"
        raise CxrError(problem, "cxr eval a run first, then take its CSV")
    refuse_file_options(labels, options, validation, tune_on_test, has_second=bool(second))
    from cxr.explain.contact_sheets import draw_contact_sheets
    from cxr.model.evaluate import evaluate_candidates, open_candidates

    split = split or "test"
    candidates = open_candidates(targets.paths, targets.overrides, targets.recipe)
    report, predictions = evaluate_candidates(candidates, split, averaged, allow_seen, second, options)
    examples = draw_contact_sheets(candidates, predictions, report.thresholds, split, num_examples)
    home = _home(first, targets.recipe)
    folder = out or home / _report_name(split, targets)
    # an ensemble has no one training whose curves and recipe the page could show, nor further reports
    if len(targets.models) > 1:
        return _write(report, predictions, predictions, folder, None, examples)
    further = find_further(home, folder)
    return _write(report, predictions, predictions, folder, read_training(home), examples, further)


def _write(
    report: Report,
    predictions: Predictions,
    evaluated: Predictions,
    folder: Path,
    training: Training | None,
    examples: Sequence[Part] = (),
    further: Further = NO_FURTHER,
) -> Path:
    evaluation.write(report, predictions, evaluated, folder, training, examples, further)
    terminal().print(render(*evaluation.summary(report)))
    page = folder / "report.html"
    show(f"report: {page}")
    return page


def _home(model: Target, recipe: Path | None) -> Path:
    """The folder of a model's reports: its run folder, for a model from elsewhere runs/MODEL_on_RECIPE."""
    if model.kind == "weights" and recipe:
        # never beside the weight file, which may lie in a folder that is shared or read-only
        name = str(model.path) if is_published(model.path) else _file_name(model.path)
        safe_name = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name)
        return Path("runs") / short_name(f"{safe_name}_on_{recipe.stem}")
    return home_of(model.path)


def _report_name(split: str, targets: Targets) -> str:
    """The name of the report's folder, with another dataset and further models in it.

    Neither the report of another dataset nor that of an ensemble may replace the report of the run alone.
    """
    # the last of equal keys wins, as in the config
    given = dict(text.split("=", 1) for text in targets.overrides)
    parts = [f"eval_{split}"]
    if {"data.source", "data.root"} <= given.keys():
        dataset = given.get("data.name", given["data.source"])
        # another hospital's report stands beside that of the run, and never in its place
        parts[0] += f"_on_{dataset}-{Path(given['data.root']).name}"
    for path in targets.paths[1:]:
        # of an ensemble: `_with_` and each further model
        parts.append(path.name if is_folder(path) else _file_name(path))
    return short_name(re.sub(r"[^\w.+-]+", "_", "_with_".join(parts)))


def _file_name(path: Path) -> str:
    """Folder and name of a file, as many files are called model.pth, and which of its networks."""
    return f"{path.absolute().parent.name}-{_MODEL_ENDINGS.sub('', path.name)}"
