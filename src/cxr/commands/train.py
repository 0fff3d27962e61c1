"""The bodies of cxr pack and train: the order of their checks, and how to continue after a stop."""

import os
import shlex
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from cxr.config.load import load
from cxr.config.recipes import OF_RUN, find_recipe
from cxr.config.schema import Config
from cxr.console import count, err, say, warn
from cxr.data.counts import counts, warnings
from cxr.data.dataset import Dataset, list_dataset
from cxr.errors import CxrError, Interrupted
from cxr.labels.files_read import noting_files
from cxr.paths import exists, is_folder
from cxr.report.terminal import render
from cxr.resume_command import command, print_resume_command
from cxr.streams import show

if TYPE_CHECKING:
    from cxr.distributed import World


def pack(config: Path, overrides: Sequence[str], overwrite: bool, update: bool) -> None:
    """Pack what is not packed yet; print counts of the dataset and the folders of its stores."""
    if overwrite and update:
        problem = "--overwrite and --update cannot be combined: one packs all images again, the other a few"
        raise CxrError(problem, "give one of them")
    recipe = load(config, overrides)
    options = ["--overwrite"] * overwrite + ["--update"] * update

    with print_resume_command(lambda: command("pack", config, *overrides, *options)):
        listed = list_dataset(recipe, "overwrite" if overwrite else "update" if update else "go on")
        dataset = listed.open(begun=options.clear)  # what has begun is continued without the options
    _print_counts(dataset)
    for part in dataset.datasets:
        store = part.store
        num_packed = int(store.readable.sum())
        show(f"{count(num_packed, 'image')} of {store.manifest.preprocess.size} pixels in {store.path}")


def train(config: Path, overrides: Sequence[str], resume: bool, overwrite: bool) -> None:
    """Train, packing first what is not packed yet."""
    recipe = _follow_moved_run(config, overrides, load(config, overrides), resume)
    run_recipe(
        recipe,
        resume,
        overwrite,
        lambda options: command("train", config, *overrides, *options),
        lambda: command("train", recipe.out / OF_RUN, "--resume"),
    )


def run_recipe(
    recipe: Config,
    resume: bool,
    overwrite: bool,
    name_command: Callable[[Sequence[str]], str],
    name_resume: Callable[[], str],
    check: Callable[[Dataset], None] = lambda _: None,
) -> bool:
    """Train a recipe; returns whether this process is the first of the training.

    The order matters, cheapest first: 1. the recipe and the run folder, 2. tables, splits, files, labels and
    stores, 3. for a resumed run, whether it is the same run, 4. weights, 5. packing, 6. training.

    Args:
        recipe: The config.
        resume: Continue from last.pt.
        overwrite: Replace the run in the run folder.
        name_command: This command with other options, for messages.
        name_resume: The command that resumes the run once it has saved itself.
        check: Refuses a dataset; called before packing, where that is possible, and after it.
    """
    from cxr.distributed import join_world
    from cxr.training.train import Stopped
    from cxr.training.train import train as run_training

    _check_run_folder(recipe.out, resume, overwrite, name_command(["--resume"]))
    before = _time_of_save(recipe.out)

    def again() -> str:
        if _time_of_save(recipe.out) != before:  # this run has saved itself
            return name_resume()
        return name_command(["--resume"] * resume + ["--overwrite"] * overwrite)

    with join_world(recipe.device) as world, print_resume_command(again) if world.is_first else nullcontext():
        with world.first_alone():
            dataset, label_files = _open(recipe, world, resume, check)
        if world.is_first:
            _print_counts(dataset)
        try:
            run_training(recipe, dataset, world, resume, label_files)
        except Stopped as stopped:
            raise Interrupted(stopped.signal, saved=True) from None
    if world.is_first:
        show(f"{recipe.out / 'best.safetensors'}; next: cxr eval {shlex.quote(str(recipe.out))}")
    return world.is_first


def _time_of_save(out: Path) -> int | None:
    """When a run was saved last, None where it was not."""
    try:
        return (out / "last.pt").stat().st_mtime_ns
    except OSError:
        return None


def _open(
    recipe: Config, world: "World", resume: bool, check: Callable[[Dataset], None]
) -> tuple[Dataset, list[Path]]:
    """(the dataset, packed by the first process while the others wait; the files that list it)."""
    from cxr.model.load_weights import check_weights
    from cxr.training.setup import check_before_packing

    with noting_files() as label_files:
        listed = list_dataset(recipe, may_pack=world.is_first)
    check_before_packing(recipe, listed, world, resume)
    if listed.is_certain:
        check(listed.plan())
    if not resume:  # last.pt holds every tensor
        check_weights(recipe.model, download=True)
    dataset = listed.open(may_pack=world.is_first)
    check(dataset)
    return dataset, label_files


def _follow_moved_run(config: Path, overrides: Sequence[str], recipe: Config, resume: bool) -> Config:
    """The recipe with the run folder as it is now, for a run that is given, or resumed by its config.yaml."""
    file = find_recipe(config)
    is_given = file != config and file.name == OF_RUN
    is_resumed = resume and file.name == OF_RUN and exists(file.parent / "last.pt")
    if not (is_given or is_resumed) or any(text.startswith("out=") for text in overrides):
        return recipe
    if recipe.out.resolve() != file.parent.resolve():
        say(f"{file}: the run was in {recipe.out} and is now in {file.parent}")
    return recipe.model_copy(update={"out": file.parent})


def _check_run_folder(out: Path, resume: bool, overwrite: bool, to_resume: str) -> None:
    """Refuse a run folder that cannot be resumed or written, or that would be overwritten unasked."""
    has_last = exists(out / "last.pt")
    if resume and overwrite:
        problem = "--resume and --overwrite cannot be combined: one continues the run, the other replaces it"
        raise CxrError(problem, "give one of them")
    if resume and not has_last:
        hint = "train without --resume, or set out=FOLDER"
        raise CxrError(f"{out}: there is no last.pt to resume from", hint)
    if (has_last or exists(out / "best.safetensors")) and not resume and not overwrite:
        hint = "--overwrite replaces it, out=FOLDER keeps both"
        if has_last:
            hint += f"; resume with: {to_resume}"
        raise CxrError(f"{out}: holds a run already", hint)
    above = next(folder for folder in (out, *out.absolute().parents) if exists(folder))
    if not is_folder(above) or not os.access(above, os.W_OK | os.X_OK):
        raise CxrError(f"{out}: cannot be written", "set out=FOLDER to a folder that you may write to")


def _print_counts(dataset: Dataset) -> None:
    """Print rows and labels by split, and warn of what training must know about the tables."""
    err.print(render(*counts(dataset)))
    for line in warnings(dataset):
        warn(line)
