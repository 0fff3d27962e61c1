"""What a run saves: last.pt, and best.safetensors with thresholds, calibration and the OOD score."""

import copy
import math
from dataclasses import replace

from cxr.data.dataset import preprocess
from cxr.environment import versions
from cxr.evaluation import recalibration as calibrated
from cxr.evaluation import thresholds as operating_points
from cxr.evaluation.predictions import Predictions
from cxr.files import write_bytes
from cxr.labels.splits import SPLITS
from cxr.model import checkpoint as checkpoints
from cxr.model.classifier import Classifier
from cxr.model.predict import fit_ood_detector
from cxr.patient_hash import hasher_from_environment
from cxr.training.saver import Saver, copy_to_cpu
from cxr.training.setup import TrainSetup
from cxr.training.state import TrainState, snapshot


def save_state(setup: TrainSetup, state: TrainState, validated: Predictions | None, saver: Saver) -> None:
    """Write last.pt as the state is now, and before it best.safetensors where the state is the best so far.

    Args:
        setup: Of the run.
        state: Its state. It is copied: later steps do not change what is written.
        validated: Predictions of the validation rows where it is the best; None writes last.pt alone.
        saver: Writes the files in a thread.

    Raises:
        CxrError: What the save before could not write.
    """
    folder = setup.config.out
    # both copied now, while no step changes the model
    best = checkpoints.to_bytes(make_checkpoint(setup, state, validated)) if validated else None
    last = copy_to_cpu(snapshot(state, setup.config, setup.identity))

    def write() -> None:
        # The order matters: after a kill between both, the resumed run validates and writes the best again.
        if best is not None:
            write_bytes(folder / checkpoints.BEST, best)
        checkpoints.save_resumable(folder / checkpoints.LAST, last)

    saver.save(write)


def make_checkpoint(setup: TrainSetup, state: TrainState, validated: Predictions) -> checkpoints.Checkpoint:
    """The checkpoint of the EMA, with what was chosen on its predictions of the validation rows."""
    dataset, config, hasher = setup.dataset, setup.config, hasher_from_environment()
    remember = config.train.remember_patients
    thresholds = operating_points.choose(validated, config.eval.threshold)
    if not remember:
        # even as hashes, names would tell which images were in the training
        thresholds = replace(thresholds, images=frozenset(), patient_key="")
    recalibration = calibrated.fit(validated, config.eval)
    # A split may be one patient, whose hash without a key could be found by trying names.
    split_hashes = dict(dataset.split.hashes) if remember and not hasher.key_id else {}
    metadata = checkpoints.Metadata(
        config=config,
        findings=dataset.targets.findings,
        preprocess=preprocess(config),
        split=checkpoints.SplitIdentity(
            kind=dataset.split.kind,
            name=dataset.split.name,
            hashes=split_hashes,
            num_images={split: len(dataset.rows(split)) for split in SPLITS},
        ),
        thresholds=operating_points.to_json(thresholds),
        temperatures=calibrated.to_json(recalibration),
        epoch=len(state.history),
        step=state.step,
        validation={name: number_or_none(value) for name, value in state.history[-1].items()},
        versions=versions(),
        patient_key=hasher.key_id if remember else "",
    )
    patients, images = setup.hashes
    return checkpoints.Checkpoint(state.ema, metadata, thresholds, recalibration, patients, images=images)


def add_ood_score(setup: TrainSetup, ema: Classifier) -> None:
    """Fit the out-of-distribution score of best.safetensors on its validation rows, at the end of a run.

    Fitted after every best epoch it would take longer than the validation. All processes take part: each
    computes the features of its share of the rows. `ema` gives the other processes a model to copy the best
    weights into.
    """
    world, path = setup.world, setup.config.out / checkpoints.BEST
    best = checkpoints.load(path, world.device) if world.is_first else None
    # the first process alone has read the file, and all must agree before a collective
    is_missing = best is not None and best.ood is None
    if not world.agree([float(is_missing)])[0]:  # a resumed run that had finished
        return
    classifier = best.classifier if best else copy.deepcopy(ema)
    world.copy_first(classifier.state_dict().values())
    detector = fit_ood_detector(classifier, setup.loader, setup.dataset, setup.config, world)
    if best and detector:
        checkpoints.save(path, replace(best, ood=detector))
    world.wait()


def number_or_none(value: float) -> float | None:
    """None for nan, for which JSON has no word."""
    return None if math.isnan(value) else value
