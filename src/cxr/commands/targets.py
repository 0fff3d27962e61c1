"""The positional arguments of cxr eval, compare and readers, parsed once: models, a recipe, overrides."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn, get_args

from cxr.config.load import override, refuse_blanks
from cxr.config.recipes import is_recipe_name
from cxr.config.schema import Eval, EvalOnly
from cxr.download import hub
from cxr.errors import CxrError
from cxr.evaluation.join import LabelOptions
from cxr.labels.duplicates import Duplicates
from cxr.weights.errors import WeightsError
from cxr.weights.locate import check_there, is_from_elsewhere, locate

Kind = Literal["predictions", "run", "weights"]
"""A CSV of predictions; a run folder or checkpoint of cxr; xrv:NAME or a weight file of another program."""

_RECIPE_ENDINGS = (".yaml", ".yml")
_ONE_RECIPE = "give a run, or cxr eval MODEL CONFIG for xrv:NAME or a file of weights"
_DUPLICATES = "data.duplicates="


@dataclass(frozen=True)
class Target:
    """A model, or its predictions, as named on the command line."""

    path: Path
    kind: Kind


@dataclass(frozen=True)
class Targets:
    """What a command evaluates.

    Attributes:
        models: In the order given, at least one.
        recipe: Whose dataset models of kind `weights` are evaluated on: the recipe, or else the first run;
            None where neither is given or no model needs it.
        overrides: KEY=VALUE texts.
    """

    models: tuple[Target, ...]
    recipe: Path | None
    overrides: tuple[str, ...]

    @property
    def paths(self) -> list[Path]:
        """Of the models."""
        return [model.path for model in self.models]

    @property
    def all_predictions(self) -> bool:
        """Whether every model is a CSV of predictions."""
        return all(model.kind == "predictions" for model in self.models)


def parse_targets(arguments: Sequence[str]) -> Targets:
    """The models, the recipe and the overrides of a command line.

    Raises:
        CxrError: No model, a model given twice, a path without a model, or a recipe that no model needs.
    """
    paths, overrides = split_overrides(arguments)
    recipes = [path for path in paths if path.suffix in _RECIPE_ENDINGS or is_recipe_name(path)]
    # CSV and recipe are known by their ending, a weight file by its content: .pt may be anybody's.
    models = []
    for path in paths:
        if path.suffix == ".csv":
            models.append(Target(path, "predictions"))
        elif path not in recipes:
            check_there(path)  # refuses what is absent, a pipe, a circle of links
            is_weights = is_published(path) or is_from_elsewhere(path)
            models.append(Target(path, "weights" if is_weights else "run"))
    # Models of kind weights have no data of their own: a recipe names it, or a run beside them.
    runs = [model.path for model in models if model.kind == "run"]
    if not any(model.kind == "weights" for model in models):
        if recipes:
            _refuse_recipe(recipes[-1], runs)
        return Targets(tuple(models), None, tuple(overrides))
    if len(recipes) > 1:
        raise CxrError(f"{recipes[-1]}: a second recipe", _ONE_RECIPE)
    recipe = next(iter([*recipes, *runs]), None)
    return Targets(tuple(models), recipe, tuple(overrides))


def split_overrides(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """(paths, overrides) of the positional arguments; an existing file whose name holds = is a path.

    Raises:
        CxrError: No path, a path given twice, out=FOLDER, or blanks around an equals sign.
    """
    # a file may have = in its name, and hub:...#sha256=DIGITS has
    named = [text for text in arguments if hub.is_named(text) or os.path.exists(text)]
    refuse_blanks([text for text in arguments if text not in named])
    overrides = [text for text in arguments if "=" in text and text not in named]
    paths = [Path(text) for text in arguments if text not in overrides]
    for text in overrides:
        if text.startswith("out="):
            folder = text.removeprefix("out=")
            problem = f"out={folder}: names the folder of a run that is trained, and changes nothing here"
            raise CxrError(problem, f"--out {shlex.quote(folder)} names the folder of the report")
    if not paths:
        raise CxrError("nothing to evaluate", "give a run folder, a checkpoint or a CSV of predictions")
    # A model twice would count double in an ensemble, and has no difference from itself.
    real = [os.path.realpath(path) for path in paths]
    repeated = [path for number, path in enumerate(paths) if real[number] in real[:number]]
    if repeated:
        raise CxrError([f"{path}: is given twice" for path in repeated], "give each model once")
    return paths, overrides


def is_published(path: Path) -> bool:
    """Whether a model is named as one of torchxrayvision, by xrv:NAME."""
    return str(path).startswith("xrv:")


def _refuse_recipe(recipe: Path, runs: Sequence[Path]) -> NoReturn:
    """Refuse a recipe where no model needs it.

    Raises:
        CxrError: A folder without a run; a run, which has its own data; or a recipe without any model.
    """
    for run in runs:  # a folder without a run is the likelier mistake, and is told first
        try:
            locate(run)
        except WeightsError as error:
            raise error.at(str(run)) from None
    if runs:
        problem = f"{recipe}: a recipe beside {runs[0]}, which has its own data"
        hint = "leave the recipe out, or name other data: data.source=SOURCE data.root=FOLDER"
        raise CxrError(problem, hint)
    raise CxrError(f"{recipe}: a recipe is no model", _ONE_RECIPE)


def file_options(
    overrides: Sequence[str], options: LabelOptions, has_labels: bool
) -> tuple[Eval, LabelOptions]:
    """(the eval keys, the label options) for CSV files, which take eval.* and data.duplicates alone.

    Args:
        overrides: KEY=VALUE texts.
        options: Label options of the command line, which data.duplicates is added to.
        has_labels: Whether there is a table of labels, whose rows data.duplicates joins.

    Raises:
        CxrError: Another key, or a value that it does not take.
    """
    # the last one wins, as with all keys
    rules = [text.removeprefix(_DUPLICATES) for text in overrides if text.startswith(_DUPLICATES)]
    if rules:
        known = {str(rule): rule for rule in get_args(Duplicates)}
        text = f"{_DUPLICATES}{rules[-1]}"
        if rules[-1] not in known:
            raise CxrError(f"{text}: no such rule", f"it is one of {', '.join(known)}")
        if not has_labels:
            raise CxrError(f"{text}: joins rows of a table of labels", "give the table with --labels FILE")
        options = replace(options, duplicates=known[rules[-1]])

    # whatever is left is of the section eval
    others = [text for text in overrides if not text.startswith(_DUPLICATES)]
    for text in others:
        if not text.startswith("eval."):
            hint = "only eval.* can be set without a run, and data.duplicates"
            raise CxrError(f"{text}: a predictions file has no config", hint)
    return override(EvalOnly(), others).eval, options


def refuse_split(split: str | None) -> None:
    """Refuse --split beside predictions files.

    Raises:
        CxrError: It is given.
    """
    if split is not None:
        raise CxrError(
            "--split: cannot be combined with a CSV of predictions, whose rows name their split",
            "its rows of split test are evaluated, or all where none is; remove rows that you do not mean",
        )


def refuse_file_options(
    labels: Path | None,
    options: LabelOptions,
    validation: Path | None = None,
    tune_on_test: bool = False,
    has_second: bool = False,
) -> None:
    """Refuse options of predictions files beside a run; --skip-unlabelled goes with second labels too.

    Raises:
        CxrError: Each of them that is given.
    """
    given = {
        "--labels": labels,
        "--label-column": options.column,
        "--skip-unlabelled": options.skip_unlabelled and not has_second,
        "--validation": validation,
        "--tune-on-test": tune_on_test,
    }
    problems = [
        f"{name}: cannot be combined with a run, which has its own labels and validation rows"
        for name, value in given.items()
        if value
    ]
    if problems:
        raise CxrError(problems, "these options go with a CSV of predictions")
