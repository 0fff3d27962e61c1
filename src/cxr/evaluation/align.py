"""Predictions of several models, reduced to the common images and findings, and averaged."""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.same_names import match_names
from cxr.findings import find_spelling

Named = tuple[str, Predictions]
Average = Literal["probabilities", "logits"]
_TINY = 1e-12  # keeps logits of 0 and 1 finite


def align(models: Sequence[Named]) -> tuple[list[Predictions], list[str]]:
    """(predictions of the common images and findings, sorted by image name; notes on what is left out).

    Raises:
        CxrError: Nothing in common, or an image whose labels, patient or split differ.
    """
    first_findings = models[0][1].findings
    findings = [
        name
        for name in first_findings
        if all(find_spelling(name, predictions.findings) for _, predictions in models)
    ]
    # images get common names before they are matched by name
    models, notes = _rename_images(models)
    names = [predictions.rows["image"].to_numpy(dtype=str) for _, predictions in models]
    # intersect1d sorts, so that every model's rows come out in the same order
    images = reduce(np.intersect1d, names)
    if not findings or not len(images):
        kind = "image" if findings else "finding"
        where = " and ".join(name for name, _ in models)
        raise CxrError(f"{where}: no {kind} in common", "give predictions of the same images, named alike")
    aligned = [_select(predictions, images, findings) for _, predictions in models]
    # of common rows alone: what is left out may differ
    for (name, _), predictions in zip(models[1:], aligned[1:], strict=True):
        _check_agreement(f"{models[0][0]} and {name}", aligned[0], predictions)
    for name, predictions in models:
        notes += _note_left_out(name, predictions, len(images), findings)
    return aligned, notes


def average(models: Sequence[Named], averaged: Average) -> tuple[Predictions, list[str]]:
    """The mean of the models' probabilities or of their logits, and notes on what is left out.

    Raises:
        CxrError: As `align`.
    """
    from scipy.special import expit, logit

    aligned, notes = align(models)
    p = np.stack([predictions.p for predictions in aligned])  # [M, N, C]
    if averaged == "logits":
        p = logit(np.clip(p, _TINY, 1 - _TINY))
    mean = p.mean(axis=0)
    if averaged == "logits":
        mean = expit(mean)
    rows = aligned[0].rows
    for predictions in aligned[1:]:  # a row that any of them calls training is not evaluated
        rows = rows.assign(split=rows["split"].where(rows["split"] != "", predictions.rows["split"]))
    return replace(aligned[0], rows=rows, p=np.clip(mean, 0, 1), notes=()), notes


def _rename_images(models: Sequence[Named]) -> tuple[list[Named], list[str]]:
    """(the models with each image named as by the first model, see `match_names`; notes on other names)."""
    first, notes = models[0][1].rows["image"].astype(str), []
    renamed = [models[0]]
    for name, predictions in models[1:]:
        # each model against the first, which names the images of all
        images = predictions.rows["image"].astype(str)
        matches = match_names(images, first)
        # a match of -1 would take the last name, hence the maximum; such an image keeps its own name
        first_names = np.where(matches >= 0, first.to_numpy()[np.maximum(matches, 0)], images)
        different = np.flatnonzero(first_names != images.to_numpy())
        if len(different):
            example = f"{images.iloc[different[0]]} is {first_names[different[0]]}"
            notes.append(
                f"{len(different):,} images of {name} are found by an end of their names, as {example}"
            )
            column = pd.Series(first_names, index=predictions.rows.index, dtype=str)
            predictions = replace(predictions, rows=predictions.rows.assign(image=column))
        renamed.append((name, predictions))
    return renamed, notes


def _select(predictions: Predictions, images: npt.NDArray[np.str_], findings: Sequence[str]) -> Predictions:
    """The rows and columns of these images and findings, in their order."""
    index = pd.Index(predictions.rows["image"].astype(str))
    chosen = predictions.select(index.get_indexer(pd.Index(images)))
    names = [find_spelling(name, predictions.findings) for name in findings]
    columns = [predictions.findings.index(name) for name in names if name is not None]
    return replace(chosen, findings=tuple(findings), y=chosen.y[:, columns], p=chosen.p[:, columns], notes=())


def _note_left_out(
    name: str, predictions: Predictions, num_images: int, findings: Sequence[str]
) -> list[str]:
    notes = []
    if len(predictions) > num_images:
        notes.append(f"{len(predictions) - num_images:,} images that only {name} predicts are left out")
    others = [finding for finding in predictions.findings if find_spelling(finding, findings) is None]
    if others:
        notes.append(f"findings that only {name} predicts are left out: {', '.join(others)}")
    return notes


def _check_agreement(where: str, a: Predictions, b: Predictions) -> None:
    """Refuse images whose labels, patient or split differ between two models.

    Raises:
        CxrError: Such an image.
    """
    images = a.rows["image"]
    # nan is unlike itself, but two unknown labels agree
    is_different = ~((a.y == b.y) | (np.isnan(a.y) & np.isnan(b.y)))
    if is_different.any():
        row, column = np.argwhere(is_different)[0]
        num_images = is_different.any(axis=1).sum()
        raise CxrError(
            f"{where}: {num_images:,} images have other labels in one than in the other, "
            f"the first {images.iloc[row]} for {a.findings[column]}",
            "give CSV files one table with --labels FILE, runs the same data.uncertain and data.blank",
        )
    rows = np.flatnonzero((a.rows["patient_id"] != b.rows["patient_id"]).to_numpy())
    if len(rows):
        raise CxrError(
            f"{where}: {len(rows):,} images have another patient_id, the first {images.iloc[rows[0]]}",
            "give both the same patient ids",
        )
    split_a, split_b = a.rows["split"], b.rows["split"]
    # an empty split is unknown and agrees with any
    rows = np.flatnonzero(((split_a != split_b) & (split_a != "") & (split_b != "")).to_numpy())
    if len(rows):
        row = rows[0]
        raise CxrError(
            f"{where}: {len(rows):,} images are in another split, "
            f"the first {images.iloc[row]}: {split_a.iloc[row]} and {split_b.iloc[row]}",
            "a model must not be evaluated on rows that the other's split trains on",
        )
