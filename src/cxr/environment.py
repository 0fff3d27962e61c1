"""What a result depends on beside recipe and data: versions, cxr's commit, machine (imports no torch)."""

import os
import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_PACKAGES = ("cxr", "torch", "torchvision", "numpy", "opencv-python-headless", "scikit-learn")
_GIT_SECONDS = 10


class Environment(BaseModel):
    """What a training ran on; texts are empty, and numbers 0, where they cannot be found out.

    Attributes:
        versions: Of Python, packages, CUDA, cuDNN and the GPU's driver.
        commit: Of cxr's source, where it is run from a checkout.
        is_modified: Whether files of that checkout differ from the commit.
        system: Operating system with its kernel.
        processor: The CPU's model.
        instructions: Which vector instructions PyTorch uses on it, such as AVX512.
        num_cores: That this process may use.
        num_threads: Of PyTorch's sums.
        memory_gb: RAM, in GB of 10^9 bytes.
        device: The GPU, or cpu.
        num_processes: Of the training.
    """

    model_config = ConfigDict(frozen=True)
    versions: dict[str, str] = {}
    commit: str = ""
    is_modified: bool = False
    system: str = ""
    processor: str = ""
    instructions: str = ""
    num_cores: int = 0
    num_threads: int = 0
    memory_gb: float = 0.0
    device: str = ""
    num_processes: int = 1

    def texts(self) -> dict[str, str]:
        """Each fact in words, by its name for a reader."""
        state = " with changed files" if self.is_modified else ""
        facts = {
            "commit of cxr": f"{self.commit}{state}" if self.commit else "",
            "system": self.system,
            "processor": self.processor,
            "instructions": self.instructions,
            "cores": str(self.num_cores or ""),
            "threads": str(self.num_threads or ""),
            "memory, GB": f"{self.memory_gb:.1f}" if self.memory_gb else "",
            "device": self.device,
            "processes": str(self.num_processes),
        }
        return dict(self.versions) | facts


def versions() -> dict[str, str]:
    """Versions that a result depends on; a package that is installed under another name is left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def describe_machine() -> Environment:
    """What is known without PyTorch: versions of packages, commit and machine."""
    commit, is_modified = _read_git()
    return Environment(
        versions=versions(),
        commit=commit,
        is_modified=is_modified,
        system=platform.platform(),
        processor=_read_processor(),
        num_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        memory_gb=round(_read_memory() / 1e9, 1),
    )


@cache
def _read_git() -> tuple[str, bool]:
    """(commit of cxr's source, whether its files differ from it); ("", False) outside a checkout of cxr."""
    here = Path(__file__).resolve()
    # an environment may lie inside a checkout of another project: only a commit that holds this file counts
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return "", False
    commit = _git(here.parent, "rev-parse", "HEAD") or ""
    changed = _git(here.parent, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return commit.strip(), bool(changed)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it is not installed or refuses."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", folder, *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            env=environment,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout


def _read_processor() -> str:
    with suppress(OSError, UnicodeDecodeError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _read_memory() -> int:
    """Bytes of RAM; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
