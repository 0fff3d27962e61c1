"""What a trained model reads, and how easily it is fooled, on the test images of its run."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cxr.api.words import in_python
from cxr.errors import CxrError
from cxr.explain.lungs import CHOICES, open_segmentation
from cxr.explain.robustness import check_kinds, measure_robustness
from cxr.explain.sample import Sample, open_sample
from cxr.explain.shortcuts import Shortcuts, find_shortcuts
from cxr.model.checkpoint import Checkpoint


def examine_shortcuts(
    run: str, checkpoint: Checkpoint, overrides: Sequence[str], max_images: int, lungs: str
) -> Shortcuts:
    """The shortcuts of a run.

    Raises:
        CxrError: No such way to find lungs, or whatever is wrong with the data of the run.
    """
    chosen = next((name for name in CHOICES if name == lungs), None)
    if chosen is None:
        raise CxrError(f"lungs={lungs!r}: is none of them", f"it is one of {', '.join(CHOICES)}")
    with in_python():
        segment = open_segmentation(chosen, checkpoint.classifier.head.weight.device)
        return find_shortcuts(_open(run, checkpoint, overrides, max_images), segment)


def examine_robustness(
    run: str,
    checkpoint: Checkpoint,
    overrides: Sequence[str],
    kinds: Sequence[str],
    max_images: int,
    seed: int,
) -> pd.DataFrame:
    """AUROC of a run under attacks and corruptions.

    Raises:
        CxrError: No such kind, or whatever is wrong with the data of the run.
    """
    with in_python():
        chosen = check_kinds(kinds)
        return measure_robustness(_open(run, checkpoint, overrides, max_images), chosen, seed).table


def _open(run: str, checkpoint: Checkpoint, overrides: Sequence[str], max_images: int) -> Sample:
    device = checkpoint.classifier.head.weight.device
    return open_sample(Path(run), overrides, str(device), max_images)
