"""Whether a switch that makes training faster changes what is learned: validation curves with three seeds each."""

import contextlib
import io
import json
import statistics
from pathlib import Path

from benchmarks.timing import Row
from cxr import cli

SWITCHES = {
    "float32": ("train.precision=fp32",),
    "bfloat16": ("train.precision=bf16",),
    "bfloat16, grey stem": ("train.precision=bf16", "model.stem=grey"),
    "bfloat16, compiled": ("train.precision=bf16", "train.compile=true"),
    "bfloat16, batch in two parts": ("train.precision=bf16", "train.accumulate=2"),
}
SEEDS = (0, 1, 2)
EPOCHS = 3


def curves(config: Path, work: Path) -> list[Row]:
    """Mean validation loss and AUROC of the last epoch over the seeds, with the lowest and the highest."""
    rows = []
    for name, switch in SWITCHES.items():
        lines = [_train(config, work, name, switch, seed) for seed in SEEDS]
        for figure in ("val_loss", "val_auroc"):
            values = [float(line[figure]) for line in lines]
            mean, spread = statistics.mean(values), statistics.stdev(values)
            group = f"learning curves: {figure} after {EPOCHS} epochs, {len(SEEDS)} seeds"
            note = f"standard deviation {spread:.4f}"
            rows.append(
                Row(group, name, mean, min(values), max(values), figure.removeprefix("val_"), note=note)
            )
    return sorted(rows, key=lambda row: row.group)


def _train(config: Path, work: Path, name: str, switch: tuple[str, ...], seed: int) -> dict[str, float]:
    out = work / "curves" / f"{name} {seed}"
    fixed = (
        f"data.root={work / 'phantom'}",
        "data.phantom.num_images=1200",
        f"store.path={work / 'phantom-store'}",
    )
    arguments = [
        "train",
        str(config),
        *fixed,
        f"out={out}",
        f"seed={seed}",
        f"train.epochs={EPOCHS}",
        *switch,
    ]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        cli.main(arguments)
    last = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()][-1]
    return {key: value for key, value in last.items() if isinstance(value, float)}
