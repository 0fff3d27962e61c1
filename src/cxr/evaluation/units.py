"""Predictions of images -> predictions of studies or patients, as CheXpert's labels are a study's."""

import re
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.errors import CxrError
from cxr.evaluation.join import STUDY
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.study_rows import Unit

Combine = Literal["max", "mean"]
Indices = npt.NDArray[np.intp]
MIXED = "mixed"
"""What a column says of a unit whose images differ in it, such as their view."""

_STUDY_FOLDER = re.compile(r"((?:^|.*/)patient\d+/study\d+)/")


def combine(predictions: Predictions, unit: Unit, method: Combine) -> Predictions:
    """One row per study or patient: the largest or mean probability of its images.

    Its label is positive where that of any image is, negative where no image is positive and one is negative,
    else unknown. Age is the lowest of its images; any other column in which they differ says MIXED.

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
    # factorize numbers units as they first appear; groupby sorts by number: rows of all arrays below agree
    probabilities = pd.DataFrame(predictions.p).groupby(codes)
    p = (probabilities.max() if method == "max" else probabilities.mean()).to_numpy()
    y = pd.DataFrame(predictions.y).groupby(codes).max().to_numpy()  # nan where no label of the unit is known

    rows = _join_rows(predictions.rows, codes, first)
    names, splits = names.iloc[first], splits.iloc[first]
    if names.duplicated().any():  # a unit of two splits: equal names would count as one image
        names = names + " (" + splits + ")"
    notes = [f"evaluated per {unit}: the {method} over the images of each of {len(units):,}"]
    notes += _note_conflicts(predictions, codes)
    return replace(
        predictions,
        rows=rows.assign(image=names.to_numpy()),
        y=y,
        p=p if predictions.is_raw else np.clip(p, 0, 1),
        notes=(*predictions.notes, *notes),
        unit=unit,
    )


def _join_rows(rows: pd.DataFrame, codes: Indices, first: Indices) -> pd.DataFrame:
    """One row of each unit: that of its first image, but for the age and columns in which images differ."""
    joined = rows.iloc[first].reset_index(drop=True)
    for name in rows.columns:
        if name in ("image", "patient_id", "split", STUDY):
            continue
        values = rows[name].groupby(codes)
        if name == "age":
            joined[name] = values.min().to_numpy()
        else:
            # an empty cell is a value too: a unit with one unknown view is mixed
            differs = (values.nunique() > 1).to_numpy()
            joined[name] = joined[name].where(~differs, MIXED)
    return joined


def _note_conflicts(predictions: Predictions, codes: Indices) -> list[str]:
    """How many units have images with different labels, by finding, and what becomes of them."""
    labels = pd.DataFrame(predictions.y).groupby(codes)
    differs = ((labels.max() != labels.min()) & labels.max().notna()).to_numpy()  # [units, C]
    num_known = labels.count().to_numpy()
    # count leaves nan out, size does not
    is_partly = (num_known > 0) & (num_known < labels.size().to_numpy()[:, None])
    notes = []
    if differs.any():
        counts = zip(predictions.findings, differs.sum(axis=0), strict=True)
        by_finding = ", ".join(f"{name} {num:,}" for name, num in counts if num)
        num_different = int(differs.any(axis=1).sum())
        notes.append(
            f"{num_different:,} have images with different labels and count as positive: {by_finding}"
        )
    if is_partly.any():
        num_partly = int(is_partly.any(axis=1).sum())
        notes.append(f"{num_partly:,} have images with and without a known label: the known ones count")
    return notes


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
    # by study id: how many patients have it, and the first of them
    patients_of = patients[is_known].groupby(studies).agg(["nunique", "first"])
    if not len(patients_of) or (patients_of["nunique"] == 1).all():
        return studies
    # An image without a patient has that of its study's other images, where they agree.
    only_patient = patients_of["first"].where(patients_of["nunique"] == 1)
    patients = patients.where(patients != "", studies.map(only_patient).fillna(""))
    return (patients + "/" + studies).where((studies != "") & (patients != ""), studies)
