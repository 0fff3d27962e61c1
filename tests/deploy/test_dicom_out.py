"""cxr predict --dicom-out: what reports and overlays inherit, say and never say."""

import json
import shutil
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from highdicom.sr import CodedConcept, ComprehensiveSR, MeasurementReport, srread
from pydicom.sr._concepts_dict import concepts  # the codes of PS3.16 that pydicom ships

from cxr.deploy.dicom_out import codes
from cxr.deploy.dicom_out.result import Model, Result
from cxr.deploy.dicom_out.source import CannotInheritError, read_source
from cxr.deploy.dicom_out.writer import ResultWriter
from cxr.deploy.runtime import Facts
from cxr.deploy.torch_runtime import open_torch
from cxr.evaluation import recalibration
from cxr.evaluation.thresholds import fixed
from cxr.findings import CHEXPERT_14, NIH_14
from cxr.images.prepare import Preprocess
from cxr.model.ood import MeasuredLimit
from tests.helpers.archive import write_radiograph
from tests.helpers.commands import call

Said = pytest.CaptureFixture[str]
FEW = ("Mass", "Hernia", "Lung Lesion")  # in three schemes of codes; fewer findings take less time
MEASURED = MeasuredLimit(limit=1.5, alarms=1, num_images=100, num_patients=50)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two images and another patient's image."""
    folder = tmp_path_factory.mktemp("study")
    shared: dict[str, Any] = {
        "StudyInstanceUID": pydicom.uid.generate_uid(),
        "SpecificCharacterSet": "ISO_IR 100",
    }
    for name in ("first", "second"):
        write_radiograph(folder / f"{name}.dcm", PatientName="Müller^Jörg", **shared)
    write_radiograph(folder / "other.dcm", PatientID="P-2")
    return folder


@pytest.fixture(scope="module")
def results(run: Path, study: Path) -> Path:
    """What the command writes of the study, into a folder inside it."""
    assert call("predict", run, study, "--dicom-out", study / "results", "--findings", "Mass") == 0
    return study / "results"


def read(path: Path) -> pydicom.FileDataset:
    return pydicom.dcmread(path)


def test_each_image_has_a_report_and_an_overlay_in_new_series_of_its_study(
    study: Path, results: Path
) -> None:
    names = {f"{image}_{kind}.dcm" for image in ("first", "second", "other") for kind in ("report", "Mass")}
    assert {path.name for path in results.iterdir()} == {*names, "first_study_report.dcm"}
    for kind, modality in (("report", "SR"), ("Mass", "OT")):
        first, second, other = (read(results / f"{name}_{kind}.dcm") for name in ("first", "second", "other"))
        assert first.Modality == second.Modality == modality
        assert first.SeriesInstanceUID == second.SeriesInstanceUID != other.SeriesInstanceUID
        assert {first.InstanceNumber, second.InstanceNumber, other.InstanceNumber} == {1, 2}
    written = [read(path) for path in results.iterdir()]
    sources = [read(path) for path in study.glob("*.dcm")]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert not {one[keyword].value for one in written} & {one[keyword].value for one in sources}
    assert len({one.SOPInstanceUID for one in written}) == len(written)


def test_patient_and_study_are_those_of_the_image(study: Path, results: Path) -> None:
    source = read(study / "first.dcm")
    for path in (results / "first_report.dcm", results / "first_Mass.dcm"):
        result = read(path)
        for keyword in ("PatientName", "PatientID", "PatientSex", "PatientBirthDate", "StudyInstanceUID",
                        "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
                        "SpecificCharacterSet"):  # fmt: skip
            assert result[keyword].value == source[keyword].value, keyword
        assert result.Manufacturer == "cxr" and result.SoftwareVersions.startswith("cxr ")
        today = date.today()
        assert result.ContentDate in {f"{day:%Y%m%d}" for day in (today, today - timedelta(days=1))}


def test_report_and_overlay_refer_to_the_image(study: Path, results: Path) -> None:
    source = read(study / "first.dcm")
    evidence = ComprehensiveSR.from_dataset(read(results / "first_report.dcm")).get_evidence()
    uids = [source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID, source.SOPClassUID]
    assert [list(one) for one in evidence] == [uids]
    (reference,) = read(results / "first_Mass.dcm").SourceImageSequence
    assert (reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID) == (uids[3], uids[2])


def list_texts(path: Path) -> list[str]:
    """Every text of a file, in its order."""
    return [str(one.value) for one in read(path).iterall() if one.VR in ("LO", "SH", "ST", "UT", "PN")]


def numbers(report: MeasurementReport) -> dict[str, tuple[float, float, str]]:
    """(probability, threshold, what is said of both) by finding, as highdicom reads a report."""
    found = {}
    for group in report.get_image_measurement_groups():
        values = [measurement.value for measurement in group.get_measurements()]
        target, said = (one.value for one in group.get_qualitative_evaluations())
        assert isinstance(target, CodedConcept) and isinstance(said, CodedConcept)
        if target != codes.RESEARCH_ONLY:
            found[str(group.tracking_identifier)] = (values[0], values[1], said.value)
            assert target == codes.code_finding(str(group.tracking_identifier))
    return found


def test_a_report_holds_the_numbers_that_the_command_prints(
    run: Path, study: Path, results: Path, capsys: Said
) -> None:
    capsys.readouterr()
    assert call("predict", run, study / "first.dcm", "--format", "json") == 0
    printed = json.loads(capsys.readouterr().out)
    report = srread(results / "first_report.dcm").content
    assert isinstance(report, MeasurementReport)
    told = numbers(report)
    assert list(told) == list(NIH_14)
    for finding, (probability, threshold, said) in told.items():
        assert probability == pytest.approx(printed["probabilities"][finding], abs=1e-5)
        assert threshold == pytest.approx(printed["thresholds"][finding], abs=1e-6)
        assert said == ("CALLED" if finding in printed["above"] else "NOT-CALLED")
    texts = list_texts(results / "first_report.dcm")
    assert f"SHA-256 of the model's file: {open_torch(str(run), 'cpu').facts.sha256}" in texts
    assert any(text.startswith("Research use only, not for diagnosis.") for text in texts)


def test_the_overlay_is_the_one_that_heatmaps_draws(
    run: Path, study: Path, results: Path, tmp_path: Path
) -> None:
    assert call("predict", run, study / "first.dcm", "--heatmaps", tmp_path, "--findings", "Mass") == 0
    capture, drawn = read(results / "first_Mass.dcm"), cv2.imread(str(tmp_path / "first_Mass.png"))
    assert drawn is not None
    np.testing.assert_array_equal(capture.pixel_array[..., ::-1], drawn)
    assert capture.BurnedInAnnotation == "YES" and "DERIVED" in capture.ImageType


def test_nothing_is_overwritten_and_results_are_no_images(
    run: Path, study: Path, results: Path, capsys: Said
) -> None:
    before = {path: path.read_bytes() for path in results.iterdir()}
    capsys.readouterr()
    arguments = (run, study, "--dicom-out", results, "--findings", "Mass", "--format", "json")
    assert call("predict", *arguments) == 0
    said = capsys.readouterr()
    told = [json.loads(line)["dicom"] for line in said.out.splitlines()]
    first = [str(results / f"first_{name}-2.dcm") for name in ("Mass", "report")]
    assert len(told) == 3 and first in told
    assert f"3 reports, 1 study report and 3 overlays as DICOM in {results}" in said.err
    new = set(results.iterdir()) - before.keys()
    assert {path.name for path in new} >= {"first_report-2.dcm", "first_study_report-2.dcm"} and len(new) == 7
    assert all(path.read_bytes() == data for path, data in before.items())
    # elsewhere, an overlay is passed over in a folder and refused by name
    copied = shutil.copy(results / "first_Mass.dcm", study.parent / "copied.dcm")
    assert call("predict", run, copied) == 2
    assert f"error: {copied}: an overlay that cxr drew, not a radiograph" in capsys.readouterr().err
    for path in new:
        path.unlink()


def test_images_without_a_study_have_probabilities_and_no_results(
    run: Path, study: Path, nih_root: Path, tmp_path: Path, capsys: Said
) -> None:
    lone = write_radiograph(tmp_path / "lone.dcm", StudyInstanceUID=None, SeriesInstanceUID="1.02")
    plain = min((nih_root / "images").iterdir())
    capsys.readouterr()
    arguments = (lone, plain, study / "first.dcm", "--dicom-out", tmp_path / "out", "--findings", "Mass")
    assert call("predict", run, *arguments, "--format", "csv") == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 4
    assert said.err.splitlines() == [
        f"error: {lone}: no DICOM results: its header has no StudyInstanceUID",
        f"error: {plain}: no DICOM results: it is no DICOM file, and DICOM results inherit patient and study",
        f"1 report and 1 overlay as DICOM in {tmp_path / 'out'}; research use only, not for diagnosis",
        "hint: 2 images without DICOM results, for the reasons above; the probabilities are valid",
    ]
    assert call("predict", run, plain, "--dicom-out", tmp_path / "out") == 2


def test_a_file_in_the_place_of_the_folder_and_a_missing_package_are_errors(
    run: Path, study: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    assert call("predict", run, study, "--dicom-out", tmp_path / "file") == 2
    assert f"error: --dicom-out {tmp_path / 'file'}: is a file" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert call("predict", run, study, "--dicom-out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error == "error: --dicom-out: needs highdicom\nhint: pip install 'cxr[dicom-out]'\n"
    assert not (tmp_path / "out").exists()


def make_model(findings: tuple[str, ...] = FEW, name: str = "demo (01234567)") -> Model:
    thresholds = fixed(findings, 0.25)
    facts = Facts(
        name, findings, thresholds, recalibration.no_recalibration(findings), Preprocess(32),
        MEASURED, "resnet18", 32, 512, "0123456789abcdef" * 4, "0.1.0",
    )  # fmt: skip
    return Model(facts, "0.1.0", frozenset(findings[:1]))


def write(file: Path, folder: Path, model: Model | None = None) -> list[Path]:
    """The overlay of the first finding and the report of a file, whose probabilities rise from 0 to 1."""
    model = model or make_model()
    findings = model.facts.findings
    overlay = np.arange(30 * 40 * 3, dtype=np.uint8).reshape(30, 40, 3)
    p = tuple(np.linspace(0, 1, len(findings)).tolist())
    result = Result(p, 2.0, "out of distribution: score 2.00 above 1.50", ("a note",), {findings[0]: overlay})
    return ResultWriter(folder, model).write(file, read_source(file), result)


def make_code() -> pydicom.Dataset:
    """The code of a profile of de-identification."""
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    return code


LONG = "Eine sehr lange Bezeichnung eines Befundes, die in keinen Codenamen passt | mit \\ und Umlauten äöü"
SOURCES: dict[str, dict[str, Any]] = {
    "as usual": {},
    "computed radiography": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "Modality": "CR"},
    "a capture": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT"},
    "nobody": dict.fromkeys(
        ("PatientName", "PatientID", "PatientSex", "PatientBirthDate", "StudyDate", "StudyTime", "StudyID",
         "AccessionNumber", "ReferringPhysicianName", "BodyPartExamined")
    ),
    "empty": dict.fromkeys(("PatientName", "PatientID", "PatientSex", "PatientBirthDate", "StudyDate"), ""),
    "Latin": {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"},
    "Japanese": {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"},
    "UTF-8": {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Жуков^Юрий"},
    "nameless": {"PatientIdentityRemoved": "YES", "DeidentificationMethodCodeSequence": [make_code()]},
    "a hand": {"BodyPartExamined": "HAND"},
    "a heart": {"BodyPartExamined": "HEART"},
    "lossy": {"LossyImageCompression": "01", "LossyImageCompressionRatio": 12.5,
              "LossyImageCompressionMethod": "ISO_10918_1"},
}  # fmt: skip


@pytest.mark.parametrize("kind", SOURCES)
def test_dciodvfy_finds_no_error(kind: str, tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed; Debian's package is called dicom3tools")
    file = write_radiograph(tmp_path / "image.dcm", **SOURCES[kind])
    model = make_model(("Mass", "Lung Lesion", LONG), "Röntgen")
    for path in (*write(file, tmp_path / "out"), *write(file, tmp_path / "out", model)):
        done = subprocess.run(
            ["dciodvfy", path], capture_output=True, text=True, errors="replace", check=False
        )
        said = (done.stdout + done.stderr).splitlines()
        assert [line for line in said if line.startswith("Error")] == [], path.name
        assert done.returncode == 0 and {"ComprehensiveSR", "SCImage"} & set(said)


def test_dciodvfy_finds_an_error_where_there_is_one(tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed; Debian's package is called dicom3tools")
    for path in write(write_radiograph(tmp_path / "image.dcm"), tmp_path / "out"):
        damaged = read(path)
        del damaged.PatientID
        damaged.save_as(path)
        assert subprocess.run(["dciodvfy", path], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(
    ("named", "name", "expected"),
    [
        ("ISO_IR 100", "Müller^Jörg", "ISO_IR 100"), ("ISO_IR 144", "Жуков^Юрий", "ISO_IR 144"),
        ("ISO_IR 192", "山田^太郎", "ISO_IR 192"), (None, "Doe^Jane", None), (None, "Müller^Jörg", "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎", ["", "ISO 2022 IR 87"]),
    ],
)  # fmt: skip
def test_a_name_keeps_its_letters_and_its_character_set(
    tmp_path: Path, named: str | list[str] | None, name: str, expected: str | list[str] | None
) -> None:
    declared: dict[str, Any] = {} if named is None else {"SpecificCharacterSet": named}
    file = write_radiograph(tmp_path / "image.dcm", PatientName=name, **declared)
    for path in write(file, tmp_path / "out"):
        result = read(path)
        assert result.get("SpecificCharacterSet") == expected
        assert str(result.PatientName) == name
        assert "PatientComments" not in result


def test_a_character_set_that_nobody_knows_is_not_passed_on(tmp_path: Path) -> None:
    file = write_radiograph(tmp_path / "image.dcm", SpecificCharacterSet="ISO_IR 100")
    file.write_bytes(file.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999"))
    for path in write(file, tmp_path / "out"):
        assert "SpecificCharacterSet" not in read(path)


def test_utf_8_takes_the_place_of_a_character_set_that_lacks_our_letters(tmp_path: Path) -> None:
    file = write_radiograph(tmp_path / "i.dcm", SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg")
    for path in write(file, tmp_path / "out", make_model(("胸水", "Mass"))):
        result = read(path)
        assert (result.SpecificCharacterSet, str(result.PatientName)) == ("ISO_IR 192", "Müller^Jörg")
        assert "胸水" in " ".join(list_texts(path)) and path.name.startswith(("i_胸水", "i_report"))


def test_what_the_image_does_not_say_stays_empty(tmp_path: Path) -> None:
    file = write_radiograph(tmp_path / "image.dcm", **SOURCES["nobody"])
    for path in write(file, tmp_path / "out"):
        result = read(path)
        assert {result[keyword].value for keyword in ("PatientID", "StudyDate", "StudyID")} <= {None, ""}
        assert str(result.PatientName) == ""


def test_a_report_warns_says_what_is_calibrated_and_declares_its_codes(tmp_path: Path) -> None:
    *_, path = write(write_radiograph(tmp_path / "image.dcm"), tmp_path / "out")
    report = read(path)
    (scheme,) = report.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == codes.SCHEME == "99CXR"
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    texts = list_texts(path)
    warning = "Warning: out of distribution: score 2.00 above 1.50."
    assert {"OOD-WARNED", warning, "Note: a note.", "RESEARCH-ONLY"} <= set(texts)
    assert texts.count("CALIBRATED") == 2  # the probability and the threshold of one finding
    # SNOMED CT's codes for present and absent, DICOM's for a finding and an impression
    assert not {"52101004", "2667000", "121071", "121073"} & set(texts)


def test_codes_are_those_of_the_standard_where_it_has_them() -> None:
    given = {name: codes.code_finding(name) for name in {*NIH_14, *CHEXPERT_14}}
    standard = {"Effusion": "SCT", "Pleural Effusion": "SCT", "Infiltration": "DCM", "Mass": "SCT", "Edema": "SCT",
                "Nodule": "SCT", "Pneumothorax": "SCT", "Lung Opacity": "DCM"}  # fmt: skip
    published: dict[str, Any] = concepts
    known = {
        (scheme, code): meaning
        for scheme in ("SCT", "DCM")
        for names in published[scheme].values()
        for code, (meaning, _) in names.items()
    }
    for name, scheme in standard.items():
        code = given[name]
        assert code.scheme_designator == scheme
        assert code.meaning.lower() in known[scheme, code.value].lower(), name
    private = {name for name, code in given.items() if code.scheme_designator == "99CXR"}
    assert private & set(NIH_14) == {"Hernia", "Pleural_Thickening"}
    values = {
        (code.scheme_designator, code.value) for name, code in given.items() if name != "Pleural Effusion"
    }
    assert len(values) == len(given) - 1
    assert all(len(code.value) <= 16 and len(code.meaning) <= 64 for code in given.values())


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        (
            {"SeriesInstanceUID": None, "StudyInstanceUID": ""},
            "its header has no SeriesInstanceUID, StudyInstanceUID",
        ),
        ({"StudyInstanceUID": "1.02"}, "its StudyInstanceUID is no valid UID"),
        ({"StudyInstanceUID": "Secret^Name"}, "its StudyInstanceUID is no valid UID"),
        ({"SOPClassUID": "1.2.3.4"}, "its SOPClassUID is not one of the DICOM standard"),
    ],
)
def test_a_header_without_references_is_refused(
    tmp_path: Path, elements: dict[str, Any], reason: str
) -> None:
    file = write_radiograph(tmp_path / "image.dcm", **elements)
    with pytest.raises(CannotInheritError) as raised:
        read_source(file)
    assert raised.value.reason == reason


def test_damaged_values_are_passed_on_or_refused_and_never_quoted(tmp_path: Path) -> None:
    file = write_radiograph(tmp_path / "image.dcm", PatientSex="FEMALE", PatientBirthDate="1950.01.02")
    for path in write(file, tmp_path / "out"):
        assert (read(path).PatientSex, read(path).PatientBirthDate) == ("FEMALE", "1950.01.02")
    data = bytearray(file.read_bytes())
    data[data.index(b"1950.01.02") - 2] = 255  # a length that leads elsewhere
    file.write_bytes(data)
    with pytest.raises(CannotInheritError) as raised:
        read_source(file)
    assert "1950" not in raised.value.reason
