"""cxr predict --calibrated: the recalibration of a checkpoint, and its thresholds on the calibrated scale."""

from dataclasses import replace

from cxr.errors import CxrError
from cxr.evaluation.recalibration import Recalibration
from cxr.model.checkpoint import Checkpoint


def calibrate_thresholds(run: str, checkpoint: Checkpoint) -> tuple[Checkpoint, Recalibration]:
    """(the checkpoint with thresholds for calibrated probabilities, how these are made).

    The thresholds call the same images as before.

    Raises:
        CxrError: No finding of the checkpoint has a calibration.
    """
    recalibration = checkpoint.recalibration
    if recalibration.is_temperature:
        problem = (
            "has a temperature of an earlier version alone, which leaves the number expected uncorrected"
        )
        raise CxrError(f"--calibrated: {run} {problem}", "leave --calibrated out, or train again")
    if not any(recalibration.is_fitted):
        if not recalibration.fitted_on:
            problem = "has no calibration: no run of cxr trained it"
            raise CxrError(f"--calibrated: {run} {problem}", "leave --calibrated out")
        problem = f"has no calibration: {', '.join(recalibration.unfitted)}"
        hint = "leave --calibrated out, or train with more validation images"
        raise CxrError(f"--calibrated: {run} {problem}", hint)
    thresholds = recalibration.apply_to_thresholds(checkpoint.thresholds)
    return replace(checkpoint, thresholds=thresholds), recalibration
