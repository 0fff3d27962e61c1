"""Start -> Proposal: the keys of a recipe with their reasons, tried out with the dataset's own reader."""

from collections.abc import Mapping
from dataclasses import dataclass

from cxr.config.recipes import recipe_folder
from cxr.config.yaml_reader import compose, construct, read_text
from cxr.console import count
from cxr.errors import CxrError
from cxr.findings import NO_FINDING, find_spelling
from cxr.labels.columns import describe
from cxr.labels.lookup import say_nearest
from cxr.labels.splits import SPLITS
from cxr.labels.table import NO_PATIENTS
from cxr.propose.choices import Choices, Given, plain_number
from cxr.propose.facts import Facts, Labels, expand_findings, read_facts
from cxr.propose.find_dataset import Start
from cxr.propose.table import choose_table, find_split_column
from cxr.propose.training import choose_training

RECIPES = {
    "nih": "nih_densenet121",
    "chexpert": "chexpert_densenet121",
    "mimic": "mimic_densenet121",
    "padchest": "padchest_densenet121",
}
"""The shipped recipe of a dataset, whose keys are proposed for it."""

_FEW = 20  # positive images of a split; an AUROC of fewer has an interval of about 0.2


@dataclass(frozen=True)
class Proposal:
    """A recipe before it is written.

    Attributes:
        choices: Its keys.
        facts: What the dataset holds.
        findings: The targets.
        notes: On the dataset, for the recipe's head and the terminal.
        warnings: What a person should look at, for both.
    """

    choices: Choices
    facts: Facts
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def propose(start: Start, given: Given) -> Proposal:
    """The recipe for a dataset, with what the user has decided.

    Raises:
        CxrError: The dataset cannot be read, labels nothing, or none of its images has a file.
    """
    choices = Choices(given)
    # 1. the keys of the dataset, those of its shipped recipe where there is one
    base = _read_recipe(RECIPES.get(start.source, ""))
    _choose_dataset(choices, start, base)
    # 2. the split, by reading the dataset under it
    facts = _choose_split(choices, start)
    _check_files(start, facts)
    # 3. what can be learned from what was read
    findings = _choose_findings(choices, facts, base)
    _choose_policies(choices, facts, base, findings)
    choices.add_given("data")
    # 4. how it is trained, by how much there is
    choose_training(choices, facts, findings, base, RECIPES.get(start.source, ""))
    notes, warnings = _describe(choices, facts, findings)
    return Proposal(choices, facts, findings, tuple(notes), tuple(warnings))


def _read_recipe(name: str) -> Mapping[str, Mapping[str, object]]:
    """The sections of a shipped recipe; none where there is none."""
    if not name:
        return {}
    sections: Mapping[str, Mapping[str, object]] = construct(
        compose(read_text(recipe_folder() / f"{name}.yaml"))
    )
    return {
        section: {key: plain_number(f"{section}.{key}", value) for key, value in keys.items()}
        for section, keys in sections.items()
    }


def _choose_dataset(choices: Choices, start: Start, base: Mapping[str, Mapping[str, object]]) -> None:
    """Choose source, root, csv and what the shipped recipe of the dataset says about views and files."""
    if start.source == "table":
        assert start.csv and start.sheet
        choose_table(choices, start.root, start.csv, start.sheet)
        return
    choices.choose("data.source", start.source, start.why)
    root = str(start.root.absolute())
    choices.choose("data.root", root, "the folder of the dataset; an absolute path works from anywhere")
    if start.csv:
        choices.choose("data.csv", str(start.csv.absolute()), "the table that was named")
    for key in ("labeler", "views", "unreadable"):
        if key in base.get("data", {}):
            choices.choose(f"data.{key}", base["data"][key], f"as in the recipe {RECIPES[start.source]}")


def _choose_split(choices: Choices, start: Start) -> Facts:
    """Choose the first split that the dataset allows, and read it.

    Raises:
        CxrError: What is wrong under the last that was tried: split at random.
    """
    refused = ""
    # Each is tried by reading the dataset: what is written down is known to work.
    for split, why, column in _splits(choices, start):
        # nothing of the split before stays behind
        for key in ("data.split", "data.split_column"):
            choices.keys.pop(key, None)
        choices.choose("data.split", split, refused, why)
        if column:
            choices.choose("data.split_column", column)
        choices.add_given("data")
        try:
            return read_facts(choices.nested("data"))
        except CxrError as error:
            if split == "random" or "data.split" in choices.given:
                raise
            refused = f"not {split}: {error.problems[0].removeprefix(f'{start.root}: ')}"
    raise AssertionError("random is always tried")


def _splits(choices: Choices, start: Start) -> list[tuple[str, str, str]]:
    """(data.split, why, data.split_column or nothing) of the splits to try, the best first."""
    by = "patient" if _names_patients(choices, start) else "image"
    random = (
        "random",
        f"drawn by {by}: 20 % test and 10 % validation, or test_fraction and val_fraction",
        "",
    )
    column = find_split_column(start.sheet) if start.source == "table" and start.sheet else None
    if "data.split" in choices.given:
        split = str(choices.given["data.split"][0])
        return [(split, "", column.name if column and split == "column" else "")]
    if start.source != "table":
        return [("official", "the dataset's own train, validation and test images", ""), random]
    if column is None:
        return [random]
    counts = ", ".join(f"{num:,} {split}" for split, num in column.counts.items() if num)
    validation = "" if column.counts["val"] else "; 10 % of the training patients validate"
    return [("column", f"column {column.name!r} says which: {counts}{validation}", column.name), random]


def _names_patients(choices: Choices, start: Start) -> bool:
    patient = choices.keys.get("data.columns.patient")
    return start.source != "table" or patient is None or patient.value is not None


def _check_files(start: Start, facts: Facts) -> None:
    """Refuse a dataset none of whose images has a file.

    Raises:
        CxrError: With the nearest names, and how to name the folder.
    """
    # images of a package have no files
    if sum(facts.images.values()) or facts.table.read_pixels is not None:
        return
    names = list(facts.table.rows["image"])
    problem = f"{facts.table.root}: none of the {len(names):,} images has a file, such as {names[0]}"
    near = say_nearest(facts.table.root, names)
    hint = "--images names the folder that the names in the table begin from"
    raise CxrError(problem, f"{near}; {hint}" if near else hint)


def _choose_findings(
    choices: Choices, facts: Facts, base: Mapping[str, Mapping[str, object]]
) -> tuple[str, ...]:
    """Choose the findings: those of the shipped recipe, else all that some images have and others have not.

    Raises:
        CxrError: No finding is left.
    """
    key = "data.findings"
    before = choices.keys.get(key)  # where the table holds columns that may or may not be findings
    proposed = before.value if before else base.get("data", {}).get("findings")
    is_decided = key in choices.given or (not before and proposed is not None)
    if is_decided:
        value = choices.given[key][0] if key in choices.given else proposed
        findings = expand_findings(value) or tuple(
            name for name in facts.table.findings if name != NO_FINDING
        )
        labels = facts.labels_of(findings)
    else:
        # a finding of one class alone has nothing to learn, and no AUROC
        labels = [label for label in facts.labels if label.finding != NO_FINDING]
        findings = tuple(label.finding for label in labels if label.has_both)
        value = list(findings)
    if not findings:
        names = ", ".join(label.finding for label in labels) or "none"
        problem = f"{facts.table.root}: no finding that some images have and others have not"
        raise CxrError(problem, f"its findings are {names}")
    left = [label for label in labels if find_spelling(label.finding, findings) is None]
    not_taken = [f"WARNING: not taken: {label.finding}: {_explain_one_class(label)}" for label in left]
    why = [*(before.why if before else ()), *not_taken]
    counts = [f"  {_count(label, facts)}" for label in labels if label not in left]
    head = "images by label, with the positive ones of train/val/test in brackets:"
    choices.choose(key, value, *why, facts=[head, *counts])
    return findings


def _explain_one_class(label: Labels) -> str:
    """Why a finding cannot be learned."""
    return "no image is said to be without it" if label.positive else "no image has it"


def _count(label: Labels, facts: Facts) -> str:
    """As `Edema: 120 positive (80/20/20), 680 negative, 12 uncertain, FEW POSITIVE IMAGES`."""
    parts = [f"{label.positive:,} positive ({'/'.join(f'{num:,}' for num in label.by_split)})"]
    others = {"negative": label.negative, "uncertain": label.uncertain, "blank": label.blank}
    parts += [f"{num:,} {kind}" for kind, num in others.items() if num]
    parts += ["FEW POSITIVE IMAGES"] if _is_rare(label, facts) else []
    return f"{label.finding}: {', '.join(parts)}"


def _is_rare(label: Labels, facts: Facts) -> bool:
    """Whether a split that has images has few with the finding."""
    images = [facts.images[split] for split in SPLITS]
    # a split without any image is another matter
    return any(num < _FEW for num, all_there in zip(label.by_split, images, strict=True) if all_there)


def _choose_policies(
    choices: Choices, facts: Facts, base: Mapping[str, Mapping[str, object]], findings: tuple[str, ...]
) -> None:
    """Choose what becomes of missing files, uncertain and blank labels, where there are any."""
    labels = facts.labels_of(findings)
    num_uncertain, num_blank = sum(label.uncertain for label in labels), sum(label.blank for label in labels)
    if facts.num_missing:
        why = f"WARNING: {count(facts.num_missing, 'image')} of tables and lists without a file or labels"
        choices.choose("data.missing", "skip", f"{why}: skipped and listed; error stops instead")
    if num_uncertain:
        policy = base.get("data", {}).get("uncertain", "ignore")
        if isinstance(policy, Mapping):  # only of findings that are learned
            known = ["default", *findings]
            # a policy for a finding that is not a target would be refused
            policy = {name: how for name, how in policy.items() if find_spelling(name, known)}
        why = f"{count(num_uncertain, 'uncertain label')} (-1): ignore leaves them out of loss and metrics;"
        choices.choose("data.uncertain", policy, why, "zeros and ones count them as absent or present")
    if num_blank:
        policy = base.get("data", {}).get("blank", "negative")
        why = f"{count(num_blank, 'blank label')}: negative counts them as absent, masked leaves them out"
        choices.choose("data.blank", policy, why)


def _describe(choices: Choices, facts: Facts, findings: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """(notes, warnings) on the dataset."""
    images = ", ".join(f"{facts.images[split]:,} {split}" for split in SPLITS)
    patients = count(facts.num_patients, "patient") if facts.table.names_patients else "no patients named"
    notes = [f"{count(sum(facts.images.values()), 'image')} with a file ({images}), {patients}"]
    if facts.num_lateral and "data.views" not in choices.keys:
        notes.append(f"{facts.num_lateral:,} lateral images are kept; data.views=[PA, AP] leaves them out")
    notes += [line for line in describe(facts.table.columns) if not line.startswith("findings taken")]
    notes += facts.table.notes
    few = [label.finding for label in facts.labels_of(findings) if _is_rare(label, facts)]
    warnings = [] if facts.table.names_patients else [NO_PATIENTS]
    warnings += [
        line.removeprefix("WARNING: ")
        for key, choice in choices.keys.items()
        for line in choice.why
        if line.startswith("WARNING: ") and key != "data.columns.patient"
    ]
    if few:
        problem = f"fewer than {_FEW} positive images in a split, so their AUROCs are uncertain"
        warnings.append(f"{problem}: {', '.join(few)}")
    if not facts.images["test"]:
        warnings.append("no images for test, so there is nothing to report on")
    return notes, warnings
