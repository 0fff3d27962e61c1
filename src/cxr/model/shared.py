"""A checkpoint that may be handed on: without hashes of patients and images, and without folders."""

from dataclasses import replace

from cxr.config.redact import without_folders
from cxr.evaluation import thresholds as operating_points
from cxr.model.checkpoint import Checkpoint


def make_shareable(checkpoint: Checkpoint) -> Checkpoint:
    """The same model with thresholds, calibration and OOD score, and nothing that names a patient.

    Left out are the hashes of patients and images, those of the split and of the images that thresholds were
    chosen on, the id of the key, and the folders of the recipe. So nobody can check it for leaks.
    """
    thresholds = replace(checkpoint.thresholds, images=frozenset(), patient_key="")
    metadata = checkpoint.metadata
    changes = {
        "config": without_folders(metadata.config),
        "split": metadata.split.model_copy(update={"hashes": {}}),
        "thresholds": operating_points.to_json(thresholds),
        "patient_key": "",
        "is_shared": True,
    }
    return replace(
        checkpoint,
        metadata=metadata.model_copy(update=changes),
        thresholds=thresholds,
        patients={},
        images={},
        sha256="",
    )
