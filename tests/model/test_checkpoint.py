import json
import os
from pathlib import Path

import pytest
import torch

from cxr.data.dataset import Dataset, preprocess
from cxr.data.splits import FOLDS
from cxr.errors import CxrError
from cxr.model import checkpoint as checkpoints
from cxr.model.checkpoint import load, load_resumable, save, save_resumable
from cxr.model.seen import count_images, count_patients, hash_images, hash_patients, image_keys
from tests.model.conftest import FINDINGS, Recipe


def test_a_round_trip_keeps_logits_bit_for_bit_and_all_that_is_known(trained: Path, tmp_path: Path) -> None:
    before = load(trained)
    save(tmp_path / "copy.safetensors", before)
    after = load(tmp_path / "copy.safetensors")
    images = torch.randint(0, 256, (3, 1, 32, 32), generator=torch.Generator().manual_seed(0)).float()
    with torch.inference_mode():
        assert torch.equal(before.classifier(images), after.classifier(images))
    assert (after.metadata, after.thresholds) == (before.metadata, before.thresholds)
    assert all(torch.equal(before.patients[fold], hashes) for fold, hashes in after.patients.items())
    assert not after.classifier.training


def test_a_checkpoint_says_what_made_it(trained: Path, recipe: Recipe, dataset: Dataset) -> None:
    checkpoint, config = load(trained), recipe(trained)
    metadata = checkpoint.metadata
    assert (metadata.config, metadata.findings, metadata.preprocess) == (config, FINDINGS, preprocess(config))
    assert metadata.split.hashes == dataset.split.hashes
    assert metadata.split.num_images == {fold: len(dataset.rows(fold)) for fold in FOLDS}
    assert torch.__version__.startswith(metadata.versions["torch"])
    assert checkpoint.thresholds.chosen_on.startswith(f"validation rows ({len(dataset.rows('val'))} images")


def test_patients_are_kept_as_hashes_only(trained: Path, dataset: Dataset) -> None:
    checkpoint, ids = load(trained), dataset.table.rows["patient_id"]
    for fold in ("train", "val"):
        patients, hashes = set(ids[dataset.rows(fold)]), checkpoint.patients[fold]
        assert count_patients(hashes, "nih", patients) == len(patients) == len(hashes)
        assert count_patients(hashes, "chexpert", patients) == 0
        assert count_patients(hashes, "nih", set(ids[dataset.rows("test")])) == 0
    assert torch.equal(hash_patients("nih", ["2", "1", "1"]), hash_patients("nih", ["1", "2"]))


def test_images_are_recognised_wherever_they_lie(trained: Path, dataset: Dataset) -> None:
    names = dataset.table.rows["image"]
    for fold in ("train", "val"):
        hashes, own = load(trained).images[fold], list(names.iloc[dataset.rows(fold)])
        elsewhere = [f"copy\\of/{name.replace('.png', '.jpg')}" for name in own]
        assert count_images(hashes, "nih", own) == count_images(hashes, "table", elsewhere) == len(own)
        assert count_images(hashes, "table", list(names.iloc[dataset.rows("test")])) == 0
        assert count_images(hashes, "nih", []) == 0


def test_equal_file_names_of_two_tables_are_no_evidence() -> None:
    assert image_keys(["a/1.png", "b/2.png"]) == ["1", "2"]
    assert image_keys(["a/view1.jpg", "b/view1.jpg"]) == ["a/view1", "b/view1"]
    assert count_images(hash_images("table", ["1", "2"]), "table", ["x/1.png"]) == 0
    assert count_images(hash_images("table", ["1", "2"]), "nih", ["x/1.png"]) == 1
    judged = ["view1.jpg", "small/train/p1/view1.jpg"]
    assert count_images(hash_images("chexpert", ["train/p1/view1"]), "table", judged) == 1


def test_a_run_folder_and_its_file_are_the_same_checkpoint(trained: Path) -> None:
    assert load(trained).metadata == load(trained / checkpoints.BEST).metadata


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.99])
def test_a_truncated_file_is_an_error(share: float, trained: Path, tmp_path: Path) -> None:
    data = (trained / checkpoints.BEST).read_bytes()
    file = tmp_path / "cut.safetensors"
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CxrError, match=r"cut\.safetensors: is no whole safetensors file"):
        load(file)


def test_a_file_of_another_program_is_an_error(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CxrError, match=r"foreign\.safetensors: was not written by cxr train") as error:
        load(tmp_path / "foreign.safetensors")
    assert error.value.hint == "foreign weights go in through model.weights=FILE"


def test_a_pickle_is_an_error_and_is_not_opened_as_one(trained: Path) -> None:
    with pytest.raises(CxrError, match=r"last\.pt: is no whole safetensors file"):
        load(trained / checkpoints.LAST)


@pytest.mark.parametrize("fault", ["format", "findings", "tensor", "json"])
def test_a_checkpoint_of_another_version_is_an_error(fault: str, trained: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(trained / checkpoints.BEST, "pt") as file:
        header = json.loads(file.metadata()["cxr"])
    tensors = load_file(trained / checkpoints.BEST)
    if fault == "tensor":
        del tensors["head.bias"]
    changes = {"format": {"format": 2}, "findings": {"findings": ["Mass"]}}.get(fault, {})
    text = "{" if fault == "json" else json.dumps(header | changes)
    save_file(tensors, tmp_path / "new.safetensors", {"cxr": text})
    with pytest.raises(CxrError, match=r"new\.safetensors: does not fit this version of cxr"):
        load(tmp_path / "new.safetensors")


@pytest.mark.parametrize("place", ["nothing", "empty"])
def test_a_run_that_is_not_there_is_an_error(place: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    what = {"nothing": "no such run folder or checkpoint file", "empty": "no best.safetensors in it"}[place]
    with pytest.raises(CxrError, match=f"{place}: {what}"):
        load(tmp_path / place)


@pytest.mark.parametrize("moment", ["_sync", "os.replace"])
def test_a_kill_while_saving_leaves_the_old_file(
    moment: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, file = load(trained), tmp_path / "best.safetensors"
    save(file, checkpoint)
    save_resumable(tmp_path / "last.pt", {"step": 1, "history": []})
    before = file.read_bytes()

    def die(path: Path, *_: Path) -> None:
        os.truncate(path, path.stat().st_size // 2)
        raise SystemExit("killed")

    monkeypatch.setattr(f"cxr.files.{moment}", die)
    with pytest.raises(SystemExit):
        save(file, checkpoint)
    with pytest.raises(SystemExit):
        save_resumable(tmp_path / "last.pt", {"step": 2})
    assert file.read_bytes() == before
    assert load_resumable(tmp_path / "last.pt")["step"] == 1


def test_a_full_disk_is_an_error_and_leaves_the_old_files(trained: Path, small_disk: Path) -> None:
    checkpoint, state = load(trained), {"step": 1, "history": [], "model": torch.zeros(10**4)}
    save_resumable(small_disk / "last.pt", state)
    with pytest.raises(CxrError, match=r"last\.pt: the disk is full"):
        save_resumable(small_disk / "last.pt", state | {"step": 2, "model": torch.zeros(10**6)})
    with pytest.raises(CxrError, match=r"best\.safetensors: the disk is full"):
        save(small_disk / "best.safetensors", checkpoint)
    assert load_resumable(small_disk / "last.pt")["step"] == 1
    assert [path.name for path in small_disk.iterdir()] == ["last.pt"]


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_code_in_last_pt_is_not_run(tmp_path: Path) -> None:
    torch.save({"history": Trap(tmp_path / "sprung")}, tmp_path / "last.pt")
    with pytest.raises(CxrError, match=r"last\.pt: cannot be resumed from"):
        load_resumable(tmp_path / "last.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": {}}, None])
def test_a_last_pt_that_is_none_is_an_error(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(CxrError, match=r"last\.pt: was not written by cxr train"):
        load_resumable(tmp_path / "last.pt")


def test_weights_that_are_no_numbers_are_refused(trained: Path, tmp_path: Path) -> None:
    checkpoint = load(trained)
    checkpoint.classifier.head.bias.data[0] = torch.nan
    save(tmp_path / "broken.safetensors", checkpoint)
    with pytest.raises(CxrError, match="its weights are not all finite numbers"):
        load(tmp_path / "broken.safetensors")
