"""cxr serve as a command: what it refuses before a model is loaded, and a whole server in its own process."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from cxr.deploy.open_runtime import open_runtime
from cxr.deploy.predict_files import Input, try_to_read
from cxr.deploy.runtime import Square, predict_batch
from cxr.images.read import decode
from tests.deploy.test_onnx_predict import WITHOUT
from tests.helpers.commands import call
from tests.helpers.dicoms import make_dicom, to_bytes
from tests.helpers.exports import Exported

TOKEN = "a-token-of-some-length"


@pytest.mark.parametrize(("options", "problem"), [
    (["--host", "0.0.0.0"], "error: --host 0.0.0.0: other machines could send images to this server"),
    (["--host", "0.0.0.0", "--expose"], "error: --host 0.0.0.0: other machines could"),
    (["--token-file", "nowhere"], "error: --token-file nowhere: cannot be read"),
    (["--host", "nowhere.invalid", "--expose"], "error: --host nowhere.invalid: is no address"),
])  # fmt: skip
def test_what_cannot_be_served_is_said_before_a_model_is_loaded(
    options: list[str], problem: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "nowhere.invalid" in options:
        monkeypatch.setenv("CXR_TOKEN", TOKEN)
    assert call("serve", "no/such/run", *options) == 2
    assert capsys.readouterr().err.startswith(problem)


def test_a_short_token_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text("secret\n")
    assert call("serve", "no/such/run", "--token-file", tmp_path / "token") == 2
    said = capsys.readouterr().err
    assert "16 letters or more" in said and "secret\n" not in said


def test_a_port_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert call("serve", "no/such/run", "--port", port) == 2
    assert f"error: --port {port}: another program uses it" in capsys.readouterr().err


def test_a_missing_package_names_its_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert call("serve", "no/such/run") == 2
    assert "pip install 'cxr[serve]'" in capsys.readouterr().err


def test_an_exported_file_is_served_without_torch_and_pandas_and_a_signal_ends_it_in_order(
    exported: Exported, nih_root: Path
) -> None:
    path = min((nih_root / "images").iterdir())
    runtime = open_runtime(str(exported.run), "cpu")
    square = try_to_read(Input(path, "image"), runtime.facts.preprocess)
    assert isinstance(square, Square)
    expected = predict_batch(runtime, [square])[0]
    dicom = to_bytes(make_dicom(decode(path.read_bytes(), path).astype(np.uint16) * 16, ViewPosition="LL"))
    # pydicom is optional there, and here it is wanted
    code = WITHOUT.replace('"pydicom", ', "")
    command = [sys.executable, "-c", code, "serve", str(exported.onnx), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        address = server.stdout.readline().rpartition(" at ")[2].strip()
        answer = httpx.post(f"{address}explain", content=path.read_bytes(), timeout=20).json()
        lateral = httpx.post(f"{address}predict", content=dicom, timeout=20).json()["images"][0]
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
        assert server.stdout.read() == "stopped after 2 requests and 2 images\n"
    probabilities = [finding["probability"] for finding in answer["image"]["findings"].values()]
    assert probabilities == pytest.approx(expected.probabilities, abs=1e-4)
    maps = np.array(list(answer["maps"].values()))
    assert maps == pytest.approx(expected.maps, abs=1e-3)
    assert "lateral view" in lateral["warnings"][0]
