"""A command as a process of its own: how it ended and the most memory it held."""

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

# Linux counts into a process's peak what the one that started it held, so a small one stands between
_LAUNCH = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as report:
    report.write(f"{code} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}")
"""


@dataclass(frozen=True)
class Ended:
    """Exit status, both outputs, and the peak of its resident memory."""

    code: int
    out: str
    err: str
    peak_bytes: int


def run_cxr(*arguments: str | Path, seconds: float = 300) -> Ended:
    """Run `cxr`; one that is not done after so many seconds is killed and is an error."""
    command = [sys.executable, "-m", "cxr", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        report, out, err = (Path(folder) / name for name in ("report", "out", "err"))
        with out.open("wb") as out_file, err.open("wb") as err_file:
            launcher = subprocess.Popen(
                [sys.executable, "-c", _LAUNCH, report, *command],
                stdout=out_file,
                stderr=err_file,
                env=os.environ | {"COLUMNS": "300"},
                start_new_session=True,
            )
            try:
                launcher.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(launcher.pid, signal.SIGKILL)
                launcher.wait()
                raise AssertionError(f"{' '.join(command[2:5])} ... hangs") from None
        code, peak_kib = map(int, report.read_text().split())
        return Ended(code, out.read_text(errors="replace"), err.read_text(errors="replace"), peak_kib * 1024)
