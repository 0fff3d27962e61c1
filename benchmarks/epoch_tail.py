"""What follows an epoch's validation of 8,654 images besides the forward passes: scoring, and two checkpoints.

`python -m benchmarks.epoch_tail FOLDER` times it in the full table of ChestX-ray14, which torchxrayvision brings, with
random logits in place of a model's. It also runs at earlier commits of cxr, by PYTHONPATH, to be held beside them.
"""

import gzip
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchxrayvision

from cxr.config.schema import Config, Data
from cxr.data.dataset import Dataset
from cxr.data.loader import Loader
from cxr.data.manifest import make_manifest
from cxr.data.store import Store
from cxr.distributed import World
from cxr.findings import NIH_14
from cxr.images.prepare import Preprocess
from cxr.labels import sources
from cxr.labels.splits import Split
from cxr.labels.targets import resolve
from cxr.model import predict as predictions
from cxr.training import train as loop
from cxr.training.loss import class_weights
from cxr.training.runlog import RunLog
from cxr.training.setup import TrainSetup
from cxr.training.state import new_state

NUM_TRAIN, NUM_VAL, SIZE = 77_870, 8_654, 32
WORLD = World(0, 1, 1, torch.device("cpu"))


def make_run(work: Path) -> TrainSetup:
    """A run on the full table; the pixels are zeros."""
    work.mkdir(parents=True, exist_ok=True)
    packed = Path(torchxrayvision.__file__).parent / "data" / "Data_Entry_2017_v2020.csv.gz"
    with gzip.open(packed) as source, (work / "Data_Entry_2017_v2020.csv").open("wb") as target:
        shutil.copyfileobj(source, target)
    (work / "images").mkdir(exist_ok=True)
    table = sources.read(Data(source="nih", root=work, split="random"))
    num = NUM_TRAIN + NUM_VAL
    table = table.select(np.arange(len(table)) < num)
    fold = np.where(np.arange(num) < NUM_TRAIN, "train", "val")
    targets = resolve(table, NIH_14)
    manifest = make_manifest("nih", list(table.rows["image"]), Preprocess(SIZE))
    store = Store(work / "store", manifest, np.zeros((num, SIZE, SIZE), np.uint8), np.ones(num, bool))
    split = Split(kind="official", name="benchmark", assigned=fold, hashes={})  # type: ignore[call-arg, unused-ignore]
    dataset = Dataset(table, targets, fold, split, store, np.arange(num), {})
    config = Config.model_validate(
        {
            "data": {"source": "nih", "root": work},
            "image": {"store_size": SIZE, "size": SIZE},
            "out": work / "run",
            "model": {"weights": "none"},
        }
    )
    weights = class_weights(dataset.select(dataset.rows("train")), "chexnet")
    loader = Loader(store.pixels, dataset.index, targets, WORLD.device)
    (work / "run").mkdir(exist_ok=True)
    return TrainSetup(config, WORLD, dataset, loader, weights, None, 1200)


def random_values(run: TrainSetup) -> None:
    """Draw what a model would compute of the rows."""
    draws = torch.Generator().manual_seed(0)

    def rows_of(classifier: object, loader: object, rows: Any, config: object, world: object) -> torch.Tensor:  # noqa: ANN401
        return torch.randn(len(rows), len(NIH_14), generator=draws)

    def values_of(parts: object, loader: object, rows: Any, width: int, world: object) -> torch.Tensor:  # noqa: ANN401
        return torch.randn(len(rows), width, generator=draws)

    predictions.predict_rows = rows_of
    predictions._over_rows = values_of  # type: ignore[assignment]  # the same arguments, less narrow


def main(work: Path, epochs: int = 4) -> None:
    """Time the ends of some epochs, each of which is the best so far, and what comes once after the last one."""
    run = make_run(work)
    random_values(run)
    state, _ = new_state(run.config, NIH_14, run.weights, WORLD)
    for parameter in state.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state.optimizer.step()  # which makes its moments
    _time_epochs(run, state, epochs)


def _time_epochs(run: TrainSetup, state: Any, epochs: int) -> None:  # noqa: ANN401
    from cxr.console import progress
    from cxr.signals import StopRequest
    from cxr.training.loss_meter import Pace
    from cxr.training.profile import StepProfiler
    from cxr.training.runlog import TextLog
    from cxr.training.save import add_ood_score
    from cxr.training.saver import Saver
    from cxr.training.tracking import Trackers

    text, profiler = TextLog(), StepProfiler(0, 1, run.config.out, WORLD.device, lambda: 0.0)
    text.open(run.config.out, resume=False)
    with (
        Trackers(run.config, 0, enabled=True) as trackers,
        Saver() as saver,
        progress("{task}") as bar,
    ):
        log = RunLog(run.config.out, 0, 0, True, text, trackers)
        session = loop._Session(log, saver, StopRequest(False), bar, Pace(), profiler)
        for number in range(epochs):
            state.history = [{"auroc": 0.0, "loss": 9.0}] * number
            _say(f"epoch {number + 1}", lambda: loop._finish_epoch(run, state, session, "learned"))
            _say("  its files, in a thread", saver.wait)
    _say("once, after the last epoch", lambda: add_ood_score(run, state.ema))


def _say(name: str, work: Any) -> None:  # noqa: ANN401
    seconds, processor = time.perf_counter(), time.process_time()
    work()
    print(
        f"{name}: {time.perf_counter() - seconds:.2f} s, {time.process_time() - processor:.2f} s of processor time"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
