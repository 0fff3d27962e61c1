"""Numbers about the server for Prometheus, in its text form; no number names a client or a file."""

import time
from collections import Counter

from cxr.deploy.serve.limits import Admission
from cxr.deploy.serve.service import Service
from cxr.system import resident_bytes

_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds up to which requests are counted together."""

KIND = "text/plain; version=0.0.4; charset=utf-8"


class Requests:
    """Counts of requests by endpoint and status, and how long they took."""

    def __init__(self) -> None:
        self.began = time.time()
        self._by_status: Counter[tuple[str, int]] = Counter()
        self._by_bound: Counter[float] = Counter()
        self._seconds = 0.0

    def count(self, path: str, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        self._by_status[path, status] += 1
        self._seconds += seconds
        self._by_bound.update(bound for bound in _BOUNDS if seconds <= bound)

    @property
    def num(self) -> int:
        """Requests until now."""
        return self._by_status.total()

    def render(self) -> list[str]:
        """Their lines."""
        lines = ["# TYPE cxr_requests_total counter"]
        for (path, status), num in sorted(self._by_status.items()):
            lines.append(f'cxr_requests_total{{path="{path}",status="{status}"}} {num}')
        lines.append("# TYPE cxr_request_seconds histogram")
        lines += [
            f'cxr_request_seconds_bucket{{le="{bound:g}"}} {self._by_bound[bound]}' for bound in _BOUNDS
        ]
        lines.append(f'cxr_request_seconds_bucket{{le="+Inf"}} {self.num}')
        lines.append(f"cxr_request_seconds_sum {self._seconds:.6f}")
        lines.append(f"cxr_request_seconds_count {self.num}")
        return lines


def render(requests: Requests, service: Service, admission: Admission) -> str:
    """All numbers."""
    batcher = service.batcher
    lines = requests.render()
    for name, kind, value in (
        ("cxr_images_total", "counter", service.num_images),
        ("cxr_images_unreadable_total", "counter", service.num_unreadable),
        ("cxr_batches_total", "counter", batcher.num_batches),
        ("cxr_batch_images_total", "counter", batcher.num_images),
        ("cxr_images_waiting", "gauge", batcher.num_waiting),
        ("cxr_uploads_held", "gauge", admission.num_requests),
        ("cxr_upload_bytes_held", "gauge", admission.num_bytes),
        ("process_resident_memory_bytes", "gauge", resident_bytes()),
        ("process_start_time_seconds", "gauge", round(requests.began, 3)),
    ):
        lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
    return "\n".join(lines) + "\n"
