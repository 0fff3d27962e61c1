import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of the sample radiographs: CXR_SAMPLE_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("CXR_SAMPLE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not (folder / "nih-1024").is_dir():
        pytest.skip(f"no sample radiographs in {folder}; CXR_SAMPLE_DATA names their folder")
    return folder


@pytest.fixture(scope="session")
def xrv_data() -> Path:
    """Folder of the full metadata of ChestX-ray14 and CheXpert inside the torchxrayvision package."""
    from importlib.util import find_spec

    spec = find_spec("torchxrayvision")
    assert spec and spec.origin
    return Path(spec.origin).parent / "data"
