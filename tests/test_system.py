"""What Linux alone has is not needed to start: a stand-in for macOS and Windows, on which nothing here was tested."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxr.system import limit_memory, lock_file

WITHOUT_LINUX = """
import contextlib, ctypes, importlib, io, os, pkgutil, signal, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for module, names in ((signal, ("SIGHUP", "SIGKILL", "SIGPIPE")), (os, ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK",
                      "memfd_create", "sysconf", "sched_getaffinity", "fork", "getuid"))):
    for name in names:
        delattr(module, name)
import cxr.cli
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    cxr.cli.main(["--help"])
for module in pkgutil.walk_packages(cxr.__path__, "cxr."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
cxr.cli.main(["phantom", sys.argv[1], "--images", "4", "--size", "32"])
"""


def test_every_module_starts_and_files_are_written_without_what_linux_alone_has(tmp_path: Path) -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LINUX, str(tmp_path / "p")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode, done.stdout) == (0, f"4 images in {tmp_path / 'p'}\n"), done.stderr


def test_a_lock_is_held_until_its_file_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        lock_file(first.fileno(), wait=False)
        with pytest.raises(BlockingIOError):
            lock_file(second.fileno(), wait=False)
        first.close()
        lock_file(second.fileno(), wait=False)


def test_without_locks_the_error_is_that_of_a_file_system_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(OSError, match="no locks on this system"):
        lock_file(0, wait=True)
    monkeypatch.setitem(sys.modules, "resource", None)
    limit_memory(1)  # would end the tests if it were obeyed
