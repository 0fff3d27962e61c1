"""cxr predict --calibrated: thresholds on the calibrated scale (no torch)."""

from dataclasses import replace

from cxr.deploy.runtime import Facts
from cxr.errors import CxrError


def calibrate_thresholds(run: str, facts: Facts) -> Facts:
    """The facts with thresholds for calibrated probabilities, as `facts.recalibration` makes them.

    The thresholds call the same images as before.

    Raises:
        CxrError: No finding of the model has a calibration.
    """
    recalibration = facts.recalibration
    if recalibration.is_temperature:
        problem = (
            "has a temperature of an earlier version alone, which leaves the number expected uncorrected"
        )
        raise CxrError(f"--calibrated: {run} {problem}", "leave --calibrated out, or train again")
    if not any(recalibration.is_fitted):
        if not recalibration.fitted_on:
            why = "no run of cxr trained it"
            if facts.program != "torch":
                why = "the model that it was exported from has none"
            problem = f"has no calibration: {why}"
            raise CxrError(f"--calibrated: {run} {problem}", "leave --calibrated out")
        problem = f"has no calibration: {', '.join(recalibration.unfitted)}"
        hint = "leave --calibrated out, or train with more validation images"
        raise CxrError(f"--calibrated: {run} {problem}", hint)
    return replace(facts, thresholds=recalibration.apply_to_thresholds(facts.thresholds))
