from collections.abc import Iterator

import pytest

from cxr.download import fetch
from tests.helpers.server import Server, serve


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A local server, and no waiting between attempts."""
    monkeypatch.setattr(fetch, "WAITS", (0.0, 0.0, 0.0))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serve() as running:
        yield running
