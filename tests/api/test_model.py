import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from PIL import Image

import cxr
from cxr.api.model import Model
from cxr.deploy.torch_runtime import make_runtime
from cxr.explain.overlay_png import encode_png
from cxr.findings import NIH_14
from cxr.images.read import read_file
from cxr.model import checkpoint as checkpoints
from tests.helpers.commands import call
from tests.helpers.dicoms import make_dicom, to_bytes, write_dicom
from tests.helpers.models import Plant


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return cxr.load(run, "cpu")


@pytest.fixture
def files(nih_root: Path) -> list[Path]:
    return sorted((nih_root / "images").iterdir())[:3]


def probabilities(table: pd.DataFrame) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    return table[list(NIH_14)].to_numpy(np.float64)


def test_the_table_has_the_very_numbers_of_the_command(
    model: Model, run: Path, nih_root: Path, tmp_path: Path
) -> None:
    assert call("predict", run, nih_root / "images", "--out", tmp_path / "p.csv") == 0
    with (tmp_path / "p.csv").open(newline="") as file:
        expected = list(csv.DictReader(file))
    table = model.predict(nih_root / "images")
    assert list(table.columns) == ["image", *NIH_14, "warning", "notes", "error"]
    assert list(table["image"]) == [row["image"] for row in expected]
    assert len(table) == 40  # more than a batch
    numbers = [[float(row[f"p_{name}"]) for name in NIH_14] for row in expected]
    np.testing.assert_array_equal(probabilities(table), numbers)
    assert (table[["warning", "notes", "error"]] == "").all(axis=None)


def test_the_same_pixels_give_the_same_probabilities_however_they_are_held(
    model: Model, files: list[Path], tmp_path: Path
) -> None:
    grey = cv2.imread(str(files[0]), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    dicom = write_dicom(tmp_path / "x.dcm", grey, 8)
    held: list[Any] = [files[0], str(files[0]), grey, grey / 255, grey.astype(np.uint16), Image.fromarray(grey),
            Image.open(files[0]), dicom, make_dicom(grey, 8), pydicom.dcmread(dicom)]  # fmt: skip
    expected = probabilities(model.predict(files[0]))
    for image in held:
        bits = 8 if getattr(image, "dtype", None) == np.uint16 else None
        np.testing.assert_array_equal(probabilities(model.predict(image, bits=bits)), expected)


def test_rows_stand_in_the_order_of_the_images_and_are_named(model: Model, files: list[Path]) -> None:
    grey = read_file(files[1])
    table = model.predict(
        [files[0], grey, Image.fromarray(grey), files[0], Image.open(files[2])], batch_size=2
    )
    assert list(table["image"]) == [str(files[0]), "images[1]", "images[2]", str(files[0]), str(files[2])]
    expected = probabilities(model.predict(files))[[0, 1, 1, 0, 2]]
    np.testing.assert_allclose(probabilities(table), expected, atol=1e-6)
    assert list(model.predict(image for image in [grey])["image"]) == ["images[0]"]
    assert list(model.predict(grey)["image"]) == ["image"]
    assert list(model.predict([]).columns) == list(table.columns)


def test_an_image_that_cannot_be_read_raises_or_has_a_row(
    model: Model, files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    images: list[Any] = [files[0], tmp_path / "bad.png", files[1], np.full((9, 9), 7.0), tmp_path / "absent"]
    with pytest.raises(cxr.CxrError, match=r"bad.png: file is empty \(0 bytes\)\nhint: .*errors='row'"):
        model.predict(images)
    table = model.predict(images, errors="row")
    assert [bool(error) for error in table["error"]] == [False, True, False, True, True]
    assert table["error"][3].startswith("images[3]: float64 from 7 to 7; floats are read from 0 (black)")
    np.testing.assert_array_equal(np.isnan(probabilities(table)).all(axis=1), table["error"] != "")
    np.testing.assert_allclose(
        probabilities(table)[[0, 2]], probabilities(model.predict(files[:2])), atol=1e-6
    )
    called = model.call_findings(table)
    assert called.loc[1].isna().all()
    assert not called.loc[[0, 2]].isna().any(axis=None)


def test_a_folder_stands_for_its_images_alone(model: Model, files: list[Path], tmp_path: Path) -> None:
    shutil.copy(files[0], tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "overlay.png").write_bytes(encode_png(np.zeros((9, 9, 3), np.uint8)))
    report = make_dicom(np.zeros((4, 4), np.uint8), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    del report.PixelData, report.Rows, report.Columns
    (tmp_path / "report.dcm").write_bytes(to_bytes(report))
    assert list(model.predict(tmp_path)["image"]) == [str(tmp_path / files[0].name)]
    with pytest.raises(cxr.CxrError, match="DICOM object without an image"):
        model.predict(tmp_path / "report.dcm")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [({"errors": "skip"}, "errors='skip'"), ({"batch_size": 0}, "batch_size=0"), ({"bits": 12}, "bits=12")],
)
def test_an_argument_that_makes_no_sense_is_refused(
    model: Model, files: list[Path], arguments: dict[str, int], problem: str
) -> None:
    with pytest.raises(cxr.CxrError, match=problem):
        model.predict(files, **arguments)  # type: ignore[arg-type]  # wrong arguments are the test


def test_findings_are_called_from_their_threshold_on(model: Model, nih_root: Path) -> None:
    table = model.predict(nih_root / "images")
    table.loc[0, list(NIH_14)] = model.thresholds
    called = model.call_findings(table)
    assert list(called.columns) == list(NIH_14)
    assert called.loc[0].all()
    expected = probabilities(table) >= model.thresholds.to_numpy()
    assert expected.any() and not expected.all()
    np.testing.assert_array_equal(called.to_numpy(bool), expected)


def test_warnings_and_notes_are_those_of_the_command(wary: Path, files: list[Path]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    table = cxr.load(wary).predict([files[0], noise, np.zeros((48, 48), np.uint8)])
    assert table["warning"][0] == ""
    assert table["warning"][1].startswith("out of distribution: score ")
    assert list(table["notes"]) == ["", "", "every pixel is the same"]


def test_the_last_layer_makes_logits_of_the_features(model: Model, run: Path, files: list[Path]) -> None:
    features = model.embed(files)
    assert (features.shape, str(features.dtype)) == ((3, 512), "float32")
    classifier = checkpoints.load(run).classifier
    with torch.inference_mode():
        p = classifier.probabilities(classifier.head(torch.from_numpy(features)))
    np.testing.assert_allclose(p.numpy(), probabilities(model.predict(files)), atol=1e-6)
    assert model.embed([]).shape == (0, 512)


def test_a_heat_map_of_a_square_image_sums_to_the_logit(model: Model, run: Path, files: list[Path]) -> None:
    maps = model.heatmaps(files[0])
    assert list(maps) == list(NIH_14)
    head, shift = checkpoints.load(run).classifier.head, checkpoints.load(run).classifier.logit_shift
    p = model.predict(files[0])
    for number, (finding, heat) in enumerate(maps.items()):
        assert (heat.shape, str(heat.dtype)) == ((48, 48), "float32")
        # at 32 pixels the model's map is a single cell, so that enlarging changes no value
        logit = heat.mean() + head.bias[number].item() + shift[number].item()
        assert 1 / (1 + np.exp(-logit)) == pytest.approx(p[finding][0], abs=1e-5)


def test_a_heat_map_has_the_pixels_of_the_image(model: Model, files: list[Path]) -> None:
    wide = np.pad(read_file(files[0]), ((0, 0), (0, 60)))
    maps = model.heatmaps(wide, ["pleural thickening", "Mass"])
    assert {finding: heat.shape for finding, heat in maps.items()} == {
        "Pleural_Thickening": (48, 108),
        "Mass": (48, 108),
    }
    with pytest.raises(cxr.CxrError, match=r"Masse: no finding of .*run\nhint: its findings are Atelectasis"):
        model.heatmaps(wide, "Masse")
    with pytest.raises(cxr.CxrError, match="image: is a list, not one image"):
        model.heatmaps([wide], "Mass")  # type: ignore[arg-type]  # a list is the test
    with pytest.raises(
        cxr.CxrError, match=r"absent.png: No such file or directory\nhint: check the path, or leave it out"
    ):
        model.heatmaps("absent.png")


def test_what_a_crop_cut_off_has_no_heat(run: Path, files: list[Path]) -> None:
    checkpoint = checkpoints.load(run)
    cropped = replace(checkpoint.metadata.preprocess, fit="crop")
    metadata = checkpoint.metadata.model_copy(update={"preprocess": cropped})
    wide = np.pad(read_file(files[0]), ((0, 0), (30, 30)))
    heat = Model("x", make_runtime("x", replace(checkpoint, metadata=metadata))).heatmaps(wide, "Mass")[
        "Mass"
    ]
    assert not heat[:, :30].any() and not heat[:, -30:].any()
    assert heat[:, 30:-30].all()


def test_an_explanation_is_the_prediction_with_its_maps(model: Model, files: list[Path]) -> None:
    found = model.explain(files[0], ["mass", "Edema"])
    row = model.predict(files[0]).iloc[0]
    assert found.table["finding"].tolist() == list(found.maps) == ["Mass", "Edema"]
    assert found.table["probability"].tolist() == [row["Mass"], row["Edema"]]
    assert (found.table["called"] == (found.table["probability"] >= found.table["threshold"])).all()
    heat = model.heatmaps(files[0], ["Mass", "Edema"])
    for finding, x, y in found.table[["finding", "x", "y"]].itertuples(index=False):
        np.testing.assert_array_equal(found.maps[finding], heat[finding])
        assert heat[finding][y, x] == heat[finding].max()


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_an_explanation_takes_other_methods(model: Model, files: list[Path], method: str) -> None:
    found = model.explain(files[0], "Mass", method)
    assert found.method == method and found.maps["Mass"].shape == (48, 48)
    assert not np.array_equal(found.maps["Mass"], model.heatmaps(files[0], "Mass")["Mass"])


def test_an_unknown_method_is_named(model: Model, files: list[Path]) -> None:
    with pytest.raises(cxr.CxrError, match=r"method='lime': no such method\nhint: it is one of cam, gradcam"):
        model.explain(files[0], method="lime")


def test_an_overlay_is_the_one_that_the_command_writes(
    model: Model, run: Path, files: list[Path], tmp_path: Path
) -> None:
    assert call("predict", run, files[0], "--heatmaps", tmp_path) == 0
    written = sorted(tmp_path.iterdir())[0]
    finding = written.stem.removeprefix(f"{files[0].stem}_")
    drawn = model.overlay(files[0], finding)
    assert drawn.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(drawn), np.asarray(Image.open(written).convert("RGB")))


def test_a_model_says_what_it_is(model: Model, run: Path) -> None:
    assert repr(model) == f"<cxr.Model {run}: resnet18, 14 findings, 32 pixels>"
    assert (model.findings, model.size) == (NIH_14, 32)
    assert list(model.thresholds.index) == list(NIH_14)
    assert tuple(model.thresholds) == checkpoints.load(run).thresholds.values


def test_models_of_others_are_loaded_as_predict_loads_them(
    plant: Plant, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant("xrv:densenet121-res224-all")
    model = cxr.load("xrv:densenet121-res224-all")
    assert (model.size, set(model.thresholds)) == (224, {0.5})
    assert "thresholds of 0.5, chosen on no images" in capsys.readouterr().err
    from torchvision.models import resnet18

    torch.save(resnet18(num_classes=2).state_dict(), tmp_path / "net.pth")
    named = cxr.load(tmp_path / "net.pth", head_findings=["Mass", "Edema"])
    assert named.findings == ("Mass", "Edema")
    with pytest.raises(cxr.CxrError, match="head_findings") as error:
        cxr.load(tmp_path / "net.pth")
    assert "--" not in error.value.render()
