"""The whole benchmark: one run, one table, one JSON file with machine, versions and spread."""

import json
import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks import data_rows, step_rows
from benchmarks.curves import curves
from benchmarks.full_epoch import full_epoch
from benchmarks.statistics_rows import intervals
from benchmarks.timing import Row
from cxr.data.residence import place
from cxr.model.checkpoint import versions

HERE = Path(__file__).parent


def main(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    only: Annotated[str, typer.Option(help="Groups to run, by the start of their names, comma-separated.")] = "",
    rounds: Annotated[int, typer.Option(help="Counted rounds of every race.")] = 5,
    save: Annotated[bool, typer.Option(help="Write the JSON file and the table.")] = True,
) -> None:
    """Measure and print; results go to benchmarks/<device>.json and benchmarks/README.md."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        groups, what = _groups(torch.device(device), Path(folder), rounds)
        for name, group in groups.items():
            if not only or name.startswith(tuple(only.split(","))):
                new = group()
                rows += new
                print(_table(new), flush=True)
    if save:
        about = {"machine": _machine(device), "images": what, "versions": versions(), "date": str(date.today())}
        path = HERE / f"{device}.json"
        kept = _other_rows(path, about["machine"], {row.group for row in rows}) if only else []
        path.write_text(json.dumps(about | {"rows": kept + [asdict(row) for row in rows]}, indent=1) + "\n")
        _write_readme()


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
        return [row for name, num, size in sizes for row in step_rows.epoch(name, pixels, size, device, rounds, num)]

    groups: dict[str, Callable[[], list[Row]]] = {
        "decode": lambda: data_rows.decode_and_pack(table, work, rounds),
        "memory": lambda: [data_rows.pack_memory(table, work, 2000)],
        "loader": lambda: data_rows.loaders(table, work, rounds),
        "epoch": epochs,
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


def _machine(device: str) -> dict[str, str | int]:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    machine: dict[str, str | int] = {"cpu": model, "cores": os.cpu_count() or 1, "threads": torch.get_num_threads()}
    return machine | ({"gpu": torch.cuda.get_device_name()} if device == "cuda" else {})


def _table(rows: list[Row]) -> str:
    lines = [
        f"| {rows[0].group} | median | lowest | highest | unit | ratio | |",
        "| --- | ---: | ---: | ---: | --- | ---: | --- |",
    ]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        digits = 4 if row.median < 1 else 1 if row.median >= 3 else 2
        figures = " | ".join(f"{value:,.{digits}f}" for value in (row.median, row.low, row.high))
        lines.append(f"| {row.name} | {figures} | {row.unit} | {ratio} | {row.note} |")
    return "\n".join(lines) + "\n"


def _write_readme() -> None:
    """The table of every result file."""
    text = [
        "# Benchmarks",
        "",
        "Written by `scripts/bench`: every group is one race, its contenders taken in turn; ratios are to the first",
        "row of the group (medians over the rounds).",
        "",
    ]
    for path in sorted(HERE.glob("*.json")):
        result = json.loads(path.read_text())
        about = "; ".join(f"{key} {value}" for part in ("machine", "versions") for key, value in result[part].items())
        text += [f"## {path.stem}", "", f"{result['date']}. {about}. Images: {result['images']}.", ""]
        rows = [Row(**row) for row in result["rows"]]
        for group in dict.fromkeys(row.group for row in rows):
            text.append(_table([row for row in rows if row.group == group]))
    (HERE / "README.md").write_text("\n".join(text))


if __name__ == "__main__":
    typer.run(main)
