"""The frozen Config: every key with its type, its default and its meaning, which `cxr config` prints.

The keys of section `data` are in `config.data`.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from cxr.config.data import Also as Also
from cxr.config.data import Columns as Columns
from cxr.config.data import Data as Data
from cxr.config.data import Lists as Lists
from cxr.config.data import OneDataset as OneDataset
from cxr.config.data import Phantom as Phantom
from cxr.config.data import Policy as Policy
from cxr.config.data import Section, UserPath, _expand_findings, must_be
from cxr.config.renamed import use_new_names

TTA = Literal["none", "flip", "ten_crop"]

MIN_STORE_SIZE, MIN_SIZE, MAX_SIZE = 16, 32, 4096
"""Pixels of a stored image's side, of the side of a model's input, and of either at most."""


class Image(Section):
    """How an image file becomes the model's input."""

    store_size: int = Field(256, ge=MIN_STORE_SIZE, le=MAX_SIZE)
    """Width and height, in pixels, of the images in the store."""
    size: int = Field(224, ge=MIN_SIZE, le=MAX_SIZE)
    """Width and height, in pixels, of the model's input; stored images are resampled to it."""
    fit: Literal["pad", "squash", "crop"] = "pad"
    """Images that are not square: pad with black, squash (distort), or crop to the central square."""
    intensity: Literal["bit-depth", "range"] = "bit-depth"
    """Conversion to 8 bits: by bit depth or DICOM window, or by each image's minimum and maximum (range)."""
    borders: Literal["keep", "crop"] = "keep"
    """Uniform black or white borders of scanned films: keep them, or crop them first."""


class Store(Section):
    """Where decoded images are stored."""

    path: UserPath | None = None
    """Folder of the store; null takes stores/<source>-<root folder's name>-<store_size>."""
    where: Literal["auto", "disk", "ram", "gpu"] = "auto"
    """Where training reads pixels: auto chooses GPU memory, RAM or disk by the memory that is free."""
    workers: int = Field(0, ge=0)
    """Decoding threads; 0 uses one per CPU core."""


class Augment(Section):
    """Random augmentation of training images, drawn per image from the seed and the step."""

    flip: float = Field(0.5, ge=0, le=1)
    """Probability of a horizontal flip."""
    rotate: float = Field(7.0, ge=0, le=180)
    """Maximum rotation in degrees, in either direction."""
    shift: float = Field(0.05, ge=0, lt=1)
    """Maximum shift as a fraction of width and height, in either direction."""
    scale: tuple[float, float] = (0.9, 1.1)
    """Range of the scale factor."""
    crop: tuple[float, float] = (1.0, 1.0)
    """Random resized crop: range of the fraction of the area that is kept; [1, 1] crops nothing."""
    crop_ratio: tuple[float, float] = (0.75, 1.3333)
    """Random resized crop: range of the aspect ratio (width / height)."""
    brightness: float = Field(0.1, ge=0, lt=1)
    """Maximum change of brightness as a fraction of full white, in either direction."""
    contrast: float = Field(0.1, ge=0, lt=1)
    """Maximum relative change of contrast around the image's mean, in either direction."""

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> "Augment":
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError("scale is a range [low, high] with 0 < low <= high")
        if not 0 < self.crop[0] <= self.crop[1] <= 1 or not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ValueError(
                "crop is a range [low, high] with 0 < low <= high <= 1, crop_ratio one with 0 < low <= high"
            )
        return self


class Model(Section):
    """The network and its initial weights."""

    backbone: Literal[
        "densenet121", "densenet169", "densenet201", "resnet18", "resnet34", "resnet50", "resnet101"
    ] = "densenet121"  # fmt: skip
    """Architecture, built by torchvision."""
    weights: Annotated[str, AfterValidator(os.path.expanduser)] = "imagenet"
    """Initial weights: imagenet, xrv:NAME, hub:OWNER/NAME@REVISION, none, a file, FILE#NETWORK or a run."""
    head_findings: Annotated[str | tuple[str, ...] | None, AfterValidator(_expand_findings)] = None
    """Findings of the outputs of a weight file, in order: a list, nih14, chexpert14 or chexpert5."""
    stem: Literal["rgb", "grey"] = "rgb"
    """First convolution: rgb (three channels), or grey (one channel, normalisation in its weights)."""
    train_layers: Literal["all", "head", "last_block"] = "all"
    """Layers that are trained: all, head (feature extraction), or last_block (head and last block)."""
    checkpointing: bool = False
    """Activation checkpointing: keep 18 to 50 % of the activations, recompute the rest; slower."""


class Loss(Section):
    """Binary cross-entropy over the known labels."""

    weighting: Literal["chexnet", "pos_weight", "none"] = "chexnet"
    """Class weights per finding: chexnet (|N|/(|P|+|N|) and |P|/(|P|+|N|)), pos_weight (|N|/|P|), or none."""
    pos_weight_cap: float = Field(20.0, ge=1)
    """Upper limit of pos_weight."""


class Train(Section):
    """Training: schedule, optimiser, precision."""

    epochs: int = Field(10, ge=1)
    """Passes over the training images."""
    batch_size: int = Field(64, ge=1)
    """Images per optimiser step, over all GPUs."""
    accumulate: int = Field(1, ge=1)
    """Gradient accumulation: micro-batches per optimiser step; more of them need less memory."""
    lr: float = Field(1e-4, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(1e-4, ge=0)
    """Weight decay: decoupled for adamw, an L2 penalty for adam and sgd."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """Optimiser; sgd uses Nesterov momentum of 0.9."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """Learning rate after warm-up: cosine decay to 0, divided by 10 on a plateau, or constant."""
    patience: int = Field(1, ge=1)
    """For schedule=plateau: epochs without improvement before the learning rate is divided by 10."""
    warmup_epochs: float = Field(0.5, ge=0)
    """Epochs of linear learning-rate warm-up."""
    ema: float = Field(0.999, ge=0, lt=1)
    """Per-step decay of the EMA (exponential moving average) of the weights, which is validated and saved."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Precision of the forward pass: auto uses bf16 where the device supports it; fp16 scales the loss."""
    compile: bool | Literal["graphs"] = False
    """Use torch.compile: the first step is slow, later ones are faster; graphs also uses CUDA graphs."""
    cuda_graphs: bool | Literal["auto"] = "auto"
    """Replay steps as CUDA graphs, so that a slow host keeps a GPU busy; auto: on one GPU, where it can."""
    deterministic: bool = False
    """Use deterministic GPU kernels, so that two runs on one card are identical; slower."""
    grad_clip: float = Field(1.0, ge=0)
    """Maximum gradient norm; 0 disables clipping."""
    select: Literal["auroc", "loss"] = "auroc"
    """Metric that selects the best checkpoint: highest validation macro AUROC, or lowest validation loss."""
    early_stopping: int = Field(0, ge=0)
    """Epochs without improvement after which training stops; 0 disables early stopping."""
    save_every: int = Field(0, ge=0)
    """Save last.pt every N steps too; 0 saves it only after each epoch."""
    profile: int = Field(0, ge=0, le=1000)
    """Steps to record with torch.profiler, into trace.json and profile.txt; 0 records none."""
    remember_patients: bool = True
    """Store hashes of patients and images in the checkpoint: cxr eval detects leaks (docs/privacy.md)."""
    sync_batchnorm: bool | Literal["auto"] = "auto"
    """Share batch statistics between processes; auto: when each process has fewer than 16 images per step."""
    augment: Augment = Augment()
    """Random augmentation of training images."""

    @model_validator(mode="after")
    def _graphs_take_a_whole_batch(self) -> "Train":
        if self.compile == "graphs" and self.accumulate > 1:
            raise ValueError("compile=graphs and accumulate cannot be combined; use compile=true")
        if self.cuda_graphs is True and (self.compile or self.accumulate > 1):
            other = "compile" if self.compile else "accumulate"
            raise ValueError(f"cuda_graphs=true and {other} cannot be combined; use cuda_graphs=auto")
        return self


class Eval(Section):
    """How predictions are evaluated."""

    threshold: Annotated[
        Literal["f1", "youden"]
        | Annotated[float, Field(ge=0, le=1)]
        | Annotated[str, Field(pattern=r"^(sensitivity|specificity)=(0?\.\d+|0|1)$")],
        must_be("f1, youden, sensitivity=0.9, specificity=0.9 or a number from 0 to 1"),
    ] = "f1"
    """Threshold, chosen on validation images: f1, youden, sensitivity=X, specificity=X; or a fixed number."""
    tta: TTA = "none"
    """Test-time augmentation, logits averaged: none, flip (mirror image), ten_crop (corners and centre)."""
    batch_size: int = Field(0, ge=0)
    """Images per batch, halved when memory runs out; 0 uses what fits on a GPU, and 32 on a CPU."""
    unit: Literal["image", "study", "patient"] = "image"
    """Unit of evaluation: image, study or patient; the last two combine the probabilities of their images."""
    combine: Literal["max", "mean"] = "max"
    """How the probabilities of several images are combined into one per study or patient."""
    interval: Literal["patients", "images", "delong", "none"] = "patients"
    """95 % confidence intervals: bootstrap over patients or images, delong (AUROC only), or none."""
    draws: int = Field(1000, ge=100, le=100_000)
    """Number of bootstrap draws."""
    draw_seed: int = Field(0, ge=0)
    """Random seed of the bootstrap."""
    scores: Literal["probabilities", "raw"] = "probabilities"
    """What tables of predictions hold: probabilities, or raw scores of any size, which can only be ranked."""
    prevalences: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.01, 0.05, 0.2)
    """Shares of positive images for which PPV and NPV are given."""
    coverage: float = Field(0.9, gt=0, lt=1)
    """Share of images whose prediction set is to have their label, fitted on validation images."""
    planned_patients: int = Field(0, ge=0)
    """Patients of a planned test set, for which the expected width of intervals is given; 0 gives none."""
    subgroups: tuple[str, ...] = ("sex", "age", "view", "source")
    """Columns that define subgroups; age is cut into bands of twenty years."""

    @model_validator(mode="before")
    @classmethod
    def _accept_old_names(cls, values: object) -> object:
        return use_new_names("eval", values)


class Log(Section):
    """Trackers, which get the numbers of log.jsonl; docs/runs.md."""

    to: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] | None = None
    """Any of tensorboard, mlflow and wandb, such as [mlflow]; null uses tensorboard if it is installed."""

    @field_validator("to")
    @classmethod
    def _once_each(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names and len(set(names)) < len(names):
            raise ValueError("a tracker is named twice")
        return names


class EvalOnly(Section):
    """Settings for predictions made elsewhere, which have no config."""

    eval: Eval = Eval()


class Config(Section):
    """A whole config."""

    seed: int = 0
    """Random seed of initial weights, order of images and augmentation."""
    out: UserPath = Path("runs/unnamed")
    """Run folder; by default runs/<config name>."""
    recipe: str = ""
    """Name of the recipe, for cxr runs and trackers; by default the name of the config file."""
    device: Annotated[
        str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d{1,3}|mps)$"), must_be("auto, cpu, cuda, cuda:N or mps")
    ] = "auto"
    """Device: auto uses a GPU if there is one; cuda:N is the GPU with that number."""
    data: Data
    image: Image = Image()
    store: Store = Store()
    model: Model = Model()
    loss: Loss = Loss()
    train: Train = Train()
    log: Log = Log()
    eval: Eval = Eval()

    @model_validator(mode="after")
    def _models_give_probabilities(self) -> "Config":
        if self.eval.scores == "raw":
            raise ValueError("eval.scores=raw is for tables of predictions; a model gives probabilities")
        return self

    @model_validator(mode="after")
    def _crops_fit(self) -> "Config":
        if self.eval.tta == "ten_crop" and self.image.store_size <= self.image.size:
            sizes = f"image.store_size={self.image.store_size} and image.size={self.image.size}"
            raise ValueError(f"eval.tta=ten_crop needs image.store_size above image.size, not {sizes}")
        return self

    @model_validator(mode="after")
    def _compiled_models_keep_what_they_choose(self) -> "Config":
        if self.model.checkpointing and self.train.compile:
            raise ValueError("model.checkpointing and train.compile cannot be combined")
        if self.model.checkpointing and self.train.cuda_graphs is True:
            raise ValueError("model.checkpointing and train.cuda_graphs=true cannot be combined")
        return self
