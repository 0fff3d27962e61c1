"""The best checkpoint of a run: what it says of its training, and what it learns at the end of it."""

import copy
import math
from dataclasses import replace

from cxr.data.dataset import preprocess
from cxr.evaluation import calibration
from cxr.evaluation import thresholds as operating_points
from cxr.evaluation.predictions import Predictions
from cxr.files import write_bytes
from cxr.labels.splits import FOLDS
from cxr.model import checkpoint as checkpoints
from cxr.model.predict import learn_familiarity
from cxr.patient_hash import hasher_from_environment
from cxr.training.run import Run
from cxr.training.saver import Saver, copy_to_cpu
from cxr.training.state import TrainState, snapshot


def complete_best(run: Run, state: TrainState) -> None:
    """Give the best checkpoint what tells images unlike its validation rows, once, at the end; all processes take part.

    Fitted at every best epoch it would take longer than the validation.
    """
    world, path = run.world, run.config.out / checkpoints.BEST
    best = checkpoints.load(path, world.device) if world.is_first else None
    if not world.agree([float(best is not None and best.familiarity is None)])[0]:
        return
    classifier = best.classifier if best else copy.deepcopy(state.ema)
    world.copy_first(classifier.state_dict().values())
    familiarity = learn_familiarity(classifier, run.loader, run.dataset, run.config, world)
    if best and familiarity:
        checkpoints.save(path, replace(best, familiarity=familiarity))
    world.wait()


def make_checkpoint(run: Run, state: TrainState, validated: Predictions) -> checkpoints.Checkpoint:
    """All that a checkpoint says of the state, whose averaged weights were just validated."""
    dataset, config, hasher = run.dataset, run.config, hasher_from_environment()
    remember = config.train.remember_patients
    points = operating_points.choose(validated, config.eval.threshold)
    if not remember:
        points = replace(points, images=frozenset(), patient_key="")
    temperatures = calibration.fit(validated)
    split = checkpoints.SplitIdentity(
        kind=dataset.split.kind,
        name=dataset.split.name,
        hashes=dict(dataset.split.hashes)
        if remember and not hasher.key_id
        else {},  # a fold may be one patient
        num_images={fold: len(dataset.rows(fold)) for fold in FOLDS},
    )
    metadata = checkpoints.Metadata(
        config=config,
        findings=dataset.targets.findings,
        preprocess=preprocess(config),
        split=split,
        thresholds=operating_points.to_json(points),
        temperatures=calibration.to_json(temperatures),
        epoch=len(state.history),
        step=state.step,
        validation={name: number_or_none(value) for name, value in state.history[-1].items()},
        versions=checkpoints.versions(),
        patient_key=hasher.key_id if remember else "",
    )
    patients, images = run.seen
    return checkpoints.Checkpoint(state.ema, metadata, points, temperatures, patients, images=images)


def save_state(run: Run, state: TrainState, validated: Predictions | None, saver: Saver) -> None:
    """Write last.pt, and before it best.safetensors where the state is the best so far, as these are now.

    Args:
        run: The run.
        state: Its state; nothing of it is used after this call returns.
        validated: Predictions of the validation rows where it is the best; None writes last.pt alone.
        saver: What writes.
    """
    folder = run.config.out
    best = checkpoints.to_bytes(make_checkpoint(run, state, validated)) if validated else None
    last = copy_to_cpu(snapshot(state, run.config, run.identity))

    def write() -> None:
        if best is not None:
            write_bytes(folder / checkpoints.BEST, best)
        checkpoints.save_resumable(folder / checkpoints.LAST, last)

    saver.save(write)


def number_or_none(value: float) -> float | None:
    """None for nan, which JSON has no word for."""
    return None if math.isnan(value) else value
