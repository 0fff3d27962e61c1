"""The wheel holds the whole program, and so does a wheel that is built from the sdist."""

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not find_spec("hatchling"), reason="needs hatchling, which builds the wheel")


def build(source: Path, target: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return next(folder.glob("*.whl" if target == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(HOME, "wheel", tmp_path_factory.mktemp("wheel"))


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as file:
        return set(file.namelist())


def test_the_wheel_holds_every_file_of_the_package_and_every_recipe(wheel: Path) -> None:
    package = {
        str(path.relative_to(HOME / "src"))
        for path in (HOME / "src" / "cxr").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    recipes = {f"cxr/recipes/{path.name}" for path in (HOME / "configs").glob("*.yaml")}
    assert {name for name in names(wheel) if not name.startswith("cxr-")} == package | recipes


def test_the_sdist_builds_the_same_wheel_and_holds_the_tests(wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(build(HOME, "sdist", tmp_path)) as file:
        file.extractall(tmp_path / "source", filter="data")
    source = next((tmp_path / "source").iterdir())
    assert names(build(source, "wheel", tmp_path / "again")) == names(wheel)
    assert (source / "tests" / "conftest.py").exists() and (source / "scripts" / "test").exists()
    assert not list(source.rglob("*.safetensors"))


def test_the_small_distribution_has_the_same_package_and_bounds(wheel: Path, tmp_path: Path) -> None:
    small = HOME / "packages" / "cxr-onnx"
    found = {name for name in names(build(small, "wheel", tmp_path)) if not name.startswith("cxr_onnx-")}
    assert found == {name for name in names(wheel) if not name.startswith(("cxr-", "cxr/recipes/"))}
    ours, its = (
        tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder in (HOME, small)
    )
    extras = ours["optional-dependencies"]
    assert set(its["dependencies"]) <= {*ours["dependencies"], *extras["onnx"]}
    its_extras = {
        name: [one.replace("cxr-onnx[", "cxr[") for one in wanted]
        for name, wanted in its["optional-dependencies"].items()
    }
    shared = its_extras.keys() & extras.keys()
    assert {"dicom", "dicom-out", "openvino"} <= shared
    assert {name: its_extras[name] for name in shared} == {name: extras[name] for name in shared}
    assert its["scripts"] == ours["scripts"]


def test_an_installed_wheel_trains_the_demo_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "installed")
    folder = tmp_path / "empty"
    folder.mkdir()
    tiny = "data.phantom.num_images=60 data.phantom.size=48 image.store_size=32 image.size=32 train.epochs=1"
    tiny += " model.train_layers=head"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed"), "CUDA_VISIBLE_DEVICES": ""}
    code = "import cxr, sys; print(cxr.__file__); from cxr.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "demo", *tiny.split()],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(tmp_path / "installed" / "cxr" / "__init__.py")
    assert (folder / "runs" / "demo" / "best.safetensors").exists()
