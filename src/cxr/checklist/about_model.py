"""Answers about the model: architecture, initial weights, training, choice of the checkpoint, output."""

from cxr.checklist.answer import Answer, partly, provided
from cxr.checklist.facts import Facts
from cxr.checklist.references import cite
from cxr.console import count
from cxr.evaluation.thresholds import origin

_SHA_DIGITS = 16


def model(facts: Facts) -> Answer:
    """The network, its input and its output."""
    return provided(describe_model(facts))


def describe_model(facts: Facts) -> str:
    """Architecture and size."""
    backbone = facts.config.model.backbone
    paper = cite("huang2017") if backbone.startswith("densenet") else cite("he2016")
    channels = "one grey channel" if facts.config.model.stem == "grey" else "three equal grey channels"
    return (
        f"{backbone}{paper} of torchvision with {facts.num_parameters:,} parameters; input {channels} of "
        f"{facts.config.image.size} pixels; mean pooling and a linear head with a sigmoid for each of "
        f"{count(len(facts.findings), 'finding')}."
    )


def software(facts: Facts) -> Answer:
    """Programs and their versions."""
    return provided(describe_software(facts))


def describe_software(facts: Facts) -> str:
    """The versions that the checkpoint names."""
    return ", ".join(f"{name} {number}" for name, number in facts.versions.items()) + "."


def initialisation(facts: Facts) -> Answer:
    """Where the first weights come from."""
    return provided(f"{describe_weights(facts)} Seed {facts.config.seed}.")


def describe_weights(facts: Facts) -> str:
    """Initial weights, and which layers are trained."""
    weights = facts.config.model.weights
    if weights == "none":
        said = "Weights were initialised at random"
    elif weights == "imagenet":
        said = f"Weights were initialised from ImageNet{cite('deng2009')}"
    elif weights.startswith("xrv:"):
        said = f"Weights were initialised from {weights} of torchxrayvision{cite('cohen2022')}"
    else:
        said = f"Weights were initialised from {weights}"
    layers = {"all": "all layers were", "head": "only the head was", "last_block": "head and last block were"}
    return f"{said}; {layers[facts.config.model.train_layers]} trained."


def training(facts: Facts) -> Answer:
    """How it was trained."""
    if facts.unfinished:
        # what is reported of a run that is not finished may still change
        return partly(describe_training(facts), f"The run has not ended: {facts.unfinished}.")
    return provided(describe_training(facts))


def describe_training(facts: Facts) -> str:
    """Optimiser, schedule, loss and augmentation."""
    train, loss = facts.config.train, facts.config.loss
    optimizer = {
        "adamw": f"AdamW{cite('loshchilov2019')}",
        "adam": f"Adam{cite('kingma2015')}",
        "sgd": "SGD with Nesterov momentum of 0.9",
    }[train.optimizer]
    weighting = {
        "chexnet": f"class weights as in CheXNet{cite('rajpurkar2017')}",
        "pos_weight": f"positive labels weighted by |N|/|P|, at most {loss.pos_weight_cap:g}",
        "none": "no class weights",
    }[loss.weighting]
    ema = f", weights averaged with a decay of {train.ema:g} per step" if train.ema else ""
    return (
        f"{count(train.epochs, 'epoch')} at most of {optimizer}, batches of {train.batch_size}, peak "
        f"learning rate {train.lr:g} ({train.schedule} schedule, {train.warmup_epochs:g} epochs of warm-up), "
        f"weight decay {train.weight_decay:g}{ema}. Loss: binary cross-entropy over known labels with "
        f"{weighting}. {describe_augmentation(facts)}"
    )


def describe_augmentation(facts: Facts) -> str:
    """How training images are varied."""
    augment = facts.config.train.augment
    parts = [
        f"flip {augment.flip:g}",
        f"rotation {augment.rotate:g} degrees",
        f"shift {augment.shift:g}",
        f"scale {augment.scale[0]:g} to {augment.scale[1]:g}",
        f"brightness {augment.brightness:g}",
        f"contrast {augment.contrast:g}",
    ]
    if augment.crop != (1.0, 1.0):
        parts.append(f"random crop to {augment.crop[0]:g} to {augment.crop[1]:g} of the area")
    return f"Augmentation: {', '.join(parts)}."


def selection(facts: Facts) -> Answer:
    """How the final model was chosen."""
    said = describe_selection(facts)
    if facts.unfinished:
        return partly(said, f"The run has not ended: {facts.unfinished}.")
    return partly(said, "Which other settings were tried, and on which images they were compared.")


def describe_selection(facts: Facts) -> str:
    """Which epoch was kept, and why."""
    rule = {"auroc": "highest validation macro AUROC", "loss": "lowest validation loss"}
    auroc = facts.validation.get("auroc")
    reached = f" (validation macro AUROC {auroc:.4f})" if auroc is not None else ""
    return (
        f"The checkpoint with the {rule[facts.config.train.select]} was kept: epoch {facts.epoch}{reached}."
    )


def ensemble(facts: Facts) -> Answer:
    """Whether several models are averaged."""
    found = facts.evaluation("ensemble")
    if found:
        return provided(f"{found.folder}: {found.about.get('ensemble', 'several models')}.")
    return provided("One model; no ensemble was evaluated.")


def imbalance(facts: Facts) -> Answer:
    """What is done about rare findings."""
    weighting = facts.config.loss.weighting
    if weighting == "none":
        return provided("No method was used.")
    return provided(
        f"Class weights in the loss (loss.weighting={weighting}); a shift of the logits takes their effect "
        "out of the probabilities."
    )


def output(facts: Facts) -> Answer:
    """Probabilities, and thresholds with where they come from."""
    said = f"A probability for each finding; called from its threshold on: {origin(facts.thresholds)}."
    gaps = threshold_gaps(facts)
    if gaps:
        return partly(said, gaps)
    return provided(said)


def threshold_gaps(facts: Facts) -> str:
    """What is wrong with the thresholds; empty where nothing is."""
    thresholds = facts.thresholds
    gaps = []
    if not thresholds.chosen_on:
        gaps.append("Thresholds were chosen on no validation images: say why these numbers.")
    if thresholds.fallback:
        gaps.append(f"Threshold 0.5 for want of both classes: {', '.join(thresholds.fallback)}.")
    if thresholds.few:
        gaps.append(f"Chosen on fewer than 10 positive images: {', '.join(thresholds.few)}.")
    return " ".join(gaps)


def specification(facts: Facts) -> Answer:
    """What others need to use the model."""
    return partly(
        f"The checkpoint is one file (SHA-256 {facts.sha256[:_SHA_DIGITS]}...) that cxr predict and Python "
        "read; config.yaml is its recipe.",
        "Where it can be had, and under which conditions.",
    )


def calculation(facts: Facts) -> Answer:
    """How predictions are calculated."""
    tta = facts.config.eval.tta
    versions = "" if tta == "none" else f", averaged over versions of the image ({tta})"
    return provided(f"By cxr from the checkpoint: the sigmoid of each logit{versions}.")


def recalibration(facts: Facts) -> Answer:
    """Whether probabilities were updated."""
    fitted = facts.recalibration
    if not any(fitted.is_fitted):
        return partly(
            "No recalibration could be fitted; probabilities are the model's own.",
            "Whether the model was updated after its evaluation.",
        )
    names = f", not for {', '.join(fitted.unfitted)}" if fitted.unfitted else ""
    return provided(
        f"Intercept and slope of each finding{names}, fitted on {fitted.fitted_on}{cite('platt1999')}; "
        "reported beside the model's own probabilities, which every other metric is of."
    )


def poor_input(facts: Facts) -> Answer:
    """What happens to images that are damaged or unlike the training."""
    ood = (
        "Images unlike the validation images are marked (out-of-distribution score)"
        if facts.has_ood
        else "The checkpoint cannot mark images unlike the training"
    )
    return partly(
        f"cxr predict refuses damaged files and names them. {ood}.",
        "How users are to assess image quality and what to do with refused or marked images.",
    )
