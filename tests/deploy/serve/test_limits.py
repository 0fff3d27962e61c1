"""What hostile, slow and too many clients meet; after each the server goes on."""

import json
import os
import random
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from cxr.deploy.runtime import Answers, Facts, Runtime
from cxr.deploy.serve.limits import Limits
from cxr.images.grey import Grey
from tests.helpers.serving import Serving, serving

STRICT = Limits(max_bytes=100_000, max_files=3, max_pixels=1_000_000, idle_seconds=0.4, max_requests=2)


@pytest.fixture(scope="module")
def strict(wary: Path) -> Iterator[Serving]:
    with serving(wary, STRICT) as server:
        yield server


@contextmanager
def connection(served: Serving) -> Iterator[socket.socket]:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as made:
        yield made


def read_to_end(client: socket.socket) -> bytes:
    answer = b""
    while piece := client.recv(1000):
        answer += piece
    return answer


def head(length: int, *lines: str) -> bytes:
    more = "".join(f"{line}\r\n" for line in lines)
    return f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def still_answers(served: Serving, png: bytes) -> bool:
    answer = served.client.post("/predict", content=png)
    admission = served.server.admission
    return answer.status_code == 200 and (admission.num_requests, admission.num_bytes) == (0, 0)


def test_an_upload_is_refused_before_it_is_read_where_it_says_how_long_it_is(
    strict: Serving, png: bytes
) -> None:
    with connection(strict) as client:
        client.sendall(head(10**12))
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    assert still_answers(strict, png)


def test_an_upload_is_refused_as_soon_as_it_is_too_long(strict: Serving, png: bytes) -> None:
    with connection(strict) as client:
        client.sendall(head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        for _ in range(20):  # 200 kB of an upload without an end
            client.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    assert still_answers(strict, png)


def test_more_files_than_allowed_are_refused(strict: Serving, png: bytes) -> None:
    answer = strict.client.post("/predict", files=[("files", png)] * 4)
    assert answer.status_code == 413 and answer.json()["error"] == "more than 3 images in one request"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", head(50_000) + b"few"])
def test_a_client_that_stops_is_let_go(strict: Serving, png: bytes, sent: bytes) -> None:
    with connection(strict) as client:
        client.sendall(sent)
        answer = client.recv(100)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
    assert still_answers(strict, png)


def test_clients_that_cut_their_connection_leave_nothing_behind(strict: Serving, png: bytes) -> None:
    for length in range(1, len(png), max(1, len(png) // 20)):
        with connection(strict) as client:
            client.sendall(head(len(png)) + png[:length])
    time.sleep(0.1)
    assert still_answers(strict, png)


def bomb(width: int, height: int) -> bytes:
    """A PNG of so many pixels in few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes(min(width * height, 10_000_000)))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("side", "limit"), [(60_000, "100,000,000"), (2_000, "1,000,000")])
def test_an_image_that_grows_when_it_is_decoded_is_refused_before(
    strict: Serving, png: bytes, side: int, limit: str
) -> None:
    image = strict.client.post("/predict", content=bomb(side, side)).json()["images"][0]
    assert f"is larger than {limit} pixels" in image["error"]
    assert still_answers(strict, png)


def test_garbage_of_every_kind_is_refused_and_does_no_harm(strict: Serving, png: bytes) -> None:
    draw = random.Random(0)
    for number in range(60):
        data = bytearray(draw.randbytes(draw.randrange(1, 3000)))
        if number % 3 == 1:
            data = bytearray(png)
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        kind = draw.choice(["multipart/form-data; boundary=x", "image/png", "multipart/form-data", ";;="])
        if number % 3 == 2:
            data = bytearray(b"--x\r\n") + data
        answer = strict.client.post("/predict", content=bytes(data), headers={"Content-Type": kind})
        assert answer.status_code in (200, 400, 413), answer.text
    assert still_answers(strict, png)


_written: list[str] | None = None


def _note_writing(event: str, arguments: tuple[object, ...]) -> None:
    """Note every file that is opened for writing, made or removed, while `_written` is a list."""
    if _written is None:
        return
    if (
        event == "open"
        and isinstance(arguments[2], int)
        and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    ):
        _written.append(f"open {arguments[0]!r}")
    elif event in ("os.mkdir", "os.remove", "os.rename", "tempfile.mkstemp"):
        _written.append(event)


sys.addaudithook(_note_writing)


def test_no_name_of_a_client_is_a_path_and_nothing_is_written(
    served: Serving, png: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    global _written
    names = [
        "../../../etc/passwd",
        "/etc/passwd",
        "..\\x.png",
        "con",
        "a\0b.dcm",
        "SECRET^NAME.png",
        "x" * 3000,
    ]
    large = png + bytes(3_000_000)  # more than a form keeps in memory by default
    _written = []
    try:
        for name in names:
            answer = served.client.post("/predict", files=[("files", (name, png)), ("files", (name, large))])
            assert answer.json()["images"][0]["error"] == "" and name not in answer.text
        assert _written == []
    finally:
        _written = None
    said = capfd.readouterr()
    assert "SECRET" not in said.out + said.err


class Blocked:
    """A runtime that waits until it is let go, or that fails."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.may_go, self.has_begun = threading.Event(), threading.Event()
        self.error: Exception | None = None

    @property
    def facts(self) -> Facts:
        return self._runtime.facts

    def predict(self, squares: Grey) -> Answers:
        self.has_begun.set()
        assert self.may_go.wait(20)
        if self.error:
            raise self.error
        return self._runtime.predict(squares)


def test_a_full_server_says_when_to_come_again_and_a_stop_finishes_what_has_begun(
    served: Serving, wary: Path, png: bytes
) -> None:
    blocked, answers = Blocked(served.runtime), list[int]()
    with serving(wary, replace(STRICT, max_requests=1), runtime=blocked) as full:

        def ask() -> None:
            answers.append(httpx.post(f"{full.url}/predict", content=png, timeout=20).status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        assert blocked.has_begun.wait(10)
        with httpx.Client(base_url=full.url) as other:
            refused = other.post("/predict", content=png)
            assert refused.status_code == 503 and refused.headers["retry-after"] == "2"
            assert other.get("/readyz").status_code == 503 and other.get("/healthz").status_code == 200
        threading.Timer(0.3, blocked.may_go.set).start()
    asking.join()
    assert answers == [200]
    with pytest.raises(httpx.ConnectError):
        httpx.get(full.url)


def test_an_error_of_ours_tells_no_details_and_stops_nothing(
    served: Serving, wary: Path, png: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    failing = Blocked(served.runtime)
    failing.may_go.set()
    failing.error = RuntimeError("SECRET")
    with serving(wary, runtime=failing) as server:
        answer = server.client.post("/predict", content=png)
        assert (answer.status_code, answer.json()["error"]) == (500, "internal error")
        failing.error = None
        assert still_answers(server, png)
    said = capfd.readouterr().err
    assert "RuntimeError at" in said and "SECRET" not in said


def test_a_request_that_takes_too_long_is_ended(served: Serving, wary: Path, png: bytes) -> None:
    slow = Blocked(served.runtime)
    with serving(wary, replace(STRICT, seconds=0.5), runtime=slow) as server:
        answer = server.client.post("/predict", content=png)
        assert (answer.status_code, answer.json()["error"]) == (503, "the request took too long")
        slow.may_go.set()
        assert still_answers(server, png)


def test_connections_above_the_limit_are_told_to_come_again_and_then_closed(wary: Path, png: bytes) -> None:
    with serving(wary, replace(STRICT, max_connections=2, idle_seconds=5)) as served, ExitStack() as kept:
        opened = [kept.enter_context(connection(served)) for _ in range(5)]
        for refused in opened[2:4]:
            refused.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = read_to_end(refused)
            assert answer.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: 2\r\n" in answer
            body = answer.partition(b"\r\n\r\n")[2]
            assert json.loads(body)["error"] == "the server is busy"
        assert opened[4].recv(100) == b""  # refused, and as many are refused already
        kept.close()
        assert still_answers(served, png)
