"""Predictions of images -> predictions of studies or patients, as CheXpert's labels are a study's."""

import re
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from cxr.errors import CxrError
from cxr.evaluation.join import STUDY
from cxr.evaluation.predictions import Predictions

Unit = Literal["image", "study", "patient"]
Combine = Literal["max", "mean"]

_STUDY_FOLDER = re.compile(r"((?:^|.*/)patient\d+/study\d+)/")


def combine(predictions: Predictions, unit: Unit, how: Combine) -> Predictions:
    """A row per study or patient: the largest or the mean probability of its images, present where any image is so.

    Args:
        predictions: Rows of images.
        unit: What a row shall be; `image` changes nothing.
        how: How the probabilities of its images become one.

    Raises:
        CxrError: An image whose study or patient is not known.
    """
    if unit == "image" or not len(predictions):
        return predictions
    keys = _keys(predictions, unit)
    codes, names = pd.factorize(keys + "\n" + predictions.rows["split"])
    first = np.unique(codes, return_index=True)[1]
    probabilities, labels = (pd.DataFrame(values).groupby(codes) for values in (predictions.p, predictions.y))
    p = (probabilities.max() if how == "max" else probabilities.mean()).to_numpy()
    y = labels.max().to_numpy()  # nan where no image of it has a known label
    differ = int(((labels.max() != labels.min()) & labels.max().notna()).any(axis=1).sum())
    names_of = [f"{key} ({split})" if keys.iloc[first].duplicated(keep=False).any() else key for key, split in
                zip(keys.iloc[first], predictions.rows["split"].iloc[first], strict=True)]  # fmt: skip
    rows = predictions.rows.iloc[first].reset_index(drop=True).assign(image=names_of)
    notes = [f"evaluated per {unit}: the {how} over the images of each of {len(names):,}"]
    notes += [f"{differ:,} have images with different labels and count as positive"] if differ else []
    return replace(predictions, rows=rows, y=y, p=np.clip(p, 0, 1), notes=(*predictions.notes, *notes))


def _keys(predictions: Predictions, unit: Unit) -> "pd.Series[str]":
    """The study or patient of each image; a study that several patients have, as visit 1 of each, is patient/study."""
    rows = predictions.rows
    if unit == "patient":
        keys = rows["patient_id"]
    else:
        named = rows[STUDY] if STUDY in rows.columns else pd.Series([""] * len(rows), dtype=str)
        told = rows["image"].map(lambda image: found[1] if (found := _STUDY_FOLDER.match(image)) else "")
        keys = _tell_apart(named, rows["patient_id"]).where(
            named != "", told
        )  # a path names the patient, too
    lost = rows["image"][keys == ""]
    if len(lost):
        column = "patient_id" if unit == "patient" else STUDY
        names = "image names" if len(lost) == 1 else "images name"
        what = f"eval.unit={unit}: {len(lost):,} {names} no {unit}, the first {lost.iloc[0]}"
        raise CxrError(what, f"add a column {column}, or a table with one as --labels")
    return keys


def _tell_apart(studies: "pd.Series[str]", patients: "pd.Series[str]") -> "pd.Series[str]":
    """The studies, as patient/study where any study is of several patients."""
    known = patients[(studies != "") & (patients != "")].groupby(studies).agg(["nunique", "first"])
    if not len(known) or (known["nunique"] == 1).all():
        return studies
    only = known["first"].where(
        known["nunique"] == 1
    )  # where an image names no patient, another of its study may
    whose = patients.where(patients != "", studies.map(only).fillna(""))
    return (whose + "/" + studies).where((studies != "") & (whose != ""), studies)
