"""What a check found: frozen tables of plain values, from which terminal output, JSON and page are made."""

from dataclasses import dataclass

from cxr.labels.columns import ColumnUse


@dataclass(frozen=True)
class Listing:
    """Images of one unusual kind.

    Attributes:
        kind: A word for it, as in check.json.
        title: Its heading.
        rule: What puts an image here, with how often the rule is wrong where that was measured.
        images: Their files below data.root, or the table's names where there is no file.
        notes: A note on each, or none at all.
    """

    kind: str
    title: str
    rule: str
    images: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Twins:
    """A group of duplicate images.

    Attributes:
        images: Their files.
        same: `file` when their bytes are the same, `pixels` when only their decoded pixels are.
        num_patients: How many patients the label table gives them.
        splits: Splits they are in.
        datasets: Datasets they are in, where there are several.
    """

    images: tuple[str, ...]
    same: str
    num_patients: int
    splits: tuple[str, ...]
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Files:
    """Counts of files; what decoding alone can tell is None under --quick.

    Attributes:
        named: Rows of the label table.
        missing: Rows without a file.
        absent: Names in the dataset's lists without a row.
        read: Files decoded.
        unreadable: Files that could not be.
        num_bytes: Size of the files that were decoded.
        median_size: Median width and height.
        sizes: (width, height, how many) of the most frequent sizes, the most frequent first.
        grey_as_colour: Files with three or more channels of the same content.
        unnamed: Image files below data.root that no row names.
        first_unnamed: The first of them.
        not_read: Files that are not at fault: what would read them is not installed, say.
    """

    named: int
    missing: int
    absent: int
    read: int | None
    unreadable: int | None
    num_bytes: int | None
    median_size: tuple[int, int] | None
    sizes: tuple[tuple[int, int, int], ...]
    grey_as_colour: int | None
    unnamed: int
    first_unnamed: tuple[str, ...]
    not_read: int | None


@dataclass(frozen=True)
class Cells:
    """Labels of one finding in one split, or in `all` without a split, as the source gives them.

    `unlabelled` are the cells of datasets that do not label the finding at all, which are masked under every
    policy; `soft` are those between 0 and 1.
    """

    finding: str
    split: str
    positive: int
    negative: int
    uncertain: int
    blank: int
    unlabelled: int = 0
    soft: int = 0


@dataclass(frozen=True)
class Group:
    """Images of one view, sex or age band in each split and in all."""

    column: str
    group: str
    images: dict[str, int]


@dataclass(frozen=True)
class Patients:
    """Patients of the whole table.

    Attributes:
        num: How many there are.
        images_each: (label such as `3-5`, how many patients have so many images).
        most_images: Images of the patient with most of them.
        in_two_splits: Patients with images in more than one split.
        rows_without: Rows without a patient.
    """

    num: int
    images_each: tuple[tuple[str, int], ...]
    most_images: int
    in_two_splits: int
    rows_without: int


@dataclass(frozen=True)
class Together:
    """`counts` [C][C] of images with both findings positive, and how many have each on the diagonal."""

    findings: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Share:
    """What one dataset of several gives to the training.

    Attributes:
        name: Its name.
        images: By split.
        patients: By split.
        findings: Targets that it labels; the others are masked in its rows.
        weight: data.weight.
        visits: Training images that an epoch draws from it.
        share: Their share of all that an epoch draws.
        store: Folder of its store.
        store_bytes: Its pixels.
    """

    name: str
    images: dict[str, int]
    patients: dict[str, int]
    findings: tuple[str, ...]
    weight: float
    visits: int
    share: float
    store: str
    store_bytes: int


@dataclass(frozen=True)
class Plan:
    """What cxr train would do with it.

    Attributes:
        images: By split.
        patients: By split.
        findings: Targets.
        dropped: Rows left out, by reason.
        batch_size: Images a step.
        epochs: Passes over the training rows.
        visits: Training images that an epoch draws, by data.weight.
        steps_per_epoch: Steps of one of them; None where none can be made, and for one dataset of several.
        store: Folder of the store, or folders.
        store_bytes: Its pixels, which are also what RAM or GPU must hold unless they stay on the disk.
        where: store.where.
        datasets: What each gives, where there are several.
    """

    images: dict[str, int]
    patients: dict[str, int]
    findings: tuple[str, ...]
    dropped: dict[str, int]
    batch_size: int
    epochs: int
    visits: int
    steps_per_epoch: int | None
    store: str
    store_bytes: int
    where: str
    datasets: tuple[Share, ...] = ()


@dataclass(frozen=True)
class Check:
    """Everything that one pass found.

    Attributes:
        about: (what, value) of config, source, root, label table and split.
        quick: Whether files were only looked for, not decoded.
        problems: Why cxr train would refuse to start.
        hints: What to do about them.
        warnings: What it would not refuse, but a person should know.
        files: Counts of files.
        listings: Images of each unusual kind, empty kinds left out.
        twins: Groups of duplicate images, those that leak first.
        cells: Labels of the rows kept, by finding and split.
        together: Findings that are positive together.
        groups: Rows kept by view, sex and age band.
        patients: Counts of patients.
        split_hashes: Hash of the names in each split.
        plan: What would be trained on.
        part: The dataset's name where it is one of several: each has a Check beside that of all together.
        columns: What became of each column of the label table.
    """

    about: tuple[tuple[str, str], ...]
    quick: bool
    problems: tuple[str, ...]
    hints: tuple[str, ...]
    warnings: tuple[str, ...]
    files: Files
    listings: tuple[Listing, ...]
    twins: tuple[Twins, ...]
    cells: tuple[Cells, ...]
    together: Together
    groups: tuple[Group, ...]
    patients: Patients
    split_hashes: dict[str, str]
    plan: Plan
    part: str = ""
    columns: tuple[ColumnUse, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether cxr train would start; of one dataset of several, whether it has no problem."""
        return not self.problems
