"""A server of a run on a free port of this machine, in a thread; httpx asks it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from cxr.deploy.open_runtime import open_runtime
from cxr.deploy.runtime import Facts, Runtime
from cxr.deploy.serve.app import Server
from cxr.deploy.serve.guard import Access
from cxr.deploy.serve.limits import Limits
from cxr.deploy.serve.model import describe_model
from cxr.deploy.serve.server import listen, prepare


@dataclass(frozen=True)
class Serving:
    """A server at work.

    Attributes:
        url: Its address, without a slash at the end.
        client: Asks it.
        server: What it counts.
        runtime: Its model.
    """

    url: str
    client: httpx.Client
    server: Server
    runtime: Runtime

    @property
    def facts(self) -> Facts:
        return self.runtime.facts


@contextmanager
def serving(
    run: Path, limits: Limits | None = None, access: Access | None = None, runtime: Runtime | None = None
) -> Iterator[Serving]:
    """A server, until the body ends; requests that are under way then are still answered."""
    limits = limits or Limits()
    runtime = runtime or open_runtime(str(run), "cpu")
    server = Server(describe_model(str(run), runtime.facts), runtime, limits, access or Access())
    listening = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    has_begun = threading.Event()
    program = prepare(server, limits, has_begun.set)
    thread = threading.Thread(target=program.run, args=([listening],))
    thread.start()
    try:
        assert has_begun.wait(20)
        with httpx.Client(base_url=url, timeout=20) as client:
            yield Serving(url, client, server, runtime)
    finally:
        program.should_exit = True
        thread.join()
        listening.close()
