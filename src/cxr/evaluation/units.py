"""Predictions of images -> predictions of studies or patients, as CheXpert's labels are a study's."""

import re
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from cxr.errors import CxrError
from cxr.evaluation.join import STUDY
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.study_rows import Unit

Combine = Literal["max", "mean"]

_STUDY_FOLDER = re.compile(r"((?:^|.*/)patient\d+/study\d+)/")


def combine(predictions: Predictions, unit: Unit, method: Combine) -> Predictions:
    """One row per study or patient: the largest or mean probability of its images.

    Its label is positive where that of any image is.

    Args:
        predictions: Rows of images.
        unit: What a row shall be; `image` changes nothing.
        method: How the probabilities of its images become one.

    Raises:
        CxrError: An image whose study or patient is not known.
    """
    if unit == "image" or not len(predictions):
        return predictions
    names = _names(predictions, unit)
    splits = predictions.rows["split"]
    # [N] the unit of each image; a unit with images of two splits is one row in each of them
    codes, units = pd.factorize(names + "\n" + splits)
    first = np.unique(codes, return_index=True)[1]
    probabilities = pd.DataFrame(predictions.p).groupby(codes)
    labels = pd.DataFrame(predictions.y).groupby(codes)
    p = (probabilities.max() if method == "max" else probabilities.mean()).to_numpy()
    y = labels.max().to_numpy()  # nan where no image of the unit has a known label

    rows = predictions.rows.iloc[first].reset_index(drop=True)
    names, splits = names.iloc[first], splits.iloc[first]
    if names.duplicated().any():  # a unit of two splits: equal names would count as one image
        names = names + " (" + splits + ")"
    notes = [f"evaluated per {unit}: the {method} over the images of each of {len(units):,}"]
    differs = (labels.max() != labels.min()) & labels.max().notna()
    num_different = int(differs.any(axis=1).sum())
    if num_different:
        notes.append(f"{num_different:,} have images with different labels and count as positive")
    return replace(
        predictions,
        rows=rows.assign(image=names.to_numpy()),
        y=y,
        p=np.clip(p, 0, 1),
        notes=(*predictions.notes, *notes),
        unit=unit,
    )


def _names(predictions: Predictions, unit: Unit) -> "pd.Series[str]":
    """[N] the patient or study of each image; a study id that several patients have is named patient/study.

    Raises:
        CxrError: An image without one.
    """
    rows = predictions.rows
    if unit == "patient":
        names = rows["patient_id"]
    else:
        column = rows[STUDY] if STUDY in rows.columns else pd.Series([""] * len(rows), dtype=str)
        # CheXpert's paths name patient and study, so that they need no patient in front
        from_path = rows["image"].map(_study_of_path)
        names = _with_patients(column, rows["patient_id"]).where(column != "", from_path)
    unnamed = rows["image"][names == ""]
    if len(unnamed):
        column_name = "patient_id" if unit == "patient" else STUDY
        images = "image names" if len(unnamed) == 1 else "images name"
        problem = f"eval.unit={unit}: {len(unnamed):,} {images} no {unit}, the first {unnamed.iloc[0]}"
        raise CxrError(problem, f"add a column {column_name}, or a table with one as --labels")
    return names


def _study_of_path(image: str) -> str:
    found = _STUDY_FOLDER.match(image)
    return found[1] if found else ""


def _with_patients(studies: "pd.Series[str]", patients: "pd.Series[str]") -> "pd.Series[str]":
    """[N] the study ids, as patient/study where an id, such as visit 1, belongs to several patients."""
    is_known = (studies != "") & (patients != "")
    patients_of = patients[is_known].groupby(studies).agg(["nunique", "first"])
    if not len(patients_of) or (patients_of["nunique"] == 1).all():
        return studies
    # An image without a patient has that of its study's other images, where they agree.
    only_patient = patients_of["first"].where(patients_of["nunique"] == 1)
    patients = patients.where(patients != "", studies.map(only_patient).fillna(""))
    return (patients + "/" + studies).where((studies != "") & (patients != ""), studies)
