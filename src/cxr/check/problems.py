"""Problems and warnings of a check beyond the stages of `cxr.data`: files, disks, and training itself."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxr.check.files import Facts
from cxr.check.result import Files, Listing, Twins
from cxr.config.schema import Config, Data
from cxr.console import count
from cxr.data.listing import ListedDataset
from cxr.data.problems import Problems
from cxr.data.sampling import check_selection_metric, count_steps
from cxr.errors import CxrError
from cxr.images.dicom.detect import DICOM_SUFFIXES as DICOM
from cxr.images.dicom.header import read_header
from cxr.labels.table import NO_PATIENTS, LabelTable
from cxr.labels.targets import Targets

_NUM_NAMED = 3
_MANY_IMAGES = 40  # if so many images all have another patient, the column of patients may be the wrong one
# listings that are errors or warnings by a key of the config
_BY_POLICY = ("missing", "truncated", "unreadable")


def check_generated(data: Data) -> None:
    """Refuse a phantom that is not there: reading would draw it, and a check writes only its report.

    Raises:
        CxrError: With the command that draws it.
    """
    if data.source == "phantom" and not (data.root.is_dir() and any(data.root.iterdir())):
        phantom = data.phantom
        options = f"--images {phantom.num_images} --size {phantom.size}"
        options += f" --layout {phantom.layout} --seed {phantom.seed}"
        raise CxrError(
            f"{data.root}: this phantom is not generated yet", f"cxr phantom {data.root} {options}"
        )


def check_decoded(listed: ListedDataset, facts: Sequence[Facts], problems: Problems) -> None:
    """Note files that are not at fault: each obstacle is one problem, however many files it concerns.

    Under --quick there are no facts: whether a DICOM file can be read is then tried with the first alone.
    """
    table = listed.table
    # by hint: a decoder that is not installed is one problem, however many files need it
    for hint in dict.fromkeys(fact.hint for fact in facts if fact.hint):
        reasons = [fact.reason for fact in facts if fact.hint == hint]
        problems.add([f"{table.root}: {count(len(reasons), 'file')} not read: {reasons[0]}"], hint)
    # the header alone: it shows whether pydicom is there
    first = next((path for path in listed.paths if path.lower().endswith(DICOM)), None)
    if not facts and first and table.read_pixels is None:
        problems.attempt(lambda: read_header(table.root / first))


def check_unreadable(data: Data, names: Sequence[str], problems: Problems) -> None:
    """Note files that cannot be decoded, by data.unreadable; the names may give the reason."""
    if names:
        text = f"{data.root}: unreadable files: {len(names):,}: {name_first(names, '; ')}"
        hint = f"download or export them again, or {problems.key}.unreadable=skip to continue without them"
        problems.add_by_policy(data.unreadable, text, hint)


def check_disks(bytes_to_pack: Mapping[Path, int], problems: Problems) -> None:
    """Note stores, by their folders, that do not fit on their disk together."""
    # two stores that fit one by one may not fit together, so needs are summed per disk
    by_disk: dict[int, list[Path]] = {}
    for path, num_bytes in bytes_to_pack.items():
        if num_bytes:
            by_disk.setdefault(_find_folder(path).stat().st_dev, []).append(path)
    for paths in by_disk.values():
        needed = sum(bytes_to_pack[path] for path in paths)
        free = shutil.disk_usage(_find_folder(paths[0])).free
        if free < needed:
            needs = "the store needs" if len(paths) == 1 else "the stores need"
            folders = ", ".join(map(str, paths))
            text = f"{folders}: the disk has {gigabytes(free)} free and {needs} {gigabytes(needed)}"
            problems.add([text], "free some space, or store.path=FOLDER on another disk")


def _find_folder(path: Path) -> Path:
    """The nearest folder above a path that is there."""
    return next(folder for folder in path.absolute().parents if folder.exists())


def check_training(
    config: Config,
    images: Mapping[str, int],
    visits: Sequence[int],
    validation: Targets | None,
    problems: Problems,
) -> int | None:
    """Steps of an epoch, None where there can be none; notes refusals of training that depend on the rows.

    Args:
        config: The recipe.
        images: Rows of all datasets by split.
        visits: Training rows that an epoch draws from each dataset.
        validation: Targets of the validation rows, None where they are not known.
        problems: Collects the problems.
    """
    steps = problems.attempt(lambda: count_steps(config, images, visits))
    if validation is not None and images["val"]:
        problems.attempt(lambda: check_selection_metric(config, validation))
    if not images["test"]:
        problems.warnings.append("data.split: no images for test, so there is nothing to report on")
    # Weights that must be downloaded are left to the training: a check uses no network.
    if config.model.weights not in ("imagenet", "none") or config.model.head_findings:
        from cxr.model.load_weights import check_weights  # torch, which most checks need not load

        problems.attempt(lambda: check_weights(config.model))
    if (config.out / "last.pt").exists():
        text = f"{config.out}: holds a run already: cxr train needs --resume, --overwrite or out=FOLDER"
        problems.warnings.append(text)
    return steps


def warn_of_table(table: LabelTable, is_joined: bool) -> list[str]:
    """A line for each thing that a label table leaves open, such as who the patients are."""
    lines = list(table.notes)
    if not table.names_patients:
        lines.append(NO_PATIENTS)
    elif not is_joined and len(table) >= _MANY_IMAGES and table.rows["patient_id"].is_unique:
        question = "is it the right column of patients?"
        lines.append(f"each of the {len(table):,} images has another patient: {question}")
    return lines


def warn_of_images(listings: Sequence[Listing], duplicates: Sequence[Twins], files: Files) -> list[str]:
    """A line for each kind of duplicates and outliers, and for files that no row names."""
    across = [group for group in duplicates if len(group.datasets) > 1]
    # across datasets it may be two editions of one collection, within a dataset it is a fault of it
    within = [group for group in duplicates if len(group.datasets) < 2]
    kinds = {
        "leak: duplicate images in splits of two datasets": [
            group for group in across if len(group.splits) > 1
        ],
        "leak: duplicate images in more than one split": [group for group in within if len(group.splits) > 1],
        "duplicate images in more than one dataset": across,
        "duplicate images of several patients": [group for group in within if group.num_patients > 1],
        "duplicate images": within,
    }
    lines = []
    for kind, groups in kinds.items():
        if groups:
            names = " = ".join(groups[0].images[:_NUM_NAMED])
            more = ", ..." if len(groups) > 1 else ""
            lines.append(f"{kind}: {len(groups):,}: {names}{more}")
    for listing in listings:
        if listing.kind not in _BY_POLICY:
            title = listing.title[0].lower() + listing.title[1:]
            lines.append(f"{title}: {len(listing.images):,}: {name_first(listing.images)}")
    if files.unnamed:
        first = name_first(files.first_unnamed)
        lines.append(f"image files that no row names: {files.unnamed:,}: {first}")
    return lines


def name_first(names: Sequence[str], between: str = ", ") -> str:
    """The first names, and a mark where there are more."""
    more = ["..."] if len(names) > _NUM_NAMED else []
    return between.join([*names[:_NUM_NAMED], *more])


def gigabytes(num_bytes: int) -> str:
    """As `7.3 GB`, or `1.8 MB` below one gigabyte."""
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"
