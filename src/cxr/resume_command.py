"""The command that resumes a stopped one, as it can be pasted into a shell."""

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
    # 1. by torchrun on this machine alone; for several machines its command cannot be known
    num_processes, num_here = os.environ.get("WORLD_SIZE", "1"), os.environ.get("LOCAL_WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in os.environ and num_processes == num_here:
        return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", num_here, "-m", "cxr"]
    # 2. by `python -m cxr`
    if called.name == "__main__.py" and called.parent.name == "cxr":
        return [sys.executable, "-m", "cxr"]
    # 3. by a path to a cxr that is not the one a shell finds
    found = shutil.which("cxr")
    is_found = found is not None and Path(found).resolve() == called.resolve()
    return [str(called)] if called.name == "cxr" and not is_found else ["cxr"]


@contextmanager
def print_resume_command(make_command: Callable[[], str]) -> Iterator[None]:
    """Print to stderr how to resume where a signal ends the body; `make_command` gives the command.

    Raises:
        Interrupted: Also for Ctrl-C.
    """
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        stop = error if isinstance(error, Interrupted) else Interrupted(signal.SIGINT)
        complain(f"stopped{' and saved' if stop.saved else ''}; resume with: {make_command()}")
        stop.is_reported = True
        raise stop from None
