"""The socket, connections and end of a server: what stands between the application and the network."""

import asyncio
import errno
import json
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cxr.deploy.serve.app import Server
from cxr.deploy.serve.limits import RETRY_SECONDS, Limits, too_busy
from cxr.errors import CxrError
from cxr.signals import StopRequest, catch_signals

_BACKLOG = 128
_REFUSED_SECONDS = 1.0
"""That a connection is kept after its refusal, for the client to read it."""
_BUSY_BODY = json.dumps({"error": (_busy := too_busy()).problem, "hint": _busy.hint}).encode()
_BUSY = (
    f"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: {RETRY_SECONDS}\r\n"
    f"content-length: {len(_BUSY_BODY)}\r\nconnection: close\r\n\r\n"
).encode() + _BUSY_BODY


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes any free one.

    Raises:
        CxrError: The port is in use or not allowed, or the host is none of this machine's.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
    except OSError:
        raise CxrError(
            f"--host {host}: is no address of this machine", "leave --host out for this machine alone"
        ) from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise _explain(error, host, port) from None
    return listening


def _explain(error: OSError, host: str, port: int) -> CxrError:
    if error.errno == errno.EADDRINUSE:
        hint = "end it, name another port with --port, or --port 0 for any free one"
        return CxrError(f"--port {port}: another program uses it", hint)
    if error.errno in (errno.EACCES, errno.EPERM):
        return CxrError(f"--port {port}: is not allowed", "name a port above 1023")
    return _not_here(host)


def _not_here(host: str) -> CxrError:
    hint = "leave --host out for this machine alone"
    return CxrError(f"--host {host}: is no address of this machine", hint)


def address_of(listening: socket.socket, host: str) -> str:
    """The address for a browser."""
    port = listening.getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def prepare(server: Server, limits: Limits, begin: Callable[[], None]) -> uvicorn.Server:
    """What serves until a signal, or until `should_exit`; then it finishes the requests that are there.

    Args:
        server: The application.
        limits: Of connections and times.
        begin: Called when requests are answered.
    """
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi", "python_multipart", "asyncio"):
        # their messages may hold what a client sent; the guard tells what goes wrong
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    config = uvicorn.Config(
        server.app,
        http=_make_protocol(limits),
        ws="none",
        lifespan="on",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=16 << 10,
        timeout_graceful_shutdown=round(limits.seconds),
    )
    return _Uvicorn(config, begin)


class _Uvicorn(uvicorn.Server):
    """uvicorn with cxr's signals: a first one ends it in order, a second one at once."""

    def __init__(self, config: uvicorn.Config, begin: Callable[[], None]) -> None:
        super().__init__(config)
        self._begin = begin
        self._stop = StopRequest(second_ends=True)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with catch_signals(second_ends=True) as self._stop:
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begin()

    async def on_tick(self, counter: int) -> bool:
        self.should_exit = self.should_exit or self._stop.signal is not None
        return await super().on_tick(counter)


def _make_protocol(limits: Limits) -> type[H11Protocol]:
    """Uvicorn's connection, which ends where its client sends no request or takes no answer.

    uvicorn waits for ever for the first line of a request, and for a client that does not read.
    """
    refused: set[asyncio.Transport] = set()

    class Watched(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._idle_since = self.loop.time()
            self._unsent = 0
            if len(self.connections) > limits.max_connections:
                self.connections.discard(self)
                self._refuse(transport)
                return
            self._watch = self.loop.call_later(limits.idle_seconds / 2, self._look)

        def _refuse(self, transport: asyncio.Transport) -> None:
            """Answer 503 at once; where many are refused already, close without an answer."""
            if len(refused) >= limits.max_connections:
                transport.abort()
                return
            refused.add(transport)
            transport.write(_BUSY)
            transport.write_eof()
            # not at once: what arrives after the end would take the answer away from the client
            self.loop.call_later(_REFUSED_SECONDS, transport.abort)

        def data_received(self, data: bytes) -> None:
            if self.transport not in refused:
                super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            refused.discard(self.transport)
            super().connection_lost(exc)
            if hasattr(self, "_watch"):
                self._watch.cancel()

        def on_response_complete(self) -> None:
            self._idle_since = self.loop.time()
            super().on_response_complete()

        def _look(self) -> None:
            """Cut the connection where nothing moves, else look again later."""
            is_asking = self.cycle is not None and not self.cycle.response_complete
            unsent = self.transport.get_write_buffer_size()
            is_stuck = bool(unsent) and unsent == self._unsent
            is_idle = not is_asking and self.loop.time() - self._idle_since > limits.idle_seconds
            if is_stuck or is_idle:
                self.transport.abort()
                return
            self._unsent = unsent
            self._watch = self.loop.call_later(limits.idle_seconds / 2, self._look)

    return Watched
