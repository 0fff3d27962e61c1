"""cxr predict --dicom-out: the report of a study, whose images are combined by the rule of the run."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pydicom
import pytest
from highdicom.sr import CodedConcept, ComprehensiveSR, MeasurementReport, srread

from cxr.deploy.dicom_out import codes
from cxr.deploy.dicom_out.result import Model, Result
from cxr.deploy.dicom_out.source import read_source
from cxr.deploy.dicom_out.study_reports import StudyReports
from cxr.deploy.dicom_out.writer import ResultWriter
from cxr.deploy.runtime import Facts
from cxr.deploy.studies import LATERAL_WARNING, Rule
from cxr.evaluation import recalibration
from cxr.evaluation.thresholds import fixed
from cxr.evaluation.units import Combine
from cxr.images.prepare import Preprocess
from cxr.model.ood import MeasuredLimit
from tests.helpers.archive import write_radiograph
from tests.helpers.commands import call

Said = pytest.CaptureFixture[str]
FINDINGS = ("Mass", "Hernia")
STUDY = "1.2.826.0.1.3680043.8.498.1"
P = {"a": (0.2, 0.9), "b": (0.6, 0.1), "side": (0.99, 0.99)}
FRONTAL = Rule("study", "mean", ("PA", "AP"))


def write_study(folder: Path, elements: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """The images of one study."""
    return [write_radiograph(folder / f"{name}.dcm", **{"StudyInstanceUID": STUDY, **own})
            for name, own in elements.items()]  # fmt: skip


def make_model() -> Model:
    facts = Facts(
        "demo (01234567)", FINDINGS, fixed(FINDINGS, 0.5), recalibration.no_recalibration(FINDINGS),
        Preprocess(32), MeasuredLimit(limit=1.5, alarms=1, num_images=100, num_patients=50),
        "resnet18", 32, 512, "0123456789abcdef" * 4,
    )  # fmt: skip
    return Model(facts, "0.1.0")


def combine(
    folder: Path,
    files: list[Path],
    rule: Rule,
    scores: Mapping[str, float] | None = None,
    resumed: bool = False,
) -> Path | None:
    """The report of the study of images that have the probabilities of `P`; None where none is written."""
    model = make_model()
    writer = ResultWriter(folder, model)
    studies = StudyReports(writer, model, rule)
    for file in files:
        source, score = read_source(file), (scores or {}).get(file.stem, 1.0)
        result = Result(P[file.stem], score, "unlike" if score > 1.5 else "")
        writer.write(file, source, result)
        studies.add(file, source, result)
    num_written = studies.write(resumed)
    written = list(folder.glob("*_study_report*.dcm"))
    assert len(written) == num_written
    return written[0] if written else None


def read_report(path: Path | None) -> tuple[pydicom.FileDataset, MeasurementReport]:
    """A report by pydicom, and its content by highdicom."""
    assert path is not None
    return pydicom.dcmread(path), cast(MeasurementReport, srread(path).content)


def read_numbers(report: MeasurementReport) -> dict[str, list[float]]:
    """What was measured, by the name of each group: (probability, threshold) of findings."""
    groups = report.get_image_measurement_groups()
    return {
        str(group.tracking_identifier): [one.value for one in group.get_measurements()] for group in groups
    }


def list_comments(dataset: pydicom.Dataset) -> list[str]:
    texts = [item for item in dataset.ContentSequence if item.ValueType == "TEXT"]
    comments = [item for item in texts if item.ConceptNameCodeSequence[0].CodeValue == codes.COMMENT.value]
    return [str(item.TextValue) for item in comments]


def list_evidence(path: Path) -> set[str]:
    return {str(one[2]) for one in ComprehensiveSR.from_dataset(pydicom.dcmread(path)).get_evidence()}


def uid(file: Path) -> str:
    return str(pydicom.dcmread(file).SOPInstanceUID)


@pytest.mark.parametrize(
    ("method", "expected"), [("mean", ((0.2 + 0.6) / 2, (0.9 + 0.1) / 2)), ("max", (0.6, 0.9))]
)
def test_two_images_are_combined_by_the_rule(
    tmp_path: Path, method: Combine, expected: tuple[float, float]
) -> None:
    files = write_study(tmp_path, {"a": {}, "b": {}})
    path = combine(tmp_path / "out", files, Rule("image", method))
    assert path == tmp_path / "out" / "a_study_report.dcm"
    dataset, report = read_report(path)
    numbers = read_numbers(report)
    assert list(numbers) == ["Study as a whole", *FINDINGS]
    assert numbers["Mass"] == pytest.approx([expected[0], 0.5], abs=1e-6)
    assert numbers["Hernia"] == pytest.approx([expected[1], 0.5], abs=1e-6)
    comments = list_comments(dataset)
    assert "A program made this report from 2 images of one study." in comments[0]
    words = {"mean": "the mean", "max": "the largest"}[method]
    assert (
        f"Combined by eval.unit=image, eval.combine={method}. A study's probability is {words}" in comments[2]
    )
    for group in report.get_image_measurement_groups():
        assert {str(one.referenced_sop_instance_uid) for one in group.source_images} == set(map(uid, files))
    *_, call_of_mass = report.get_image_measurement_groups()[1].get_qualitative_evaluations()
    assert isinstance(call_of_mass.value, CodedConcept)
    assert call_of_mass.value == (codes.CALLED if expected[0] >= 0.5 else codes.NOT_CALLED)


def test_it_inherits_from_the_first_image_and_shares_the_series_of_reports(tmp_path: Path) -> None:
    files = write_study(tmp_path, {"b": {"PatientName": "Müller^Jörg", "SpecificCharacterSet": "ISO_IR 100"},
                                   "a": {"PatientName": "Mueller^Joerg"}})  # fmt: skip
    path = combine(tmp_path / "out", files, FRONTAL)
    assert path == tmp_path / "out" / "b_study_report.dcm"
    study, single = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "out" / "b_report.dcm")
    for keyword in (
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SpecificCharacterSet",
    ):
        assert study[keyword].value == single[keyword].value
    assert study.InstanceNumber == 3 and study.SOPInstanceUID != single.SOPInstanceUID
    assert list_evidence(path) == set(map(uid, files))


def test_a_lateral_is_left_out_where_the_rule_says_so_and_named(tmp_path: Path) -> None:
    files = write_study(tmp_path, {"side": {"ViewPosition": "LL"}, "a": {"ViewPosition": "PA"}, "b": {}})
    path = combine(tmp_path / "out", files, FRONTAL)
    dataset, report = read_report(path)
    assert read_numbers(report)["Mass"][0] == pytest.approx((0.2 + 0.6) / 2, abs=1e-6)
    for group in report.get_image_measurement_groups():
        assert {str(one.referenced_sop_instance_uid) for one in group.source_images} == set(
            map(uid, files[1:])
        )
    assert path is not None and list_evidence(path) == set(map(uid, files))
    comments = list_comments(dataset)
    assert "from 2 images of one study" in comments[0]
    assert f"Left out: side.dcm: {LATERAL_WARNING}." in comments
    # a model that was trained on every view takes it
    _, report = read_report(combine(tmp_path / "all", files, replace(FRONTAL, views=None)))
    assert read_numbers(report)["Mass"][0] == pytest.approx((0.99 + 0.2 + 0.6) / 3, abs=1e-6)


def test_images_of_no_known_view_of_the_model_have_no_study_report(tmp_path: Path, capsys: Said) -> None:
    files = write_study(tmp_path, {"a": {"ViewPosition": "LL"}, "b": {"ViewPosition": "RL"}})
    assert combine(tmp_path / "out", files, FRONTAL) is None
    note = f"note: no study report of {files[0]}, {files[1]}: the model was trained on none of their views\n"
    assert capsys.readouterr().err == note


@pytest.mark.parametrize(
    "elements", [{"PatientID": "Secret-2"}, {"PatientID": None}, {"IssuerOfPatientID": "Secret-3"}]
)
def test_images_of_different_patients_have_no_study_report(
    tmp_path: Path, capsys: Said, elements: dict[str, Any]
) -> None:
    files = write_study(tmp_path, {"a": {}, "b": elements})
    assert combine(tmp_path / "out", files, FRONTAL) is None
    note = capsys.readouterr().err
    assert note.startswith(f"note: no study report of {files[0]}, {files[1]}: they have one StudyInstanceUID")
    assert "different patients" in note and "Secret" not in note


def test_a_single_image_and_two_files_of_one_instance_have_no_study_report(
    tmp_path: Path, capsys: Said
) -> None:
    files = write_study(tmp_path, {"a": {}})
    assert combine(tmp_path / "out", files, FRONTAL) is None
    files.append(Path(shutil.copy(files[0], tmp_path / "b.dcm")))
    assert combine(tmp_path / "again", files, FRONTAL) is None
    assert capsys.readouterr().err == ""
    # beside another image, the copy does not count twice
    files += write_study(tmp_path, {"side": {}})
    dataset, report = read_report(combine(tmp_path / "third", files, FRONTAL))
    assert read_numbers(report)["Mass"][0] == pytest.approx((0.2 + 0.99) / 2, abs=1e-6)
    assert "Left out: b.dcm: another file of the same SOP instance is there." in list_comments(dataset)


def test_it_says_for_how_many_images_an_out_of_distribution_warning_was_raised(tmp_path: Path) -> None:
    files = write_study(tmp_path, {"a": {}, "b": {}})
    for scores, number, code in (({"b": 2.0}, 1, codes.OOD_WARNED), ({}, 0, codes.OOD_SILENT)):
        path = combine(tmp_path / f"out{number}", files, FRONTAL, scores, resumed=True)
        dataset, report = read_report(path)
        assert read_numbers(report)["Study as a whole"] == [number]
        *_, ood = report.get_image_measurement_groups()[0].get_qualitative_evaluations()
        assert ood.value == code
        comments = list_comments(dataset)
        assert f"Out-of-distribution warning: for {number} of 2 images." in comments
        assert "The command was resumed. Images of its earlier call are not in this report." in comments


def test_a_first_image_that_changed_meanwhile_is_not_inherited_from(tmp_path: Path, capsys: Said) -> None:
    first, second = write_study(tmp_path, {"a": {}, "b": {}})
    model = make_model()
    studies = StudyReports(ResultWriter(tmp_path / "out", model), model, FRONTAL)
    for file in (first, second):
        studies.add(file, read_source(file), Result((0.1, 0.1), None, ""))
    write_radiograph(first, PatientID="P-2", StudyInstanceUID=STUDY)
    assert studies.write(is_resumed=False) == 0
    assert capsys.readouterr().err.endswith(": the first has changed since it was read\n")
    first.unlink()
    assert studies.write(is_resumed=False) == 0
    assert "of the first, No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"},
        {"PatientID": None, "StudyDate": None},
    ],
)
def test_dciodvfy_finds_no_error_in_it(tmp_path: Path, elements: dict[str, Any]) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed; Debian's package is called dicom3tools")
    sides = {"a": elements, "b": elements, "side": {**elements, "ViewPosition": "LL"}}
    path = combine(tmp_path / "out", write_study(tmp_path, sides), FRONTAL, resumed=True)
    assert path is not None
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace", check=False)
    said = (done.stdout + done.stderr).splitlines()
    assert [line for line in said if line.startswith("Error")] == []
    assert done.returncode == 0 and "ComprehensiveSR" in said


def test_the_command_combines_the_probabilities_that_it_prints(
    run: Path, tmp_path: Path, capsys: Said
) -> None:
    noise = np.random.default_rng(1).integers(0, 4096, (2, 48, 48)).astype(np.uint16)
    for name, pixels in zip("ab", noise, strict=True):
        write_radiograph(tmp_path / "in" / f"{name}.dcm", pixels, StudyInstanceUID=STUDY)
    damaged = write_radiograph(tmp_path / "in" / "c.dcm", StudyInstanceUID=STUDY)
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    write_radiograph(tmp_path / "in" / "other.dcm")
    capsys.readouterr()
    options = ("--findings", "Mass", "--format", "json")
    assert call("predict", run, tmp_path / "in", "--dicom-out", tmp_path / "out", *options) == 1
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    printed = {Path(row["image"]).name: row for row in rows}
    assert f"3 reports, 1 study report and 3 overlays as DICOM in {tmp_path / 'out'};" in said.err
    path = tmp_path / "out" / "a_study_report.dcm"
    assert path.exists() and all(str(path) not in row.get("dicom", ()) for row in rows)
    dataset, report = read_report(path)
    numbers = read_numbers(report)
    for finding, p in printed["a.dcm"]["probabilities"].items():
        largest = max(p, printed["b.dcm"]["probabilities"][finding])
        assert numbers[finding][0] == pytest.approx(largest, abs=1e-6)
    assert f"Left out: c.dcm: not read: {printed['c.dcm']['error']}." in list_comments(dataset)


def test_a_resumed_command_says_what_its_study_reports_cover(
    run: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write_radiograph(tmp_path / "in" / f"{name}.dcm", StudyInstanceUID=STUDY)
    command = ("predict", run, tmp_path / "in", "--dicom-out", tmp_path / "out", "--out", tmp_path / "p.csv")
    monkeypatch.setattr("cxr.deploy.predict_all.BATCH_SIZE", 1)
    write = ResultWriter.write

    def stop(self: ResultWriter, file: Path, *others: Any) -> list[Path]:  # noqa: ANN401 - passed on
        if file.stem == "b":
            raise KeyboardInterrupt
        return write(self, file, *others)

    monkeypatch.setattr(ResultWriter, "write", stop)
    assert call(*command) != 0
    monkeypatch.setattr(ResultWriter, "write", write)
    assert not list((tmp_path / "out").glob("*study*"))
    capsys.readouterr()
    assert call(*command, "--resume") == 0
    note = "note: study reports cover the images of this call, without 1 image of an earlier one\n"
    assert note in capsys.readouterr().err
    path = tmp_path / "out" / "b_study_report.dcm"
    assert list_evidence(path) == {uid(tmp_path / "in" / f"{name}.dcm") for name in "bc"}
