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
