"""The structured report of an image or a study: a measurement group (TID 1501) for each finding, in TID 1500.

Nothing in it says that a finding is present or absent: each has a probability, a threshold, and on which side
of the threshold the probability is. DICOM's concept "Finding" is not used, since a viewer that lists findings
would list all of them.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.sr.codedict import codes

from cxr.deploy.dicom_out import codes as ours
from cxr.deploy.dicom_out.result import Model, Result
from cxr.deploy.dicom_out.series import Place
from cxr.deploy.dicom_out.source import Reference, Source
from cxr.deploy.dicom_out.values import fit_text
from cxr.evaluation.thresholds import origin
from cxr.images.dicom.own import MANUFACTURER

_MAX_TEXT = 1024
_DECIMALS = 6
_STATEMENT = (
    "Research use only, not for diagnosis. A program made this report from {}. Nobody verified it. "
    "A probability above its threshold does not mean that a finding is present. One below it does not mean "
    "that it is absent."
)


@dataclass(frozen=True)
class Content:
    """What a report says of an image or of a study.

    Attributes:
        made_from: The images in words, for the statement.
        subject: What the first group describes.
        probabilities: C numbers.
        images: Those that the probabilities are of; each group refers to all of them.
        evidence: Those that the report lists, with `images` among them.
        ood: Code of whether a warning was raised.
        ood_numbers: What was measured for that warning.
        remarks: Further texts.
    """

    made_from: str
    subject: str
    probabilities: Sequence[float]
    images: Sequence[Reference]
    evidence: Sequence[Reference]
    ood: CodedConcept
    ood_numbers: Sequence[Measurement]
    remarks: Sequence[str]


def describe_image(model: Model, result: Result, source: Source) -> Content:
    """The content of the report of one image."""
    measured = model.facts.measured
    ood, numbers = ours.OOD_UNKNOWN, list[Measurement]()
    if result.score is not None and measured is not None:
        ood = ours.OOD_WARNED if result.warning else ours.OOD_SILENT
        numbers = [measure(ours.OOD_SCORE, result.score), measure(ours.OOD_LIMIT, measured.limit)]
    warnings = [f"Warning: {result.warning}."] if result.warning else []
    return Content(
        made_from="one image",
        subject="Image as a whole",
        probabilities=result.probabilities,
        images=[source.reference],
        evidence=[source.reference],
        ood=ood,
        ood_numbers=numbers,
        remarks=[*warnings, *(f"Note: {note}." for note in result.notes)],
    )


def make_report(model: Model, content: Content, place: Place) -> ComprehensiveSR:
    """The report; patient and study are still to be passed on to it."""
    findings = model.facts.thresholds.findings
    groups = [_describe_finding(model, content, number) for number in range(len(findings))]
    tree = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_describe_device(model)),
        procedure_reported=ours.RADIOGRAPHY,
        imaging_measurements=[_describe_whole(model, content), *groups],
    )
    statement = _STATEMENT.format(content.made_from)
    for text in (statement, f"Thresholds: {origin(model.facts.thresholds)}.", *content.remarks):
        item = TextContentItem(ours.COMMENT, fit_text(text, _MAX_TEXT), RelationshipTypeValues.CONTAINS)
        tree[0].ContentSequence.append(item)
    report = ComprehensiveSR(
        evidence=[image.evidence for image in content.evidence],
        content=tree[0],
        series_instance_uid=place.series_uid,
        series_number=place.series_number,
        sop_instance_uid=place.instance_uid,
        instance_number=place.instance_number,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[ours.declare_scheme()],
        specific_character_set="ISO_IR 192",
    )
    place.sign(report, model)
    return report


def _describe_device(model: Model) -> ObserverContext:
    """The model as the observer; its UID is the same wherever the same checkpoint is used."""
    uid = f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'cxr {model.facts.sha256 or model.facts.name}').int}"
    attributes = DeviceObserverIdentifyingAttributes(
        uid=uid,
        name=fit_text(model.facts.name, 64),
        manufacturer_name=MANUFACTURER,
        model_name=model.software,
    )
    return ObserverContext(codes.DCM.Device, attributes)


def _identify_algorithm(model: Model) -> AlgorithmIdentification:
    checksum = [f"SHA-256 of the model's file: {model.facts.sha256}"] if model.facts.sha256 else []
    return AlgorithmIdentification(
        name=fit_text(model.facts.name, _MAX_TEXT), version=model.software, parameters=checksum
    )


def _refer_to(images: Sequence[Reference]) -> list[SourceImageForMeasurementGroup]:
    return [SourceImageForMeasurementGroup(image.sop_class, image.sop_instance) for image in images]


def _describe_whole(model: Model, content: Content) -> MeasurementsAndQualitativeEvaluations:
    """What is said beside the findings: the intended use, and whether images are like those of training."""
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(identifier=content.subject),
        algorithm_id=_identify_algorithm(model),
        measurements=content.ood_numbers,
        qualitative_evaluations=[
            QualitativeEvaluation(ours.INTENDED_USE, ours.RESEARCH_ONLY),
            QualitativeEvaluation(ours.OOD, content.ood),
        ],
        source_images=_refer_to(content.images),
    )


def _describe_finding(model: Model, content: Content, number: int) -> MeasurementsAndQualitativeEvaluations:
    """A finding's probability, its threshold, and on which side of it the probability is."""
    finding, threshold = model.facts.thresholds.findings[number], model.facts.thresholds.values[number]
    probability = content.probabilities[number]
    called = ours.CALLED if probability >= threshold else ours.NOT_CALLED
    method = ours.CALIBRATED if finding in model.calibrated else None
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(identifier=fit_text(finding, 64)),
        algorithm_id=_identify_algorithm(model),
        measurements=[
            measure(ours.PROBABILITY, probability, method),
            measure(ours.THRESHOLD, threshold, method),
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(ours.TARGET, ours.code_finding(finding)),
            QualitativeEvaluation(ours.CALL, called),
        ],
        source_images=_refer_to(content.images),
    )


def measure(name: CodedConcept, value: float, method: CodedConcept | None = None) -> Measurement:
    """A number without a unit."""
    return Measurement(name=name, value=round(float(value), _DECIMALS), unit=ours.NO_UNITS, method=method)
