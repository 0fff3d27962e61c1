"""Reports and overlays go into an archive and come back as they are: Orthanc, by C-STORE and by its REST API."""

import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from highdicom.sr import ComprehensiveSR, MeasurementReport
from pydicom.uid import generate_uid

from tests.helpers.archive import Archive, running_archive, write_radiograph
from tests.helpers.commands import call


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with running_archive(tmp_path_factory.mktemp("orthanc")) as archive:
        yield archive


@pytest.fixture(scope="module")
def files(run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An image, its report, its overlay and the report of its study, which has two images."""
    folder = tmp_path_factory.mktemp("study")
    shared: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "PatientName": "Müller^Jörg",
        "StudyInstanceUID": generate_uid(),
    }
    image, second = (write_radiograph(folder / f"{name}.dcm", **shared) for name in ("image", "second"))
    assert call("predict", run, image, second, "--dicom-out", folder / "out", "--findings", "Mass") == 0
    return [image, *(folder / "out" / f"image_{name}.dcm" for name in ("report", "Mass", "study_report"))]


def fetch(archive: Archive, file: Path) -> pydicom.FileDataset:
    """What the archive has of a file."""
    uid = str(pydicom.dcmread(file).SOPInstanceUID)
    (found,) = archive.post("/tools/lookup", uid.encode())
    return pydicom.dcmread(BytesIO(archive.get(f"/instances/{found['ID']}/file")))


def test_what_is_stored_comes_back_equal_in_one_study(archive: Archive, files: list[Path]) -> None:
    answers: list[Any] = [archive.post("/instances", file.read_bytes()) for file in files]
    assert {answer["Status"] for answer in answers} <= {"Success", "AlreadyStored"}
    assert len({answer["ParentStudy"] for answer in answers}) == 1
    assert len({answer["ParentSeries"] for answer in answers}) == 3
    for file in files:
        assert fetch(archive, file) == pydicom.dcmread(file)
    for report in (files[1], files[3]):
        content = ComprehensiveSR.from_dataset(fetch(archive, report)).content
        assert isinstance(content, MeasurementReport)
        assert len(content.get_image_measurement_groups()) == 15  # 14 findings, and image or study as a whole


def test_c_store_takes_them(archive: Archive, files: list[Path]) -> None:
    if shutil.which("storescu") is None:
        pytest.skip("storescu is not installed; Debian's package is called dcmtk")
    command = ["storescu", "-aec", "ORTHANC", "127.0.0.1", str(archive.dicom), *map(str, files)]
    subprocess.run(command, check=True, capture_output=True)
    for file in files:
        assert fetch(archive, file) == pydicom.dcmread(file)
