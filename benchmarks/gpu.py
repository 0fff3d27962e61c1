"""Everything that only a GPU can show, in one command: `scripts/gpu`.

Groups run in the order of their importance, each saved as soon as it is done. A group that would not end in time is
left out, and one that fails is noted; both are named in the result and on the terminal. Where the result file is of the
same machine and versions, the groups that it has as done are kept, so that several short calls make one result.
"""

import importlib.metadata
import json
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.gpu_rows import (
    Sizes,
    commands,
    cuda_tests,
    epoch_rows,
    inference_rows,
    plain_training,
    sizes_of,
    step_rows_of,
)
from benchmarks.results import HERE, machine_of, table, write_readme
from benchmarks.timing import Row
from cxr.files import write_text

_RESERVE = 10.0  # seconds kept for the end
ANCHORS = {
    "DenseNet-121 training, RTX 3090, images/s (timm's tables)": 914,
    "DenseNet-121 inference, RTX 4090, eager, images/s (timm's tables)": 3896,
    "DenseNet-121 inference, RTX 4090, compiled, images/s (timm's tables)": 6209,
    "DenseNet-121 training, H100, batch 256, eager, images/s (by counting)": "2,800 to 3,300",
    "DenseNet-121 training, H100, batch 256, compiled, images/s (by counting)": "3,900 to 4,600",
    "DenseNet-121 training, H100, batch 16, graphs, images/s (by counting)": "2,000 to 2,800",
}
"""What the rows can be held against; none of it was measured here."""


@dataclass(frozen=True)
class Group:
    """Rows that are measured together.

    Attributes:
        name: Of the group.
        seconds: What it takes at most, on a GPU and on a CPU, by which it is left out.
        work: Measures it.
    """

    name: str
    seconds: tuple[float, float]
    work: Callable[[], list[Row]]


def groups_of(sizes: Sizes, folder: Path) -> list[Group]:
    """All groups, most important first."""
    first, second = sizes.backbones
    large, medium, small = sizes.batches

    def steps(backbone: str, batch: int, kinds: Sequence[str]) -> Callable[[], list[Row]]:
        return lambda: step_rows_of(sizes, backbone, batch, kinds)

    eager = ("bf16, eager", "fp32 as the reproductions", "fp16, eager", "bf16, grey stem")
    compiled, both, graphs = ("bf16, compiled",), ("bf16, compiled with CUDA graphs",), ("bf16, CUDA graphs",)
    groups = [
        Group(f"steps, {first}, {large}", (65, 12), steps(first, large, eager)),
        Group(f"steps, {first}, {small}, CUDA graphs", (20, 0), steps(first, small, graphs)),
        Group(f"steps, {first}, {large}, CUDA graphs", (15, 0), steps(first, large, graphs)),
        Group(f"steps, {first}, {medium}, CUDA graphs", (15, 0), steps(first, medium, graphs)),
        Group(f"steps, {first}, {small}", (45, 6), steps(first, small, eager)),
        Group("tests", (75, 15), lambda: cuda_tests(sizes)),
        Group("commands, CUDA graphs", (75, 0), lambda: commands(sizes, folder, "CUDA graphs")),
        Group("commands, eager", (110, 30), lambda: commands(sizes, folder, "eager")),
        Group("plain script", (110, 30), lambda: plain_training(sizes, folder)),
        Group("inference", (30, 6), lambda: inference_rows(sizes)),
        Group("epoch, CUDA graphs", (100, 0), lambda: epoch_rows(sizes, folder, "CUDA graphs")),
        Group(f"steps, {first}, {large}, compiled", (80, 110), steps(first, large, compiled)),
        Group(f"steps, {first}, {small}, compiled", (100, 110), steps(first, small, both)),
        Group(f"steps, {second}, {large}", (50, 12), steps(second, large, eager)),
        Group(f"steps, {second}, {large}, CUDA graphs", (20, 0), steps(second, large, graphs)),
        Group(f"steps, {first}, {medium}", (50, 8), steps(first, medium, eager)),
        Group("epoch, eager", (120, 12), lambda: epoch_rows(sizes, folder, "eager")),
        Group("epoch, compiled", (110, 110), lambda: epoch_rows(sizes, folder, "compiled")),
        Group("commands, compiled", (120, 120), lambda: commands(sizes, folder, "compiled")),
        Group("commands, compiled with CUDA graphs", (120, 120),
              lambda: commands(sizes, folder, "compiled with CUDA graphs")),
        Group(f"steps, {second}, {medium}", (50, 8), steps(second, medium, eager)),
        Group(f"steps, {second}, {small}", (50, 6), steps(second, small, eager)),
        Group(f"steps, {second}, {small}, CUDA graphs", (20, 0), steps(second, small, graphs)),
        Group(f"steps, {first}, {medium}, compiled", (200, 110), steps(first, medium, compiled + both)),
        Group(f"steps, {second}, compiled", (200, 180), steps(second, large, compiled)),
        Group(f"steps, {second}, {small}, compiled", (100, 110), steps(second, small, both)),
    ]  # fmt: skip
    is_cuda = sizes.device.type == "cuda"
    return [group for group in groups if is_cuda or not group.name.endswith(", CUDA graphs")]


def main(
    minutes: Annotated[float, typer.Option(help="Time for everything; what does not fit is left out.")] = 9.0,
    device: Annotated[str, typer.Option(help="cuda, or cpu, which runs the same small.")] = "cuda",
    out: Annotated[
        Path | None, typer.Option(help="JSON file; benchmarks/gpu_CARD.json if not given.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="Groups to run, by the start of their names, with ; between.")
    ] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what the file has.")] = False,
) -> None:
    """Measure, and save after each group."""
    begun = time.monotonic()
    _name_this_version()
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "error: --device cuda: torch sees no GPU\nhint: --device cpu runs the same program small"
        )
    machine = machine_of(device)
    path = out or HERE / f"{_file_name(str(machine.get('gpu', 'cpu')))}.json"
    if fresh:
        path.unlink(missing_ok=True)
    result = Result(path, machine, torch.device(device))
    with tempfile.TemporaryDirectory() as folder:
        for group in groups_of(sizes_of(torch.device(device)), Path(folder)):
            if only and not group.name.startswith(tuple(only.split(";"))):
                continue
            if result.is_done(group):
                print(f"kept: {group.name}: done before, and in {path}")
                continue
            left = 60 * minutes - _RESERVE - (time.monotonic() - begun)
            result.run(group, left, group.seconds[device == "cpu"])
    for what, figure in ANCHORS.items():
        print(f"beside it: {what}: {figure}")
    print(f"{path}: {result.summary()} in {(time.monotonic() - begun) / 60:.1f} min")
    if path.parent == HERE:
        write_readme()
    raise SystemExit(1 if result.failed else 0)


class Result:
    """The result file, written again after each group."""

    def __init__(self, path: Path, machine: dict[str, str | int], device: torch.device) -> None:
        self.path, self.machine, self.device = path, machine, device
        self.groups: dict[str, dict[str, str | float]] = {}
        self.rows: dict[str, list[Row]] = {}
        self._take_over()

    def _take_over(self) -> None:
        """Keep the groups that were done on the same machine with the same versions."""
        from cxr.environment import versions

        if not self.path.exists():
            return
        before = json.loads(self.path.read_text())
        if before["machine"] != self.machine or before["versions"] != versions():
            return
        rows = iter(before["rows"])  # in the order of the groups
        for group in before["groups"]:
            own = [Row(**next(rows)) for _ in range(group["num_rows"])]
            if group["became"] == "done":
                self.groups[group["name"]], self.rows[group["name"]] = group, own

    def is_done(self, group: Group) -> bool:
        """Whether the file has the group's rows."""
        return self.groups.get(group.name, {}).get("became") == "done"

    @property
    def failed(self) -> list[str]:
        """Names of the groups that failed."""
        return [str(group["name"]) for group in self.groups.values() if group["became"] == "failed"]

    def run(self, group: Group, left: float, needed: float) -> None:
        """Run one group if it fits into the seconds that are left."""
        if needed > left:
            print(f"left out: {group.name}: takes up to {needed:.0f} s, and {max(0.0, left):.0f} s are left")
            self._note(group, {"became": "left out"}, [])
            return
        begun, why = time.monotonic(), ""
        try:
            new = group.work()
        except (Exception, SystemExit):  # one group must not cost those after it
            new, why = [], traceback.format_exc()
        seconds = time.monotonic() - begun
        became = "failed" if why else "done"
        note: dict[str, str | float] = {"became": became, "seconds": round(seconds, 1)}
        self._note(group, note | ({"why": why[-12_000:]} if why else {}), new)
        print(f"{became}: {group.name}, {seconds:.0f} s\n{why}")
        for name in dict.fromkeys(row.group for row in new):
            print(table([row for row in new if row.group == name]), flush=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def summary(self) -> str:
        """How many groups became what."""
        kinds = [str(group["became"]) for group in self.groups.values()]
        return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))

    def _note(self, group: Group, note: dict[str, str | float], rows: list[Row]) -> None:
        self.groups[group.name] = {"name": group.name, "num_rows": len(rows), **note}
        self.rows[group.name] = rows
        self._save()

    def _save(self) -> None:
        from cxr.environment import versions

        result = {
            "machine": self.machine,
            "images": "generated",
            "versions": versions(),
            "date": str(date.today()),
            "groups": list(self.groups.values()),
            "anchors": ANCHORS,
            "rows": [asdict(row) for rows in self.rows.values() for row in rows],
        }
        write_text(self.path, json.dumps(result, indent=1) + "\n")


def _file_name(card: str) -> str:
    return "gpu_" + "".join(letter if letter.isalnum() else "_" for letter in card.lower())


def _name_this_version() -> None:
    """Let importlib find cxr's version where it runs from its source tree and is not installed."""
    try:
        importlib.metadata.version("cxr")
    except importlib.metadata.PackageNotFoundError:
        version = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]["version"]
        folder = Path(tempfile.mkdtemp()) / f"cxr-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: cxr\nVersion: {version}\n")
        sys.path.append(str(folder.parent))


if __name__ == "__main__":
    typer.run(main)
