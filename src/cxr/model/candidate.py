"""A trained model and the dataset it is evaluated on: a run's, or a recipe's for an external model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr.config.load import load, override
from cxr.config.schema import Config
from cxr.console import warn
from cxr.data.dataset import Dataset, open_dataset, preprocess
from cxr.data.malloc import keep_freed_memory
from cxr.data.placement import SharedPixels
from cxr.distributed import World
from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.model import checkpoint as checkpoints
from cxr.model import external_checkpoint, external_report, provenance, xrv
from cxr.model.checkpoint import Checkpoint, Metadata
from cxr.model.external import ExternalModel, find_network, is_external, open_external
from cxr.model.leak_check import check_seen, unknown_training
from cxr.model.predict import predict_dataset


@dataclass(frozen=True)
class Candidate:
    """A trained model and the dataset it is evaluated on; `external` where no run of cxr trained it."""

    run: Path
    checkpoint: Checkpoint
    config: Config
    dataset: Dataset
    pixels: SharedPixels
    external: ExternalModel | None = None
    notes: tuple[str, ...] = ()

    def predict(self, split: str) -> Predictions:
        """Its predictions of the train, val or test images."""
        world = World(0, 1, 1, self.pixels.device)
        loader = self.pixels.open_loader(self.dataset, self.dataset.rows(split), self.config.store.where)
        classifier = self.checkpoint.classifier
        return predict_dataset(classifier, loader, self.dataset, split, self.config, world)[0]

    def check_split(self, split: str, allow_seen: bool) -> list[str]:
        """Notes on patients of a split that the model has seen; without `allow_seen` they are refused.

        Raises:
            CxrError: No image is in the split, or patients of the training are.
        """
        if not len(self.dataset.rows(split)):
            problem = f"{self.config.data.root}: no images for {split}"
            raise CxrError(problem, "--split val or train, or another data.split")
        if self.external:  # its notes say what it may have seen
            return []
        return check_seen(str(self.run), self.dataset, self.checkpoint, split, allow_seen)


def open_candidate(
    run: Path, overrides: Sequence[str], pixels: SharedPixels, recipe: Path | None = None
) -> Candidate:
    """A checkpoint with the data of its config, or an external model with the data of a recipe."""
    if is_external(run):
        return _open_external(str(run), overrides, recipe, pixels)
    checkpoint = checkpoints.load(run, pixels.device)
    trained = checkpoint.metadata
    config = evaluation_config(trained.config, trained.findings, overrides)
    # before any file is looked for
    check_unchanged(config, trained, run)
    # told and not refused: the model may be good all the same
    reason = unknown_training(checkpoint)
    if reason:
        warn(f"{run}: the leak check is off: {reason}")
    notes = tuple(provenance.note_unfinished(run, checkpoint))
    keep_freed_memory(pixels.device)
    return Candidate(run, checkpoint, config, open_dataset(config, partly=True), pixels, notes=notes)


def evaluation_config(trained: Config, findings: Sequence[str], overrides: Sequence[str]) -> Config:
    """A run's config with overrides laid over it, for the findings of its model.

    data.source and data.root together name another dataset: data.also is left out, and where the source is
    another than the run's, every other key of `data` begins at its default, since its value was for the run's
    dataset.

    Raises:
        CxrError: Every unknown key and wrong value.
    """
    # the last of equal keys wins
    given = dict(text.split("=", 1) for text in overrides if "=" in text)
    names = {"data": {"findings": list(findings)}}  # as values: YAML has no letters such as DEL
    if not {"data.source", "data.root"} <= given.keys():
        return override(trained, overrides, values=names)
    if given["data.source"] == trained.data.source:
        return override(trained, ["data.also=[]", *overrides], values=names)
    return override(trained, ["store.path=null", *overrides], reset=["data"], values=names)


def check_unchanged(config: Config, trained: Metadata, run: Path) -> None:
    """Refuse overrides of what the checkpoint fixes: pixels, findings, and all that belongs to training.

    Of a copy for others, which names no folder, that of the dataset must be given.
    """
    if trained.is_shared and config.data.root == trained.config.data.root:
        problem = f"{run}: does not say where its dataset is: folders were left out by cxr card"
        raise CxrError(problem, "data.root=FOLDER")
    problems = []
    if preprocess(config) != trained.preprocess:
        problems.append(f"{run}: trained on {trained.preprocess}, asked to read {preprocess(config)}")
    if config.image.size != trained.config.image.size:
        sizes = f"trained at {trained.config.image.size} pixels, asked for {config.image.size}"
        problems.append(f"{run}: {sizes}")
    if config.data.findings != trained.findings:
        problems.append(f"{run}: data.findings cannot change, the model has its own")
    for section in ("model", "loss", "train", "seed"):
        if getattr(config, section) != getattr(trained.config, section):
            problems.append(f"{run}: {section} cannot change after training")
    if problems:
        raise CxrError(problems, "override data.*, store.* and eval.* only; the checkpoint fixes the rest")


def overrides_for(run: Path, runs: Sequence[Path], overrides: Sequence[str]) -> list[str]:
    """The overrides for one of several models: model.head_findings is for files of weights, not for runs."""
    if is_external(run) or not any(is_external(other) for other in runs):
        return list(overrides)
    return [text for text in overrides if not text.startswith("model.head_findings=")]


def _open_external(
    name: str, overrides: Sequence[str], recipe: Path | None, pixels: SharedPixels
) -> Candidate:
    """An external model with the data of a recipe: a YAML file, or a run whose own data it takes."""
    published = xrv.find(name) if xrv.is_named(name) else None
    if recipe is None:
        if not published:
            find_network(name)  # a file that is no model has another error
        names = "" if published else " model.head_findings=nih14"
        hint = f"cxr eval {name} nih_densenet121 data.root=FOLDER{names}"
        raise CxrError(f"{name}: has no dataset to be evaluated on", hint)
    _refuse_training_keys(name, overrides)
    is_run = recipe.suffix not in (".yaml", ".yml")
    if is_run:  # its split is the same at any size of the images
        trained = checkpoints.load(recipe).metadata
        size = [f"image.size={published.size}"] if published else []
        config = evaluation_config(trained.config, trained.findings, [*size, *overrides])
    else:
        config = load(recipe, overrides)
    # everything that may be wrong with the model is known before hours of packing
    model = open_external(name, config.model.head_findings)
    config = external_checkpoint.fit_config(model, config, str(recipe))
    external_checkpoint.fetch(model, config.model)
    every = open_dataset(config, partly=is_run)
    dataset = external_checkpoint.keep_trained(model, every)
    keep_freed_memory(pixels.device)
    findings = dataset.targets.findings
    checkpoint = external_checkpoint.build_checkpoint(model, config, findings, pixels.device)
    sources = [data.source for data in (config.data, *config.data.also)]
    notes = external_report.notes(model, sources, config.image.fit, every, dataset)
    return Candidate(Path(name), checkpoint, config, dataset, pixels, model, notes)


def _refuse_training_keys(name: str, overrides: Sequence[str]) -> None:
    """Refuse overrides that change nothing, since the model is as its file has it."""
    fixed = ("model.", "train.", "loss.", "seed=")
    problems = [f"{name}: {text} changes nothing: the file says what the model is" for text in overrides
                if text.startswith(fixed) and not text.startswith("model.head_findings=")]  # fmt: skip
    if problems:
        raise CxrError(problems, "leave it out; of model.* only model.head_findings is used here")
