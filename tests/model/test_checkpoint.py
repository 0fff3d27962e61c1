import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from cxr.data.dataset import Dataset, preprocess
from cxr.errors import CxrError
from cxr.files import write_bytes
from cxr.labels.splits import SPLITS
from cxr.model import checkpoint as checkpoints
from cxr.model.checkpoint import load, load_resumable, save, save_resumable
from cxr.model.load_weights import match_weights
from cxr.model.seen_hashes import find_images, find_patients, hash_images, hash_patients, image_keys
from cxr.weights import checksums
from tests.helpers.models import FINDINGS, Recipe


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


def test_a_checkpoint_says_what_made_it(trained: Path, make_recipe: Recipe, dataset: Dataset) -> None:
    checkpoint, config = load(trained), make_recipe(trained)
    metadata = checkpoint.metadata
    assert (metadata.config, metadata.findings, metadata.preprocess) == (config, FINDINGS, preprocess(config))
    assert metadata.split.hashes == dataset.split.hashes
    assert metadata.split.num_images == {fold: len(dataset.rows(fold)) for fold in SPLITS}
    assert torch.__version__.startswith(metadata.versions["torch"])
    assert checkpoint.thresholds.chosen_on.startswith(f"validation rows ({len(dataset.rows('val'))} images")


def test_patients_are_kept_as_hashes(trained: Path, dataset: Dataset) -> None:
    checkpoint, ids = load(trained), dataset.table.rows["patient_id"]
    for fold in ("train", "val"):
        patients, hashes = set(ids[dataset.rows(fold)]), checkpoint.patients[fold]
        assert find_patients(hashes, "nih", list(patients)).sum() == len(patients) == len(hashes)
        assert find_patients(hashes, "chexpert", list(patients)).sum() == 0
        assert find_patients(hashes, "nih", list(set(ids[dataset.rows("test")]))).sum() == 0
    assert torch.equal(hash_patients("nih", ["2", "1", "1"]), hash_patients("nih", ["1", "2"]))


def test_images_are_recognised_wherever_they_lie(trained: Path, dataset: Dataset) -> None:
    names = dataset.table.rows["image"]
    for fold in ("train", "val"):
        hashes, own = load(trained).images[fold], list(names.iloc[dataset.rows(fold)])
        elsewhere = [f"copy\\of/{name.replace('.png', '.jpg')}" for name in own]
        assert (
            find_images(hashes, "nih", own).sum() == find_images(hashes, "table", elsewhere).sum() == len(own)
        )
        assert find_images(hashes, "table", list(names.iloc[dataset.rows("test")])).sum() == 0
        assert find_images(hashes, "nih", []).sum() == 0


def test_equal_file_names_of_two_tables_are_no_evidence() -> None:
    assert image_keys(["a/1.png", "b/2.png"]) == ["1", "2"]
    assert image_keys(["a/view1.jpg", "b/view1.jpg"]) == ["a/view1", "b/view1"]
    assert find_images(hash_images("table", ["1", "2"]), "table", ["x/1.png"]).sum() == 0
    assert find_images(hash_images("table", ["1", "2"]), "nih", ["x/1.png"]).sum() == 1
    images = ["view1.jpg", "small/train/p1/view1.jpg"]
    assert find_images(hash_images("chexpert", ["train/p1/view1"]), "table", images).sum() == 1


def test_a_run_folder_and_its_file_are_the_same_checkpoint(trained: Path) -> None:
    assert load(trained).metadata == load(trained / checkpoints.BEST).metadata


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.99])
def test_a_truncated_file_is_an_error(share: float, trained: Path, tmp_path: Path) -> None:
    data = (trained / checkpoints.BEST).read_bytes()
    file = tmp_path / "cut.safetensors"
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CxrError, match=r"cut\.safetensors: is (no whole safetensors file|empty)"):
        load(file)


def test_a_file_of_another_program_is_an_error(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CxrError, match=r"foreign\.safetensors: was not written by cxr train") as error:
        load(tmp_path / "foreign.safetensors")
    assert error.value.hint == "to train from it: model.weights=FILE"


def test_a_pickle_is_an_error_and_is_not_opened_as_one(trained: Path) -> None:
    with pytest.raises(CxrError, match=r"last\.pt: is no whole safetensors file"):
        load(trained / checkpoints.LAST)


def rewrite(run: Path, path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], object]) -> Path:
    """A copy of a checkpoint with its header or its tensors changed, as a file without a checksum."""
    with safe_open(run / checkpoints.BEST, "pt") as file:
        header = json.loads(file.metadata()["cxr"]) | {"format": 1}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    change(header, tensors)
    save_file(tensors, path, {"cxr": json.dumps(header)})
    return path


def in_text(name: str, **changes: object) -> Callable[[dict[str, Any], object], None]:
    """Changes fields of a JSON text inside the header."""

    def change(header: dict[str, Any], _: object) -> None:
        header[name] = json.dumps(json.loads(header[name]) | changes)

    return change


def in_section(name: str, **changes: object) -> Callable[[dict[str, Any], object], None]:
    return lambda header, _: header[name].update(changes)


Change = Callable[[dict[str, Any], dict[str, Tensor]], object]
FAULTS: dict[str, tuple[Change, str]] = {
    "another version": (lambda header, _: header.update(format=3), "format input should be 1 or 2"),
    "fewer findings": (
        lambda header, _: header.update(findings=["Mass"]),
        "thresholds are of 3 findings, and not of",
    ),
    "no findings": (
        lambda header, _: header.update(findings=[]),
        "findings tuple should have at least 1 item",
    ),
    "a finding twice": (
        lambda header, _: header.update(findings=["Mass", "Mass"]),
        "findings: a name is there twice",
    ),
    "findings that are no texts": (
        lambda header, _: header.update(findings=[1, 2, 3]),
        r"findings\.0 input should be",
    ),
    "size 0": (
        in_section("preprocess", size=0),
        "preprocess: size is 0, and image.store_size of its config 64",
    ),
    "size -1": (in_section("preprocess", size=-1), "preprocess: size is -1, and"),
    "size 1e9": (in_section("preprocess", size=10**9), "preprocess: size is 1000000000, and"),
    "size that is no number": (in_section("preprocess", size=None), r"preprocess\.size input should be"),
    "another resampler": (
        in_section("preprocess", resize="pillow"),
        "resize 'pillow' and grey 'bt601' are not known",
    ),
    "another grey": (
        in_section("preprocess", grey="mean"),
        "resize 'cv2-area' and grey 'mean' are not known",
    ),
    "an impossible config": (in_section("config", image={"size": 1}), r"config\.image\.size input should be"),
    "a split of -1 images": (
        in_section("split", num_images={"train": -1}),
        r"split\.num_images\.train input should be",
    ),
    "epoch -1": (
        lambda header, _: header.update(epoch=-1),
        "epoch input should be greater than or equal to 0",
    ),
    "step as text": (lambda header, _: header.update(step="many"), "step input should be a valid integer"),
    "thresholds as texts": (
        in_text("thresholds", values=["a", "b", "c"]),
        r"values\.0 input should be a valid number",
    ),
    "thresholds nan": (in_text("thresholds", values=[float("nan"), 0.5, 0.5]), r"values\.0 input should be"),
    "thresholds above 1": (
        in_text("thresholds", values=[0.5, 0.5, 1.5]),
        r"values\.2 input should be less than or",
    ),
    "thresholds below 0": (
        in_text("thresholds", values=[0.5, -0.5, 0.5]),
        r"values\.1 input should be greater than",
    ),
    "two thresholds": (in_text("thresholds", values=[0.5, 0.5]), "2 thresholds for 3 findings"),
    "thresholds of others": (
        in_text("thresholds", findings=["A", "B", "C"]),
        "thresholds are of 3 findings, and not",
    ),
    "an unknown rule": (in_text("thresholds", rule="best"), "rule string should match pattern"),
    "thresholds as a list": (lambda header, _: header.update(thresholds="[]"), "input should be an object"),
    "temperatures below 0": (
        in_text("temperatures", values=[1.0, -1.0, 1.0]),
        "input should be greater than 0",
    ),
    "two temperatures": (in_text("temperatures", values=[1.0, 1.0]), "2 temperatures for 3 findings"),
    "a slope below 0": (
        in_text("temperatures", intercepts=[0.0] * 3, slopes=[1.0, -1.0, 1.0], reasons=[""] * 3),
        "input should be greater than 0",
    ),
    "two slopes": (in_text("temperatures", slopes=[1.0, 1.0]), "2 slopes for 3 findings"),
    "temperatures cut": (lambda header, _: header.update(temperatures="{"), "invalid JSON"),
    "patients as floats": (
        lambda _, tensors: tensors.update({"patients.train": torch.zeros(3)}),
        r"the hashes of train have the kind torch\.float32 and the shape \[3\]",
    ),
    "images in two dimensions": (
        lambda _, tensors: tensors.update({"images.val": torch.zeros(1, 2, dtype=torch.int64)}),
        r"the hashes of val have the kind torch\.int64 and the shape \[1, 2\]",
    ),
    "no head": (lambda _, tensors: tensors.pop("head.bias"), "head.bias"),
    "a head of two": (
        lambda _, tensors: tensors.update({"head.bias": torch.zeros(2)}),
        r"the head has the shape \[2\], and there are 3 findings",
    ),
    "no backbone": (lambda *_: None, "the tensor mean is missing"),
    "a header of nothing": (lambda header, _: header.clear(), "config field required"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_checkpoint_with_values_that_cannot_be_used_is_an_error(
    fault: str, trained: Path, tmp_path: Path
) -> None:
    def change(header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if name.startswith(("backbone.", "mean", "std"))]:
            del tensors[name]  # the values are looked at before the weights
        FAULTS[fault][0](header, tensors)

    file = rewrite(trained, tmp_path / "new.safetensors", change)
    with pytest.raises(CxrError, match=rf"new\.safetensors: does not fit .*(?i:{FAULTS[fault][1]})") as error:
        load(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "tensor", "what"),
    [
        ("more", torch.zeros(1), "is not of this model"),
        ("mean", torch.zeros(4), r"is \[4\] of torch.float32 and should be \[3\]"),
        (
            "mean",
            torch.zeros(3, dtype=torch.int64),
            r"is \[3\] of torch.int64 and should be \[3\] of torch.float32",
        ),
    ],
)
def test_tensors_of_another_model_are_an_error(name: str, tensor: Tensor, what: str) -> None:
    with pytest.raises(ValueError, match=f"the tensor {name} {what}"):
        checkpoints.check_kinds({"mean": torch.zeros(3)}, {"mean": torch.zeros(3), name: tensor})


@pytest.mark.parametrize(
    "text", ["{", "[]", "[" * 100_000, '"' + "x" * 1000, "null"], ids=lambda text: text[:2]
)
def test_a_header_that_is_no_metadata_is_an_error(text: str, tmp_path: Path) -> None:
    save_file({"head.bias": torch.zeros(3)}, tmp_path / "new.safetensors", {"cxr": text})
    with pytest.raises(CxrError, match=r"new\.safetensors: does not fit this version of cxr: "):
        load(tmp_path / "new.safetensors")


def test_a_checkpoint_of_the_first_release_has_no_checksum_and_is_read(trained: Path, tmp_path: Path) -> None:
    def forget(header: dict[str, Any], _: object) -> None:
        for name in ("sha256", "patient_key"):
            header.pop(name)
        header["config"]["train"].pop("remember_patients")
        header["thresholds"] = json.dumps(
            {name: value for name, value in json.loads(header["thresholds"]).items() if name != "patient_key"}
        )

    old, new = load(rewrite(trained, tmp_path / "old.safetensors", forget)), load(trained)
    assert (old.thresholds, old.metadata.temperatures, old.metadata.findings) == (
        new.thresholds,
        new.metadata.temperatures,
        new.metadata.findings,
    )
    assert all(torch.equal(old.patients[fold], new.patients[fold]) for fold in ("train", "val"))


def test_a_checkpoint_stays_a_file_that_safetensors_reads_and_names_its_own_checksum(trained: Path) -> None:
    data = (trained / checkpoints.BEST).read_bytes()
    with safe_open(trained / checkpoints.BEST, "pt") as file:
        said = json.loads(file.metadata()["cxr"])["sha256"]
    assert data.count(said.encode()) == 1
    assert hashlib.sha256(data.replace(said.encode(), b"0" * 64)).hexdigest() == said
    assert load(trained).sha256 == hashlib.sha256(data).hexdigest()
    assert set(load(trained).classifier.state_dict()) < set(load_file(trained / checkpoints.BEST))


@pytest.fixture(scope="module")
def small_checkpoint(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A folder, and the bytes of a checkpoint in which most bytes are of the header."""
    path = tmp_path_factory.mktemp("small") / checkpoints.BEST
    header = {"cxr": json.dumps({"format": 2}).removesuffix("}") + f',"sha256":"{checksums.ZEROS}"}}'}
    write_bytes(path, checksums.seal_safetensors(safetensors_bytes({"a": torch.randn(64)}, header)))
    assert checksums.check_safetensors(path)[1]
    return path, path.read_bytes()


@settings(max_examples=300, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(1, 255))
def test_any_flipped_byte_of_a_checkpoint_is_found(
    small_checkpoint: tuple[Path, bytes], place: float, byte: int
) -> None:
    path, data = small_checkpoint
    damaged = bytearray(data)
    damaged[int(place * len(data))] ^= byte
    path.write_bytes(damaged)
    with contextlib.suppress(CxrError, OSError, MemoryError):
        _, is_sealed = checksums.check_safetensors(path)
        assert not is_sealed  # of which the format says that it must be


@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.6, 0.999])
def test_a_flipped_bit_refuses_a_checkpoint_by_name(share: float, trained: Path, tmp_path: Path) -> None:
    data = bytearray((trained / checkpoints.BEST).read_bytes())
    data[int(share * len(data))] ^= 16
    (tmp_path / "flipped.safetensors").write_bytes(data)
    with pytest.raises(CxrError, match=r"flipped\.safetensors: (is damaged|is no whole|does not fit)"):
        load(tmp_path / "flipped.safetensors")
    with pytest.raises(CxrError, match=r"flipped\.safetensors: is (damaged|no whole safetensors)"):
        match_weights(str(tmp_path / "flipped.safetensors"), "resnet18")  # as model.weights=FILE


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(1, 255), cut=st.booleans())
def test_any_flipped_byte_and_any_cut_of_last_pt_is_found(
    tmp_path: Path, place: float, byte: int, cut: bool
) -> None:
    path = tmp_path / "last.pt"
    if not path.exists():
        save_resumable(path, {"step": 1, "history": [], "model": {"a": torch.zeros(64)}})
        (tmp_path / "whole").write_bytes(path.read_bytes())
    data = (tmp_path / "whole").read_bytes()
    damaged = bytearray(data)
    damaged[int(place * len(data))] ^= byte
    path.write_bytes(data[: int(place * len(data))] if cut else damaged)
    with pytest.raises(CxrError, match=r"last\.pt: (is damaged|cannot be resumed from|was not written)"):
        load_resumable(path)


def test_last_pt_stays_a_file_that_torch_reads(tmp_path: Path) -> None:
    save_resumable(tmp_path / "last.pt", {"step": 1, "history": [], "model": {"a": torch.ones(3)}})
    assert torch.equal(torch.load(tmp_path / "last.pt", weights_only=True)["model"]["a"], torch.ones(3))
    torch.save({"step": 1, "history": []}, tmp_path / "old.pt")  # of the first release, without a checksum
    assert load_resumable(tmp_path / "old.pt")["step"] == 1


@pytest.mark.parametrize("place", ["nothing", "empty"])
def test_a_run_that_is_not_there_is_an_error(place: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    what = {"nothing": "no such run folder or checkpoint file", "empty": "no best.safetensors in it"}[place]
    with pytest.raises(CxrError, match=f"{place}: {what}"):
        load(tmp_path / place)


@pytest.mark.parametrize("moment", ["sync", "os.replace"])
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
