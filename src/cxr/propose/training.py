"""Image, model, loss and training of a recipe: the shipped ones, or by the number of training images."""

from collections.abc import Mapping, Sequence

from cxr.propose.choices import Choices
from cxr.propose.facts import Facts

SECTIONS = ("image", "store", "model", "loss", "train", "eval")
"""Sections of a recipe after `data`, in their order."""

_SMALL, _MEDIUM = 2_000, 20_000  # training images
_LONG_EMA_STEPS = 3_000  # of a training; an average over about 1,000 steps needs three times as many


def choose_training(
    choices: Choices,
    facts: Facts,
    findings: Sequence[str],
    base: Mapping[str, Mapping[str, object]],
    recipe: str,
) -> None:
    """Choose the sections image, model, loss and train.

    Args:
        choices: The keys so far.
        facts: The dataset.
        findings: The targets.
        base: The sections of the dataset's own recipe, empty where none is shipped.
        recipe: Its name.
    """
    for section in SECTIONS:
        for number, (key, value) in enumerate(base.get(section, {}).items()):
            choices.choose(f"{section}.{key}", value, "" if number else f"as in the recipe {recipe}")
    if not base:
        _choose_usual(choices, facts.images["train"])
    if not facts.has_auroc(findings):
        why = "the validation images hold one class only of every finding, so no AUROC can choose the epoch"
        choices.choose("train.select", "loss", f"WARNING: {why}")
    for section in SECTIONS:
        choices.add_given(section)


def _choose_usual(choices: Choices, num_train: int) -> None:
    """Choose DenseNet-121 as nih_densenet121 does, and epochs by the number of training images."""
    epochs = 40 if num_train < _SMALL else 20 if num_train < _MEDIUM else 10
    batch_size, lr = (16, 1e-4) if num_train < _SMALL else (64, 2e-4)
    num_steps = epochs * -(-num_train // batch_size)
    pixels = "pixels: stored at 256, seen by the network at 224, as in nih_densenet121"
    choices.choose("image.store_size", 256, pixels)
    choices.choose("image.size", 224)
    choices.choose("model.backbone", "densenet121", "CheXNet's network, from weights of ImageNet")
    choices.choose("model.weights", "imagenet")
    choices.choose("loss.weighting", "chexnet", "the rarer of present and absent weighs more, as in CheXNet")
    why = f"{num_train:,} training images, so about {num_steps:,} steps: fewer images need more epochs"
    choices.choose("train.epochs", epochs, why, "a rule of thumb, not tuned on these images")
    choices.choose("train.batch_size", batch_size)
    choices.choose("train.lr", lr)
    if num_steps < _LONG_EMA_STEPS:
        why = "an average over about 100 steps; the default of 0.999 is for longer trainings"
        choices.choose("train.ema", 0.99, why)
