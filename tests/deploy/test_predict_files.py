import csv
import io
import json
import os
import shutil
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom.uid import UID

from cxr.cli import main
from cxr.explain.lettering import Colour
from cxr.findings import NIH_14
from cxr.images.grey import Grey
from cxr.images.read import read_file
from cxr.model import checkpoint as checkpoints
from tests.helpers.commands import call
from tests.helpers.dicoms import make_dicom, to_bytes, write_dicom

Predict = Callable[..., tuple[int, str, str]]


@pytest.fixture
def predict(run: Path, capsys: pytest.CaptureFixture[str]) -> Predict:
    """Runs `cxr predict`; returns its status, its stdout and its stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["predict", str(run), *map(str, arguments)])
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.out, said.err

    return call


@pytest.fixture
def images(nih_root: Path, tmp_path: Path) -> Path:
    """A folder of three images and a text file."""
    folder = tmp_path / "images"
    folder.mkdir()
    for file in sorted((nih_root / "images").iterdir())[:3]:
        shutil.copy(file, folder)
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Overlays that show nothing, for tests of their names and places: drawing 40 takes 20 seconds."""

    def draw(*_: object) -> Colour:
        return np.zeros((8, 8, 3), np.uint8)

    for name in ("draw_overlay", "draw_sheet"):
        monkeypatch.setattr(f"cxr.deploy.overlays.{name}", draw)


def rows(text: str) -> dict[str, list[float]]:
    """Probabilities by image, of the CSV form."""
    return {row[0]: [float(cell) for cell in row[1:-2]] for row in list(csv.reader(io.StringIO(text)))[1:]}


def test_the_table_has_the_likeliest_finding_first(predict: Predict, images: Path) -> None:
    file = min(images.glob("*.png"))
    status, out, err = predict(file)
    lines = out.splitlines()
    assert (status, err, lines[0]) == (0, "", str(file))
    shown = [line.split() for line in lines[3 : 3 + len(NIH_14)]]
    assert sorted(cells[0] for cells in shown) == sorted(NIH_14)
    values = [float(cells[1]) for cells in shown]
    assert values == sorted(values, reverse=True)
    thresholds = [float(cells[2].removesuffix("*")) for cells in shown]
    for cells, value, threshold in zip(shown, values, thresholds, strict=True):
        assert (value >= threshold - 5e-4) >= (cells[3:] == ["above"])
    assert lines[-1].startswith("Thresholds: best F1 on validation rows (")
    assert lines[-1].endswith("Research tool, not a medical device.")


def test_json_is_one_object_a_line_and_an_image(predict: Predict, images: Path) -> None:
    status, out, _ = predict(images, "--format", "json")
    objects = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [one["image"] for one in objects] == sorted(str(path) for path in images.glob("*.png"))
    for one in objects:
        assert list(one["probabilities"]) == list(one["thresholds"]) == list(NIH_14)
        expected = [name for name in NIH_14 if one["probabilities"][name] >= one["thresholds"][name]]
        assert one["above"] == expected


def test_csv_can_be_evaluated_by_eval(predict: Predict, nih_root: Path, tmp_path: Path) -> None:
    status, out, _ = predict(nih_root / "images", "--format", "csv")
    assert status == 0
    header = ["image", *(f"p_{finding}" for finding in NIH_14), "warning", "few_positives"]
    assert out.splitlines()[0] == ",".join(header)
    (tmp_path / "p.csv").write_text(out)
    with pytest.raises(SystemExit) as ended:
        main(["eval", str(tmp_path / "p.csv"), "--labels", str(nih_root / "Data_Entry_2017_v2020.csv")])
    assert ended.value.code == 0


def test_probabilities_are_those_of_eval(predict: Predict, run: Path, nih_root: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["eval", str(run), "--out", str(tmp_path)])
    with (tmp_path / "predictions.csv").open(newline="") as file:
        evaluated = {
            row["image"]: [float(row[f"p_{name}"]) for name in NIH_14] for row in csv.DictReader(file)
        }
    _, out, _ = predict(nih_root / "images", "--format", "csv")
    predicted = {Path(image).name: p for image, p in rows(out).items()}
    assert len(evaluated) > 3
    for image, p in evaluated.items():
        np.testing.assert_allclose(predicted[image], p, atol=1e-5)


def test_a_bad_file_costs_only_itself(predict: Predict, images: Path) -> None:
    _, before, _ = predict(images, "--format", "csv")
    (images / "00000000_bad.png").write_bytes(b"")
    status, after, err = predict(images, "--format", "csv")
    assert status == 1
    assert err.splitlines() == [
        f"error: {images / '00000000_bad.png'}: file is empty (0 bytes)",
        f"passed over: 1 file without an image: {images / 'notes.txt'}",
        "hint: 1 of 4 images not read, for the reasons above; cxr reads PNG, JPEG, TIFF and DICOM",
    ]
    assert rows(after).keys() == rows(before).keys()
    for image, p in rows(before).items():
        np.testing.assert_allclose(rows(after)[image], p, atol=1e-6)


def test_a_bad_file_is_an_object_too(predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("text")
    status, out, _ = predict(tmp_path / "x.png", "--format", "json")
    assert status == 2
    assert json.loads(out) == {
        "image": str(tmp_path / "x.png"),
        "error": "not a PNG, JPEG, TIFF or DICOM image",
    }


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_nothing_readable_ends_with_status_2(predict: Predict, tmp_path: Path, form: str) -> None:
    (tmp_path / "empty").mkdir()
    status, _, err = predict(tmp_path / "absent.png", tmp_path / "empty", "--format", form)
    assert status == 2
    assert err.splitlines() == [
        f"error: {tmp_path / 'absent.png'}: No such file or directory",
        f"error: {tmp_path / 'empty'}: no image file in this folder",
        "hint: 2 of 2 images not read, for the reasons above; cxr reads PNG, JPEG, TIFF and DICOM",
    ]


def test_names_may_hold_spaces_and_any_letters(predict: Predict, images: Path, tmp_path: Path) -> None:
    file = tmp_path / "Röntgen Aufnahme [1] 胸.png"
    shutil.copy(min(images.glob("*.png")), file)
    for form in ("table", "json", "csv"):
        status, out, _ = predict(file, "--format", form, "--heatmaps", tmp_path / "über lays")
        assert status == 0
        assert file.name in (json.loads(out)["image"] if form == "json" else out)
    assert all(path.name.startswith(file.stem + "_") for path in (tmp_path / "über lays").iterdir())


def overlays(folder: Path) -> dict[str, tuple[int, ...]]:
    return {path.name: np.asarray(cv2.imread(str(path))).shape for path in folder.iterdir()}


def test_an_overlay_shows_the_radiograph_twice_and_a_caption(
    predict: Predict, images: Path, tmp_path: Path
) -> None:
    file = tmp_path / "wide.png"
    assert cv2.imwrite(
        str(file), cv2.resize(np.asarray(cv2.imread(str(min(images.glob("*.png"))))), (700, 500))
    )
    _, out, _ = predict(file, "--format", "json", "--heatmaps", tmp_path / "overlays")
    said = json.loads(out)
    findings = said["above"] or [max(NIH_14, key=said["probabilities"].__getitem__)]
    shapes = overlays(tmp_path / "overlays")
    assert set(shapes) == {f"wide_{finding}.png" for finding in (*findings, "sheet")}
    assert said["sheet"] == str(tmp_path / "overlays" / "wide_sheet.png")
    del shapes["wide_sheet.png"]
    for height, width, channels in shapes.values():
        assert width > 2 * 1075 and channels == 3  # 500 x 700 is drawn at 768 x 1075
        assert 768 < height < 1400


def test_named_findings_and_their_maps_are_written(predict: Predict, images: Path, tmp_path: Path) -> None:
    file, folder = min(images.glob("*.png")), tmp_path / "o"
    options = ("--format", "json", "--heatmaps", folder, "--findings", "pleural thickening,Mass", "--maps")
    said = json.loads(predict(file, *options)[1])
    assert list(said["overlays"]) == ["Pleural_Thickening", "Mass"]
    stems = {f"{file.stem}_Mass", f"{file.stem}_Pleural_Thickening"}
    names = {f"{stem}{end}" for stem in stems for end in (".png", ".npy")} | {f"{file.stem}_sheet.png"}
    assert {path.name for path in folder.iterdir()} == names
    values = np.load(folder / f"{file.stem}_Mass.npy", allow_pickle=False)
    assert (values.shape, values.dtype) == (read_file(file).shape, np.float32)
    predict(file, *options[:-1])  # a later run without maps removes those of the earlier one
    assert not list(folder.glob("*.npy"))


def test_all_findings_are_drawn(predict: Predict, images: Path, tmp_path: Path) -> None:
    said = json.loads(
        predict(min(images.glob("*.png")), "--format", "json", "--heatmaps", tmp_path / "o", "--all")[1]
    )
    assert tuple(said["overlays"]) == NIH_14


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--findings", "Mass"), "--findings: is for overlays"),
        (("--all",), "--all: is for overlays"),
        (("--maps",), "--maps: is for overlays"),
        (("--heatmaps", "o", "--findings", "Masse"), "--findings Masse: not a finding of this model"),
        (("--heatmaps", "o", "--findings", " , "), "--findings: names no finding"),
        (("--heatmaps", "o", "--findings", "Mass", "--all"), "--all: draws every finding already"),
    ],
)
def test_options_of_overlays_that_mean_nothing_are_refused(
    predict: Predict,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = predict(images, *options)
    assert (status, out) == (2, "") and f"error: {problem}" in err
    assert not (tmp_path / "o").exists()


def test_a_map_never_replaces_one_that_cxr_did_not_write(
    predict: Predict, images: Path, tmp_path: Path
) -> None:
    file, folder = min(images.glob("*.png")), tmp_path / "o"
    folder.mkdir()
    np.save(folder / f"{file.stem}_Mass.npy", np.arange(3))
    before = (folder / f"{file.stem}_Mass.npy").read_bytes()
    for _ in range(2):
        assert predict(file, "--heatmaps", folder, "--findings", "Mass", "--maps")[0] == 0
        assert (folder / f"{file.stem}_Mass.npy").read_bytes() == before
        assert sorted(path.name for path in folder.glob("*.npy")) == [
            f"{file.stem}_Mass-2.npy", f"{file.stem}_Mass.npy"
        ]  # fmt: skip


def test_images_of_one_name_do_not_overwrite_each_other(
    predict: Predict, images: Path, tmp_path: Path
) -> None:
    first, second, _ = sorted(images.glob("*.png"))
    for folder, file in (("a", first), ("b", second)):
        (tmp_path / folder).mkdir()
        shutil.copy(file, tmp_path / folder / "x.png")
    predict(tmp_path / "a", tmp_path / "b", "--heatmaps", tmp_path / "overlays")
    stems = {name.split("_")[0] for name in overlays(tmp_path / "overlays")}
    assert stems == {"x", "x-2"}


def test_an_image_is_the_same_as_png_and_as_dicom(predict: Predict, nih_root: Path, tmp_path: Path) -> None:
    grey = cv2.imread(str(min((nih_root / "images").iterdir())), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    deep = np.asarray(np.round(grey / grey.max() * 4095), np.uint16)
    write_dicom(tmp_path / "8.dcm", grey, 8)
    write_dicom(tmp_path / "12.dcm", deep)
    write_dicom(tmp_path / "inverted.dcm", 4095 - deep, PhotometricInterpretation="MONOCHROME1")
    cv2.imwrite(str(tmp_path / "8.png"), grey)
    cv2.imwrite(str(tmp_path / "12.png"), deep)
    status, out, err = predict(tmp_path, "--format", "csv")
    found = {Path(name).name: values for name, values in rows(out).items()}
    assert (status, err, len(found)) == (0, "", 5)
    np.testing.assert_allclose(found["8.dcm"], found["8.png"], atol=1e-3)
    np.testing.assert_allclose(found["12.dcm"], found["12.png"], atol=1e-3)
    np.testing.assert_allclose(found["inverted.dcm"], found["12.png"], atol=1e-3)


@pytest.fixture
def strange(images: Path, tmp_path: Path) -> tuple[Path, Path]:
    """(an image as in training, noise)."""
    noise = tmp_path / "noise.png"
    assert cv2.imwrite(str(noise), np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8))
    return min(images.glob("*.png")), noise


def test_the_table_warns_below_the_name_of_a_strange_image(
    wary: Path, strange: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    usual, noise = strange
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(wary), str(usual), str(noise)])
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert [place for place, line in enumerate(lines) if line.startswith("Warning: ")] == [
        lines.index(str(noise)) + 1
    ]
    assert lines[lines.index(str(noise)) + 1].startswith("Warning: out of distribution: score ")
    assert lines[-3].startswith("Usual reasons for the warning: no chest X-ray at all, another body part")
    assert lines[-2].startswith(
        "The warning is intended for 1 in 41 images of the training dataset; measured"
    )
    assert lines[-2].endswith("% of 40 validation images of 40 patients.")


def test_json_and_csv_say_which_images_are_strange(
    wary: Path, strange: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(file) for file in strange]
    for form in ("json", "csv"):
        with pytest.raises(SystemExit) as ended:
            main(["predict", str(wary), *files, "--format", form])
        assert ended.value.code == 0
        said = capsys.readouterr().out.splitlines()
        if form == "json":
            usual, noise = (json.loads(line)["out_of_distribution"] for line in said)
            assert usual["score"] <= usual["limit"] == noise["limit"] < noise["score"]
            assert (usual["warning"], noise["warning"]) == (False, True)
        else:
            usual, noise = (row["warning"] for row in csv.DictReader(said))
            assert (usual, noise[:26]) == ("", "out of distribution: score")


def test_a_model_that_cannot_tell_says_nothing(predict: Predict, strange: tuple[Path, Path]) -> None:
    _, out, _ = predict(strange[1], "--format", "json")
    assert json.loads(out)["out_of_distribution"] is None
    assert json.loads(out)["familiarity"] is None
    assert "arning" not in predict(strange[1])[1]
    (row,) = csv.DictReader(predict(strange[1], "--format", "csv")[1].splitlines())
    assert row["warning"] == ""


def found(out: str) -> list[str]:
    """Names of the images that the CSV form has."""
    return [Path(name).name for name in rows(out)]


def test_a_folder_is_read_by_content_as_its_files_are(predict: Predict, cases: Path, tmp_path: Path) -> None:
    folder = tmp_path / "07"
    shutil.copytree(cases / "07-folder-silent-skip", folder)
    (tmp_path / "linked").mkdir()
    shutil.copy(cases / "26-image-kinds" / "plain12_ref.png", tmp_path / "linked" / "z.png")
    (folder / "link").symlink_to("../linked")
    (folder / "loop").symlink_to(".")
    status, out, err = predict(folder, "--format", "csv")
    assert found(out) == ["1.2.840.113619.2.5.1", "IM000001", "a.jpg", "b.jfif", "z.png"]
    assert status == 0
    assert err.splitlines() == [
        f"passed over: 1 file without an image: {folder / 'README'}",
        f"passed over: 1 file found before under another name: {folder / 'loop'}",
    ]


def test_an_image_of_a_kind_that_is_not_read_makes_the_status_1(
    predict: Predict, images: Path, cases: Path, tmp_path: Path
) -> None:
    shutil.copy(cases / "26-image-kinds" / "webp_named.png", images / "noname")
    status, out, err = predict(images, "--format", "csv")
    assert (status, len(found(out))) == (1, 3)
    reason = "not a PNG, JPEG, TIFF or DICOM image: it is WebP; save it as PNG"
    assert err.splitlines()[0] == f"error: {images / 'noname'}: {reason}"


def test_a_dicom_object_without_an_image_is_passed_over_in_a_folder(predict: Predict, images: Path) -> None:
    dataset = make_dicom(np.zeros((4, 4), np.uint8))
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.1.3.10")
    (images / "DICOMDIR").write_bytes(to_bytes(dataset))
    status, _, err = predict(images, "--format", "csv")
    assert status == 0
    assert err.startswith(f"passed over: 2 files without an image: {images / 'DICOMDIR'}, ")
    status, _, err = predict(images / "DICOMDIR")
    assert status == 2
    assert "DICOM object without an image (Media Storage Directory Storage)" in err
    dataset.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1")  # of an image, which is cut off
    (images / "DICOMDIR").write_bytes(to_bytes(dataset))
    assert predict(images, "--format", "csv")[0] == 1


@pytest.mark.parametrize("kind", ["x.png", "x.dcm"])
def test_a_constant_image_is_said_to_be_one_in_every_form(
    predict: Predict, tmp_path: Path, kind: str
) -> None:
    flat = np.full((50, 40), 90, np.uint8)
    if kind == "x.png":
        cv2.imwrite(str(tmp_path / kind), flat)
    else:
        write_dicom(tmp_path / kind, flat, 8)
    said = "every pixel is the same"
    assert f"Note: {said}" in predict(tmp_path / kind)[1].splitlines()
    assert json.loads(predict(tmp_path / kind, "--format", "json")[1])["notes"] == [said]
    assert (
        next(csv.DictReader(predict(tmp_path / kind, "--format", "csv")[1].splitlines()))["warning"] == said
    )


def test_what_a_header_says_is_noted(predict: Predict, tmp_path: Path) -> None:
    pixels = np.add.outer(np.arange(50), np.arange(40)).astype(np.uint16) * 40
    path = write_dicom(tmp_path / "x", pixels, Modality="CT", RescaleSlope=0, RescaleIntercept=0)
    assert json.loads(predict(path, "--format", "json")[1])["notes"] == [
        "DICOM of modality CT, not a radiograph",
        "RescaleSlope and RescaleIntercept make no sense and are ignored",
    ]


def test_names_that_are_no_text_are_printed(predict: Predict, images: Path) -> None:
    os.rename(min(images.glob("*.png")), images / os.fsdecode(b"\xff.png"))
    (images / os.fsdecode(b"\xfe.png")).write_bytes(b"")
    for form, name in (("table", "\\xff.png"), ("json", "\\udcff.png")):  # CSV has the very bytes
        status, out, err = predict(images, "--format", form)
        assert status == 1
        assert name in out
        assert "\\xfe.png: file is empty" in err


def test_names_do_nothing_to_the_terminal(predict: Predict, images: Path) -> None:
    os.rename(min(images.glob("*.png")), images / "a\x1b[2J\u202e\n.png")
    (images / "b\x1b[2J.png").write_bytes(b"")
    (images / "c\x1b[2J").write_bytes(b"")
    _, out, err = predict(images)
    assert not {"\x1b", "\u202e"} & {*out, *err}
    assert f"{images}/a\\x1b[2J\\u202e\\n.png" in out.splitlines()


@pytest.fixture(scope="session")
def oddly(run: Path) -> Path:
    """The run's model with unusual names of findings, each of which is above its threshold of 0."""
    from dataclasses import replace

    from cxr.model import checkpoint as checkpoints

    checkpoint = checkpoints.load(run)
    num = len(checkpoint.metadata.findings)
    named = (
        "PICC+",
        "PICC-",
        "A|B",
        "A/B",
        "胸水",
        "M" * 300,
        "../up",
        *(f"f{place}" for place in range(7, num)),
    )
    points = json.loads(checkpoint.metadata.thresholds) | {"findings": named, "values": [0.0] * num}
    degrees = json.loads(checkpoint.metadata.temperatures) | {"findings": named}
    changes = {"findings": named, "thresholds": json.dumps(points), "temperatures": json.dumps(degrees)}
    metadata = checkpoint.metadata.model_copy(update=changes)
    path = run.parent / "oddly.safetensors"
    checkpoints.save(path, replace(checkpoint, metadata=metadata))
    return path


@pytest.mark.usefixtures("blank")
def test_every_finding_of_every_image_has_an_overlay(
    oddly: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [images / ("x" * 240 + ".png"), images / "X.png", images / "x.png"]
    for file, name in zip(sorted(images.glob("*.png")), files, strict=True):
        file.rename(name)
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "predict",
                str(oddly),
                *map(str, files),
                "--format",
                "csv",
                "--heatmaps",
                str(tmp_path / "overlays"),
            ]
        )
    assert ended.value.code == 0
    assert len(found(capsys.readouterr().out)) == 3
    names = [path.name for path in (tmp_path / "overlays").iterdir()]
    assert len({name.casefold() for name in names}) == len(names) == 3 * (len(NIH_14) + 1)
    assert {"X_PICC+.png", "X_PICC-.png", "x-2_胸水.png", "X_A_B.png", "X_A_B-2.png"} <= set(names)
    assert all(cv2.imread(str(tmp_path / "overlays" / name)) is not None for name in names)


@pytest.mark.usefixtures("blank")
def test_a_batch_keeps_squares_and_no_images(
    predict: Predict, nih_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Grey]] = []
    most = 0

    def read(*arguments: Any) -> Grey:  # noqa: ANN401
        nonlocal most
        grey = read_file(*arguments)
        alive.append(weakref.ref(grey))
        most = max(most, sum(one() is not None for one in alive))
        return grey

    for reader in ("predict_files", "overlays"):
        monkeypatch.setattr(f"cxr.deploy.{reader}.read_file", read)
    status, out, _ = predict(nih_root / "images", "--format", "csv", "--heatmaps", tmp_path / "overlays")
    assert (status, len(found(out)), len(alive)) == (0, 40, 80)
    assert most <= 2


@pytest.mark.usefixtures("blank")
def test_an_image_that_is_gone_before_its_overlay_is_named(
    predict: Predict, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*arguments: Any) -> Grey:  # noqa: ANN401
        grey = read_file(*arguments)
        arguments[0].unlink()
        return grey

    monkeypatch.setattr("cxr.deploy.predict_files.read_file", read)
    status, out, err = predict(
        *sorted(images.glob("*.png")), "--format", "csv", "--heatmaps", tmp_path / "overlays"
    )
    assert (status, len(found(out))) == (2, 3)
    assert err.count("No such file or directory") == 3


def test_without_pydicom_a_dicom_file_costs_only_itself(
    predict: Predict, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dicom(images / "x.dcm", np.zeros((9, 9), np.uint8), 8)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    status, out, err = predict(images, "--format", "csv")
    assert (status, len(found(out))) == (1, 3)
    assert f"error: {images / 'x.dcm'}: reading DICOM needs pydicom" in err.splitlines()
    assert (
        err.splitlines()[-1]
        == "hint: 1 of 4 images not read, for the reasons above; pip install 'cxr[dicom]'"
    )


@pytest.mark.usefixtures("blank")
def test_an_overlay_never_replaces_what_cxr_did_not_draw(predict: Predict, images: Path) -> None:
    file = min(images.glob("*.png"))
    finding = max(overlay_names(predict, file))
    theirs = images / f"{file.stem}_{finding}.png"
    shutil.copy(file, theirs)
    before = {path.name: path.read_bytes() for path in images.iterdir()}
    for _ in range(2):  # its own overlays are no images to a second run
        status, out, err = predict(images, "--format", "json", "--heatmaps", images)
        said = [json.loads(line) for line in out.splitlines()]
        assert (status, len(said)) == (0, 4)
        assert {path.name: path.read_bytes() for path in images.iterdir() if path.name in before} == before
        drawn = [path for one in said for path in (*one["overlays"].values(), one["sheet"])]
        assert len({*drawn}) == len(drawn)
        assert {Path(path) for path in drawn} == {*images.iterdir()} - {images / name for name in before}
    assert f"passed over: {len(drawn)} overlays that cxr drew: " in err
    assert "an overlay that cxr drew over an image" in predict(Path(drawn[0]))[2]


def overlay_names(predict: Predict, file: Path) -> dict[str, str]:
    """The overlays that an image has, by finding."""
    out = predict(file, "--format", "json", "--heatmaps", file.parent / "once")[1]
    shutil.rmtree(file.parent / "once")
    return dict(json.loads(out)["overlays"])


def save_drawing(run: Path, path: Path, findings: list[int]) -> Path:
    """The run's model with thresholds that only these findings reach."""
    from dataclasses import replace

    from cxr.model import checkpoint as checkpoints

    checkpoint = checkpoints.load(run)
    values = [0.0 if number in findings else 1.0 for number in range(len(checkpoint.metadata.findings))]
    thresholds = json.dumps(json.loads(checkpoint.metadata.thresholds) | {"values": values})
    metadata = checkpoint.metadata.model_copy(update={"thresholds": thresholds})
    checkpoints.save(path, replace(checkpoint, metadata=metadata))
    return path


@pytest.mark.usefixtures("blank")
def test_overlays_of_another_image_of_the_same_name_stay_apart(
    run: Path, images: Path, tmp_path: Path
) -> None:
    first, second, _ = sorted(images.glob("*.png"))
    for folder, file in (("a", first), ("b", second)):
        (tmp_path / folder).mkdir()
        shutil.copy(file, tmp_path / folder / "x.png")

    def draw(folder: str, findings: list[int]) -> list[str]:
        model = save_drawing(run, tmp_path / "model.safetensors", findings)
        assert call("predict", model, tmp_path / folder / "x.png", "--heatmaps", tmp_path / "o") == 0
        return sorted(path.name for path in (tmp_path / "o").iterdir())

    names = [NIH_14[0], NIH_14[1]]
    of_b = [f"x-2_{name}.png" for name in (*names, "sheet")]
    assert draw("a", [0]) == sorted([f"x_{names[0]}.png", "x_sheet.png"])
    assert draw("b", [0, 1]) == sorted([f"x_{names[0]}.png", "x_sheet.png", *of_b])
    assert draw("a", [1]) == sorted([f"x_{names[1]}.png", "x_sheet.png", *of_b])


@pytest.mark.parametrize("folder", ["", "file"])
def test_a_folder_of_overlays_that_is_none_is_refused_first(
    predict: Predict, images: Path, folder: str
) -> None:
    (images / "file").write_text("")
    status, out, err = predict(images, "--heatmaps", images / folder if folder else "")
    assert (status, out, err.count("error: ")) == (2, "", 1)


@pytest.mark.usefixtures("blank")
def test_the_folder_of_overlays_is_no_folder_of_images(predict: Predict, images: Path) -> None:
    for _ in range(2):
        (images / "overlays").mkdir(exist_ok=True)
        shutil.copy(min(images.glob("*.png")), images / "overlays")
        status, out, err = predict(images, "--format", "csv", "--heatmaps", images / "overlays")
        assert (status, len(found(out))) == (0, 3)
        assert f"1 folder for overlays or DICOM results: {images / 'overlays'}" in err


def test_a_link_that_is_named_is_predicted_too(predict: Predict, images: Path, tmp_path: Path) -> None:
    file = min(images.glob("*.png"))
    (tmp_path / "link").symlink_to(file)
    assert found(predict(file, tmp_path / "link", "--format", "csv")[1]) == [file.name, "link"]


def test_an_image_that_is_named_twice_is_predicted_once(predict: Predict, images: Path) -> None:
    (images / "s").mkdir()
    file = shutil.copy(min(images.glob("*.png")), images / "s")
    status, out, err = predict(images, images / "s", file, "--format", "csv")
    assert (status, len(found(out))) == (0, 4)
    assert f"passed over: 2 files found before under another name: {images / 's'}, {file}" in err


def test_out_writes_what_the_terminal_would_show(predict: Predict, images: Path, tmp_path: Path) -> None:
    for name, form in (("p.csv", "csv"), ("p.jsonl", "json")):
        shown = predict(images, "--format", form)[1]
        status, out, _ = predict(images, "--out", tmp_path / name)
        assert (status, out) == (0, f"3 images in {tmp_path / name}\n")
        assert (tmp_path / name).read_text() == shown


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--out", "p.txt"], "--out p.txt: a table is for the terminal"),
        (["--out", "."], "--out .: a table is for the terminal"),
        (["--out", ".", "--format", "csv"], "--out .: is a folder"),
        (["--out", "no/p.csv"], "--out no/p.csv: there is no folder no"),
        (["--out", "p.csv", "--wide"], "--wide: is for the table; csv has one row per image already"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_any_work(
    arguments: list[str], problem: str, predict: Predict, images: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    status, out, err = predict(images, *arguments)
    assert (status, out, err.splitlines()[0]) == (2, "", f"error: {problem}")


def test_out_keeps_the_old_file_when_the_command_fails(predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("old")
    assert predict(tmp_path, "--out", tmp_path / "p.csv", "--heatmaps", tmp_path / "p.csv")[0] == 2
    assert (tmp_path / "p.csv").read_text() == "old"


def test_wide_is_one_line_per_image(predict: Predict, images: Path) -> None:
    status, out, _ = predict(images, "--wide")
    lines = [line for line in out.splitlines() if line.startswith(str(images))]
    assert (status, len(lines)) == (0, 3)
    probabilities = json.loads(predict(min(images.glob("*.png")), "--format", "json")[1])
    named = probabilities["above"] or [
        max(probabilities["probabilities"], key=probabilities["probabilities"].get)
    ]
    for finding in named:
        mark = "*" if finding in probabilities["few_positives"] else ""
        assert f"{finding}{mark} {probabilities['probabilities'][finding]:.3f}" in lines[0]


def test_thresholds_chosen_on_few_positive_images_are_marked(
    predict: Predict, run: Path, images: Path
) -> None:
    counts = json.loads(checkpoints.load(run).metadata.thresholds)
    pairs = zip(counts["findings"], counts["num_positive"], strict=True)
    few = {name: num for name, num in pairs if num < 10 and name not in counts["fallback"]}
    assert few  # of 6 validation images
    file = min(images.glob("*.png"))
    assert json.loads(predict(file, "--format", "json")[1])["few_positives"] == few
    (row,) = csv.DictReader(predict(file, "--format", "csv")[1].splitlines())
    named = [f"{name} ({num})" for name, num in few.items()]
    assert row["few_positives"] == "; ".join(named)
    out = predict(file)[1]
    marked = [line.split()[0] for line in out.splitlines()[3 : 3 + len(NIH_14)] if "*" in line]
    assert sorted(marked) == sorted(few)
    assert f"* Chosen on fewer than 10 positive images: {', '.join(named)}." in out


def test_strict_has_an_exit_status_for_a_strange_image(
    wary: Path, strange: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    usual, noise = strange
    assert call("predict", wary, usual, "--strict") == 0
    assert call("predict", wary, usual, noise, "--strict", "--wide") == 3
    assert [line.count("OUT OF DISTRIBUTION") for line in capsys.readouterr().out.splitlines()].count(1) == 1
    assert call("predict", wary, usual, noise) == 0


@pytest.mark.usefixtures("blank")
def test_open_shows_the_folder_of_overlays(
    predict: Predict, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert predict(images, "--open")[0] == 2
    assert predict(images, "--heatmaps", tmp_path / "maps", "--open")[0] == 0
    assert opened == [(tmp_path / "maps").as_uri()]
