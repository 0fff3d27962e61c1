"""A command as a process of its own: how it ended and the most memory it held."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


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
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=os.environ | {"COLUMNS": "300"})
        deadline = time.monotonic() + seconds
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                process.kill()
                raise AssertionError(f"{' '.join(command[2:5])} ... hangs")
            time.sleep(0.05)
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        texts = [(file.seek(0), file.read().decode(errors="replace"))[1] for file in (out, err)]
    return Ended(process.returncode, texts[0], texts[1], ended[2].ru_maxrss * 1024)
