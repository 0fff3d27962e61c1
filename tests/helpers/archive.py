"""DICOM files with all that an archive asks for, and Orthanc, an archive, for the time of a test."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest
from pydicom.uid import generate_uid

from tests.helpers.dicoms import Pixels, make_dicom, to_bytes

_START_SECONDS, _PAUSE = 20, 0.05


def write_radiograph(path: Path, pixels: Pixels | None = None, **elements: Any) -> Path:  # noqa: ANN401
    """A radiograph of a patient, of noise and in a new study if nothing else is given; None leaves an element out."""
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 4096, (48, 48)).astype(np.uint16)
    usual = {
        "PatientName": "Doe^Jane", "PatientID": "P-1", "PatientSex": "F", "PatientBirthDate": "19500102",
        "StudyDate": "20240102", "StudyTime": "101112", "StudyID": "S1", "AccessionNumber": "A1",
        "ReferringPhysicianName": "Roe^Richard", "Modality": "DX", "BodyPartExamined": "CHEST",
        "StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(),
    }  # fmt: skip
    dataset = make_dicom(pixels, 8 if pixels.dtype == np.uint8 else 12)
    for name, value in (usual | elements).items():
        if value is not None:
            setattr(dataset, name, value)
        elif name in dataset:
            delattr(dataset, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(dataset))
    return path


@dataclass(frozen=True)
class Archive:
    """A running Orthanc: its ports on the loopback address."""

    http: int
    dicom: int

    def post(self, path: str, data: bytes) -> Any:  # noqa: ANN401 - whatever JSON it answers
        """Its answer to bytes that are sent to it."""
        with urlopen(Request(f"http://127.0.0.1:{self.http}{path}", data, method="POST")) as answer:
            return json.load(answer)

    def get(self, path: str) -> bytes:
        """What it has at a path."""
        with urlopen(f"http://127.0.0.1:{self.http}{path}") as answer:
            content: bytes = answer.read()
        return content


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def running_archive(folder: Path) -> Iterator[Archive]:
    """Orthanc with its storage in a folder; the test is skipped where Orthanc is not installed."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None:
        pytest.skip("Orthanc is not installed; Debian's package is called orthanc")
    archive = Archive(_free_port(), _free_port())
    settings = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": archive.http,
        "DicomPort": archive.dicom, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True, "Plugins": [],
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([program, folder / "orthanc.json"], stdout=log, stderr=log)
    try:
        _wait_for(archive, server, folder / "log")
        yield archive
    finally:
        server.terminate()
        server.wait()


def _wait_for(archive: Archive, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(round(_START_SECONDS / _PAUSE)):
        assert server.poll() is None, log.read_text()
        try:
            archive.get("/system")
            return
        except OSError:
            time.sleep(_PAUSE)
    raise AssertionError(log.read_text())
