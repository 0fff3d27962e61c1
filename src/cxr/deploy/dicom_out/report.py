"""The structured report of one image: a measurement group (TID 1501) for each finding, in TID 1500.

Nothing in it says that a finding is present or absent: each has a probability, a threshold, and on which side
of the threshold the probability is. DICOM's concept "Finding" is not used, since a viewer that lists findings
would list all of them.
"""

import uuid

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
from cxr.deploy.dicom_out.source import Source
from cxr.deploy.dicom_out.values import fit_text
from cxr.evaluation.thresholds import origin
from cxr.images.dicom.own import MANUFACTURER

_MAX_TEXT = 1024
_DECIMALS = 6
_STATEMENT = (
    "Research use only, not for diagnosis. A program made this report from one image. Nobody verified it. "
    "A probability above its threshold does not mean that a finding is present. One below it does not mean "
    "that it is absent."
)


def make_report(model: Model, result: Result, source: Source, place: Place) -> ComprehensiveSR:
    """The report; patient and study are still to be passed on to it."""
    findings = model.facts.thresholds.findings
    groups = [_describe_finding(model, result, source, number) for number in range(len(findings))]
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_describe_device(model)),
        procedure_reported=ours.RADIOGRAPHY,
        imaging_measurements=[_describe_image(model, result, source), *groups],
    )
    for text in (_STATEMENT, f"Thresholds: {origin(model.facts.thresholds)}.", *_list_remarks(result)):
        item = TextContentItem(ours.COMMENT, fit_text(text, _MAX_TEXT), RelationshipTypeValues.CONTAINS)
        content[0].ContentSequence.append(item)
    report = ComprehensiveSR(
        evidence=[source.reference],
        content=content[0],
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


def _refer_to(source: Source) -> list[SourceImageForMeasurementGroup]:
    header = source.header
    return [SourceImageForMeasurementGroup(str(header.SOPClassUID), str(header.SOPInstanceUID))]


def _describe_image(model: Model, result: Result, source: Source) -> MeasurementsAndQualitativeEvaluations:
    """What is said of the image as a whole: the intended use, and whether it is like those of training."""
    warned = ours.OOD_WARNED if result.warning else ours.OOD_SILENT
    if result.score is None or model.facts.measured is None:
        warned, measurements = ours.OOD_UNKNOWN, []
    else:
        measurements = [
            _measure(ours.OOD_SCORE, result.score),
            _measure(ours.OOD_LIMIT, model.facts.measured.limit),
        ]
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(identifier="Image as a whole"),
        algorithm_id=_identify_algorithm(model),
        measurements=measurements,
        qualitative_evaluations=[
            QualitativeEvaluation(ours.INTENDED_USE, ours.RESEARCH_ONLY),
            QualitativeEvaluation(ours.OOD, warned),
        ],
        source_images=_refer_to(source),
    )


def _describe_finding(
    model: Model, result: Result, source: Source, number: int
) -> MeasurementsAndQualitativeEvaluations:
    """A finding's probability, its threshold, and on which side of it the probability is."""
    finding, threshold = model.facts.thresholds.findings[number], model.facts.thresholds.values[number]
    probability = result.probabilities[number]
    called = ours.CALLED if probability >= threshold else ours.NOT_CALLED
    method = ours.CALIBRATED if finding in model.calibrated else None
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(identifier=fit_text(finding, 64)),
        algorithm_id=_identify_algorithm(model),
        measurements=[
            _measure(ours.PROBABILITY, probability, method),
            _measure(ours.THRESHOLD, threshold, method),
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(ours.TARGET, ours.code_finding(finding)),
            QualitativeEvaluation(ours.CALL, called),
        ],
        source_images=_refer_to(source),
    )


def _measure(name: CodedConcept, value: float, method: CodedConcept | None = None) -> Measurement:
    return Measurement(name=name, value=round(float(value), _DECIMALS), unit=ours.NO_UNITS, method=method)


def _list_remarks(result: Result) -> list[str]:
    return [f"Warning: {result.warning}."] * bool(result.warning) + [
        f"Note: {note}." for note in result.notes
    ]
