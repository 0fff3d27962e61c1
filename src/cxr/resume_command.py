"""The command that goes on where one has stopped, as it can be pasted into a shell."""

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cxr.errors import Interrupted
from cxr.streams import complain


def command(*arguments: str | Path) -> str:
    """`cxr ARGUMENT...`, called as this process was called, with whatever needs it in quotes."""
    return shlex.join([*_program(), *map(str, arguments)])


def _program() -> list[str]:
    called = Path(sys.argv[0])
    processes, here = (os.environ.get(name, "1") for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if "TORCHELASTIC_RUN_ID" in os.environ and processes == here:
        return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", here, "-m", "cxr"]
    if called.name == "__main__.py" and called.parent.name == "cxr":
        return [sys.executable, "-m", "cxr"]
    found = shutil.which("cxr")
    is_elsewhere = called.name == "cxr" and not (found and Path(found).resolve() == called.resolve())
    return [str(called)] if is_elsewhere else ["cxr"]


@contextmanager
def print_resume_command(again: Callable[[], str]) -> Iterator[None]:
    """Say on stderr how to go on where a signal ends the body; `again` gives the command.

    Raises:
        Interrupted: Also for Ctrl-C.
    """
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        stop = error if isinstance(error, Interrupted) else Interrupted(signal.SIGINT)
        complain(f"stopped{' and saved' if stop.saved else ''}; go on with: {again()}")
        stop.said = True
        raise stop from None
