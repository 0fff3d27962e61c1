"""The keys of `data`: which archives, which labels, which patients in which split."""

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
    """A frozen group of keys; the line under a key is its meaning."""

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
    """Files with one image name a line; further columns are ignored."""

    train: UserPath
    """Names of the training images."""
    val: UserPath
    """Names of the validation images."""
    test: UserPath
    """Names of the test images."""


class Columns(Section):
    """Columns of a `table` source's CSV; a `folder` source heeds patient=null."""

    image: str = "image"
    """Column with the image's path, relative to data.root; where it is not there, one of a usual name is taken."""
    patient: str | None = "patient_id"
    """Column with the patient, so that no patient is in two splits; null where there is none: then split per image."""
    study: str | None = None
    """Column with the study; null takes one of a usual name."""
    view: str | None = None
    """Column with the view (PA, AP, lateral); null takes one of a usual name, else the DICOM headers."""
    sex: str | None = None
    """Column with the sex; null takes one of a usual name, else the DICOM headers."""
    age: str | None = None
    """Column with the age in years; null takes one of a usual name, else the DICOM headers."""
    labels: str | None = None
    """Column of classes or lists of findings, as `Edema|Effusion`; null takes a column per finding."""
    others: tuple[str, ...] = ()
    """Further columns to keep, such as [scanner], for eval.subgroups."""


class Phantom(Section):
    """What the `phantom` source generates into data.root when nothing is there yet."""

    num_images: int = Field(2000, ge=1)
    """Number of images."""
    layout: Literal["nih", "chexpert"] = "nih"
    """Archive whose folders and files are imitated."""
    size: int = Field(256, ge=32, le=4096)
    """Width and height in pixels."""
    seed: int = 0
    """Seed of the generated patients and images."""


class Archive(Section):
    """What is said of one archive: its images, its labels, its patients in which split."""

    source: Literal[
        "nih", "chexpert", "mimic", "padchest", "vindr", "brax", "torchxrayvision", "table", "folder",
        "phantom",
    ]  # fmt: skip
    """Reader: nih, chexpert, mimic, padchest, vindr, brax, torchxrayvision, table (CSV), folder (classes), phantom."""
    root: UserPath
    """Folder of the archive."""
    csv: UserPath | None = None
    """Label table, relative to data.root; null takes the archive's own."""
    split: Literal["official", "lists", "random", "column"] = "official"
    """How rows become train, val and test: the archive's own lists, data.lists, by patient, or data.split_column."""
    lists: Lists | None = None
    """Name lists for split=lists: {train: FILE, val: FILE, test: FILE}."""
    split_column: str = "split"
    """Column for split=column, holding train, val or test."""
    val_fraction: float = Field(0.1, gt=0, lt=1)
    """Share of patients for validation where the split names none."""
    test_fraction: float = Field(0.2, ge=0, lt=1)
    """Share of patients for testing under split=random."""
    split_seed: int = 0
    """Seed of the patients drawn for val_fraction and test_fraction, apart from `seed` so that runs share a split."""
    views: tuple[str, ...] | None = None
    """Views to keep, such as [PA, AP]; null keeps all."""
    missing: Literal["error", "skip"] = "error"
    """When a listed image has no file or no labels: stop, or go on and list it beside the store."""
    unreadable: Literal["error", "skip"] = "error"
    """When a file cannot be decoded: stop, or go on and list it beside the store."""
    uncertain: Annotated[Policy | dict[str, Policy], must_be(
        "ignore, zeros, ones, a range [low, high] with 0 <= low <= high <= 1, or a mapping of findings to these"
    )] = "ignore"  # fmt: skip
    """Uncertain (-1) cells: ignore, zeros, ones, a smoothing range [0.55, 0.85], or one of these per finding."""
    blank: Literal["negative", "masked"] = "negative"
    """Blank cells: negative, or masked out of the loss and the metrics."""
    soft_labels: Literal["error", "keep"] = "error"
    """Label cells between 0 and 1: an error, or soft targets of the loss, unknown to the metrics."""
    duplicates: Literal["error", "any", "all", "majority"] = "error"
    """Rows of one image with different labels: an error, or 1 where any, all or most of the rows say 1."""
    columns: Columns = Columns()
    """Column names of a `table` source."""
    folders: tuple[Literal["split", "class", "patient", "other"], ...] | None = None
    """What the folders below data.root of a `folder` source are, from the top, as [split, class]; null finds out."""
    labeler: Literal["chexpert", "negbio"] = "chexpert"
    """Which of MIMIC-CXR's two label tables a `mimic` source takes."""
    dataset: str | None = None
    """Class of torchxrayvision that a `torchxrayvision` source reads with, such as RSNA_Pneumonia_Dataset."""
    arguments: dict[str, str | int | float | bool | list[str]] = {}
    """Arguments of that class besides imgpath (data.root by default), such as {csvpath: labels.csv}."""
    phantom: Phantom = Phantom()
    """What a `phantom` source generates."""
    name: Annotated[str, Field(pattern=r"^\w[\w.+-]*$")] | None = None
    """Name in reports and before image names where there are several archives; null takes the source's."""
    weight: float = Field(1.0, gt=0, le=100)
    """Visits of each training row an epoch: 2 is twice, 0.5 a half of the rows, drawn anew each epoch."""

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


class Also(Archive):
    """A further archive, described by the keys of `data` itself."""


class Data(Archive):
    """Which images, which labels, which patients in which split."""

    findings: Annotated[str | tuple[str, ...] | None, AfterValidator(_expand_findings)] = None
    """Targets: a list, or nih14, chexpert14, chexpert5; null takes all that is labelled but No Finding."""
    also: tuple[Also, ...] = ()
    """Further archives to learn from at once: a list of sections with the keys above, from source to weight."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        every: tuple[Archive, ...] = (self, *self.also)
        given = [one.name for one in every if one.name]
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            raise ValueError(f"two archives have the name {', '.join(twice)}; each needs a name of its own")
        return self
