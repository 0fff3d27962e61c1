"""The frozen Config tree: every key, its type, its default, and one line of meaning, which `cxr config` prints."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from cxr.data.findings import GROUPS, canonical

UncertainPolicy = Literal["ignore", "zeros", "ones"] | tuple[float, float]
UserPath = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))]


Views = Literal["single", "flip", "ten_crop"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def _expand_findings(names: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
    if isinstance(names, str):
        if names not in GROUPS:
            raise ValueError(f"{names!r} is no group of findings; known are {', '.join(GROUPS)}, or give a list")
        return GROUPS[names]
    if names is None:
        return None
    if not names or len(set(names)) != len(names):
        raise ValueError("findings must be a list of different names")
    return tuple(canonical(name) for name in names)


def _check_policy(policy: UncertainPolicy) -> UncertainPolicy:
    if isinstance(policy, tuple) and not 0 <= policy[0] <= policy[1] <= 1:
        raise ValueError("a smoothing range is [low, high] with 0 <= low <= high <= 1")
    return policy


Policy = Annotated[UncertainPolicy, AfterValidator(_check_policy)]


def _must_be(what: str) -> WrapValidator:
    """One message for a value that may take several forms, in place of one a form."""

    def check(value: object, form: ValidatorFunctionWrapHandler) -> object:
        try:
            return form(value)
        except ValidationError:
            raise ValueError(f"must be {what}, not {value!r}") from None

    return WrapValidator(check)


class Lists(_Section):
    """Files with one image name a line; further columns are ignored."""

    train: UserPath
    """Names of the training images."""
    val: UserPath
    """Names of the validation images."""
    test: UserPath
    """Names of the test images."""


class Columns(_Section):
    """Columns of a `table` source's CSV."""

    image: str = "image"
    """Column with the file path, relative to data.root."""
    patient: str = "patient_id"
    """Column with the patient, so that no patient is in two splits."""
    study: str | None = None
    """Column with the study, if there is one."""
    view: str | None = None
    """Column with the view (PA, AP, lateral), if there is one."""
    sex: str | None = None
    """Column with the sex, if there is one."""
    age: str | None = None
    """Column with the age in years, if there is one."""
    others: tuple[str, ...] = ()
    """Further columns to keep, such as [scanner], for eval.subgroups."""


class Phantom(_Section):
    """What the `phantom` source generates into data.root when nothing is there yet."""

    num_images: int = Field(2000, ge=1)
    """Number of images."""
    layout: Literal["nih", "chexpert"] = "nih"
    """Archive whose folders and files are imitated."""
    size: int = Field(256, ge=32, le=4096)
    """Width and height in pixels."""
    seed: int = 0
    """Seed of the generated patients and images."""


class Archive(_Section):
    """What is said of one archive: its images, its labels, its patients in which split."""

    source: Literal["nih", "chexpert", "table", "phantom"]
    """Reader of the archive: nih, chexpert, table (any CSV) or phantom (generated)."""
    root: UserPath
    """Folder of the archive."""
    csv: UserPath | None = None
    """Label table, relative to data.root; null takes the archive's own."""
    split: Literal["official", "lists", "random", "column"] = "official"
    """How rows become train, val and test: the archive's own lists, data.lists, by patient, or data.split_column."""
    lists: Lists | None = None
    """Name lists for split=lists: {train: FILE, val: FILE, test: FILE}."""
    split_column: str = "split"
    """Column for split=column, holding train, val or test."""
    val_fraction: float = Field(0.1, gt=0, lt=1)
    """Share of patients for validation where the split names none."""
    test_fraction: float = Field(0.2, ge=0, lt=1)
    """Share of patients for testing under split=random."""
    split_seed: int = 0
    """Seed of the patients drawn for val_fraction and test_fraction, apart from `seed` so that runs share a split."""
    views: tuple[str, ...] | None = None
    """Views to keep, such as [PA, AP]; null keeps all."""
    missing: Literal["error", "skip"] = "error"
    """When a listed image has no file or no labels: stop, or go on and list it beside the store."""
    unreadable: Literal["error", "skip"] = "error"
    """When a file cannot be decoded: stop, or go on and list it beside the store."""
    uncertain: Annotated[Policy | dict[str, Policy], _must_be(
        "ignore, zeros, ones, a range [low, high] with 0 <= low <= high <= 1, or a mapping of findings to these"
    )] = "ignore"  # fmt: skip
    """Uncertain (-1) cells: ignore, zeros, ones, a smoothing range [0.55, 0.85], or one of these per finding."""
    blank: Literal["negative", "masked"] = "negative"
    """Blank cells: negative, or masked out of the loss and the metrics."""
    columns: Columns = Columns()
    """Column names of a `table` source."""
    phantom: Phantom = Phantom()
    """What a `phantom` source generates."""
    name: Annotated[str, Field(pattern=r"^[\w.+-]+$")] | None = None
    """Name in reports and before image names where there are several archives; null takes the source's."""
    weight: float = Field(1.0, gt=0, le=100)
    """Visits of each training row an epoch: 2 is twice, 0.5 a half of the rows, drawn anew each epoch."""

    @model_validator(mode="after")
    def _lists_are_there(self) -> Self:
        if self.split == "lists" and self.lists is None:
            raise ValueError("split=lists needs lists: {train: FILE, val: FILE, test: FILE}")
        if self.source == "table" and self.split == "official":
            raise ValueError("a table has no official split; use split=random, column or lists")
        return self


class Also(Archive):
    """A further archive, described by the keys of `data` itself."""


class Data(Archive):
    """Which images, which labels, which patients in which split."""

    findings: Annotated[str | tuple[str, ...] | None, AfterValidator(_expand_findings)] = None
    """Targets: a list, or nih14, chexpert14, chexpert5; null takes all that is labelled but No Finding."""
    also: tuple[Also, ...] = ()
    """Further archives to learn from at once: a list of sections with the keys above, from source to weight."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        every: tuple[Archive, ...] = (self, *self.also)
        given = [one.name for one in every if one.name]
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            raise ValueError(f"two archives have the name {', '.join(twice)}; each needs a name of its own")
        return self


class Image(_Section):
    """How pixels are prepared."""

    store_size: int = Field(256, ge=16, le=4096)
    """Width and height of the packed images in pixels."""
    size: int = Field(224, ge=32, le=4096)
    """Width and height of the model's input; the whole packed image is resampled to it."""
    fit: Literal["pad", "squash", "crop"] = "pad"
    """Files that are not square: pad with black, squash, or crop the centre."""


class Store(_Section):
    """Where packed pixels live."""

    path: UserPath | None = None
    """Folder of the store; null takes stores/<source>-<root folder's name>-<store_size>."""
    where: Literal["auto", "disk", "ram", "gpu"] = "auto"
    """Where pixels are read from while training: auto takes the GPU, then RAM, then disk, by free memory."""
    workers: int = Field(0, ge=0)
    """Decoding threads while packing; 0 takes one a core."""


class Augment(_Section):
    """Random changes of training images, drawn for each image from (seed, step)."""

    flip: float = Field(0.5, ge=0, le=1)
    """Probability of a horizontal flip."""
    rotate: float = Field(7.0, ge=0, le=180)
    """Largest rotation in degrees, either way."""
    shift: float = Field(0.05, ge=0, lt=1)
    """Largest shift as a share of the width and the height, either way."""
    scale: tuple[float, float] = (0.9, 1.1)
    """Range of the magnification."""
    crop: tuple[float, float] = (1.0, 1.0)
    """Range of the share of the image's area that a random resized crop keeps; [1, 1] crops nothing."""
    crop_ratio: tuple[float, float] = (0.75, 1.3333)
    """Range of the crop's width over its height, as far as the crop stays inside the image."""
    brightness: float = Field(0.1, ge=0, lt=1)
    """Largest change of brightness as a share of full white, either way."""
    contrast: float = Field(0.1, ge=0, lt=1)
    """Largest relative change of contrast about the image's mean, either way."""

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> "Augment":
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError("scale is a range [low, high] with 0 < low <= high")
        if not 0 < self.crop[0] <= self.crop[1] <= 1 or not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ValueError(
                "crop is a range [low, high] with 0 < low <= high <= 1, crop_ratio one with 0 < low <= high"
            )
        return self


class Model(_Section):
    """Backbone and its first weights."""

    backbone: Literal[
        "densenet121", "densenet169", "densenet201", "resnet18", "resnet34", "resnet50", "resnet101"
    ] = "densenet121"  # fmt: skip
    """Architecture of torchvision."""
    weights: str = "imagenet"
    """First weights: imagenet (torchvision's), none, or a checkpoint file."""
    stem: Literal["rgb", "grey"] = "rgb"
    """First convolution: rgb as torchvision's, or grey: one channel, colours and normalisation folded in."""
    train_layers: Literal["all", "head", "last_block"] = "all"
    """Layers that learn: all, the head alone (feature extraction), or the head and the last block."""


class Loss(_Section):
    """Masked binary cross-entropy."""

    weighting: Literal["chexnet", "pos_weight", "none"] = "chexnet"
    """Class weights per finding from training rows: chexnet (|N|, |P| over both), pos_weight (|N|/|P|), or none."""
    pos_weight_cap: float = Field(20.0, ge=1)
    """Largest pos_weight."""


class Train(_Section):
    """The loop."""

    epochs: int = Field(10, ge=1)
    """Passes over the training rows."""
    batch_size: int = Field(64, ge=1)
    """Images a step over all GPUs together."""
    accumulate: int = Field(1, ge=1)
    """Parts in which a GPU computes its share of a batch, one after the other, to save memory."""
    lr: float = Field(1e-4, gt=0)
    """Largest learning rate."""
    weight_decay: float = Field(1e-4, ge=0)
    """Weight decay: decoupled in adamw, L2 in adam and sgd."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """Optimiser; sgd has Nesterov momentum 0.9."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """Learning rate after warm-up: cosine to zero, divided by 10 when validation stalls, or constant."""
    patience: int = Field(1, ge=1)
    """Epochs without a better validation figure before schedule=plateau divides the learning rate."""
    warmup_epochs: float = Field(0.5, ge=0)
    """Epochs of linear warm-up."""
    ema: float = Field(0.999, ge=0, lt=1)
    """Decay a step of the averaged weights that are validated and kept; 0 turns averaging off."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of the forward pass: auto takes bf16 where the device computes in it."""
    compile: bool | Literal["graphs"] = False
    """Compile the model with torch.compile: slow first step, faster after; graphs also replays CUDA graphs."""
    grad_clip: float = Field(1.0, ge=0)
    """Largest gradient norm; 0 turns clipping off."""
    select: Literal["auroc", "loss"] = "auroc"
    """Validation figure that chooses the best checkpoint: highest macro AUROC or lowest loss."""
    early_stopping: int = Field(0, ge=0)
    """Epochs without a better validation figure before training ends; 0 never ends early."""
    save_every: int = Field(0, ge=0)
    """Steps between saves of last.pt inside an epoch; 0 saves after each epoch only."""
    sync_batchnorm: bool = True
    """Share batch statistics between GPUs, so that several GPUs equal one; ignored on the CPU."""
    augment: Augment = Augment()
    """Random changes of training images."""


class Eval(_Section):
    """How predictions are judged."""

    threshold: Annotated[
        Literal["f1", "youden"]
        | Annotated[float, Field(ge=0, le=1)]
        | Annotated[str, Field(pattern=r"^(sensitivity|specificity)=(0?\.\d+|0|1)$")],
        _must_be("f1, youden, sensitivity=0.9, specificity=0.9 or a number from 0 to 1"),
    ] = "f1"
    """Operating point from validation rows: best f1 or youden, sensitivity=X or specificity=X at least, or a number."""
    views: Views = "single"
    """Views of an image whose logits are averaged: itself, its mirror image too, or four corners and centre of both."""
    batch_size: int = Field(0, ge=0)
    """Images a batch while predicting, halved when too many; 0 takes the most that fit on the GPU, 32 on the CPU."""
    interval: Literal["patients", "images", "delong", "none"] = "patients"
    """95 % intervals: bootstrap over patients or over single images, delong (AUROC alone), or none."""
    draws: int = Field(1000, ge=100, le=100_000)
    """Bootstrap draws."""
    draw_seed: int = Field(0, ge=0)
    """Seed of the bootstrap draws."""
    subgroups: tuple[str, ...] = ("sex", "age", "view", "source")
    """Columns whose groups are judged by themselves; age goes by bands of twenty years."""


class EvalOnly(_Section):
    """What can be set where there is no recipe: for predictions made elsewhere."""

    eval: Eval = Eval()


class Config(_Section):
    """A whole recipe."""

    seed: int = 0
    """Seed of first weights, order and augmentation."""
    out: UserPath = Path("runs/unnamed")
    """Run folder; runs/<config name> by default."""
    data: Data
    image: Image = Image()
    store: Store = Store()
    model: Model = Model()
    loss: Loss = Loss()
    train: Train = Train()
    eval: Eval = Eval()

    @model_validator(mode="after")
    def _crops_fit(self) -> "Config":
        if self.eval.views == "ten_crop" and self.image.store_size <= self.image.size:
            sizes = f"image.store_size={self.image.store_size} and image.size={self.image.size}"
            raise ValueError(f"eval.views=ten_crop cuts smaller images out of larger ones, not with {sizes}")
        return self
