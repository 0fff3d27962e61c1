"""Predictions of several models on the same images: cut to what all of them predicted, and averaged."""

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
_TINY = 1e-12


def align(models: Sequence[Named]) -> tuple[list[Predictions], list[str]]:
    """The predictions cut to the common images and findings, in the order of the images' names, and what was left out.

    Raises:
        CxrError: Nothing in common, or an image whose labels, patient or split differ.
    """
    every = models[0][1].findings
    findings = [name for name in every if all(find_spelling(name, own.findings) for _, own in models)]
    models, renamed = _named_alike(models)
    images = reduce(np.intersect1d, [own.rows["image"].to_numpy(dtype=str) for _, own in models])
    if not findings or not len(images):
        what = "image" if findings else "finding"
        where = " and ".join(name for name, _ in models)
        raise CxrError(f"{where}: no {what} in common", "give predictions of the same images, named alike")
    cut = [_cut(own, images, findings) for _, own in models]
    for (name, _), own in zip(models[1:], cut[1:], strict=True):
        _check_agreement(f"{models[0][0]} and {name}", cut[0], own)
    return cut, renamed + [
        note for name, own in models for note in _left_out(name, own, len(images), findings)
    ]


def _named_alike(models: Sequence[Named]) -> tuple[list[Named], list[str]]:
    """The models with each image called as the first model calls it, see `match_names`, and a note on other names."""
    first, notes = models[0][1].rows["image"].astype(str), []
    alike = [models[0]]
    for name, own in models[1:]:
        images = own.rows["image"].astype(str)
        places = match_names(images, first)
        known = first.to_numpy()[np.maximum(places, 0)]
        other = np.flatnonzero((places >= 0) & (known != images.to_numpy()))
        if len(other):
            example = f"{images.iloc[other[0]]} is {known[other[0]]}"
            notes.append(f"{len(other):,} images of {name} are found by an end of their names, as {example}")
        called = pd.Series(np.where(places >= 0, known, images), index=own.rows.index, dtype=str)
        alike.append((name, replace(own, rows=own.rows.assign(image=called)) if len(other) else own))
    return alike, notes


def average(models: Sequence[Named], how: Average) -> tuple[Predictions, list[str]]:
    """The mean of the models' probabilities or of their logits, and what was left out.

    Raises:
        CxrError: As `align`.
    """
    from scipy.special import expit, logit

    cut, notes = align(models)
    p = np.stack([own.p for own in cut])
    mean = (
        p.mean(axis=0) if how == "probabilities" else expit(logit(np.clip(p, _TINY, 1 - _TINY)).mean(axis=0))
    )
    rows = cut[0].rows
    for own in cut[1:]:  # what one calls training is not judged where another leaves it open
        rows = rows.assign(split=rows["split"].where(rows["split"] != "", own.rows["split"]))
    return Predictions(rows, cut[0].findings, cut[0].y, np.clip(mean, 0, 1)), notes


def _cut(predictions: Predictions, images: npt.NDArray[np.str_], findings: Sequence[str]) -> Predictions:
    chosen = predictions.select(pd.Index(predictions.rows["image"].astype(str)).get_indexer(pd.Index(images)))
    named = [find_spelling(name, predictions.findings) for name in findings]
    columns = [predictions.findings.index(name) for name in named if name is not None]
    return Predictions(chosen.rows, tuple(findings), chosen.y[:, columns], chosen.p[:, columns])


def _left_out(name: str, predictions: Predictions, num_images: int, findings: Sequence[str]) -> list[str]:
    notes = []
    if len(predictions) > num_images:
        notes.append(f"{len(predictions) - num_images:,} images that only {name} predicts are left out")
    others = [finding for finding in predictions.findings if find_spelling(finding, findings) is None]
    if others:
        notes.append(f"findings that only {name} predicts are left out: {', '.join(others)}")
    return notes


def _check_agreement(where: str, a: Predictions, b: Predictions) -> None:
    differ = ~((a.y == b.y) | (np.isnan(a.y) & np.isnan(b.y)))
    if differ.any():
        row, column = np.argwhere(differ)[0]
        what = f"{differ.any(axis=1).sum():,} images have other labels in one than in the other"
        first = f"the first {a.rows['image'].iloc[row]} for {a.findings[column]}"
        raise CxrError(f"{where}: {what}, {first}", "judge both on one table of labels, with --labels FILE")
    others = np.flatnonzero((a.rows["patient_id"] != b.rows["patient_id"]).to_numpy())
    if len(others):
        what = f"{len(others):,} images have another patient_id, the first {a.rows['image'].iloc[others[0]]}"
        raise CxrError(f"{where}: {what}", "give both the same patient ids")
    ours, theirs = a.rows["split"], b.rows["split"]
    others = np.flatnonzero(((ours != theirs) & (ours != "") & (theirs != "")).to_numpy())
    if len(others):
        first = f"{a.rows['image'].iloc[others[0]]}: {ours.iloc[others[0]]} and {theirs.iloc[others[0]]}"
        what = f"{len(others):,} images are in another split, the first {first}"
        raise CxrError(
            f"{where}: {what}", "a model must not be judged on rows that the other's split trains on"
        )
