"""Using a model tells nobody about it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.exports import Exported

OPEN = "import sys; from cxr.deploy.open_runtime import open_runtime; open_runtime(sys.argv[1])"


def test_onnxruntime_leaves_nothing_in_the_home_folder(exported: Exported, tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    environment = kept | {"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", OPEN, exported.onnx], env=environment, check=True)
    assert [str(path) for path in tmp_path.rglob("*") if path.is_file()] == []
