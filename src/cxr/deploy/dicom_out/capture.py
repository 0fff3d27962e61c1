"""The overlay of a finding as a secondary capture."""

import numpy as np
from highdicom import CoordinateSystemNames, PhotometricInterpretationValues
from highdicom.sc import SCImage
from pydicom import Dataset

from cxr.deploy.dicom_out import codes as ours
from cxr.deploy.dicom_out.result import Model
from cxr.deploy.dicom_out.series import Place
from cxr.deploy.dicom_out.source import Source
from cxr.deploy.dicom_out.values import fit_text
from cxr.explain.lettering import Colour
from cxr.images.dicom.own import MANUFACTURER

_MAX_DESCRIPTION = 1024


def make_capture(model: Model, finding: str, overlay: Colour, source: Source, place: Place) -> SCImage:
    """The capture of an overlay, BGR [H, W, 3]; patient and study are still to be passed on to it."""
    capture = SCImage(
        pixel_array=np.ascontiguousarray(overlay[..., ::-1]),
        photometric_interpretation=PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=CoordinateSystemNames.PATIENT,
        patient_orientation=("L", "F"),
        study_instance_uid=str(source.header.StudyInstanceUID),
        series_instance_uid=place.series_uid,
        series_number=place.series_number,
        sop_instance_uid=place.instance_uid,
        instance_number=place.instance_number,
        manufacturer=MANUFACTURER,
        specific_character_set="ISO_IR 192",
    )
    place.sign(capture, model)
    capture["PatientOrientation"].value = None  # highdicom asks for one; a figure of two radiographs has none
    source.pass_on_body_part(capture)
    capture.ConversionType = "WSD"  # made on a workstation
    capture.BurnedInAnnotation = "YES"  # the caption, and whatever letters the radiograph has
    capture.ContentDate, capture.ContentTime = capture.InstanceCreationDate, capture.InstanceCreationTime
    what = f"Heat map (CAM) of {finding} over the radiograph. Research use only, not for diagnosis."
    capture.DerivationDescription = fit_text(what, _MAX_DESCRIPTION)
    capture.SourceImageSequence = [_refer_to(source)]
    source.pass_on_compression(capture)
    return capture


def _refer_to(source: Source) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.header.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.header.SOPInstanceUID
    reference.PurposeOfReferenceCodeSequence = [ours.SOURCE_OF_OVERLAY]
    return reference
