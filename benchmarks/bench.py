"""The whole benchmark: one run, one table, one JSON file with machine, versions and spread."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks import data_rows, map_rows, process_rows, runtime_rows, step_rows
from benchmarks.curves import curves
from benchmarks.full_epoch import full_epoch
from benchmarks.results import HERE, machine_of, result_path, write_readme
from benchmarks.results import table as markdown_table
from benchmarks.statistics_rows import intervals
from benchmarks.timing import Row
from cxr.data.placement import place
from cxr.environment import versions


def main(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    only: Annotated[
        str, typer.Option(help="Groups to run, by the start of their names, comma-separated.")
    ] = "",
    rounds: Annotated[int, typer.Option(help="Counted rounds of every race.")] = 5,
    save: Annotated[bool, typer.Option(help="Write the JSON file and the table.")] = True,
) -> None:
    """Measure and print; results go to benchmarks/ and its README.md."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        groups, what = _groups(torch.device(device), Path(folder), rounds)
        for name, group in groups.items():
            if not only or name.startswith(tuple(only.split(","))):
                new = group()
                rows += new
                print(markdown_table(new) if new else f"{name}: nothing to measure here", flush=True)
    if save:
        about = {
            "machine": machine_of(device),
            "images": what,
            "versions": versions(),
            "date": str(date.today()),
        }
        path = result_path(device)
        kept = _other_rows(path, about["machine"], {row.group for row in rows}) if only else []
        path.write_text(json.dumps(about | {"rows": kept + [asdict(row) for row in rows]}, indent=1) + "\n")
        write_readme()


def _other_rows(path: Path, machine: object, measured: set[str]) -> list[dict[str, object]]:
    """Rows of the groups that were not run now, from a file of the same machine."""
    result = json.loads(path.read_text()) if path.exists() else {}
    same = result.get("machine") == machine
    return [row for row in result["rows"] if row["group"] not in measured] if same else []


def _groups(device: torch.device, work: Path, rounds: int) -> tuple[dict[str, Callable[[], list[Row]]], str]:
    table, what = data_rows.find_images(work)
    batch, per_round = (16, 2) if device.type == "cpu" else (256, 10)

    def epochs() -> list[Row]:
        store = data_rows.pack_table(table, work / "store-epoch", 256)
        pixels, _ = place(store, "auto", device)
        sizes = [("resnet18", 512, 32)] if device.type == "cpu" else [("densenet121", 20_000, 256)]
        sizes += [("densenet121", 96, 16)] if device.type == "cpu" else []
        return [
            row
            for name, num, size in sizes
            for row in step_rows.epoch(name, pixels, size, device, rounds, num)
        ]

    groups: dict[str, Callable[[], list[Row]]] = {
        "decode": lambda: data_rows.decode_and_pack(table, work, rounds),
        "memory": lambda: [data_rows.pack_memory(table, work, 2000)],
        "loader": lambda: data_rows.loaders(table, work, rounds),
        "epoch": epochs,
        "predictions": lambda: process_rows.predictions(table, work, rounds),
        "trainings": lambda: process_rows.trainings(work, rounds),
        "runtimes": lambda: runtime_rows.runtimes(table, "densenet121", work, rounds),
        "maps": lambda: map_rows.maps(table, "densenet121", device, rounds),
        "explain": lambda: [
            row for num in (100, 1000) for row in map_rows.boxes(table, "resnet18", work, num)
        ],
        "plain steps": lambda: step_rows.plain_steps(4 if device.type == "cpu" else 20, device, rounds),
        "start": lambda: [data_rows.first_step(HERE.parent / "configs" / "demo.yaml", work)],
        "curves": lambda: curves(HERE.parent / "configs" / "demo.yaml", work),
        "intervals": lambda: intervals(rounds),
    }
    for backbone in ("densenet121", "resnet50", "resnet18"):
        groups[f"step {backbone}"] = partial(step_rows.steps, backbone, batch, per_round, device, rounds)
        if device.type == "cuda" and backbone != "resnet18":
            groups[f"full epoch {backbone}"] = partial(full_epoch, work, device, backbone)
        groups[f"inference {backbone}"] = partial(step_rows.inference, backbone, batch, device, rounds)
    return groups, what


if __name__ == "__main__":
    typer.run(main)
