"""No command replaces a file that it reads, and another one only where it is asked to."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from cxr.errors import CxrError
from cxr.files import write_text
from cxr.replace import keep, refuse_existing
from tests.helpers.commands import call
from tests.helpers.exports import Exported

Said = pytest.CaptureFixture[str]


def test_a_kept_file_is_kept_under_each_of_its_names(tmp_path: Path) -> None:
    file, run = tmp_path / "a.txt", tmp_path / "run"
    run.mkdir()
    for path in (file, run / "last.pt"):
        path.write_text("old")
    (tmp_path / "link.txt").symlink_to(file)
    os.link(file, tmp_path / "hard.txt")
    with keep([file, run, tmp_path / "nothing", Path("a" * 300)]):
        for path in (file, tmp_path / "link.txt", tmp_path / "hard.txt", run / "last.pt"):
            with pytest.raises(CxrError, match="is read by this command"):
                write_text(path, "new")
        write_text(run / "other", "new")
    write_text(file, "new")
    assert (file.read_text(), (run / "last.pt").read_text()) == ("new", "old")


def test_an_existing_file_is_replaced_on_request_and_a_checkpoint_never(tmp_path: Path) -> None:
    refuse_existing(tmp_path / "p.csv", overwrite=False)
    for name in ("p.csv", "best.safetensors", "last.pt"):
        (tmp_path / name).write_text("old")
        with pytest.raises(CxrError):
            refuse_existing(tmp_path / name, overwrite=False)
    refuse_existing(tmp_path / "p.csv", overwrite=True)
    for name in ("best.safetensors", "last.pt"):
        with pytest.raises(CxrError, match="checkpoint"):
            refuse_existing(tmp_path / name, overwrite=True)


def test_predict_replaces_its_output_on_request_alone(
    exported: Exported, nih_root: Path, tmp_path: Path, capsys: Said
) -> None:
    image, out = next((nih_root / "images").iterdir()), tmp_path / "p.csv"
    out.write_text("mine")
    assert call("predict", exported.onnx, image, "--out", out) == 2
    said = f"error: {out}: is there already\nhint: --overwrite replaces it; or take another name with --out\n"
    assert capsys.readouterr().err == said and out.read_text() == "mine"
    assert call("predict", exported.onnx, image, "--out", out, "--overwrite") == 0
    assert out.read_text().startswith("image,p_")
    assert call("predict", exported.onnx, image, "--overwrite") == 2
    assert "--overwrite: replaces a file\nhint: name it with --out FILE" in capsys.readouterr().err


def test_predict_never_replaces_an_image_or_a_model(
    exported: Exported, nih_root: Path, tmp_path: Path, capsys: Said
) -> None:
    image = next((nih_root / "images").iterdir())
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.csv").write_bytes(image.read_bytes())  # an image, whatever its name says
    (tmp_path / "b.csv").symlink_to(exported.onnx)
    (tmp_path / "best.safetensors").write_bytes(b"of another run")
    options = ("--format", "csv", "--overwrite", "--out")
    for out in (exported.onnx, tmp_path / "b.csv", image, folder / "a.csv", tmp_path / "best.safetensors"):
        before = out.read_bytes()
        assert call("predict", exported.onnx, image, folder, *options, out) == 2
        assert "replaced\nhint: take another name with --out" in capsys.readouterr().err
        assert out.read_bytes() == before


def test_a_report_never_replaces_the_predictions_that_it_is_of(
    exported: Exported, tmp_path: Path, capsys: Said
) -> None:
    rows = range(40)
    table = pd.DataFrame({"image": [f"{row}.png" for row in rows], "y_Mass": [row % 2 for row in rows]})
    path = tmp_path / "metrics.csv"  # a name that the report has too
    table.assign(patient_id=table["image"], p_Mass=[row / 40 for row in rows]).to_csv(path, index=False)
    before = path.read_bytes()
    assert call("eval", path, "--out", tmp_path, "eval.interval=none") == 2
    said = (
        f"error: {path}: is read by this command, and is not replaced\nhint: take another name with --out\n"
    )
    assert capsys.readouterr().err.endswith(said)
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"] and path.read_bytes() == before
    assert call("eval", path, "--out", tmp_path / "report", "eval.interval=none") == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["metrics"][0]["finding"] == "Mass"


def test_export_never_replaces_a_checkpoint(run: Path, tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "last.pt").write_bytes(b"of another run")
    for out in (run / "best.safetensors", tmp_path / "last.pt"):
        before = out.read_bytes()
        assert call("export", run, "--out", out, "--overwrite") == 2
        assert f"error: {out}: " in capsys.readouterr().err and out.read_bytes() == before
