"""A `cxr serve` of random ResNet-18 weights in a process of its own, and raw requests to it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torchvision.models import resnet18

from cxr.system import resident_bytes

FINDINGS = "nih14"


@dataclass(frozen=True)
class Process:
    """A server at work."""

    process: "subprocess.Popen[str]"
    port: int

    def megabytes(self) -> float:
        """Memory that it holds now."""
        return resident_bytes(self.process.pid) / 1e6


def write_weights(folder: Path) -> Path:
    """A file of random weights."""
    torch.manual_seed(0)
    path = folder / "resnet18.pth"
    torch.save(resnet18(weights=None, num_classes=14).state_dict(), path)
    return path


@contextmanager
def started(run: Path, head_findings: str | None = FINDINGS) -> Iterator[Process]:
    """The server of a run or a weight file, until the body ends; it must then stop in order."""
    options = ["--head-findings", head_findings] if head_findings else []
    command = [sys.executable, "-m", "cxr", "serve", str(run), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        address = process.stdout.readline().rpartition(" at ")[2]
        yield Process(process, int(address.strip().strip("/").rpartition(":")[2]))
    finally:
        process.terminate()
        status = process.wait(90)
        print(f"stopped with status {status}: {process.stdout.read().strip()}")


def make_png(side: int, seed: int) -> bytes:
    """A smooth image, as hard to decode as a radiograph."""
    coarse = np.random.default_rng(seed).integers(0, 255, (side // 8, side // 8), np.uint8)
    smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".png", smooth)[1].tobytes()


def request(body: bytes, kind: str = "image/png", path: str = "/predict") -> bytes:
    """The bytes of a POST request."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """(status, body) of an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    # without a length the answer ends with the connection
    body = await reader.readexactly(int(length)) if length else await reader.read()
    return int(head[9:12]), body
