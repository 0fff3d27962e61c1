"""A local HTTP server of files, which can be told to misbehave; what it was asked is kept."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """What is served, and how.

    Attributes:
        files: Content by path.
        cuts: For each of the next answers, after how many bytes the connection is cut; None sends it whole.
        stall: Seconds that a cut answer waits before it ends.
        ranges: Whether parts of a file are served.
        lie: Bytes by which a part begins elsewhere than asked for.
        tags: ETag by path.
        statuses: Statuses of the next answers, in place of files.
        kind: Content type.
        redirects: Address by path.
        asked: (path, Range, If-Range) of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int | None] = field(default_factory=list)
    stall: float = 0.0
    ranges: bool = True
    lie: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    kind: str = "application/gzip"
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    url: str = ""


def _make_handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted, version = self.headers.get("Range", ""), self.headers.get("If-Range", "")
            server.asked.append((self.path, wanted, version))
            if server.statuses:
                return self._answer(server.statuses.pop(0), b"busy", {})
            if self.path in server.redirects:
                return self._answer(302, b"", {"Location": server.redirects[self.path]})
            if self.path not in server.files:
                return self._answer(404, b"", {})
            content, tag = server.files[self.path], server.tags.get(self.path, "")
            headers = {"Content-Type": server.kind} | ({"ETag": tag} if tag else {})
            is_same = not version or version == tag
            if wanted and server.ranges and is_same:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    return self._answer(416, b"", {})
                start -= server.lie
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                return self._answer(206, content[start:], headers)
            return self._answer(200, content, headers)

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            cut = server.cuts.pop(0) if server.cuts and status in (200, 206) else None
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:cut])
            if cut is not None:
                self.wfile.flush()
                time.sleep(server.stall)
            self.close_connection = True

    return Handler


@contextmanager
def serve() -> Iterator[Server]:
    """A server on a free port of this machine, until the body ends."""
    server = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(server))
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
