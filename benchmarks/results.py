"""Result files and the tables of benchmarks/README.md."""

import json
import os
import platform
import re
from pathlib import Path

import torch

from benchmarks.timing import Row

HERE = Path(__file__).parent


def machine_of(device: str) -> dict[str, str | int]:
    """Processor, cores, threads and GPU."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    machine: dict[str, str | int] = {
        "cpu": model,
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
    }
    return machine | ({"gpu": torch.cuda.get_device_name()} if device == "cuda" else {})


def result_path(device: str) -> Path:
    """The result file of this machine, such as cpu_amd_epyc.json: another machine's rows are kept beside it."""
    machine = machine_of(device)
    words = re.findall("[a-z0-9]+", re.sub(r"\(\w+\)", "", str(machine.get("gpu", machine["cpu"]))).lower())
    return HERE / f"{device}_{'_'.join(words[:2])}.json"


def table(rows: list[Row]) -> str:
    """The rows of one group as Markdown."""
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


def write_readme() -> None:
    """The table of every result file."""
    text = [
        "# Benchmarks",
        "",
        "Written by `scripts/bench` and `scripts/gpu`. The contenders of a group with ratios take turns. Ratios are to",
        "the first row of the group (medians over the rounds). A machine's date is that of its last call; groups",
        "that this call did not measure keep the rows of earlier ones.",
        "",
    ]
    for path in sorted(HERE.glob("*.json")):
        result = json.loads(path.read_text())
        about = "; ".join(
            f"{key} {value}" for part in ("machine", "versions") for key, value in result[part].items()
        )
        text += [f"## {path.stem}", "", f"{result['date']}. {about}. Images: {result['images']}.", ""]
        rows = [Row(**row) for row in result["rows"]]
        for group in dict.fromkeys(row.group for row in rows):
            text.append(table([row for row in rows if row.group == group]))
    (HERE / "README.md").write_text("\n".join(text))
