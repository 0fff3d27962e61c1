"""`kill -9` at random moments of pack, train and eval; `python -m tests.faults.kills 50` is the long run."""

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr.config import Phantom
from cxr.data.sources.phantom import generate

FILES = {
    "pack": ("pixels.u8", "status.u8", "manifest.json", "images.txt"),
    "train": ("best.safetensors",),
    "eval": ("predictions.csv", "metrics.csv", "report.json", "report.md"),
}
"""What a command must write again byte for byte; log.jsonl holds times, and pictures the ids that Matplotlib draws."""


@dataclass(frozen=True)
class Stage:
    """A command under fire: its arguments, the folder it fills, and what an interrupted one leaves beside that."""

    name: str
    begin: tuple[str, ...]
    folder: Path
    leaves: tuple[Path, ...] = ()

    def go_on(self) -> tuple[str, ...]:
        """The arguments with which a user goes on: training says `--resume` where it has saved something."""
        resumes = self.name == "train" and (self.folder / "last.pt").exists()
        return (*self.begin, "--resume") if resumes else self.begin

    def digest(self) -> str:
        """SHA-256 over the files that it promises."""
        return hashlib.sha256(b"".join((self.folder / name).read_bytes() for name in FILES[self.name])).hexdigest()

    def forget(self) -> None:
        """Remove all that it wrote."""
        for folder in (self.folder, *self.leaves):
            shutil.rmtree(folder, ignore_errors=True)


def stages(home: Path) -> list[Stage]:
    """Pack, train and eval of a generated archive, a few seconds each; each needs the one before it done."""
    generate(home / "nih", Phantom(num_images=160, size=256), 2)
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
    store, run, report = home / "store", home / "run", home / "report"
    return [
        Stage("pack", ("pack", str(recipe)), store, (store.with_name("store.partial"),)),
        Stage("train", ("train", str(recipe)), run),
        Stage("eval", ("eval", str(run), "--out", str(report)), report),
    ]


def kill_at_random(stage: Stage, num_kills: int, draws: random.Random) -> int:
    """Kill the stage so many times, go on after each, and compare; returns how often a whole result was compared.

    Raises:
        AssertionError: A command that did not go on, or other bytes than those of the undisturbed run.
    """
    began = time.monotonic()
    finish(stage.begin)
    seconds, wanted = time.monotonic() - began, stage.digest()
    stage.forget()
    command, compared = stage.begin, 1
    for number in range(num_kills):
        while not _kill(command, draws.uniform(0, seconds)):  # it was faster than the kill
            assert stage.digest() == wanted, f"{stage.name}: other bytes after {number} kills"
            stage.forget()
            command, compared = stage.begin, compared + 1
        command = stage.go_on()
    finish(command)
    assert stage.digest() == wanted, f"{stage.name}: other bytes after {num_kills} kills"
    left = [path.name for path in stage.folder.glob(".*")]
    assert not left, f"{stage.name}: left {left}"
    return compared


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
    """Kill each stage so many times and say what held."""
    with tempfile.TemporaryDirectory() as home:
        for stage in stages(Path(home)):
            compared = kill_at_random(stage, num_kills, random.Random(num_kills))
            print(f"{stage.name}: {num_kills} kills, {compared} results, each byte for byte the undisturbed one")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
