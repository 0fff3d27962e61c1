"""What a file of weights is: told by its content, read without running anything, refused in our words."""

import argparse
import gzip
import io
import json
import os
import pickle
import random
import struct
import sys
import tarfile
import zipfile
from pathlib import Path
from time import process_time

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import resnet18

from cxr.errors import CxrError
from cxr.model import checkpoint as checkpoints
from cxr.model.classifier import Classifier
from cxr.model.load_weights import load_weights
from cxr.weights import files
from cxr.weights.errors import WeightsError
from cxr.weights.files import WeightFile, open_weights

MAGIC = (
    pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
)


Small = dict[str, tuple[bytes, dict[str, Tensor]]]


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


class Net(nn.Module):
    """A network as people write it: torchvision's inside, whose class is nowhere to be imported from."""

    def __init__(self) -> None:
        super().__init__()
        self.resnet = resnet18(num_classes=14)
        self.class_weights = torch.ones(14)


def in_zip(pickled: bytes, **parts: bytes) -> bytes:
    """What torch.save writes since PyTorch 1.6, around a pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, data in parts.items():
            archive.writestr(f"archive/{name.replace('_', '/')}", data)
    return file.getvalue()


def in_legacy(pickled: bytes) -> bytes:
    """What torch.save wrote before."""
    return MAGIC + pickled + pickle.dumps([], 2)


def reason(path: Path) -> str:
    """Why a file is refused."""
    with pytest.raises(WeightsError) as error:
        open_weights(str(path))
    assert error.value.hint
    return error.value.reasons[0]


def refers(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_pickled_network_is_read_as_its_state_dict(zipped: bool, tmp_path: Path) -> None:
    net = Net()
    content = {
        "model": net,
        "best_loss": 0.2,
        "args": argparse.Namespace(lr=0.1),
        "net": nn.DataParallel(net),
    }
    torch.save(content, tmp_path / "m", _use_new_zipfile_serialization=zipped)
    file, state = open_weights(str(tmp_path / "m")), net.state_dict()
    names = [name for name in file.tensors if name.startswith("model.") and name not in file.attributes]
    assert [name.removeprefix("model.") for name in names] == list(state)
    assert all(torch.equal(file.read(name), state[name.removeprefix("model.")]) for name in names)
    report = load_weights(Classifier("resnet18", 1), str(tmp_path / "m"), ("Mass",))
    assert (report.matched, dict(report.left_out)) == (120, {"attributes": 2, "copy of it": 122})


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_with_code_is_refused_and_not_run(zipped: bool, tmp_path: Path) -> None:
    torch.save(
        {"state_dict": Trap(tmp_path / "sprung")}, tmp_path / "m", _use_new_zipfile_serialization=zipped
    )
    assert reason(tmp_path / "m") == "asks for posix.mkdir, which is no part of a model"
    (tmp_path / "m").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert reason(tmp_path / "m") == "is a pickle that torch.save did not write"
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "code",
    [
        refers("os", "system") + b"X\x01\x00\x00\x001\x85R.",
        refers("builtins", "eval") + b"X\x01\x00\x00\x001\x85R.",
        refers("this", "s") + b".", b"(X\x02\x00\x00\x00lsios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"(" + refers("subprocess", "Popen") + b"X\x02\x00\x00\x00lso.", b"Phello\n.", b"\x80\x05\x97.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02X\x01\x00\x00\x00aQ.", b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc.", b"R.", b"(",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b".", b"L" + b"9" * 9999 + b"L\n.",
        b"\x80\x02)" + b"\x85" * 10**5 + b".",
        b"\x80\x02]q\x00" + b"".join(b"]q%c" % n + b"h%ca" % (n - 1) * 10 for n in range(1, 20)) + b".",
    ],
)  # fmt: skip
def test_hostile_pickles_are_refused_in_our_words(
    code: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_MAX_NODES", 10_000)  # which takes a second to reach as it is
    for data in (in_zip(code), in_legacy(code)):
        (tmp_path / "m").write_bytes(data)
        said = reason(tmp_path / "m")
        assert said.startswith(("asks for ", "is damaged: ", "holds more than any model"))
    assert "this" not in sys.modules


@pytest.mark.parametrize("code", [
    refers("torch.hub", "load") + b"X\x01\x00\x00\x001\x85R.",
    refers("nowhere.models", "Net") + b"X\x01\x00\x00\x001\x85R}b.",
    b"\x80\x02}r\xff\xff\xff\xff.", b"\x80\x02})" + b"\x85" * 10**5 + b"Ns.", b"\x80\x02]q\x00h\x00ah\x00a.",
])  # fmt: skip
def test_whatever_else_a_pickle_names_stays_a_name(code: bytes, tmp_path: Path) -> None:
    before = set(sys.modules)
    (tmp_path / "m").write_bytes(in_zip(code))
    assert open_weights(str(tmp_path / "m")).tensors == {}
    assert not {name for name in set(sys.modules) - before if not name.startswith("encodings")}


def tensor(num: int, size: int, stride: int) -> bytes:
    """A pickle of one tensor on a storage of `num` numbers."""

    def number(value: int) -> bytes:
        return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)

    kind = refers("torch", "FloatStorage")
    storage = (
        b"(X\x07\x00\x00\x00storage" + kind + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + number(num) + b"tQ"
    )
    view = storage + b"K\x00" + number(size) + b"\x85" + number(stride) + b"\x85\x89}t"
    return b"\x80\x02" + refers("torch._utils", "_rebuild_tensor_v2") + b"(" + view + b"R."


@pytest.mark.parametrize(
    ("num", "size", "stride", "said"),
    [(1 << 59, 4, 1, "is cut off"),
     (1 << 62, 4, 1, "of a kind that"), (4, 1 << 60, 0, "impossible sizes"),
     (4, 5, 1, "beyond its storage"), (4, 2, -1, "impossible sizes"), (4, 4, 1, "")],
)  # fmt: skip
def test_a_tensor_is_never_larger_than_its_bytes(
    num: int, size: int, stride: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "m").write_bytes(
        in_zip(tensor(num, size, stride), data_0=np.arange(4, dtype=np.float32).tobytes())
    )
    try:
        assert open_weights(str(tmp_path / "m")).read("tensor").tolist() == [0, 1, 2, 3]
    except WeightsError as error:
        assert said and said in error.reasons[0]


@pytest.mark.parametrize(
    ("name", "num"), [("0." * 4000, 1), ("k" * 10**6, 300), ("k" * 50_000, 20_000), ("b." * 200, 1)]
)
def test_names_that_no_model_has_are_refused_at_once(name: str, num: int, tmp_path: Path) -> None:
    torch.save({"a": {name: [torch.zeros(1)] * num}}, tmp_path / "m")
    start = process_time()
    assert reason(tmp_path / "m").startswith("holds a tensor under a name that no model has: ")
    assert process_time() - start < 2


def test_many_tensors_of_one_name_are_counted_quickly() -> None:
    numbers: dict[str, int] = {}
    taken: dict[str, int] = {}
    start = process_time()
    for number in range(30_000):
        taken[files._unused("a", taken, numbers)] = number
    assert len(taken) == 30_000 and process_time() - start < 2


def test_compressed_and_overlapping_parts_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"N.")
        archive.writestr("a/data/0", bytes(10**7))
    assert reason(tmp_path / "m") == "is compressed inside, which torch.save never does"
    data = bytearray(in_zip(b"N.", data_0=bytes(99)))
    at = data.rfind(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<II", 10**9, 10**9)
    (tmp_path / "m").write_bytes(data)
    assert reason(tmp_path / "m") == "is damaged: its parts overlap"


def of_zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return file.getvalue()


def of_tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pth"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "is a Keras or HDF5 file"),
        ("m.pth", b"\x08\x07\x12\x07pytorch\x1a\x052.0.1", "is an ONNX program"),
        ("m.onnx", b"\x08\x03" + bytes(99), "is an ONNX program"),
        ("m.pt", of_zip("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"), "is a TorchScript program"),
        ("m.npz", of_zip("weight.npy"), "is an archive of NumPy arrays"),
        ("m.keras", of_zip("config.json", "model.weights.h5"), "is a Keras model"),
        ("m.pt2", of_zip("m/archive_format", "m/models/model.json"), "is a program of torch.export"),
        ("m.zip", of_zip("model.pth"), "is a zip archive that torch.save did not write"),
        ("m.pth.tar", of_tar(), "is a tar archive"),
        ("m.pth.gz", gzip.compress(b"x", mtime=0), "is compressed with gzip"),
        ("m.pth", b"", r"is empty \(0 bytes\)"),
        ("m.pth", b"PK\x03\x04 cut off", "is cut off or damaged: the end of the file is missing"),
        ("m.pth", MAGIC[:20] + b"\x80\x02", "is damaged"),
        ("m.pth", b"\n<!DOCTYPE html><html>", "is a web page, saved in place of the file"),
        ("m.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "is a Git LFS pointer"),
        ("model.safetensors.index.json", b'{"metadata": {}, "weight_map": {}}', "lists the parts of a model"),
        ("m.json", b'{"a": 1}', "is a JSON text"),
        ("m.safetensors", b"not at all", "is a text file"),
        ("m.safetensors", b"\x00\x01", "is no whole safetensors file"),
        ("m.safetensors", struct.pack("<Q", 99) + b'{"a":', "is no whole safetensors file"),
        ("model.ckpt.index", bytes(99), "is a part of a TensorFlow checkpoint"),
        ("model.ckpt.data-00000-of-00001", bytes(99), "is a part of a TensorFlow checkpoint"),
        ("m.pb", bytes(99), "is a TensorFlow program"),
        ("m.npy", b"\x93NUMPY\x01", "is a NumPy array"),
        ("m.png", b"\x89PNG\r\n", "is an image"),
        ("m.txt", b"epoch 1: 0.5\n", "is a text file"),
        ("m.bin", bytes(range(200, 256)), "is no file of weights that cxr knows"),
        ("m.pkl", pickle.dumps({"a": 1}), "is a pickle that torch.save did not write"),
        ("m.pth", None, "no such file"),
    ],
)
def test_what_is_no_checkpoint_is_called_what_it_is(
    name: str, data: bytes | None, said: str, tmp_path: Path
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(CxrError, match=f"^model.weights: .*{name}: {said}"):
        load_weights(Classifier("resnet18", 1), str(tmp_path / name), ("Mass",))


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("last.pt", "is a run without best.safetensors"), ("saved_model.pb", "is a TensorFlow model"),
        ("data.pkl", "is a PyTorch file that was unpacked"), ("a.pth", "is a folder, but of no run"),
        ("x", "is a folder, but of no run"),
    ],
)  # fmt: skip
def test_a_folder_without_a_run_is_called_what_it_is(inside: str, said: str, tmp_path: Path) -> None:
    (tmp_path / inside).touch()
    assert reason(tmp_path).startswith(said)


def test_a_file_that_differs_in_case_is_named(tmp_path: Path) -> None:
    (tmp_path / "Model.PTH").touch()
    assert reason(tmp_path / "model.pth") == "no such file, but there is Model.PTH"


def test_no_tensors_are_an_error(tmp_path: Path) -> None:
    torch.save([{"epoch": 3}], tmp_path / "m.pth")
    with pytest.raises(CxrError, match=r"m\.pth: holds no tensors"):
        load_weights(Classifier("resnet18", 1), str(tmp_path / "m.pth"), ("Mass",))


def test_names_in_a_file_never_reach_the_terminal_as_they_are(tmp_path: Path) -> None:
    torch.save({"\x1b[2J\nerror: fake\u202e" + "x" * 999: torch.zeros(3)}, tmp_path / "m.pth")
    with pytest.raises(CxrError) as error:
        load_weights(Classifier("resnet18", 1), str(tmp_path / "m.pth"), ("Mass",))
    assert error.value.render().count("\n") == 1 and len(error.value.hint) < 200
    assert error.value.render().replace("\n", "").isprintable()


def test_a_run_folder_stands_for_its_best_checkpoint(trained: Path) -> None:
    report = load_weights(Classifier("resnet18", 1), str(trained), ("Effusion",))
    assert (report.matched, report.head) == (120, "loaded for 1 finding")
    records = dict(report.left_out)["records of the run"]
    assert report.total == report.matched + report.in_head + records


def test_the_other_file_of_a_run_is_named(trained: Path) -> None:
    with pytest.raises(CxrError, match=r"last\.pt: is last\.pt of a run") as error:
        load_weights(Classifier("resnet18", 1), str(trained / checkpoints.LAST), ("Mass",))
    assert error.value.hint == f"last.pt only resumes; give best.safetensors, or the run folder: {trained}"


@pytest.mark.parametrize(
    "header", ["{", "[]", '{"findings": "all"}', '{"findings": []}', '{"findings": ["A", "B"]}']
)
def test_a_damaged_header_of_ours_is_an_error(header: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = {key: value.contiguous() for key, value in Classifier("resnet18", 1).state_dict().items()}
    save_file(state, tmp_path / "m.safetensors", {"cxr": header})
    with pytest.raises(CxrError, match="damaged"):
        load_weights(Classifier("resnet18", 1), str(tmp_path / "m.safetensors"), ("A",))


def test_two_tensors_of_one_name_both_count(tmp_path: Path) -> None:
    torch.save({"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}, 0: torch.ones(2)}, tmp_path / "m.pth")
    assert sorted(open_weights(str(tmp_path / "m.pth")).tensors) == ["0", "a.b", "a.b (2)"]


def test_views_of_one_storage_are_what_torch_reads(tmp_path: Path) -> None:
    base = torch.arange(24.0).view(2, 3, 4)
    state = {
        "t": base.transpose(0, 2),
        "s": base[1, ::2],
        "n": torch.tensor(3),
        "e": torch.zeros(0, 4),
        "h": base.half(),
    }
    for zipped in (True, False):
        torch.save(state, tmp_path / "m.pth", _use_new_zipfile_serialization=zipped)
        file, expected = open_weights(str(tmp_path / "m.pth")), torch.load(tmp_path / "m.pth")
        assert {name: stored.shape for name, stored in file.tensors.items()} == {
            k: v.shape for k, v in expected.items()
        }
        assert all(torch.equal(file.read(name), value) for name, value in expected.items() if value.numel())


@pytest.fixture(scope="module")
def small() -> Small:
    """A small file of each kind, and what it holds."""
    from safetensors.torch import save

    state = {f"layer{number}.weight": torch.full((3, 4), float(number)) for number in range(4)}
    both = []
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save(
            {"model": nn.Linear(2, 3), "state": state, "epoch": 1},
            file,
            _use_new_zipfile_serialization=zipped,
        )
        both.append(file.getvalue())
    return {"zip": (both[0], state), "legacy": (both[1], state), "safetensors": (save(state), state)}


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["zip", "legacy", "safetensors"]),
    seed=st.integers(0, 10**6),
    how=st.sampled_from("cfiz"),
)
@example(kind="zip", seed=0, how="c")
def test_a_damaged_file_is_read_or_refused_in_our_words(
    small: Small, tmp_path_factory: pytest.TempPathFactory, kind: str, seed: int, how: str
) -> None:  # fmt: skip
    draw, data = random.Random(seed), bytearray(small[kind][0])
    at = draw.randrange(len(data))
    if how == "c":
        data = data[:at]
    for _ in range(draw.randrange(1, 4)):
        place = draw.randrange(len(data)) if data else 0
        if how == "f" and data:
            data[place] ^= 1 << draw.randrange(8)
        elif how == "i":
            data[place:place] = draw.randbytes(draw.randrange(1, 9))
        elif how == "z":
            data[place : place + 40] = bytes(40)
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    path.write_bytes(data)
    try:
        file = open_weights(str(path))
        read_all(file)
    except WeightsError as error:
        assert all(text.isprintable() and len(text) < 300 for text in (*error.reasons, error.hint))


def read_all(file: WeightFile) -> None:
    for name, stored in file.tensors.items():
        if not stored.flaw and 0 < np.prod(stored.shape, dtype=float) < 10**6:
            assert tuple(file.read(name).shape) == stored.shape


def test_a_byte_of_a_tensor_that_changed_is_noticed(small: Small, tmp_path: Path) -> None:
    data = bytearray(small["zip"][0])
    at = data.index(np.full(12, 3, np.float32).tobytes())
    data[at] ^= 1
    (tmp_path / "m.pth").write_bytes(data)
    with pytest.raises(WeightsError, match="is damaged: a checksum is wrong"):
        open_weights(str(tmp_path / "m.pth")).read("state.layer3.weight")


def test_json_of_a_safetensors_file_may_be_anything(tmp_path: Path) -> None:
    bomb = {"a": {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 1 << 62]}}
    headers: list[object] = [[], {"a": 3}, bomb, {"__metadata__": 3}]
    for header in headers:
        text = json.dumps(header).encode()
        (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
        assert "safetensors" in reason(tmp_path / "m.safetensors")
