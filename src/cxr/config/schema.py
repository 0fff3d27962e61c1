"""The frozen Config tree: every key, its type, its default, and one line of meaning, which `cxr config` prints."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from cxr.config.data import Also as Also
from cxr.config.data import Archive as Archive
from cxr.config.data import Columns as Columns
from cxr.config.data import Data as Data
from cxr.config.data import Lists as Lists
from cxr.config.data import Phantom as Phantom
from cxr.config.data import Policy as Policy
from cxr.config.data import Section, UserPath, _expand_findings, must_be

Views = Literal["single", "flip", "ten_crop"]


class Image(Section):
    """How pixels are prepared."""

    store_size: int = Field(256, ge=16, le=4096)
    """Width and height of the packed images in pixels."""
    size: int = Field(224, ge=32, le=4096)
    """Width and height of the model's input; the whole packed image is resampled to it."""
    fit: Literal["pad", "squash", "crop"] = "pad"
    """Files that are not square: pad with black, squash, or crop the centre."""
    intensity: Literal["bit-depth", "range"] = "bit-depth"
    """Grey values to 8 bit: by the file's bit depth or window, or each image's own minimum to maximum (range)."""
    borders: Literal["keep", "crop"] = "keep"
    """Even black or white borders of scanned films: keep, or crop before fitting."""


class Store(Section):
    """Where packed pixels live."""

    path: UserPath | None = None
    """Folder of the store; null takes stores/<source>-<root folder's name>-<store_size>."""
    where: Literal["auto", "disk", "ram", "gpu"] = "auto"
    """Where pixels are read from while training: auto takes the GPU, then RAM, then disk, by free memory."""
    workers: int = Field(0, ge=0)
    """Decoding threads while packing; 0 takes one a core."""


class Augment(Section):
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


class Model(Section):
    """Backbone and its first weights."""

    backbone: Literal[
        "densenet121", "densenet169", "densenet201", "resnet18", "resnet34", "resnet50", "resnet101"
    ] = "densenet121"  # fmt: skip
    """Architecture of torchvision."""
    weights: Annotated[str, AfterValidator(os.path.expanduser)] = "imagenet"
    """First weights: imagenet (torchvision's), xrv:NAME (torchxrayvision's), none, a file, FILE#NETWORK, or a run."""
    head_findings: Annotated[str | tuple[str, ...] | None, AfterValidator(_expand_findings)] = None
    """Findings of the outputs of a file's head, in their order: a list, nih14, chexpert14, chexpert5; null: unknown."""
    stem: Literal["rgb", "grey"] = "rgb"
    """First convolution: rgb as torchvision's, or grey: one channel, colours and normalisation folded in."""
    train_layers: Literal["all", "head", "last_block"] = "all"
    """Layers that learn: all, the head alone (feature extraction), or the head and the last block."""
    checkpointing: bool = False
    """Keep a fifth (DenseNet) to a half of the activations and compute the rest again: larger images, slower steps."""


class Loss(Section):
    """Masked binary cross-entropy."""

    weighting: Literal["chexnet", "pos_weight", "none"] = "chexnet"
    """Class weights per finding from training rows: chexnet (|N|, |P| over both), pos_weight (|N|/|P|), or none."""
    pos_weight_cap: float = Field(20.0, ge=1)
    """Largest pos_weight."""


class Train(Section):
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
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Arithmetic of the forward pass: auto takes bf16 where the device computes in it; fp16 scales the loss."""
    compile: bool | Literal["graphs"] = False
    """Compile the model with torch.compile: slow first step, faster after; graphs also replays CUDA graphs."""
    deterministic: bool = False
    """Use only GPU kernels that give the same bits on the same card each time; slower, and no kernel is tried out."""
    grad_clip: float = Field(1.0, ge=0)
    """Largest gradient norm; 0 turns clipping off."""
    select: Literal["auroc", "loss"] = "auroc"
    """Validation figure that chooses the best checkpoint: highest macro AUROC or lowest loss."""
    early_stopping: int = Field(0, ge=0)
    """Epochs without a better validation figure before training ends; 0 never ends early."""
    save_every: int = Field(0, ge=0)
    """Steps between saves of last.pt inside an epoch; 0 saves after each epoch only."""
    profile: int = Field(0, ge=0, le=1000)
    """Steps to trace with torch.profiler (trace.json, profile.txt, and the shares of time); 0 traces none."""
    remember_patients: bool = True
    """Keep hashes of the patients and images in the checkpoint, by which cxr eval refuses them (docs/privacy.md)."""
    sync_batchnorm: bool | Literal["auto"] = "auto"
    """Share batch statistics between processes, so that several equal one; auto: where each has under 16 images."""
    augment: Augment = Augment()
    """Random changes of training images."""

    @model_validator(mode="after")
    def _graphs_take_a_whole_batch(self) -> "Train":
        if self.compile == "graphs" and self.accumulate > 1:
            raise ValueError(
                "compile=graphs reuses the memory that accumulate keeps gradients in; use compile=true"
            )
        return self


class Eval(Section):
    """How predictions are judged."""

    threshold: Annotated[
        Literal["f1", "youden"]
        | Annotated[float, Field(ge=0, le=1)]
        | Annotated[str, Field(pattern=r"^(sensitivity|specificity)=(0?\.\d+|0|1)$")],
        must_be("f1, youden, sensitivity=0.9, specificity=0.9 or a number from 0 to 1"),
    ] = "f1"
    """Operating point from validation rows: best f1 or youden, sensitivity=X or specificity=X at least, or a number."""
    views: Views = "single"
    """Views of an image whose logits are averaged: itself, its mirror image too, or four corners and centre of both."""
    batch_size: int = Field(0, ge=0)
    """Images a batch while predicting, halved when too many; 0 takes the most that fit on the GPU, 32 on the CPU."""
    unit: Literal["image", "study", "patient"] = "image"
    """What is evaluated: each image, or each study or patient by the probabilities of its images."""
    combine: Literal["max", "mean"] = "max"
    """How the probabilities of the images of a study or patient become one."""
    interval: Literal["patients", "images", "delong", "none"] = "patients"
    """95 % intervals: bootstrap over patients or over single images, delong (AUROC alone), or none."""
    draws: int = Field(1000, ge=100, le=100_000)
    """Bootstrap draws."""
    draw_seed: int = Field(0, ge=0)
    """Seed of the bootstrap draws."""
    subgroups: tuple[str, ...] = ("sex", "age", "view", "source")
    """Columns whose groups are judged by themselves; age goes by bands of twenty years."""


class EvalOnly(Section):
    """What can be set where there is no recipe: for predictions made elsewhere."""

    eval: Eval = Eval()


class Config(Section):
    """A whole recipe."""

    seed: int = 0
    """Seed of first weights, order and augmentation."""
    out: UserPath = Path("runs/unnamed")
    """Run folder; runs/<config name> by default."""
    device: Annotated[
        str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d{1,3}|mps)$"), must_be("auto, cpu, cuda, cuda:N or mps")
    ] = "auto"
    """What computes: auto takes a GPU where there is one; cuda:N is the GPU of that number."""
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

    @model_validator(mode="after")
    def _compiled_models_keep_what_they_choose(self) -> "Config":
        if self.model.checkpointing and self.train.compile:
            raise ValueError(
                "model.checkpointing does not go with train.compile: torch.compile cannot compile it"
            )
        return self
