import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest_plugins = ("tests.helpers.models", "tests.helpers.predictions", "tests.helpers.behaviour",
                  "tests.helpers.exports")  # fmt: skip

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from cxr.labels.table import LabelTable


@pytest.fixture(autouse=True)
def wide_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line of output is broken, or a phrase in it would be found or not as the temporary folder's name is long."""
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of the sample radiographs: CXR_SAMPLE_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("CXR_SAMPLE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not (folder / "nih-1024").is_dir():
        pytest.skip(f"no sample radiographs in {folder}; CXR_SAMPLE_DATA names their folder")
    return folder


@pytest.fixture(scope="session")
def cases() -> Path:
    """Folder of small inputs on which the program was wrong: CXR_CASES, or ../shared/cases beside the repository."""
    folder = Path(os.environ.get("CXR_CASES") or Path(__file__).parents[2] / "shared" / "cases")
    if not (folder / "table.yaml").is_file():
        pytest.skip(f"no reported cases in {folder}; CXR_CASES names their folder")
    return folder


@pytest.fixture(scope="session")
def xrv_data() -> Path:
    """Folder of the full metadata of ChestX-ray14 and CheXpert inside the torchxrayvision package."""
    from importlib.util import find_spec

    spec = find_spec("torchxrayvision")
    assert spec and spec.origin
    return Path(spec.origin).parent / "data"


@pytest.fixture(scope="session")
def full_nih(xrv_data: Path) -> "LabelTable":
    """All of ChestX-ray14's labels; not to be changed."""
    from cxr.labels.label_csv import read_labels

    return read_labels(xrv_data / "Data_Entry_2017_v2020.csv.gz")


@pytest.fixture(scope="session")
def full_chexpert(xrv_data: Path) -> "tuple[LabelTable, pd.DataFrame]":
    """All of CheXpert's training labels as they are read here, and as pandas reads the file; not to be changed."""
    import pandas as pd

    from cxr.labels.label_csv import read_labels

    path = xrv_data / "chexpert_train.csv.gz"
    return read_labels(path), pd.read_csv(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Folder on a disk of its own that holds 2 MiB."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="session")
def nih_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 generated images of 48 pixels in ChestX-ray14's layout; copy it before changing a file."""
    from cxr.config.schema import Phantom
    from cxr.phantom.dataset import generate

    root = tmp_path_factory.mktemp("dataset") / "nih"
    generate(root, Phantom(num_images=40, size=48), 2)
    return root


@pytest.fixture(scope="session")
def chexpert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 generated images of 48 pixels in CheXpert's layout; copy it before changing a file."""
    from cxr.config.schema import Phantom
    from cxr.phantom.dataset import generate

    root = tmp_path_factory.mktemp("dataset") / "chexpert"
    generate(root, Phantom(num_images=40, size=48, layout="chexpert"), 2)
    return root


@pytest.fixture(scope="session")
def recipe(nih_root: Path) -> Path:
    """A YAML file that trains a small model on the dataset, two steps in all, beside which its store is packed."""
    path = nih_root.parent / "tiny.yaml"
    path.write_text(
        f"data: {{source: nih, root: {nih_root}}}\n"
        "image: {store_size: 32, size: 32}\n"
        f"store: {{path: {nih_root.parent / 'store'}}}\n"
        "model: {backbone: resnet18, weights: none}\n"
        "train: {epochs: 1, batch_size: 16, precision: fp32}\n"
    )
    return path


@pytest.fixture(scope="session")
def run(recipe: Path) -> Path:
    """The run folder of that recipe, trained by the command."""
    from cxr.cli import main

    out = recipe.parent / "run"
    with pytest.raises(SystemExit) as ended:
        main(["train", str(recipe), f"out={out}"])
    assert ended.value.code == 0
    return out


@pytest.fixture(autouse=True)
def without_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in a test's own process draw no figures, unless the test is marked `figures`.

    Drawing takes two thirds of the time of `cxr eval` and four fifths of that of `cxr check`.
    """
    if "figures" not in request.keywords:
        monkeypatch.setattr("cxr.report.figures.draw", lambda *_: ())
        monkeypatch.setattr("cxr.check.figures.draw", lambda *_: {})
        for kind in ("comparison", "family"):
            monkeypatch.setattr(f"cxr.report.compare_figures.draw_{kind}", lambda *_: ())


@pytest.fixture(scope="session")
def gpu() -> "torch.device":
    """The CUDA GPU, for tests that carry the mark `cuda`."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")
    return torch.device("cuda")


SLOW_FIRST = (
    "for_a_gpu_runs_small",
    "killed_in_the_middle",
    "test_distributed.py",
    "test_ood.py",
    "installed_wheel",
    "test_corpus.py",
    "test_several.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, so that no process ends the suite alone with one of them."""
    items.sort(key=lambda item: not any(name in item.nodeid for name in SLOW_FIRST))
