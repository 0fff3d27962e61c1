"""The bodies of cxr eval, compare and readers: what is judged, by which rows, and where the report goes."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, get_args

from cxr.config.load import override
from cxr.config.schema import Eval, EvalOnly
from cxr.console import count
from cxr.console import out as terminal
from cxr.errors import CxrError
from cxr.evaluation import report as reports
from cxr.evaluation.align import Average
from cxr.evaluation.compare import Judged
from cxr.evaluation.compare import compare as compare_two
from cxr.evaluation.join import DEFAULT, LabelOptions
from cxr.evaluation.readers import compare_reader_files
from cxr.labels.duplicates import Duplicates
from cxr.paths import is_folder
from cxr.report import compare as compare_report
from cxr.report import evaluation as evaluation_report
from cxr.report import readers as readers_report
from cxr.report.run_files import read_training
from cxr.report.terminal import render
from cxr.streams import show
from cxr.text import short_name
from cxr.weights.kinds import WeightsError, check_there, is_from_elsewhere, locate

_ONE_RECIPE = "give a run, or cxr eval MODEL CONFIG for xrv:NAME or a file of weights"
_OTHER_DATA = "data.source=SOURCE data.root=FOLDER"


def evaluate(
    judged: Sequence[str],
    fold: str | None,
    out: Path | None,
    labels: Path | None,
    validation: Path | None,
    tune_on_test: bool,
    averaged: Average,
    allow_seen: bool,
    options: LabelOptions = DEFAULT,
) -> None:
    """Score runs or predictions files, averaged when there are several, write the report and print it."""
    paths, overrides = _split(judged)
    paths, recipe = _take_recipe(paths)
    if _are_files(paths):
        _refuse_split(fold)
        overrides, options = _take_duplicates(overrides, options, bool(labels))
        how = _eval_options(overrides)
        report, every, shown = reports.score_files(
            paths, how, labels, validation, tune_on_test, averaged, options
        )
        folder, training = out or paths[0].with_name(short_name(paths[0].stem) + "_report"), None
    else:
        _refuse(
            _label_options(labels, options) | {"--validation": validation, "--tune-on-test": tune_on_test}
        )
        from cxr.model.evaluate import evaluate_runs

        fold = fold or "test"
        report, every = evaluate_runs(paths, overrides, fold, averaged, allow_seen, recipe)
        shown, home = every, _home(paths[0], recipe)
        folder = out or home / _report_name(fold, paths, overrides)
        training = read_training(home) if len(paths) == 1 else None
    evaluation_report.write(report, every, shown, folder, training)
    terminal().print(render(*evaluation_report.summary(report)))
    show(f"report: {folder / 'report.html'}")


def _report_name(fold: str, paths: Sequence[Path], overrides: Sequence[str]) -> str:
    """A name of its own for another archive and for an ensemble, so that neither replaces the run's own report."""
    given = dict(text.split("=", 1) for text in overrides)
    name = f"eval_{fold}"
    if {"data.source", "data.root"} <= given.keys():
        name += f"_on_{given.get('data.name', given['data.source'])}-{Path(given['data.root']).name}"
    others = [path.name if is_folder(path) else _name_file(path) for path in paths[1:]]
    return short_name(re.sub(r"[^\w.+-]+", "_", "_with_".join([name, *others])))


def compare(
    judged: Sequence[str],
    fold: str | None,
    out: Path | None,
    labels: Path | None,
    options: LabelOptions = DEFAULT,
) -> None:
    """Compare two runs or predictions files, print the differences, and write them where `out` is given."""
    paths, overrides = _split(judged)
    paths, recipe = _take_recipe(paths)
    if len(paths) != 2:
        raise CxrError(
            f"{count(len(paths), 'model')} given", "cxr compare takes two: runs, or CSV files of predictions"
        )
    if all(path.suffix == ".csv" for path in paths):
        _refuse_split(fold)
    sides = [_judge(path, paths, overrides, fold or "test", labels, recipe, options) for path in paths]
    (first, how), (second, _) = sides
    comparison = compare_two(first, second, how)
    if out is not None:
        compare_report.write(comparison, out)
    terminal().print(render(*compare_report.summary(comparison)))
    if out is not None:
        show(f"comparison: {out / 'comparison.md'}")


def readers(
    predictions: Path,
    arguments: Sequence[str],
    thresholds: Path | None,
    out: Path | None,
    column: str | None = None,
) -> None:
    """Compare a predictions file with the files of human readers, print, and write where `out` is given."""
    paths, overrides = _split(arguments)
    overrides, options = _take_duplicates(overrides, LabelOptions(column), True)
    result = compare_reader_files(predictions, paths, thresholds, _eval_options(overrides), options)
    if out is not None:
        readers_report.write(result, out)
    terminal().print(render(*readers_report.summary(result)))
    if out is not None:
        show(f"readers: {out / 'readers.md'}")


def _split(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """(runs, checkpoints or files; overrides) of the positional arguments."""
    overrides = [text for text in arguments if "=" in text and not os.path.exists(text)]
    paths = [Path(text) for text in arguments if text not in overrides]
    given = next((text.removeprefix("out=") for text in overrides if text.startswith("out=")), None)
    if given is not None:
        what = f"out={given}: names the folder of a run that is trained, and changes nothing here"
        raise CxrError(what, f"--out {shlex.quote(given)} names the folder of the report")
    if not paths:
        raise CxrError("nothing to judge", "give a run folder, a checkpoint or a CSV of predictions")
    real = [os.path.realpath(path) for path in paths]
    again = [path for place, path in enumerate(paths) if real[place] in real[:place]]
    if again:
        raise CxrError([f"{path}: is given twice" for path in again], "give each model once")
    return paths, overrides


def _take_recipe(paths: Sequence[Path]) -> tuple[list[Path], Path | None]:
    """(what is judged, the recipe whose data a model from elsewhere judges): a YAML file, else the first run's own."""
    recipes = [path for path in paths if path.suffix in (".yaml", ".yml")]
    others = [path for path in paths if path not in recipes and path.suffix != ".csv"]
    for path in others:
        check_there(path)
    guests = [path for path in others if _is_guest(path)]
    if not guests and not recipes:
        return list(paths), None
    if not guests:
        _refuse_recipe(recipes[-1], others)
    if len(recipes) > 1:
        raise CxrError(f"{recipes[-1]}: a second recipe", _ONE_RECIPE)
    judged = [path for path in paths if path not in recipes]
    runs = [path for path in judged if path not in guests and path.suffix != ".csv"]
    return judged, next(iter(recipes + runs), None)


def _refuse_recipe(recipe: Path, runs: Sequence[Path]) -> NoReturn:
    """Say why a recipe has no place here: no run is beside it, or one that has its own data."""
    for run in runs:
        try:
            locate(run)
        except WeightsError as error:  # a folder without a run
            raise error.at(str(run)) from None
    if runs:
        what = f"{recipe}: a recipe beside {runs[0]}, which has its own data"
        raise CxrError(what, f"leave the recipe out, or name other data: {_OTHER_DATA}")
    raise CxrError(f"{recipe}: a recipe is no model", _ONE_RECIPE)


def _is_guest(path: Path) -> bool:
    """Whether a model is none of cxr's: one of torchxrayvision, or a file of weights."""
    return str(path).startswith("xrv:") or is_from_elsewhere(path)


def _home(path: Path, recipe: Path | None) -> Path:
    """Where a model's reports go: its run folder, for a model from elsewhere runs/MODEL_on_RECIPE."""
    if recipe and _is_guest(path):
        name = str(path) if str(path).startswith("xrv:") else _name_file(path)
        return Path("runs") / short_name(f"{re.sub(r'[^A-Za-z0-9_.+-]+', '_', name)}_on_{recipe.stem}")
    return path if is_folder(path) else path.parent


def _name_file(path: Path) -> str:
    """Folder and name of a file, and which of its networks: many models are called model.pth."""
    name = re.sub(r"\.(safetensors|pth|pt|ckpt|tar|csv)(?=\.|#|$)", "", path.name)
    return f"{path.absolute().parent.name}-{name}"


def _are_files(paths: Sequence[Path]) -> bool:
    """Whether these are predictions rather than runs; both at once cannot be averaged."""
    files = [path.suffix == ".csv" for path in paths]
    if any(files) and not all(files):
        raise CxrError(
            f"{paths[0]}: runs and predictions files together", "cxr eval a run first, then take its CSV"
        )
    return all(files)


def _judge(
    path: Path,
    paths: Sequence[Path],
    overrides: Sequence[str],
    fold: str,
    labels: Path | None,
    recipe: Path | None,
    options: LabelOptions,
) -> tuple[Judged, Eval]:
    """One side of a comparison and how it is to be judged."""
    if path.suffix == ".csv":
        overrides, options = _take_duplicates(overrides, options, bool(labels))
        how = _eval_options(overrides)
        _, shown, thresholds, _, _ = reports.judge_files([path], how, labels, options=options)
        return Judged(str(path), shown, thresholds, tuple(f"{path}: {note}" for note in shown.notes)), how
    _refuse(_label_options(labels, options))
    from cxr.model.evaluate import judge, overrides_for

    return judge(path, overrides_for(path, paths, overrides), fold, recipe)


def _take_duplicates(
    overrides: Sequence[str], options: LabelOptions, has_labels: bool
) -> tuple[list[str], LabelOptions]:
    """The one key of data that a table of labels beside predictions takes, moved from the overrides to its options."""
    key = "data.duplicates="
    given = [text.removeprefix(key) for text in overrides if text.startswith(key)]
    known = {str(rule): rule for rule in get_args(Duplicates)}
    if given and given[-1] not in known:
        raise CxrError(f"{key}{given[-1]}: no such rule", f"it is one of {', '.join(known)}")
    if given and not has_labels:
        raise CxrError(
            f"{key}{given[-1]}: joins rows of a table of labels", "give the table with --labels FILE"
        )
    rest = [text for text in overrides if not text.startswith(key)]
    return rest, replace(options, duplicates=known[given[-1]]) if given else options


def _eval_options(overrides: Sequence[str]) -> Eval:
    others = [text for text in overrides if not text.startswith("eval.")]
    if others:
        raise CxrError(
            f"{others[0]}: a predictions file has no config",
            "only eval.* can be set without a run, and data.duplicates",
        )
    return override(EvalOnly(), overrides).eval


def _refuse_split(fold: str | None) -> None:
    if fold is not None:
        what = "--split: a CSV of predictions has rows of its own"
        raise CxrError(
            what, "its rows of split test are judged, or all where none is; leave out those you do not mean"
        )


def _label_options(labels: Path | None, options: LabelOptions) -> dict[str, object]:
    """Options that say where labels are, by their names."""
    return {
        "--labels": labels,
        "--label-column": options.column,
        "--skip-unlabelled": options.skip_unlabelled,
    }


def _refuse(options: Mapping[str, object]) -> None:
    given = [
        f"{name}: a run has its own labels and validation rows" for name, value in options.items() if value
    ]
    if given:
        raise CxrError(given, "these options go with a CSV of predictions")
