"""What one request, and all of them together, may take; who is over a limit is refused, and nothing grows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

RETRY_SECONDS = 2
"""What a busy server tells clients to wait."""


@dataclass(frozen=True)
class Limits:
    """Bounds of the server; images have those of `cxr.images.limits` besides.

    Attributes:
        max_bytes: Of the body of one request.
        max_files: Images of one request.
        max_pixels: Of one image, as its header says.
        seconds: Of one request, from its first byte to the end of its answer.
        idle_seconds: Between two pieces of a request or an answer.
        max_requests: Uploads that are read, wait or are computed at one time.
        max_held_bytes: Of all uploads that are held at one time.
        max_connections: Open connections.
        max_waiting: Decoded images that wait for the model.
        max_batch: Images of one forward pass.
        window_seconds: How long an image waits for others to share its forward pass.
    """

    max_bytes: int = 64 << 20
    max_files: int = 16
    max_pixels: int = 50_000_000
    seconds: float = 60.0
    idle_seconds: float = 10.0
    max_requests: int = 64
    max_held_bytes: int = 256 << 20
    max_connections: int = 256
    max_waiting: int = 256
    max_batch: int = 32
    window_seconds: float = 0.004


class RefusedError(Exception):
    """A request that is not answered: the HTTP status, why, and what to do."""

    def __init__(self, status: int, problem: str, hint: str = "") -> None:
        self.status, self.problem, self.hint = status, problem, hint
        super().__init__(problem)


def too_busy() -> RefusedError:
    """The refusal of a request that may come again in a moment."""
    return RefusedError(503, "the server is busy", f"send it again after {RETRY_SECONDS} seconds")


class Admission:
    """Counts the uploads that are held, and refuses those for which there is no room."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.num_requests = self.num_bytes = 0

    @contextmanager
    def admit(self) -> Iterator["Held"]:
        """Room for one upload while the body runs.

        Raises:
            RefusedError: 503, too many uploads are held.
        """
        if self.num_requests >= self.limits.max_requests:
            raise too_busy()
        self.num_requests += 1
        held = Held(self)
        try:
            yield held
        finally:
            self.num_requests -= 1
            held.release()


class Held:
    """The bytes that are held of one upload."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._num_bytes = 0

    def add(self, num_bytes: int) -> None:
        """Count bytes before they are kept.

        Raises:
            RefusedError: 413, the upload is too large; 503, all uploads together are.
        """
        limits = self._admission.limits
        if self._num_bytes + num_bytes > limits.max_bytes:
            raise too_large(limits)
        if self._admission.num_bytes + num_bytes > limits.max_held_bytes:
            raise too_busy()
        self._num_bytes += num_bytes
        self._admission.num_bytes += num_bytes

    def release(self) -> None:
        """Count them no longer."""
        self._admission.num_bytes -= self._num_bytes
        self._num_bytes = 0


def too_large(limits: Limits) -> RefusedError:
    """The refusal of an upload above the limit of one request."""
    return RefusedError(413, f"the upload is larger than {limits.max_bytes:,} bytes", "send fewer images")
