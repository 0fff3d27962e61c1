"""Answers about the data: where images and labels come from, what is left out, how they are split."""

from collections.abc import Callable

from cxr.checklist.answer import Answer, author, partly, provided
from cxr.checklist.facts import Facts
from cxr.checklist.references import LABELS, NAMES, OF_SOURCE, cite
from cxr.config.schema import OneDataset
from cxr.console import count
from cxr.data import combine as joint
from cxr.labels.splits import SPLITS

_NOT_READ = "the dataset could not be read: cxr checklist RUN data.root=FOLDER"


def describe_sources(facts: Facts) -> str:
    """The datasets by name with their citations."""
    sources = dict.fromkeys(facts.sources)
    return ", ".join(
        NAMES[source] + (cite(OF_SOURCE[source]) if source in OF_SOURCE else "") for source in sources
    )


def sources(facts: Facts) -> Answer:
    """Where the data come from."""
    return partly(
        f"{describe_sources(facts)}; the recipe is in config.yaml.",
        "Hospitals, period, scanners, and the population that these patients come from.",
    )


def inclusion(facts: Facts) -> Answer:
    """What is included and excluded."""

    def describe(data: OneDataset) -> str:
        files = f"images without a file: {data.missing}; unreadable images: {data.unreadable}"
        return f"{_describe_views(data)}; {files}"

    rules = _by_dataset(facts, describe)
    return partly(f"{rules}. {describe_dropped(facts)}", "How patients came into the dataset.")


def _describe_views(data: OneDataset) -> str:
    return f"views {', '.join(data.views)}" if data.views else "all views"


def _by_dataset(facts: Facts, describe: Callable[[OneDataset], str]) -> str:
    """What holds for all datasets, or for each of them with its name where they differ; begins large."""
    data = facts.config.data
    texts = [describe(section) for section in (data, *data.also)]
    # one sentence where all datasets are treated alike, else one for each by name
    if len(set(texts)) == 1:
        return texts[0][0].upper() + texts[0][1:]
    pairs = zip(joint.names(data), texts, strict=True)
    return ". ".join(f"{name}: {text}" for name, text in pairs)


def describe_dropped(facts: Facts) -> str:
    """How many images are left out, by reason."""
    if facts.data is None:
        return f"Numbers are not known: {_NOT_READ}."
    dropped = ", ".join(f"{num:,} {reason}" for reason, num in facts.data.dropped.items() if num)
    return f"Left out: {dropped}." if dropped else "No image is left out."


def preprocessing(facts: Facts) -> Answer:
    """How images become the input."""
    return provided(describe_preprocessing(facts))


def describe_preprocessing(facts: Facts) -> str:
    """From a file to the network's input."""
    prepared, image = facts.preprocess, facts.config.image
    fit = {
        "pad": "padded to a square",
        "squash": "squashed to a square",
        "crop": "cropped to the central square",
    }
    levels = {"bit-depth": "by bit depth or DICOM window", "range": "by each image's minimum and maximum"}
    borders = "" if prepared.borders == "keep" else ", uniform borders removed first"
    resampled = "" if prepared.size == image.size else f" and resampled to {image.size} pixels"
    return (
        f"Images became 8-bit grey values ({levels[prepared.intensity]}){borders}, were {fit[prepared.fit]}, "
        f"resized to {prepared.size} pixels by area{resampled}; grey values were normalised by the mean and "
        "deviation of ImageNet."
    )


def subsets(facts: Facts) -> Answer:
    """Which part of the datasets is used."""
    chosen = _by_dataset(facts, _describe_views)
    return provided(f"{chosen}. {count(len(facts.findings), 'finding')}: {', '.join(facts.findings)}.")


def missing_data(facts: Facts) -> Answer:
    """What happens to unknown labels and demographics."""
    said = f"{describe_policies(facts)} {describe_dropped(facts)}"
    if facts.data is None:
        return partly(said, f"Numbers of missing values: {_NOT_READ}.")
    return provided(f"{said} Table 1 counts unknown age, sex, view and labels; no value was imputed.")


def describe_policies(facts: Facts) -> str:
    """The policies for labels that are not plainly positive or negative."""

    def describe(data: OneDataset) -> str:
        soft = f"labels between 0 and 1: {data.soft_labels}"
        return f"uncertain labels: {data.uncertain}; blank labels: {data.blank}; {soft}"

    return f"{_by_dataset(facts, describe)}."


def acquisition(facts: Facts) -> Answer:
    """How images were taken."""
    asked = "Equipment, exposure, detectors and settings of the images."
    if facts.data is None or not (facts.data.rows["view"] != "").any():
        return author(asked)
    return partly("Views are counted by split in Table 1.", asked)


def reference_standard(facts: Facts) -> Answer:
    """How labels were made."""
    known = [
        f"{NAMES[source]}: {LABELS[source]}" for source in dict.fromkeys(facts.sources) if source in LABELS
    ]
    asked = "How labels were made, who made them, and how accurate they are in these images."
    if not known:
        return author(asked)
    cited = [OF_SOURCE[source] for source in dict.fromkeys(facts.sources) if source in OF_SOURCE]
    return partly(f"{'; '.join(known)}{cite(*cited)}.", "How accurate labels are in these images.")


def test_labels(facts: Facts) -> Answer:
    """How the labels of the test images were made."""
    second = ""
    if facts.has_table("second_reference.csv"):
        second = " A second table of labels stands beside them (second_reference.csv)."
    return partly(
        f"The labels of the test images are of the same source as those of the training images.{second}",
        "Whether experts labelled the test images, how many, how experienced, and how they agreed.",
    )


def rater_variability(facts: Facts) -> Answer:
    """How those who labelled agree."""
    asked = "How annotators agreed with each other and with themselves."
    if facts.has_table("second_reference.csv"):
        return partly("Agreement of the labels with a second table of them: second_reference.csv.", asked)
    return author(asked)


def partitions(facts: Facts) -> Answer:
    """How images came into splits."""
    said = f"Split: {facts.split_name}."
    if facts.data is None:
        return partly(said, f"Numbers by split: {_NOT_READ}.")
    if facts.data.is_changed:
        return partly(
            f"{said} The split of the dataset as it is now is not that of the training.",
            "Run cxr checklist on the dataset of the training.",
        )
    return provided(
        f"{said} {describe_splits(facts)} Hashes of the names of the images are in the checkpoint."
    )


def describe_splits(facts: Facts) -> str:
    """As `Training: 516 images of 233 patients; ...`."""
    assert facts.data is not None
    texts = []
    for split, name in zip(SPLITS, ("Training", "validation", "test"), strict=True):
        part = facts.data.rows[facts.data.rows["split"] == split]
        patients = (
            f" of {count(part['patient_id'].nunique(), 'patient')}" if facts.data.names_patients else ""
        )
        texts.append(f"{name}: {count(len(part), 'image')}{patients}")
    return "; ".join(texts) + "."


def disjoint(facts: Facts) -> Answer:
    """At which level splits share nothing."""
    if facts.data is None:
        return partly("cxr train refuses a split that shares patients.", f"The count: {_NOT_READ}.")
    if not facts.data.names_patients:
        return partly(
            "Splits share no image; the dataset names no patient.",
            "Whether images of one patient are in two splits.",
        )
    num = facts.data.num_shared_patients
    if num:
        return partly(f"{count(num, 'patient')} have images in two splits.", "Why, and what follows from it.")
    return provided("Splits are disjoint by patient: no patient has images in two of them, as counted.")


def sample_size(facts: Facts) -> Answer:
    """Why there are so many images."""
    asked = "How many patients were needed and why they were enough"
    if facts.has_table("planned.csv"):
        return partly("Expected widths of intervals of a planned test set: planned.csv.", f"{asked}.")
    return author(f"{asked}; the run has no such calculation (eval.planned_patients, cxr plan).")


def flow(facts: Facts) -> Answer:
    """How many images and patients are in and out."""
    if facts.data is None:
        return author(f"Numbers included and excluded: {_NOT_READ}.")
    return provided(f"Flow diagram (flow.svg). {describe_dropped(facts)} {describe_splits(facts)}")


def characteristics(facts: Facts) -> Answer:
    """Who the patients of each split are."""
    if facts.data is None:
        return author(f"Table 1: {_NOT_READ}.")
    rows = facts.data.rows
    # a column of which nothing is known is missing, not empty
    unknown = {"age": rows["age"].isna(), "sex": rows["sex"] == "", "view": rows["view"] == ""}
    lacking = [name for name, is_unknown in unknown.items() if is_unknown.all()]
    said = "Table 1 has age, sex, view, images per patient and prevalence by split"
    clinical = "Clinical characteristics beyond these, such as symptoms, comorbidity and ethnicity"
    if lacking:
        return partly(
            f"{said}, without {' and '.join(lacking)}.",
            f"{', '.join(lacking).capitalize()}; {clinical.lower()}.",
        )
    return partly(f"{said}.", f"{clinical}.")


def differences(facts: Facts) -> Answer:
    """In what the images of evaluation differ from those of development."""
    external = facts.evaluation("external")
    asked = "Differences in setting, eligibility and outcome between development and evaluation."
    if facts.data is None:
        return author(asked)
    other = (
        f" {external.folder} evaluates {external.about.get('data', 'another dataset')}." if external else ""
    )
    return partly(f"Table 1 compares the splits of the run.{other}", asked)
