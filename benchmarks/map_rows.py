"""What heat maps cost beside plain inference, and `cxr explain` on many boxes: time and memory of whole processes."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.timing import Contender, Row, race
from cxr.config.schema import Config
from cxr.deploy.runtime import Square, predict_batch
from cxr.deploy.torch_runtime import make_runtime
from cxr.environment import versions
from cxr.evaluation import recalibration, thresholds
from cxr.explain.maps import compute_maps
from cxr.findings import NIH_14
from cxr.images.prepare import Preprocess, prepare, undo_prepare
from cxr.images.read import read_file
from cxr.labels.table import LabelTable
from cxr.model import checkpoint as checkpoints
from cxr.model.checkpoint import Checkpoint, Metadata, SplitIdentity
from cxr.model.classifier import Classifier
from cxr.model.predict import autocast_dtype

SIZE, STORE_SIZE, BATCH, NUM_IMAGES = 224, 256, 16, 100
NUM_BOXES = 984


def random_checkpoint(root: Path, backbone: str, device: torch.device) -> Checkpoint:
    """An untrained model of NIH's findings on the dataset in a folder; it knows no patients."""
    torch.manual_seed(0)
    classifier = Classifier(backbone, len(NIH_14)).to(device).to(memory_format=torch.channels_last).eval()
    config = Config.model_validate(
        {
            "data": {"source": "nih", "root": root, "findings": "nih14"},
            "image": {"store_size": STORE_SIZE, "size": SIZE},
            "model": {"backbone": backbone, "weights": "none"},
        }
    )
    points, calibrated = thresholds.fixed(NIH_14), recalibration.no_recalibration(NIH_14)
    metadata = Metadata(
        config=config,
        findings=NIH_14,
        preprocess=Preprocess(STORE_SIZE),
        split=SplitIdentity(kind="", name="unknown", hashes={}, num_images={}),
        thresholds=thresholds.to_json(points),
        temperatures=recalibration.to_json(calibrated),
        epoch=0,
        step=0,
        validation={},
        versions=versions(),
    )
    return Checkpoint(classifier, metadata, points, calibrated, patients={})


def maps(table: LabelTable, backbone: str, device: torch.device, rounds: int) -> list[Row]:
    """Images a second of predicting 100 images that are in memory, without maps and with those of 14 findings.

    The last contender enlarges every map to the 1024 x 1024 pixels of its image.
    """
    checkpoint = random_checkpoint(table.root, backbone, device)
    runtime, preprocess = make_runtime(backbone, checkpoint), checkpoint.metadata.preprocess
    paths = list(table.rows["path"])
    greys = [read_file(table.root / paths[number % len(paths)]) for number in range(min(BATCH, NUM_IMAGES))]
    images = [Square(Path(str(number)), prepare(grey, preprocess), []) for number, grey in enumerate(greys)]
    batches = [images] * (NUM_IMAGES // BATCH) + [images[: NUM_IMAGES % BATCH]]
    squares = torch.from_numpy(np.stack([image.pixels for image in images])).to(device)
    dtype = autocast_dtype(checkpoint.metadata.config.train.precision, device)

    def predict(with_maps: bool, with_pixels: bool) -> int:
        for batch in batches:
            for number, predicted in enumerate(predict_batch(runtime, batch)):
                if with_maps:
                    cells = predicted.maps
                    if with_pixels:
                        for values in cells:
                            undo_prepare(values, greys[number], preprocess)
        return NUM_IMAGES

    def explain() -> int:
        for batch in batches:
            compute_maps(checkpoint.classifier, squares[: len(batch)], SIZE, "cam", dtype)
        return NUM_IMAGES

    contenders: dict[str, Contender] = {
        "plain inference": lambda: predict(False, False),
        "and CAM of 14 findings": lambda: predict(True, False),
        "and CAM on the image's pixels": lambda: predict(True, True),
        "the map step of cxr explain": explain,
    }
    return race(f"heat maps, {backbone} at {SIZE} px, {NUM_IMAGES} images", contenders, rounds)


def boxes(table: LabelTable, backbone: str, work: Path, num_images: int) -> list[Row]:
    """Seconds and peak memory of a process of `cxr explain`, whose images each have a box, 984 in all at most."""
    root = _make_dataset(table, work / f"boxes-{num_images}", num_images)
    path = work / f"{backbone}-{num_images}.safetensors"
    checkpoints.save(path, random_checkpoint(root, backbone, torch.device("cpu")))
    script = (
        "import re, sys, time; from pathlib import Path; from cxr.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally:\n"
        "    peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]\n"
        "    print(round(time.process_time()), peak, file=sys.stderr)\n"
    )
    command = [
        sys.executable,
        "-c",
        script,
        "explain",
        str(path),
        "--out",
        str(work / "explained"),
        "--device",
        "cpu",
    ]
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    cpu, kilobytes = map(int, re.findall(r"\d+", done.stderr)[-2:])
    megabytes = kilobytes / 1024
    group = f"cxr explain, {backbone} at {SIZE} px, CAM, originals of 1024 px, whole process"
    name, note = f"{num_images:,} images, {min(num_images, NUM_BOXES):,} boxes", f"{os.cpu_count()} cores"
    return [
        Row(group, name, seconds, seconds, seconds, "s", note=note),
        Row(group, f"{name}, processor time", cpu, cpu, cpu, "s", note=note),
        Row(group, f"{name}, peak resident", megabytes, megabytes, megabytes, "MB"),
    ]


def _make_dataset(table: LabelTable, root: Path, num_images: int) -> Path:
    """A folder in NIH's layout: links to the table's files, a patient each, all in the test list."""
    (root / "images").mkdir(parents=True)
    names = [f"{number:08d}_000.png" for number in range(num_images)]
    paths = list(table.rows["path"])
    labels = ["Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position"]
    lines = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"]
    draws = np.random.default_rng(0)
    for number, name in enumerate(names):
        (root / "images" / name).symlink_to((table.root / paths[number % len(paths)]).resolve())
        finding = NIH_14[number % 8]
        labels.append(f"{name},{finding},{number},50,F,PA")
        width, height = draws.integers(60, 400, 2)
        x, y = draws.integers(0, 1024 - width), draws.integers(0, 1024 - height)
        if number < NUM_BOXES:
            lines.append(f"{name},{finding},{x},{y},{width},{height},,,")
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join(labels) + "\n")
    (root / "BBox_List_2017.csv").write_text("\n".join(lines) + "\n")
    (root / "test_list.txt").write_text("\n".join(names) + "\n")
    (root / "train_val_list.txt").write_text("")
    return root
