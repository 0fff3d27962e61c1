"""The methods paragraphs: what the recipe and the checkpoint say, with gaps for the author."""

from cxr.checklist import about_data, about_model
from cxr.checklist.about_results import describe_intervals
from cxr.checklist.facts import Facts
from cxr.evaluation.thresholds import origin


def gap(what: str) -> str:
    """A place that the author fills."""
    return f"[AUTHOR: {what}]"


def write_methods(facts: Facts) -> list[tuple[str, str]]:
    """(heading, paragraph) of each; nothing stands there that the run does not know."""
    return [
        ("Data", _data(facts)),
        ("Reference standard", _reference(facts)),
        ("Model", f"{about_model.describe_model(facts)} {about_model.describe_weights(facts)}"),
        ("Training", f"{about_model.describe_training(facts)} {about_model.describe_selection(facts)}"),
        ("Evaluation", _evaluation(facts)),
        ("Software", f"{about_model.describe_software(facts)} Seed {facts.config.seed}."),
    ]


def _data(facts: Facts) -> str:
    parts = [
        f"Images came from {about_data.describe_sources(facts)}.",
        gap("hospitals, dates, ethics approval"),
    ]
    parts.append(f"Split: {facts.split_name}.")
    if facts.data is not None and not facts.data.is_changed:
        parts.append(about_data.describe_splits(facts))
    else:
        parts.append(gap("numbers of images and patients in each split"))
    if facts.data is not None:
        parts.append(about_data.describe_dropped(facts))
    return " ".join([*parts, about_data.describe_preprocessing(facts)])


def _reference(facts: Facts) -> str:
    found = about_data.reference_standard(facts)
    said = [found.said] if found.said else []
    return " ".join([*said, about_data.describe_policies(facts), gap("accuracy of the labels")])


def _evaluation(facts: Facts) -> str:
    parts = [f"Findings were called at thresholds by this rule: {origin(facts.thresholds)}."]
    test = facts.evaluation("test")
    if test is None:
        return " ".join([*parts, gap("evaluation on test images")])
    parts.append(
        f"The model was evaluated on {test.evaluated_on} by AUROC and average precision; by F1, sensitivity, "
        "specificity and predictive values at these thresholds; and by Brier score, expected calibration "
        "error and further metrics of calibration."
    )
    if test.intervals:
        parts.append(describe_intervals(test.intervals))
    if test.attributes:
        parts.append(f"Subgroups were compared by {', '.join(test.attributes)}.")
    external = facts.evaluation("external")
    parts.append(
        f"It was tested on another dataset as well: {external.evaluated_on}."
        if external
        else gap("external test, or why there is none")
    )
    return " ".join(parts)
