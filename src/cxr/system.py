"""What only some operating systems have; elsewhere each has a stand-in, so that every command starts."""

import errno
import os

# Flags of `os.open`; Windows lacks them, and closes files in child processes anyway.
O_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
O_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
O_NONBLOCK = getattr(os, "O_NONBLOCK", 0)


def lock_file(descriptor: int, wait: bool) -> None:
    """Lock an open file for this process, until it is closed.

    Args:
        descriptor: Of the file.
        wait: Whether to wait for another process that holds the lock.

    Raises:
        BlockingIOError: Another process holds it.
        OSError: The file system, or the operating system, has no such locks.
    """
    try:
        import fcntl
    except ImportError:
        raise OSError(errno.ENOTSUP, "no locks on this system") from None
    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def limit_memory(num_bytes: int) -> None:
    """Limit the address space of this process, where the operating system can."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))


def resident_bytes(process: int | None = None) -> int:
    """Memory of a process, by default this one, as Linux tells it; 0 elsewhere, or where it has ended."""
    try:
        with open(f"/proc/{process or 'self'}/statm", encoding="ascii") as file:
            num_pages = int(file.read().split()[1])
    except OSError:
        return 0
    import resource  # not on Windows

    return num_pages * resource.getpagesize()
