"""Random damage to every kind of file that is read; `python -m tests.faults.fuzz 600` is the long run, in seconds."""

import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cxr.config.load import load
from cxr.errors import CxrError, UnreadableImageError
from cxr.evaluation import predictions
from cxr.images.limits import MAX_PIXELS
from cxr.images.read import decode
from cxr.labels.label_csv import read_labels
from cxr.labels.table import LabelTable
from tests.faults.corpus import encodings, picture

NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position\n"
    '00000001_000.png,Cardiomegaly|Emphysema,0,1,057Y,M,PA\n"00000002_000.png",No Finding,0,2,81,F,AP\n'
)
CHEXPERT = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Pneumonia\n"
    "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,-1.0\n"
)
PREDICTIONS = (
    "image,patient_id,split,view,sex,age,y_Mass,p_Mass\na.png,1,test,PA,M,50,1,0.9\nb.png,2,val,,,,,0.2\n"
)
CONFIG = "seed: 1\ndata: {source: nih, root: /data, uncertain: [0.1, 0.9]}\ntrain:\n  lr: 1e-4\n  epochs: 3\n"
NUMBERS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"-1", b"1e999", b'"', b"\n")


Subject = tuple[bytes, Callable[[bytes], None]]


def damage(data: bytes, draws: random.Random) -> bytes:
    """The bytes with one to four flips, cuts, insertions, repetitions or overwritten numbers."""
    for _ in range(draws.randint(1, 4)):
        start = draws.randrange(len(data) + 1)
        end = min(len(data), start + draws.choice((1, 1, 2, 4, 16, 256)))
        part = {
            "flip": bytes(byte ^ (1 << draws.randrange(8)) for byte in data[start:end]),
            "cut": b"",
            "noise": draws.randbytes(end - start),
            "repeat": data[start:end] * draws.choice((2, 3, 50)),
            "number": draws.choice(NUMBERS),
        }[draws.choice(("flip", "cut", "noise", "repeat", "number"))]
        data = data[:start] + part + data[end:]
    return data


def read_image(data: bytes) -> None:
    """Grey pixels, or a refusal; anything else is a bug of ours."""
    try:
        grey = decode(data, "file.dcm")
    except UnreadableImageError:
        return
    assert grey.dtype == np.uint8
    assert grey.ndim == 2
    assert 0 < grey.size <= MAX_PIXELS


def read_table(data: bytes) -> None:
    """A label table, or an error that names the file."""
    _or_error(data, ".csv", lambda path: _check(read_labels(path)))


def read_predictions(data: bytes) -> None:
    """Predictions, or an error that names the file."""
    _or_error(data, ".csv", lambda path: predictions.read(path))


def read_config(data: bytes) -> None:
    """A config, or an error that names the file."""
    _or_error(data, ".yaml", lambda path: load(path))


def _or_error(data: bytes, suffix: str, read: Callable[[Path], object]) -> None:
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        path = Path(file.name)
        path.write_bytes(data)
        try:
            read(path)
        except CxrError as error:
            assert path.name in str(error) or "file.name" in str(error), error


def _check(table: LabelTable) -> None:
    assert np.isin(table.raw[~np.isnan(table.raw)], (-1, 0, 1)).all()


def subjects() -> dict[str, Subject]:
    """(a whole file, what reads it) by name."""
    made: dict[str, Subject] = {
        "nih": (NIH.encode(), read_table),
        "chexpert": (CHEXPERT.encode(), read_table),
        "predictions": (PREDICTIONS.encode(), read_predictions),
        "config": (CONFIG.encode(), read_config),
    }
    images = encodings(picture(np.random.default_rng(0)))
    return made | {name: (data, read_image) for name, data in images.items()}


def main(seconds: float) -> None:
    """Damage and read for so long; the first bug ends it with the seed that shows it."""
    every, end, seed = list(subjects().items()), time.monotonic() + seconds, 0
    warnings.simplefilter("error")
    while time.monotonic() < end:
        seed += 1
        name, (data, read) = every[seed % len(every)]
        try:
            read(damage(data, random.Random(seed)))
        except BaseException:
            print(f"seed {seed}, {name}", file=sys.stderr)
            raise
    print(f"{seed:,} damaged files of {len(every)} kinds: each was read or refused by name")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 600)
