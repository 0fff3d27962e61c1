"""The keys of `data`: datasets, labels, splits."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from cxr.findings import GROUPS, canonical, name_key

UncertainPolicy = Literal["ignore", "zeros", "ones"] | tuple[float, float]


def _named_by_number(value: object) -> object:
    """A folder may be called 2020 or 1e3: a number in place of a path is its name, as it was written."""
    if isinstance(value, bool):
        raise ValueError(f"a path is text: put {str(value).lower()} into quotes")
    return getattr(value, "written", str(value)) if isinstance(value, int | float) else value


def _user_path(path: Path) -> Path:
    """The path with `~` written out."""
    try:
        if b"\0" in os.fsencode(path):
            raise ValueError("a path cannot hold a NUL character")
    except UnicodeEncodeError:
        raise ValueError("a path cannot hold half of a surrogate pair") from None
    return Path(os.path.expanduser(path))


UserPath = Annotated[Path, BeforeValidator(_named_by_number), AfterValidator(_user_path)]


class Section(BaseModel):
    """A frozen group of keys; the docstring under a key is its meaning."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _fits_64_bits(cls, value: object) -> object:
        if isinstance(value, int) and abs(value) >= 1 << 63:
            raise ValueError("is too large a number")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        wanted = cls.model_fields[info.field_name or ""].annotation
        kinds = {wanted, *get_args(wanted)}
        if isinstance(value, bool) and kinds & {int, float} and bool not in kinds:
            raise ValueError(f"must be a number, not {str(value).lower()}")
        return value


def _expand_findings(names: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
    if isinstance(names, str):
        group = names.strip().lower()
        if group not in GROUPS:
            raise ValueError(
                f"{names!r} is no group of findings; known are {', '.join(GROUPS)}, or give a list"
            )
        return GROUPS[group]
    if names is None:
        return None
    if not names or len({name_key(canonical(name)) for name in names}) != len(names):
        raise ValueError("findings must be a list of different names")
    return tuple(canonical(name) for name in names)


def _check_policy(policy: UncertainPolicy) -> UncertainPolicy:
    if isinstance(policy, tuple) and not 0 <= policy[0] <= policy[1] <= 1:
        raise ValueError("a smoothing range is [low, high] with 0 <= low <= high <= 1")
    return policy


Policy = Annotated[UncertainPolicy, AfterValidator(_check_policy)]


def must_be(what: str) -> WrapValidator:
    """One message for a value that may take several forms, in place of one a form."""

    def check(value: object, form: ValidatorFunctionWrapHandler) -> object:
        try:
            return form(value)
        except ValidationError:
            raise ValueError(f"must be {what}, not {value!r}") from None

    return WrapValidator(check)


class Lists(Section):
    """Files with one image name per line; further columns are ignored."""

    train: UserPath
    """Names of the training images."""
    val: UserPath
    """Names of the validation images."""
    test: UserPath
    """Names of the test images."""


class Columns(Section):
    """Columns of the CSV of source=table; source=folder uses patient alone."""

    image: str = "image"
    """Image path, relative to data.root; if there is no such column, one with a common name is used."""
    patient: str | None = "patient_id"
    """Patient, so that no patient is in two splits; null if there is none (splits are then by image)."""
    study: str | None = None
    """Study; null uses a column with a common name."""
    view: str | None = None
    """View (PA, AP, lateral); null uses a column with a common name, else the DICOM headers."""
    sex: str | None = None
    """Sex; null uses a column with a common name, else the DICOM headers."""
    age: str | None = None
    """Age in years; null uses a column with a common name, else the DICOM headers."""
    labels: str | None = None
    """One column of classes or lists of findings, such as `Edema|Effusion`; null: one column per finding."""
    others: tuple[str, ...] = ()
    """Further columns to keep for eval.subgroups, such as [scanner]."""


class Phantom(Section):
    """Generated images for source=phantom, written to data.root if it is empty."""

    num_images: int = Field(2000, ge=1)
    """Number of images."""
    layout: Literal["nih", "chexpert"] = "nih"
    """Dataset whose folders and files are imitated."""
    size: int = Field(256, ge=32, le=4096)
    """Width and height in pixels."""
    seed: int = 0
    """Random seed of patients and images."""


class OneDataset(Section):
    """One dataset: its images, its labels, its splits."""

    source: Literal[
        "nih", "chexpert", "mimic", "padchest", "vindr", "brax", "torchxrayvision", "table", "folder",
        "phantom",
    ]  # fmt: skip
    """Reader: nih, chexpert, mimic, padchest, vindr, brax, torchxrayvision, table (CSV), folder, phantom."""
    root: UserPath
    """Folder of the dataset."""
    csv: UserPath | None = None
    """Label table, relative to data.root; null uses the dataset's own."""
    split: Literal["official", "lists", "random", "column"] = "official"
    """Train, val, test: the dataset's official lists, data.lists, random by patient, or data.split_column."""
    lists: Lists | None = None
    """Name lists for split=lists: {train: FILE, val: FILE, test: FILE}."""
    split_column: str = "split"
    """For split=column: the column that holds train, val or test."""
    val_fraction: float = Field(0.1, gt=0, lt=1)
    """Fraction of patients for validation, if the split has no validation part."""
    test_fraction: float = Field(0.2, ge=0, lt=1)
    """Fraction of patients for testing, under split=random."""
    split_seed: int = 0
    """Random seed of val_fraction and test_fraction; separate from `seed`, so that runs share a split."""
    views: tuple[str, ...] | None = None
    """Views to keep, such as [PA, AP]; null keeps all."""
    missing: Literal["error", "skip"] = "error"
    """If an image has no file or no labels: stop, or skip it and list it beside the store."""
    unreadable: Literal["error", "skip"] = "error"
    """If an image cannot be decoded: stop, or skip it and list it beside the store."""
    uncertain: Annotated[Policy | dict[str, Policy], must_be(
        "ignore, zeros, ones, a range [low, high] with 0 <= low <= high <= 1, or a mapping of findings to "
        "these"
    )] = "ignore"  # fmt: skip
    """Uncertain (-1) labels: ignore, zeros, ones, a range [0.55, 0.85], or one of these per finding."""
    blank: Literal["negative", "masked"] = "negative"
    """Blank labels: negative, or masked (left out of the loss and of the metrics)."""
    soft_labels: Literal["error", "keep"] = "error"
    """Labels between 0 and 1: an error, or keep (soft targets of the loss, left out of the metrics)."""
    duplicates: Literal["error", "any", "all", "majority"] = "error"
    """Rows of one image that disagree: an error, or positive if any, all or most of them are."""
    columns: Columns = Columns()
    """Column names for source=table."""
    folders: tuple[Literal["split", "class", "patient", "other"], ...] | None = None
    """For source=folder: levels of folders from the top, such as [split, class]; null detects them."""
    labeler: Literal["chexpert", "negbio"] = "chexpert"
    """For source=mimic: which of MIMIC-CXR's two label tables is used."""
    dataset: str | None = None
    """For source=torchxrayvision: its class, such as RSNA_Pneumonia_Dataset."""
    arguments: dict[str, str | int | float | bool | list[str]] = {}
    """For source=torchxrayvision: arguments of the class, such as {csvpath: labels.csv}."""
    phantom: Phantom = Phantom()
    """Settings for source=phantom."""
    name: Annotated[str, Field(pattern=r"^\w[\w.+-]*$")] | None = None
    """Name in reports and image names when there are several datasets; null uses the source."""
    weight: float = Field(1.0, gt=0, le=100)
    """How often each training image is seen per epoch: 2 is twice; 0.5 draws half of them each epoch."""

    @model_validator(mode="after")
    def _lists_are_there(self) -> Self:
        if self.split == "lists" and self.lists is None:
            raise ValueError("split=lists needs lists: {train: FILE, val: FILE, test: FILE}")
        if self.source == "table" and self.split == "official":
            raise ValueError("a table has no official split; use split=random, column or lists")
        if self.source == "torchxrayvision" and self.dataset is None:
            raise ValueError(
                "source=torchxrayvision needs dataset: the name of one of its classes, as NIH_Dataset"
            )
        return self


class Also(OneDataset):
    """A further dataset, with the keys of `data`."""


class Data(OneDataset):
    """Dataset, labels and splits."""

    findings: Annotated[str | tuple[str, ...] | None, AfterValidator(_expand_findings)] = None
    """Findings to learn: a list, nih14, chexpert14, chexpert5; null: all labelled ones but No Finding."""
    also: tuple[Also, ...] = ()
    """Further datasets to train on at once: a list of sections with the keys above, source to weight."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        every: tuple[OneDataset, ...] = (self, *self.also)
        given = [one.name for one in every if one.name]
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            raise ValueError(f"two datasets are named {', '.join(twice)}; give each its own data.name")
        return self
