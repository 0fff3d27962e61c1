"""Answers about the results: what was measured on which images, with which uncertainty, and what fails."""

from cxr.checklist.about_model import threshold_gaps
from cxr.checklist.answer import Answer, author, partly, provided
from cxr.checklist.facts import Evaluation, Facts
from cxr.checklist.references import cite
from cxr.report.document import format_cell
from cxr.report.records import estimate

_NOT_EVALUATED = "The checkpoint was not evaluated on its test images: cxr eval RUN."
_METRICS = (
    "AUROC, average precision, F1, sensitivity, specificity, PPV, NPV, Brier score, calibration (slope, "
    "intercept, observed / expected, ECE)"
)


def metrics(facts: Facts) -> Answer:
    """Which metrics are given."""
    test = facts.evaluation("test")
    if test is None:
        return author(_NOT_EVALUATED)
    benefit = "; net benefit (decision_curve.csv)" if "decision_curve.csv" in test.tables else ""
    return provided(
        f"{_METRICS}{benefit}, per finding and as macro means ({test.folder}: metrics.csv, calibration.csv); "
        "figures of ROC, precision-recall and reliability curves."
    )


def uncertainty(facts: Facts) -> Answer:
    """How intervals were made."""
    test = facts.evaluation("test")
    if test is None:
        return author(_NOT_EVALUATED)
    if not test.intervals:
        return partly("Point estimates alone.", "Intervals: eval.interval=patients.")
    return provided(describe_intervals(test.intervals))


def describe_intervals(intervals: str) -> str:
    """How intervals were made, as docs/statistics.md says, in a sentence with its sources."""
    if "DeLong" in intervals:
        return f"95 % intervals: {intervals}{cite('delong1988')}."
    unit = "images" if " images " in intervals else "patients"
    return (
        f"95 % intervals: {intervals}{cite('efron1979')}, symmetric on the scale of the logit"
        f"{cite('pepe2003')}, from the standard deviation of the draws and Student's t with the effective "
        f"number of {unit}{cite('kish1965')}."
    )


def robustness(facts: Facts) -> Answer:
    """Whether results hold under other conditions."""
    asked = "Sensitivity analyses that the study planned, such as other label policies, splits or seeds."
    test = facts.evaluation("test")
    said = []
    if test is not None and test.attributes:
        said.append(f"Subgroups by {', '.join(test.attributes)} ({test.folder}: subgroups.csv).")
    shortcuts = [name for name in facts.examined if name.startswith("shortcuts")]
    if shortcuts:
        said.append(f"AUROC with regions hidden, and what features tell of view and scanner: {shortcuts[0]}.")
    return partly(" ".join(said), asked) if said else author(asked)


def explanations(facts: Facts) -> Answer:
    """Whether heat maps were measured."""
    if facts.explained:
        return provided(
            f"Heat maps scored against boxes beside chance and random weights: {', '.join(facts.explained)}."
        )
    if facts.evaluation("test"):
        return partly(
            "Class activation maps beside the examples of the report.",
            "Whether maps show the findings: cxr explain RUN, where there are boxes.",
        )
    return author("Whether and how the model is explained: cxr explain RUN.")


def internal_test(facts: Facts) -> Answer:
    """The evaluation on the run's own test images."""
    test = facts.evaluation("test")
    return author(_NOT_EVALUATED) if test is None else _performance(test)


def external_test(facts: Facts) -> Answer:
    """The evaluation on another dataset."""
    external = facts.evaluation("external")
    if external is None:
        return author(
            "No test on the data of another hospital: cxr eval RUN data.source=SOURCE data.root=FOLDER."
        )
    return _performance(external)


def _performance(found: Evaluation) -> Answer:
    said = f"{found.folder}: {describe_performance(found)}"
    if found.optimistic:
        return partly(said, "Metrics at thresholds that were chosen on other images: these are optimistic.")
    if not found.intervals:
        return partly(said, "Intervals: eval.interval=patients.")
    return provided(said)


def describe_performance(found: Evaluation) -> str:
    """The macro means with their intervals."""
    texts = []
    for name, label in (("auroc", "AUROC"), ("average_precision", "average precision")):
        ends = (f"{name}_low", f"{name}_high")
        # an older report, or one without intervals, has the point alone
        if all(isinstance(found.mean.get(key), float | int) for key in (name, *ends)):
            texts.append(f"mean {label} {format_cell(estimate(found.mean, name, *ends))}")
        elif isinstance(found.mean.get(name), float | int):
            texts.append(f"mean {label} {format_cell(estimate(found.mean, name))}")
    return f"{', '.join(texts) or 'no defined mean'}, on {found.evaluated_on}."


def diagnostic(facts: Facts) -> Answer:
    """Sensitivity and specificity at thresholds from validation images."""
    test = facts.evaluation("test")
    if test is None:
        return author(_NOT_EVALUATED)
    chosen = f" chosen on {test.chosen_on}" if test.chosen_on else ""
    where = f"in {test.folder}/metrics.csv"
    said = f"Sensitivity, specificity, PPV and NPV at thresholds ({test.rule}{chosen}), {where}."
    # what is wrong with the thresholds is wrong with every metric at them
    gaps = threshold_gaps(facts)
    if test.optimistic:
        gaps = f"Thresholds were chosen on images that are evaluated. {gaps}".strip()
    elif not test.chosen_on and not gaps:
        gaps = "Thresholds were chosen on no validation images: say why these numbers."
    return partly(said, gaps) if gaps else provided(said)


def failures(facts: Facts) -> Answer:
    """What the errors look like."""
    test = facts.evaluation("test")
    asked = "A radiologist's reading of the errors, and what they have in common."
    if test is None:
        return author(asked)
    counted = "cooccurrence.csv" in test.tables
    told = " cooccurrence.csv counts findings that are called on images of others." if counted else ""
    return partly(f"{test.folder}/report.html shows the most confident errors of each finding.{told}", asked)


def clusters(facts: Facts) -> Answer:
    """Whether results differ between hospitals."""
    external = facts.evaluation("external")
    by_source = [found.folder for found in facts.evaluations if "source" in found.attributes]
    if by_source:
        return provided(f"Metrics by dataset: {by_source[0]}/subgroups.csv.")
    asked = "Differences between hospitals or scanners: name their column in eval.subgroups."
    if external:
        return partly(f"The other dataset is evaluated alone: {external.folder}.", asked)
    return author(asked)


def fairness(facts: Facts) -> Answer:
    """Whether groups of people are compared."""
    test = facts.evaluation("test")
    groups = [
        name for name in (test.attributes if test else ()) if name in ("sex", "age", "race", "ethnicity")
    ]
    asked = "Which groups matter here and why; what was done about differences."
    if test is None or not groups:
        return author(asked)
    return partly(
        f"Metrics by {' and '.join(groups)} with intervals, and gaps with simultaneous ones ({test.folder}: "
        "subgroups.csv, subgroup_gaps.csv).",
        asked,
    )


def by_group(facts: Facts) -> Answer:
    """Performance with intervals, of groups as well."""
    found = internal_test(facts)
    test = facts.evaluation("test")
    # what is missing of the whole is missing of its groups
    if test is None or found.status != "provided":
        return found
    if not test.attributes:
        return partly(found.said, "Subgroups: eval.subgroups=[sex, age, view].")
    return provided(f"{found.said} Subgroups by {', '.join(test.attributes)}: subgroups.csv.")


def updated(facts: Facts) -> Answer:
    """What recalibration changes."""
    test = facts.evaluation("test")
    if test is None:
        return author(_NOT_EVALUATED)
    if test.is_recalibrated:
        return provided(f"Calibration before and after: {test.folder}/calibration.csv.")
    return partly(
        "No recalibration could be fitted.", "Whether the model was updated, and its performance then."
    )


def list_limits(facts: Facts) -> list[str]:
    """What the run itself knows to be weak."""
    limits = list(facts.notes)
    data = facts.data
    if facts.evaluation("external") is None:
        limits.append("No external test: results hold for the dataset of the training alone.")
    if len(set(facts.sources)) == 1 and facts.sources[0] in ("nih", "brax", "mimic", "chexpert", "padchest"):
        limits.append("Labels come from reports; their errors are in training and test alike.")
    if facts.sources[0] == "phantom":
        limits.append("Images are generated: nothing here says anything about patients.")
    if data is not None and not data.names_patients:
        limits.append("The dataset names no patient: images of one patient may be in two splits.")
    if data is not None and data.is_changed:
        limits.append("The split of the dataset as it is now is not that of the training.")
    if facts.unfinished:
        limits.append(f"{facts.unfinished}.")
    # what a report says in its notes is not said twice
    if facts.evaluation("test") is None:  # whose notes say the same
        limits += [gap for gap in [threshold_gaps(facts)] if gap]
        if not all(facts.recalibration.is_fitted):
            limits.append(f"No recalibration for: {', '.join(facts.recalibration.unfitted)}.")
    for found in facts.evaluations:
        limits += [f"{found.folder}: {note}." for note in found.notes]
    return list(dict.fromkeys(limits))


def limitations(facts: Facts) -> Answer:
    """Limits that the run knows."""
    num = len(list_limits(facts))
    return partly(
        f"{num} that the run knows (section Limits).", "Their effect, and limits of the study's design."
    )
