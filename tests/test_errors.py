"""Every mistake of a user: `error:` and `hint:` on stderr, status 2, no traceback, nothing half-written."""

import os
import shutil
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cxr.cli import main
from cxr.errors import CxrError
from tests.helpers.fakes import write_lines, write_nih

Fail = Callable[..., list[str]]


@pytest.fixture
def fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fail:
    """Runs a command that must fail; returns what stderr says, with the folder of the test taken out.

    The files of the test's folder must be the same before and after, but for a pack that can be gone on with.
    """

    def run(*arguments: str | Path) -> list[str]:
        before = files(tmp_path)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert (ended.value.code, said.out) == (2, "")
        assert "Traceback" not in said.err
        assert {path: size for path, size in files(tmp_path).items() if ".partial/" not in path} == before
        lines = said.err.replace(f"{tmp_path}/", "").splitlines()
        lines = lines[next(place for place, line in enumerate(lines) if line.startswith("error: ")) :]
        assert all(line.startswith("error: ") for line in lines[:-1])
        assert lines[-1].startswith("hint: ")
        return lines

    return run


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def small(tmp_path: Path) -> tuple[str, ...]:
    """A dataset of six images and a recipe for it that writes below the test's folder only."""
    write_nih(tmp_path / "nih")
    lines = [
        f"data: {{source: nih, root: {tmp_path / 'nih'}, val_fraction: 0.5}}",
        "image: {store_size: 32, size: 32}",
        f"store: {{path: {tmp_path / 'store'}}}",
        "model: {backbone: resnet18, weights: none}",
    ]
    write_lines(tmp_path / "bad.yaml", lines)
    return ("train", str(tmp_path / "bad.yaml"), f"out={tmp_path / 'run'}")


def test_an_error_renders_its_problems_then_its_hint() -> None:
    error = CxrError(["a.yaml:1: one", "a.yaml:2: two"], "do this")
    assert error.render() == "error: a.yaml:1: one\nerror: a.yaml:2: two\nhint: do this"
    assert CxrError("one", "do").problems == ("one",)


def test_a_missing_data_folder(fail: Fail, small: tuple[str, ...], tmp_path: Path) -> None:
    assert fail(*small, f"data.root={tmp_path / 'absent'}") == [
        "error: absent: no such folder",
        "hint: data.root must be the folder that holds Data_Entry_2017_v2020.csv; "
        "cxr download nih tells where to get it",
    ]


def test_a_folder_without_the_dataset(fail: Fail, small: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    error, hint = fail(*small, f"data.root={tmp_path / 'empty'}")
    assert error == "error: empty: no label table of ChestX-ray14"
    assert hint.startswith("hint: looked for Data_Entry_2017_v2020.csv")


def test_a_missing_column(fail: Fail, small: tuple[str, ...], tmp_path: Path) -> None:
    csv = tmp_path / "nih" / "Data_Entry_2017_v2020.csv"
    csv.write_text(csv.read_text().replace("Finding Labels", "Labels"))
    error, hint = fail(*small)
    assert error == "error: nih/Data_Entry_2017_v2020.csv: no column 'Finding Labels'"
    assert "its columns are Image Index, Labels," in hint


def test_an_image_that_is_not_there(fail: Fail, small: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "nih" / "images" / "00000002_000.png").unlink()
    error, hint = fail(*small)
    assert error == "error: nih: 1 of 6 listed images have no file: 00000002_000.png"
    assert "data.missing=skip" in hint


def damage(tmp_path: Path) -> None:
    images = tmp_path / "nih" / "images"
    whole = (images / "00000001_000.png").read_bytes()
    (images / "00000001_000.png").write_bytes(whole[:500])
    (images / "00000002_000.png").write_bytes(b"")
    (images / "00000003_000.png").write_text("<html>404 Not Found</html>")


def test_truncated_empty_and_false_images_are_all_named(
    fail: Fail, small: tuple[str, ...], tmp_path: Path
) -> None:
    damage(tmp_path)
    assert fail(*small) == [
        "error: nih/images/00000001_000.png: image file is truncated (500 bytes)",
        "error: nih/images/00000002_000.png: file is empty (0 bytes)",
        "error: nih/images/00000003_000.png: not a PNG, JPEG, TIFF or DICOM image: it is a web page; download "
        "the file again",
        "hint: download them again, or data.unreadable=skip; skipped files are listed in unreadable.csv beside the "
        "store",
    ]


def test_an_unknown_backbone(fail: Fail, small: tuple[str, ...]) -> None:
    error, _ = fail(*small, "model.backbone=vgg16")
    assert error.startswith(
        "error: model.backbone=vgg16: model.backbone: input should be 'densenet121', 'densenet169'"
    )


def test_weights_of_another_model(fail: Fail, small: tuple[str, ...], run: Path) -> None:
    main_pack(small)
    error, hint = fail(*small, "model.backbone=resnet34", f"model.weights={run / 'best.safetensors'}")
    assert error.endswith("best.safetensors: holds the tensors of a resnet18, not of a resnet34")
    assert hint.startswith("hint: set model.backbone=resnet18; the file has backbone.layer1.1.conv1.weight ")


def main_pack(small: tuple[str, ...]) -> None:
    """Pack first, which is no half-written output."""
    with pytest.raises(SystemExit) as ended:
        main(["pack", *small[1:]])
    assert ended.value.code == 0


def test_weights_that_are_no_checkpoint(fail: Fail, small: tuple[str, ...], tmp_path: Path) -> None:
    main_pack(small)
    write_lines(tmp_path / "weights.pth", ["not a checkpoint"])
    error, hint = fail(*small, f"model.weights={tmp_path / 'weights.pth'}")
    assert error == "error: model.weights: weights.pth: is a text file"
    assert hint == "hint: give the file of weights"
    assert fail(*small, f"model.weights={tmp_path / 'absent.pth'}")[0] == (
        "error: model.weights: absent.pth: no such file"
    )


def test_imagenet_weights_without_a_network(
    fail: Fail, small: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unreachable(*_args: object, **_options: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    main_pack(small)
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    error, hint = fail(*small, "model.weights=imagenet")
    assert error.startswith("error: model.weights: ImageNet weights of resnet18 cannot be downloaded")
    assert error.endswith(": Name or service not known")
    assert hint.startswith("hint: download https://download.pytorch.org/models/resnet18-")
    assert hint.endswith("or train from scratch with model.weights=none")


def fill(disk: Path, leave: int) -> None:
    free = shutil.disk_usage(disk).free
    (disk / "filler").write_bytes(bytes(max(0, free - leave)))


def test_a_full_disk_while_packing(fail: Fail, small: tuple[str, ...], small_disk: Path) -> None:
    error, hint = fail(*small, f"store.path={small_disk / 'store'}", "image.store_size=1024")
    assert error.removeprefix("error: small_disk/store.partial") in (
        ": the disk is full",
        "/pixels.u8: the disk is full",
    )
    assert hint == "hint: free some space or choose another folder; files written before are intact"
    assert os.listdir(small_disk) == []


def test_a_full_disk_while_saving_a_checkpoint(
    small: tuple[str, ...], small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*small, f"out={small_disk / 'run'}", "train.epochs=1"])
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert lines[-2] == f"error: {small_disk / 'run' / 'last.pt'}: the disk is full"
    assert lines[-1].startswith("hint: free some space")
    left = {path.name for path in (small_disk / "run").iterdir()} - {"tensorboard"}
    assert left == {"config.yaml", "counts.json", "log.jsonl", "run.json", "train.log"}


def test_a_full_disk_while_writing_the_report(fail: Fail, run: Path, small_disk: Path) -> None:
    fill(small_disk, leave=0)
    error, _ = fail("eval", run, "--out", small_disk / "report")
    assert error == "error: small_disk/report/predictions.csv: the disk is full"


def test_a_full_disk_while_writing_overlays(
    nih_root: Path, run: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(small_disk, leave=0)
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "predict",
                str(run),
                str(nih_root / "images" / "00000001_000.png"),
                "--heatmaps",
                str(small_disk / "o"),
            ]
        )
    assert ended.value.code == 2
    assert ": the disk is full\nhint: " in capsys.readouterr().err
    assert list((small_disk / "o").iterdir()) == []


def test_a_run_in_the_folder_is_not_overwritten_unasked(fail: Fail, recipe: Path, run: Path) -> None:
    before = files(run)
    assert fail("train", recipe, f"out={run}") == [
        f"error: {run}: holds a run already",
        f"hint: --overwrite replaces it, out=FOLDER keeps both; resume with: cxr train {recipe} out={run} --resume",
    ]
    assert files(run) == before


def test_there_must_be_something_to_resume(fail: Fail, small: tuple[str, ...]) -> None:
    assert fail(*small, "--resume") == [
        "error: run: there is no last.pt to resume from",
        "hint: train without --resume, or set out=FOLDER",
    ]


def test_a_run_that_is_not_there(fail: Fail, tmp_path: Path, nih_root: Path) -> None:
    hint = "hint: give the run folder that cxr train wrote, such as runs/nih_densenet121"
    gone = ["error: absent: no such run folder or checkpoint file", hint]
    assert fail("eval", tmp_path / "absent") == gone
    assert fail("predict", tmp_path / "absent", nih_root / "images") == gone
    assert fail("eval", tmp_path) == [f"error: {tmp_path}: no best.safetensors in it", hint]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("missing.pth", "missing.pth: no such run folder or checkpoint file"),
        ("CheXnet.pth", "CheXnet.pth: no such run folder or checkpoint file, but there is chexnet.pth"),
        ("chexnets.pth", "chexnets.pth: no such run folder or checkpoint file, but there is chexnet.pth"),
        ("circle", "circle: Too many levels of symbolic links"),
        ("pipe", "pipe: is a pipe or a device"),
        ("empty", "empty: no best.safetensors in it|empty: is a folder, but of no run"),
    ],
)
def test_a_model_that_is_none_is_told_why_before_anything_else(
    model: str, said: str, fail: Fail, tmp_path: Path
) -> None:
    (tmp_path / "r.yaml").write_text("data: {source: nih, root: x}\n")
    (tmp_path / "chexnet.pth").write_bytes(b"x")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for command in (
        ("eval", tmp_path / model), ("eval", tmp_path / model, tmp_path / "r.yaml", "model.head_findings=nih14"),
        ("predict", tmp_path / model, tmp_path), ("predict", tmp_path / model, tmp_path, "--head-findings", "nih14"),
    ):  # fmt: skip
        assert any(fail(*command)[0].startswith(f"error: {one}") for one in said.split("|")), command


@pytest.mark.parametrize("options", [(), ("--head-findings", "nih14")])
def test_a_recipe_or_a_text_in_place_of_a_model_is_called_so(
    options: tuple[str, ...], fail: Fail, tmp_path: Path
) -> None:
    for name in ("r.yaml", "notes.txt"):
        (tmp_path / name).write_text("data: {source: nih, root: x}\n")
    assert (
        fail("predict", tmp_path / "r.yaml", tmp_path, *options)[0]
        == "error: r.yaml: is a recipe, not a model"
    )
    assert (
        fail("predict", tmp_path / "notes.txt", tmp_path, *options)[0] == "error: notes.txt: is a text file"
    )


def test_a_checkpoint_cut_off(fail: Fail, run: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes((run / "best.safetensors").read_bytes()[:10_000])
    error, hint = fail("eval", tmp_path / "cut.safetensors")
    assert error.startswith("error: cut.safetensors: is no whole safetensors file: ")
    assert hint == "hint: copy it again; was the disk full?"


def test_predictions_with_wrong_columns(fail: Fail, tmp_path: Path) -> None:
    write_lines(tmp_path / "p.csv", ["name,score", "a.png,0.5"])
    assert fail("eval", tmp_path / "p.csv") == [
        "error: p.csv:1: no image column",
        "error: p.csv:1: no probability column",
        "hint: call it image, filename, Image Index or Path; call them p_<finding>, as in p_Cardiomegaly",
    ]
    assert not (tmp_path / "p_report").exists()


def test_predictions_that_are_not_there(fail: Fail, tmp_path: Path) -> None:
    assert fail("eval", tmp_path / "p.csv")[0] == "error: p.csv: no such file"


def test_options_that_go_with_other_things(fail: Fail, run: Path, tmp_path: Path) -> None:
    csv = tmp_path / "p.csv"
    assert fail("eval", csv, "data.root=x")[0] == "error: data.root=x: a predictions file has no config"
    assert (
        fail("eval", run, "--labels", csv)[0]
        == "error: --labels: cannot be combined with a run, which has its own labels and validation rows"
    )


def test_an_override_that_the_checkpoint_fixes(fail: Fail, run: Path) -> None:
    errors = fail("eval", run, "image.size=64", "model.backbone=resnet34")
    assert errors[0] == f"error: {run}: trained at 32 pixels, asked for 64"
    assert errors[-1] == "hint: override data.*, store.* and eval.* only; the checkpoint fixes the rest"


def test_a_store_of_other_pixels(fail: Fail, small: tuple[str, ...], tmp_path: Path) -> None:
    main_pack(small)
    assert fail(*small, "image.store_size=64") == [
        "error: store: packed with preprocess.size 32, but the config asks for 64",
        "hint: cxr pack CONFIG --overwrite packs it again, or store.path=FOLDER keeps both",
    ]


def test_a_generated_dataset_is_not_written_over_another(fail: Fail, tmp_path: Path, nih_root: Path) -> None:
    error = f"error: {nih_root}: exists already and is not an empty folder"
    assert fail("phantom", nih_root, "--images", "3")[0] == error
    assert fail("phantom", tmp_path / "new", "--images", "0") == [
        "error: --images: Input should be greater than or equal to 1, not 0",
        "hint: cxr phantom --help lists the options",
    ]
