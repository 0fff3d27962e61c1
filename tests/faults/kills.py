"""`kill -9` at random moments of pack, train, eval and predict; `python -m tests.faults.kills 50` is the long run.

After each kill the very same command is given again: it goes on, or names the command that does.
"""

import hashlib
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr.config.schema import Phantom
from cxr.phantom.dataset import generate

FILES = {
    "pack": ("pixels.u8", "rows.npz", "manifest.json", "images.txt"),
    "train": ("best.safetensors",),
    "eval": ("predictions.csv", "metrics.csv", "report.json", "report.md", "figures/roc.png"),
    "predict": ("*.png",),
}
"""What a command must write again byte for byte; log.jsonl holds times, last.pt and SVG files what torch and Matplotlib
draw at random."""

GO_ON = "; resume with: "


@dataclass(frozen=True)
class Stage:
    """A command under fire: its arguments, the folder it fills, and what an interrupted one leaves beside that."""

    name: str
    begin: tuple[str, ...]
    folder: Path
    leaves: tuple[Path, ...] = ()

    def digest(self) -> str:
        """SHA-256 over the files that it promises."""
        files = [path for name in FILES[self.name] for path in sorted(self.folder.glob(name))]
        assert len(files) >= len(FILES[self.name])
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()

    def forget(self) -> None:
        """Remove all that it wrote."""
        for folder in (self.folder, *self.leaves):
            shutil.rmtree(folder, ignore_errors=True)


def stages(home: Path, num_images: int = 120, size: int = 256) -> list[Stage]:
    """The commands on a generated archive, a few seconds each; each needs the one before it done."""
    generate(home / "nih", Phantom(num_images=num_images, size=size), 2)
    recipe = home / "tiny.yaml"
    recipe.write_text(
        f"data: {{source: nih, root: {home / 'nih'}}}\n"
        "image: {store_size: 64, size: 64}\n"
        f"store: {{path: {home / 'store'}}}\n"
        f"out: {home / 'run'}\n"
        "model: {backbone: resnet18, weights: none}\n"
        "train: {epochs: 2, batch_size: 8, precision: fp32, save_every: 4}\n"
        "eval: {draws: 100}\n"
    )
    store, run, report, maps = (home / name for name in ("store", "run", "report", "maps"))
    images = sorted(map(str, (home / "nih" / "images").iterdir()))[:20]
    return [
        Stage(
            "pack",
            ("pack", str(recipe)),
            store,
            (store.with_name("store.partial"), store.with_name("store.lock")),
        ),
        Stage("train", ("train", str(recipe)), run),
        Stage("eval", ("eval", str(run), "--out", str(report)), report),
        Stage("predict", ("predict", str(run), *images, "--heatmaps", str(maps)), maps),
    ]


@dataclass
class Outcome:
    """How often a killed stage gave a whole result that was compared, and how often it named the command to go on."""

    compared: int = 0
    named: int = 0


def kill_at_random(stage: Stage, num_kills: int, draws: random.Random) -> Outcome:
    """Kill the stage so many times, give the same command after each, and compare.

    Raises:
        AssertionError: A command that neither went on nor named one that does; other bytes than those of the
            undisturbed run; temporary files that are left in any folder.
    """
    if num_kills > 1:  # the first time reads libraries from the disk, and would put many kills after the end
        finish(stage.begin)
        stage.forget()
    began = time.monotonic()
    finish(stage.begin)
    seconds, wanted = time.monotonic() - began, stage.digest()
    stage.forget()
    command, outcome = stage.begin, Outcome()
    for number in range(num_kills):
        while not _kill(command, draws.uniform(0, seconds)):  # it was faster than the kill
            _compare(stage, wanted, number)
            stage.forget()
            command, outcome.compared = stage.begin, outcome.compared + 1
        command = _same_or_named(stage, outcome)
    finish(command)
    _compare(stage, wanted, num_kills)
    outcome.compared += 1
    return outcome


def _compare(stage: Stage, wanted: str, num_kills: int) -> None:
    assert stage.digest() == wanted, f"{stage.name}: other bytes after {num_kills} kills"
    left = [
        str(path)
        for path in stage.folder.parent.rglob("*")
        if path.name.startswith(".") or ".tmp" in path.suffixes
    ]
    left += [str(path) for path in stage.leaves if path.exists()]
    assert not left, f"{stage.name}: left {left} after {num_kills} kills"


def _same_or_named(stage: Stage, outcome: Outcome) -> tuple[str, ...]:
    """The same command, or the one that it names where a run is in the folder already."""
    if stage.name != "train" or not (stage.folder / "last.pt").exists():
        return stage.begin
    refused = subprocess.run(_command(stage.begin), capture_output=True, text=True, check=False)
    assert refused.returncode == 2, refused.stderr
    program = shlex.split(refused.stderr.splitlines()[-1].partition(GO_ON)[2])
    assert program[:3] == [sys.executable, "-m", "cxr"], refused.stderr
    outcome.named += 1
    return tuple(program[3:])


def _kill(arguments: Sequence[str], seconds: float) -> bool:
    """Start a command and kill it after so many seconds; False if it had ended well by then."""
    process = subprocess.Popen(_command(arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return process.returncode == -signal.SIGKILL
    assert process.returncode == 0, errors.decode()
    return False


def finish(arguments: Sequence[str]) -> None:
    """Run a command to its end."""
    ended = subprocess.run(_command(arguments), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "cxr", *arguments]


def main(num_kills: int) -> None:
    """Kill each stage so many times and print the table of docs/reliability.md."""
    print("| command | kills | whole results compared | named the command that goes on | minutes |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as home:
        for stage in stages(Path(home)):
            began = time.monotonic()
            outcome = kill_at_random(stage, num_kills, random.Random(num_kills))
            minutes = (time.monotonic() - began) / 60
            named = str(outcome.named) if stage.name == "train" else "not needed"
            print(
                f"| `cxr {stage.name}` | {num_kills} | {outcome.compared} | {named} | {minutes:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
