"""Status 0 where the container is well: its server answers, or it runs another command than `cxr serve`.

Docker and Kubernetes run it beside the container's first process, whose command line says what is run.
"""

import sys
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

_FIRST_PROCESS = Path("/proc/1/cmdline")
_PORT, _SECONDS = 8000, 3


def is_well(command: Sequence[str]) -> bool:
    """Whether `/healthz` answers, where the command is `cxr serve`."""
    if "serve" not in command:
        return True
    try:
        with urlopen(f"http://127.0.0.1:{read_port(command)}/healthz", timeout=_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False


def read_port(command: Sequence[str]) -> int:
    """The port of `--port N` or `--port=N`, else the server's usual one."""
    words = " ".join(command).replace("--port=", "--port ").split()
    after = [words[place + 1] for place, word in enumerate(words[:-1]) if word == "--port"]
    return int(after[-1]) if after and after[-1].isdecimal() else _PORT


if __name__ == "__main__":
    sys.exit(0 if is_well(_FIRST_PROCESS.read_bytes().decode(errors="replace").split("\0")) else 1)
