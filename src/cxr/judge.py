"""The bodies of cxr eval, compare and readers: what is judged, by which rows, and where the report goes."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxr.config import Eval, EvalOnly
from cxr.config_file import override
from cxr.console import count
from cxr.console import out as terminal
from cxr.errors import CxrError
from cxr.evaluation import compare_render, html, render
from cxr.evaluation import readers as human
from cxr.evaluation import report as reports
from cxr.evaluation.align import Average
from cxr.evaluation.compare import Judged
from cxr.evaluation.compare import compare as compare_two


def evaluate(
    judged: Sequence[str],
    fold: str | None,
    out: Path | None,
    labels: Path | None,
    validation: Path | None,
    tune_on_test: bool,
    averaged: Average,
    allow_seen: bool,
) -> None:
    """Score runs or predictions files, averaged when there are several, write the report and print it."""
    paths, overrides = _split(judged)
    paths, recipe = _take_recipe(paths)
    if _are_files(paths):
        _refuse_split(fold)
        how = _eval_options(overrides)
        report, every, shown = reports.score_files(paths, how, labels, validation, tune_on_test, averaged)
        folder, training = out or paths[0].with_name(paths[0].stem + "_report"), None
    else:
        _refuse({"--labels": labels, "--validation": validation, "--tune-on-test": tune_on_test})
        from cxr.model.evaluate import evaluate_runs

        fold = fold or "test"
        report, every = evaluate_runs(paths, overrides, fold, averaged, allow_seen, recipe)
        shown, home = every, _home(paths[0], recipe)
        folder = out or home / _report_name(fold, paths, overrides)
        training = html.read_training(home) if len(paths) == 1 else None
    render.write(report, every, folder)
    html.write(report, shown, folder, training)
    terminal().print(render.render_terminal(report))
    print(f"report: {folder / 'report.html'}")


def _report_name(fold: str, paths: Sequence[Path], overrides: Sequence[str]) -> str:
    """A name of its own for another archive and for an ensemble, so that neither replaces the run's own report."""
    given = dict(text.split("=", 1) for text in overrides)
    name = f"eval_{fold}"
    if {"data.source", "data.root"} <= given.keys():
        name += f"_on_{given.get('data.name', given['data.source'])}-{Path(given['data.root']).name}"
    others = [path.name if path.is_dir() else f"{path.parent.name}-{path.stem}" for path in paths[1:]]
    return re.sub(r"[^\w.+-]+", "_", "_with_".join([name, *others]))


def compare(judged: Sequence[str], fold: str | None, out: Path | None, labels: Path | None) -> None:
    """Compare two runs or predictions files, print the differences, and write them where `out` is given."""
    paths, overrides = _split(judged)
    paths, recipe = _take_recipe(paths)
    if len(paths) != 2:
        raise CxrError(
            f"{count(len(paths), 'model')} given", "cxr compare takes two: runs, or CSV files of predictions"
        )
    if all(path.suffix == ".csv" for path in paths):
        _refuse_split(fold)
    (first, how), (second, _) = (_judge(path, overrides, fold or "test", labels, recipe) for path in paths)
    comparison = compare_two(first, second, how)
    if out is not None:
        compare_render.write(comparison, out)
    terminal().print(compare_render.render_terminal(comparison))
    if out is not None:
        print(f"comparison: {out / 'comparison.md'}")


def readers(predictions: Path, arguments: Sequence[str], thresholds: Path | None, out: Path | None) -> None:
    """Compare a predictions file with the files of human readers, print, and write where `out` is given."""
    paths, overrides = _split(arguments)
    result = human.compare_reader_files(predictions, paths, thresholds, _eval_options(overrides))
    if out is not None:
        human.write(result, out)
    terminal().print(human.render_terminal(result))
    if out is not None:
        print(f"readers: {out / 'readers.md'}")


def _split(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """(runs, checkpoints or files; overrides) of the positional arguments."""
    overrides = [text for text in arguments if "=" in text and not Path(text).exists()]
    paths = [Path(text) for text in arguments if text not in overrides]
    given = next((text.removeprefix("out=") for text in overrides if text.startswith("out=")), None)
    if given is not None:
        what = f"out={given}: names the folder of a run that is trained, and changes nothing here"
        raise CxrError(what, f"--out {shlex.quote(given)} names the folder of the report")
    if not paths:
        raise CxrError("nothing to judge", "give a run folder, a checkpoint or a CSV of predictions")
    again = [path for place, path in enumerate(paths) if path.resolve() in [one.resolve() for one in paths[:place]]]
    if again:
        raise CxrError([f"{path}: is given twice" for path in again], "give each model once")
    return paths, overrides


def _take_recipe(paths: Sequence[Path]) -> tuple[list[Path], Path | None]:
    """(what is judged, the recipe whose data `xrv:NAME` judges): a YAML file, else the first run's own."""
    published = [path for path in paths if _is_published(path)]
    recipes = [path for path in paths if path.suffix in (".yaml", ".yml")]
    if not published and not recipes:
        return list(paths), None
    if len(recipes) > 1 or not published:
        what = f"{recipes[-1]}: a recipe is no model" if not published else f"{recipes[-1]}: a second recipe"
        raise CxrError(what, "give a run, or cxr eval xrv:NAME CONFIG for a model of torchxrayvision")
    judged = [path for path in paths if path not in recipes]
    runs = [path for path in judged if path not in published and path.suffix != ".csv"]
    return judged, next(iter(recipes + runs), None)


def _is_published(path: Path) -> bool:
    return str(path).startswith("xrv:")


def _home(path: Path, recipe: Path | None) -> Path:
    """Where a model's reports go: its run folder, for `xrv:NAME` runs/xrv_NAME_on_RECIPE."""
    if recipe and _is_published(path):
        return Path("runs") / f"{str(path).replace(':', '_')}_on_{recipe.stem}"
    return path if path.is_dir() else path.parent


def _are_files(paths: Sequence[Path]) -> bool:
    """Whether these are predictions rather than runs; both at once cannot be averaged."""
    files = [path.suffix == ".csv" for path in paths]
    if any(files) and not all(files):
        raise CxrError(f"{paths[0]}: runs and predictions files together", "cxr eval a run first, then take its CSV")
    return all(files)


def _judge(
    path: Path, overrides: Sequence[str], fold: str, labels: Path | None, recipe: Path | None
) -> tuple[Judged, Eval]:
    """One side of a comparison and how it is to be judged."""
    if path.suffix == ".csv":
        how = _eval_options(overrides)
        _, shown, thresholds, _, _ = reports.judge_files([path], how, labels)
        return Judged(str(path), shown, thresholds), how
    _refuse({"--labels": labels})
    from cxr.model.evaluate import judge

    return judge(path, overrides, fold, recipe)


def _eval_options(overrides: Sequence[str]) -> Eval:
    others = [text for text in overrides if not text.startswith("eval.")]
    if others:
        raise CxrError(f"{others[0]}: a predictions file has no config", "only eval.* can be set without a run")
    return override(EvalOnly(), overrides).eval


def _refuse_split(fold: str | None) -> None:
    if fold is not None:
        what = "--split: a CSV of predictions has rows of its own"
        raise CxrError(what, "its rows of split test are judged, or all where none is; leave out those you do not mean")


def _refuse(options: Mapping[str, object]) -> None:
    given = [f"{name}: a run has its own labels and validation rows" for name, value in options.items() if value]
    if given:
        raise CxrError(given, "these options go with a CSV of predictions")
