"""What the report of a study says: its images combined by the rule of the run, and which were left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr.console import count
from cxr.deploy.dicom_out import codes as ours
from cxr.deploy.dicom_out.report import Content, measure
from cxr.deploy.dicom_out.result import Model
from cxr.deploy.dicom_out.source import Reference
from cxr.deploy.studies import Rule, combine_studies

_MAX_NAMED = 20
"""Images left out that a report names; the others are counted."""


@dataclass(frozen=True, slots=True)
class Member:
    """What is kept of an image until the end of the call: about 1 kB, without pixels and header.

    Attributes:
        file: The image.
        reference: Its UIDs.
        patient: Study, patient and issuer, which are only compared.
        view: As its header says.
        probabilities: [C]; None of an image without results.
        has_warning: Whether it is out of distribution; None where that was not measured.
        reason: Why it has no results.
    """

    file: Path
    reference: Reference
    patient: tuple[str, str, str]
    view: str = ""
    probabilities: Sequence[float] | None = None
    has_warning: bool | None = None
    reason: str = ""


@dataclass(frozen=True)
class CombinedStudy:
    """The images of one study and their answer.

    Attributes:
        members: All of them, in the order of the call.
        counted: Those that were combined.
        left_out: The others, each with the reason.
        probabilities: C numbers; empty where no image counts.
    """

    members: Sequence[Member]
    counted: Sequence[Member]
    left_out: Sequence[tuple[Member, str]]
    probabilities: Sequence[float]


def list_distinct(members: Sequence[Member]) -> list[Member]:
    """The images with results; of several files of one SOP instance the first."""
    first: dict[str, Member] = {}
    for member in members:
        if member.probabilities is not None:
            first.setdefault(member.reference.sop_instance, member)
    return list(first.values())


def combine_members(members: Sequence[Member], rule: Rule) -> CombinedStudy:
    """The answer for the images of one study, of which at least one has results."""
    distinct = list_distinct(members)
    rows = {i: one.probabilities for i, one in enumerate(distinct) if one.probabilities is not None}
    views = {i: (one.reference.study, one.view) for i, one in enumerate(distinct)}
    (study,) = combine_studies(views, rows, rule)
    is_distinct = {id(one) for one in distinct}
    left_out = [(distinct[i], rule.warn_of_view(distinct[i].view)) for i in study.left_out]
    for member in members:
        if member.probabilities is None:
            left_out.append((member, member.reason))
        elif id(member) not in is_distinct:
            left_out.append((member, "another file of the same SOP instance is there"))
    counted = [distinct[i] for i in study.images if i not in study.left_out]
    return CombinedStudy(members, counted, left_out, study.probabilities)


def describe_study(model: Model, study: CombinedStudy, rule: Rule, is_resumed: bool) -> Content:
    """The content of the report of a study that has an answer.

    Args:
        model: Whose report it is.
        study: The images and their answer.
        rule: How they were combined.
        is_resumed: Whether the call continues another, whose images are not known here.
    """
    warnings = [one.has_warning for one in study.counted if one.has_warning is not None]
    ood, numbers, warned = ours.OOD_UNKNOWN, [], "not measured"
    if warnings:
        ood = ours.OOD_WARNED if any(warnings) else ours.OOD_SILENT
        numbers = [measure(ours.OOD_IMAGES, sum(warnings))]
        warned = f"for {sum(warnings):,} of {count(len(warnings), 'image')}"
    remarks = [
        f"Combined by eval.unit={rule.unit}, eval.combine={rule.combine}. {rule.describe()}",
        f"Out-of-distribution warning: {warned}.",
        *_list_left_out(study.left_out),
    ]
    if model.calibrated:
        remarks.append("Probabilities were calibrated for each image, before they were combined.")
    if is_resumed:
        remarks.append("The command was resumed. Images of its earlier call are not in this report.")
    return Content(
        made_from=f"{count(len(study.counted), 'image')} of one study",
        subject="Study as a whole",
        probabilities=study.probabilities,
        images=[one.reference for one in study.counted],
        evidence=[one.reference for one in study.members],
        ood=ood,
        ood_numbers=numbers,
        remarks=remarks,
    )


def _list_left_out(left_out: Sequence[tuple[Member, str]]) -> list[str]:
    named = [f"Left out: {member.file.name}: {reason}." for member, reason in left_out[:_MAX_NAMED]]
    num_more = len(left_out) - _MAX_NAMED
    return named + [f"Left out: {count(num_more, 'more image')}."] * (num_more > 0)
