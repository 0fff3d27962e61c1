"""Files that an earlier version wrote can still be read, and a report of fixed predictions keeps its numbers.

`fixtures/` holds a checkpoint and a last.pt whose weights are zeros (and so compress to some kilobytes), a store of
four images, predictions, and the report that they gave.
"""

import json
import lzma
import math
from pathlib import Path

import numpy as np
import torch

from cxr.data.manifest import make_manifest
from cxr.data.store import read_store
from cxr.images.prepare import Preprocess
from cxr.model import checkpoint as checkpoints
from tests.helpers.commands import call

FIXTURES = Path(__file__).parent / "fixtures"


def unpack(name: str, folder: Path) -> Path:
    path = folder / name
    path.write_bytes(lzma.decompress((FIXTURES / f"{name}.xz").read_bytes()))
    return path


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    checkpoint = checkpoints.load(unpack("best.safetensors", tmp_path))
    metadata = checkpoint.metadata
    assert metadata.findings == ("Cardiomegaly", "Effusion")
    assert (metadata.config.train.batch_size, metadata.config.image.size) == (5, 32)
    assert metadata.config.eval.tta == "flip"
    np.testing.assert_allclose(1 / np.array(checkpoint.recalibration.slopes), [0.9021275967, 0.9238870591])
    assert checkpoint.recalibration.is_temperature
    assert checkpoint.patients.keys() == {"train", "val"} and len(checkpoint.patients["train"]) > 1
    with torch.inference_mode():
        logits = checkpoint.classifier(torch.zeros(1, 1, 32, 32, dtype=torch.uint8))
    np.testing.assert_allclose(logits, [[-1.0, 0.5]])


def test_a_training_state_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    saved = checkpoints.load_resumable(unpack("last.pt", tmp_path))
    assert (saved["step"], saved["loss_sum"]) == (6, 1.5)


def test_a_store_of_an_earlier_version_is_read() -> None:
    names = (FIXTURES / "store" / "images.txt").read_text().split()
    store, _ = read_store(FIXTURES / "store", make_manifest("nih", names, Preprocess(32)))
    assert store.pixels.shape == (4, 32, 32) and store.readable.all()
    sums = np.asarray(store.pixels, np.int64).sum(axis=(1, 2))
    assert sums.tolist() == [114336, 128743, 126978, 138881]


def test_a_report_of_fixed_predictions_keeps_its_numbers(tmp_path: Path) -> None:
    options = ("--validation", FIXTURES / "validation.csv", "eval.draws=100", "eval.subgroups=[sex,age]")
    assert call("eval", FIXTURES / "predictions.csv", *options, "--out", tmp_path) == 0
    found = json.loads((tmp_path / "report.json").read_text())
    written = json.loads((FIXTURES / "report.json").read_text())
    for report in (found, written):  # intercept and slope stand where a temperature was
        rows = report["calibration"]["findings"]
        report["calibration"]["findings"] = [
            {name: row[name] for name in ("finding", "brier", "ece")} for row in rows
        ]
    for name in ("metrics", "summary", "subgroups", "calibration"):
        same(found[name], written[name], name)


def same(found: object, written: object, where: str) -> None:
    """Equal, numbers to 12 digits: sums of another NumPy come out in other last bits."""
    if isinstance(written, dict) and isinstance(found, dict):
        assert found.keys() >= written.keys(), where  # later versions add columns
        for key, value in written.items():
            same(found[key], value, f"{where}.{key}")
    elif isinstance(written, list) and isinstance(found, list):
        assert len(found) == len(written), where
        for number, value in enumerate(written):
            same(found[number], value, f"{where}.{number}")
    elif isinstance(written, float) and isinstance(found, float):
        assert math.isclose(found, written, rel_tol=1e-12, abs_tol=1e-15), where
    else:
        assert found == written, where
