"""Hostile clients: `python -m benchmarks.serve_hostile --garbage 10000`. Prints what the server did as JSON.

Slow clients, cut connections, garbage, images that grow when they are decoded, and names that are paths, all
beside a good client, who must be answered throughout.
"""

import asyncio
import json
import os
import random
import struct
import tempfile
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.serve_process import Process, make_png, read_answer, request, started, write_weights

_AT_ONCE = 16
_NAMES = ("../../../etc/cron.d/x", "/etc/passwd", "..\\..\\x.png", "a\0b.png", "x" * 4000)


def main(
    garbage: Annotated[
        int, typer.Option(help="Uploads of noise, damaged forms and damaged images.")
    ] = 10_000,
    slow: Annotated[int, typer.Option(help="Clients that send a byte a second.")] = 100,
) -> None:
    """Attack a server and print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        weights = write_weights(Path(folder))
        os.environ["TMPDIR"] = str(Path(folder, "temporary"))  # of the server: it must stay empty
        Path(folder, "temporary").mkdir()
        with started(weights) as server:
            found = asyncio.run(_attack(server, garbage, slow))
        found["files written"] = len(list(Path(folder, "temporary").iterdir()))
    print(json.dumps(found, indent=1))


@dataclass
class Good:
    """A client that sends an image after the other while the others attack."""

    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    is_over: bool = False

    async def ask(self, server: Process, png: bytes) -> None:
        """Ask until it is over."""
        while not self.is_over:
            began = time.monotonic()
            self.statuses[await _send(server, request(png))] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)


async def _attack(server: Process, num_garbage: int, num_slow: int) -> dict[str, object]:
    png, good = make_png(256, 0), Good()
    asking = asyncio.create_task(good.ask(server, png))
    await asyncio.sleep(3)
    before = server.megabytes()
    found: dict[str, object] = {}
    drips = [asyncio.create_task(_drip(server)) for _ in range(num_slow)]
    found["names that are paths"] = await _send_all(server, [_name(name, png) for name in _NAMES])
    found["bombs"] = await _send_all(server, [request(_bomb(side)) for side in (9_000, 60_000)] * 10)
    await asyncio.gather(*(_cut(server, png, number) for number in range(200)))
    draw = random.Random(0)
    found["garbage"] = await _send_all(server, [_garbage(draw, png) for _ in range(num_garbage)])
    found["slow clients that were let go"] = sum(await asyncio.gather(*drips))
    good.is_over = True
    await asking
    found["good client"] = {"statuses": dict(good.statuses), "slowest seconds": round(good.slowest, 2)}
    found["MB before and after"] = [round(before), round(server.megabytes())]
    return found


async def _send(server: Process, data: bytes) -> int:
    """The status of an answer; 0 where the connection ends without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(data)
        return (await read_answer(reader))[0]
    except (OSError, asyncio.IncompleteReadError):
        return 0
    finally:
        writer.close()


async def _send_all(server: Process, uploads: list[bytes]) -> dict[int, int]:
    """How often each status came; some uploads at a time."""
    statuses: Counter[int] = Counter()
    waiting = iter(uploads)

    async def work() -> None:
        for data in waiting:
            statuses[await _send(server, data)] += 1

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    return dict(statuses)


async def _drip(server: Process) -> bool:
    """Send a byte a second; whether the server ends the connection within half a minute."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    end = asyncio.ensure_future(reader.read(1))
    for byte in request(bytes(100))[:30]:
        writer.write(bytes([byte]))
        await asyncio.wait([end], timeout=1)
        if end.done():
            break
    is_over = end.done()
    writer.close()
    await asyncio.gather(end, return_exceptions=True)
    return is_over


async def _cut(server: Process, png: bytes, number: int) -> None:
    """Send a part of a request and go."""
    data = request(png)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data[: len(data) * number // 200])
    writer.transport.abort()


def _garbage(draw: random.Random, png: bytes) -> bytes:
    """Noise, a damaged form, a damaged image, or no HTTP at all."""
    noise = draw.randbytes(draw.randrange(1, 2000))
    kind = draw.randrange(4)
    if kind == 0:
        return request(noise)
    if kind == 1:
        return request(b"--x\r\n" + noise, "multipart/form-data; boundary=x")
    if kind == 2:
        damaged = bytearray(png)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        return request(bytes(damaged))
    return noise + b"\r\n\r\n"


def _bomb(side: int) -> bytes:
    """A PNG of so many pixels a side in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
        + chunk(b"IEND", b"")
    )


def _name(name: str, png: bytes) -> bytes:
    """A form with a file of this name."""
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return request(head.encode() + png + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")


if __name__ == "__main__":
    typer.run(main)
