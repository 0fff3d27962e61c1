"""Images of many requests -> one forward pass, then the next; what waits is bounded."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from cxr.arrays import Float32
from cxr.deploy.runtime import Runtime
from cxr.deploy.serve.limits import Limits, too_busy
from cxr.images.grey import Grey


@dataclass(frozen=True)
class Result:
    """What the model makes of one image.

    Attributes:
        probabilities: [C] the model's own.
        score: Of the OOD detector; None where there is none.
        maps: [C, h, w] class activation maps; None where they were not asked for.
    """

    probabilities: list[float]
    score: float | None
    maps: Float32 | None


@dataclass(frozen=True)
class _Waiting:
    square: Grey
    has_maps: bool
    result: "asyncio.Future[Result]" = field(default_factory=asyncio.Future)


class Batcher:
    """One thread computes batches; while it computes one, the next gathers.

    Attributes:
        num_batches: Forward passes until now.
        num_images: Images in them.
    """

    def __init__(self, runtime: Runtime, limits: Limits) -> None:
        self._runtime, self._limits = runtime, limits
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(limits.max_waiting)
        self._thread = ThreadPoolExecutor(1, "model")  # a runtime takes one call at a time
        self.num_batches = self.num_images = 0

    @property
    def num_waiting(self) -> int:
        """Images that no forward pass has taken yet."""
        return self._waiting.qsize()

    def warm_up(self) -> None:
        """Compute one image and a full batch, whose memory the libraries then keep; not while it runs."""
        size = self._runtime.facts.preprocess.size
        for num_images in (1, self._limits.max_batch):
            self._runtime.predict(np.zeros((num_images, size, size), np.uint8))

    async def predict(self, square: Grey, has_maps: bool = False) -> Result:
        """The model's result of a prepared image uint8 [S, S].

        Raises:
            RefusedError: 503, too many images wait.
        """
        waiting = _Waiting(square, has_maps)
        try:
            self._waiting.put_nowait(waiting)
        except asyncio.QueueFull:
            raise too_busy() from None
        return await waiting.result

    async def run(self) -> None:
        """Compute until the task is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                batch = [waiting for waiting in await self._gather() if not waiting.result.done()]
                if not batch:  # whose clients have gone meanwhile
                    continue
                try:
                    results = await loop.run_in_executor(self._thread, self._compute, batch)
                except Exception as error:  # of any kind: the requests fail, the server goes on
                    _fail(batch, error)
                    continue
                for waiting, result in zip(batch, results, strict=True):
                    if not waiting.result.done():
                        waiting.result.set_result(result)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _gather(self) -> list[_Waiting]:
        """The first image that waits, and those that come within the window."""
        batch = [await self._waiting.get()]
        if self._waiting.empty():
            await asyncio.sleep(self._limits.window_seconds)
        while len(batch) < self._limits.max_batch and not self._waiting.empty():
            batch.append(self._waiting.get_nowait())
        return batch

    def _compute(self, batch: Sequence[_Waiting]) -> list[Result]:
        answers = self._runtime.predict(np.stack([waiting.square for waiting in batch]))
        self.num_batches += 1
        self.num_images += len(batch)
        scores = [None] * len(batch) if answers.scores is None else answers.scores.tolist()
        return [
            Result(probabilities, scores[number], answers.read_maps(number) if waiting.has_maps else None)
            for number, (waiting, probabilities) in enumerate(
                zip(batch, answers.probabilities.tolist(), strict=True)
            )
        ]


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.result.done():
            waiting.result.set_exception(error)
