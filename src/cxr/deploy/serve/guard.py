"""What every request passes before any endpoint: whose name it calls, where it comes from, and its token."""

import asyncio
import hmac
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cxr.deploy.serve.counters import Requests
from cxr.deploy.serve.limits import RETRY_SECONDS, Limits, RefusedError
from cxr.streams import complain

Message = MutableMapping[str, Any]  # as ASGI has them
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_OPEN_PATHS = frozenset(("/", "/healthz", "/readyz"))
"""Without a token: they tell nothing of the model or of images."""

PAGE = "/page/"
_CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (b"cache-control", b"no-store"),
]


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        token: What a client must show; empty for none.
        names: Host names that clients may call the server by, besides localhost.
        is_exposed: Whether clients on other machines may call it by its address.
    """

    token: str = ""
    names: frozenset[str] = frozenset()
    is_exposed: bool = False

    def check_host(self, host: str) -> None:
        """Refuse a name that is not the server's, as a page elsewhere uses whose name was turned to us.

        An address in numbers is no such name: a browser sends the name that it looked up.

        Raises:
            RefusedError: 421.
        """
        name = split_host(host)
        if name == "localhost" or name in self.names:
            return
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            pass
        else:
            if address.is_loopback or self.is_exposed:
                return
        raise RefusedError(421, "the server has another name", "cxr serve --allow-host NAME lets a name in")

    def check_token(self, authorization: str) -> None:
        """Refuse a request without the token.

        Raises:
            RefusedError: 401.
        """
        scheme, _, shown = authorization.partition(" ")
        # compared whole, so that the time does not tell how much of it is right
        is_right = hmac.compare_digest(shown.strip().encode(), self.token.encode())
        if self.token and not (scheme.lower() == "bearer" and is_right):
            raise RefusedError(
                401, "the token is missing or wrong", "send the header Authorization: Bearer TOKEN"
            )


def split_host(host: str) -> str:
    """The name of a Host header, without its port, in small letters; empty where it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def check_origin(headers: dict[str, str]) -> None:
    """Refuse a request that a page of another origin makes; programs send no origin.

    Raises:
        RefusedError: 403.
    """
    scheme, _, place = headers.get("origin", "").partition("://")
    is_same = "origin" not in headers or (scheme in ("http", "https") and place == headers.get("host"))
    if not is_same or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise RefusedError(403, "the request comes from a page of another origin")


class Guard:
    """An ASGI application before another: checks, time limit, headers, counts; an error tells no details."""

    def __init__(
        self, app: App, access: Access, limits: Limits, requests: Requests, paths: frozenset[str]
    ) -> None:
        self._app, self._access, self._limits, self._requests = app, access, limits, requests
        self._paths = paths

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request; of other kinds only the start and the end of the server are known."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        began, status, is_sent = time.monotonic(), 0, False

        async def send_guarded(message: Message) -> None:
            nonlocal status, is_sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            else:
                is_sent = not message.get("more_body", False)
            await send(message)

        try:
            async with asyncio.timeout(self._limits.seconds):
                self._check(scope)
                # HEAD is answered as GET is; uvicorn, which knows the method, leaves the body out
                is_head = scope["method"] == "HEAD"
                await self._app({**scope, "method": "GET"} if is_head else scope, receive, send_guarded)
        except Exception as error:
            refused = _explain(error)
            if not status:
                await _refuse(refused, send_guarded)
            elif not is_sent:  # the answer has begun: all that is left is to cut it
                raise
        finally:
            # other paths are what clients make up, and would be counted without end
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._requests.count(path, status, time.monotonic() - began)

    def _check(self, scope: Message) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"]
        self._access.check_host(headers.get("host", ""))
        if path not in _OPEN_PATHS and not path.startswith(PAGE):
            self._access.check_token(headers.get("authorization", ""))
        if scope["method"] not in ("GET", "HEAD"):
            check_origin(headers)


def _explain(error: Exception) -> RefusedError:
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, TimeoutError):
        return RefusedError(503, "the request took too long", "send fewer or smaller images")
    # 499 is what nginx calls a client that has gone; nobody reads the answer
    if type(error).__name__ == "ClientDisconnect":
        return RefusedError(499, "the client has gone")
    report(error)
    return RefusedError(500, "internal error")


def report(error: BaseException) -> None:
    """Tell the kind of an error and where it arose; its text may hold what a client sent."""
    place = "?"
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    complain(f"error: serve: internal error: {type(error).__name__} at {place}")


async def _refuse(refused: RefusedError, send: Send) -> None:
    body = json.dumps({"error": refused.problem, "hint": refused.hint}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.status == 503:
        headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
