"""Many clients at once: `python -m benchmarks.serve_load --seconds 60`. Nothing else should run.

Prints requests a second beside the rate of batched inference in the same run, statuses, and memory.
"""

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.serve_process import FINDINGS, Process, make_png, read_answer, request, started, write_weights
from cxr.deploy.open_runtime import open_runtime
from cxr.deploy.runtime import BATCH_SIZE, Runtime

_WARM_UP_SECONDS = 3.0
_NUM_IMAGES = 64


@dataclass
class Load:
    """What the clients met."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)


def main(
    seconds: Annotated[float, typer.Option(help="Of the load, after a warm-up.")] = 60.0,
    clients: Annotated[int, typer.Option(help="Connections, each with one request at a time.")] = 32,
    side: Annotated[int, typer.Option(help="Pixels of an image's side.")] = 256,
    run: Annotated[
        Path | None, typer.Option(help="A run or model.onnx; by default ResNet-18 with random weights.")
    ] = None,
) -> None:
    """Load a server and print what came of it as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        model = run or write_weights(Path(folder))
        head_findings = None if run else FINDINGS
        runtime = open_runtime(str(model), "cpu", head_findings)
        requests = [request(make_png(side, seed)) for seed in range(_NUM_IMAGES)]
        before = measure_inference(runtime)
        with started(model, head_findings) as server:
            idle = server.megabytes()
            asyncio.run(_run(server, requests, clients, _WARM_UP_SECONDS))
            load = asyncio.run(_run(server, requests, clients, seconds))
        # once more, as another program may have taken a core meanwhile
        rate = (before + measure_inference(runtime)) / 2
    print(json.dumps(describe(load, seconds, rate, idle), indent=1))


def describe(load: Load, seconds: float, rate: float, idle: float) -> dict[str, object]:
    """The numbers of a load beside the rate of inference and the memory before it."""
    answered = load.statuses["200"] / seconds
    times = np.percentile(load.seconds, [50, 95, 99]).round(3).tolist()
    return {
        "requests a second": round(answered, 1),
        "batched inference, images a second": round(rate, 1),
        "share": round(answered / rate, 3),
        "statuses": dict(load.statuses),
        "seconds at 50, 95, 99 %": times,
        "MB idle": round(idle),
        "MB in the first and the last quarter": [_middle(load.megabytes, 0), _middle(load.megabytes, 3)],
        "MB at most": round(max(load.megabytes)),
        "load average at the end": os.getloadavg()[0],
    }


def _middle(values: list[float], quarter: int) -> int:
    """The median of a quarter of the values: memory goes up and down within each forward pass."""
    length = max(1, len(values) // 4)
    return round(statistics.median(values[quarter * length : (quarter + 1) * length]))


def measure_inference(runtime: Runtime, seconds: float = 5.0) -> float:
    """Images a second of full batches, without decoding and HTTP."""
    size = runtime.facts.preprocess.size
    squares = np.random.default_rng(0).integers(0, 255, (BATCH_SIZE, size, size), np.uint8)
    runtime.predict(squares)
    num_images, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        runtime.predict(squares)
        num_images += BATCH_SIZE
    return num_images / (time.perf_counter() - began)


async def _run(server: Process, requests: list[bytes], clients: int, seconds: float) -> Load:
    load = Load(megabytes=[server.megabytes()])
    end = time.monotonic() + seconds
    work = [_ask(server, requests[number::clients] or requests, end, load) for number in range(clients)]
    await asyncio.gather(_watch(server, end, load), *work)
    return load


async def _watch(server: Process, end: float, load: Load) -> None:
    while time.monotonic() < end:
        await asyncio.sleep(0.2)
        load.megabytes.append(server.megabytes())


async def _ask(server: Process, requests: list[bytes], end: float, load: Load) -> None:
    """One client: a request after the other on one connection; an error is counted and a new one opened."""
    number = 0
    while time.monotonic() < end:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            while time.monotonic() < end:
                began = time.monotonic()
                writer.write(requests[number % len(requests)])
                status, _ = await read_answer(reader)
                load.statuses[str(status)] += 1
                load.seconds.append(time.monotonic() - began)
                number += 1
            writer.close()
        except (OSError, asyncio.IncompleteReadError) as error:
            load.statuses[type(error).__name__] += 1


if __name__ == "__main__":
    typer.run(main)
