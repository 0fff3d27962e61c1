"""Predictions of many images, however they are held, in their order."""

from collections.abc import Iterable, Iterator, Sequence

from cxr.api.inputs import Held, list_images, read_square
from cxr.deploy.predict_files import Input
from cxr.deploy.runtime import BATCH_SIZE, Predicted, Runtime, Square, predict_batch
from cxr.errors import CxrError, MissingImageError, UnreadableImageError
from cxr.images.held import HeldImage
from cxr.parallel import map_ahead

Outcome = tuple[Square, Predicted] | CxrError
"""An image and what the model makes of it, or why it cannot be read."""


def predict_images(
    runtime: Runtime,
    images: "HeldImage | Iterable[HeldImage]",
    bits: int | None,
    batch_size: int,
    stop: bool,
) -> Iterator[tuple[str, Outcome]]:
    """(name, outcome) of each image in its order; threads read ahead.

    Raises:
        CxrError: The first image that cannot be read, with `stop`.
    """
    if batch_size < 1:
        raise CxrError(f"batch_size={batch_size}: is not positive", f"batch_size={BATCH_SIZE}")
    preprocess = runtime.facts.preprocess

    def read(image: Input | Held) -> tuple[str, Square | CxrError | None]:
        name = str(image.path) if isinstance(image, Input) else image.name
        return name, read_square(image, preprocess, bits)

    waiting: list[tuple[str, Square | CxrError]] = []
    num_squares = 0
    for name, result in map_ahead(read, list_images(images, bits)):
        if result is None:
            continue
        if stop and isinstance(result, CxrError):
            raise explain_unreadable(result) from None
        waiting.append((name, result))
        # batches are filled as those of `cxr predict`, so that the last bits agree
        num_squares += isinstance(result, Square)
        if num_squares == batch_size:
            yield from _predict_batch(runtime, waiting)
            waiting, num_squares = [], 0
    yield from _predict_batch(runtime, waiting)


def _predict_batch(
    runtime: Runtime, results: Sequence[tuple[str, Square | CxrError]]
) -> Iterator[tuple[str, Outcome]]:
    squares = [result for _, result in results if isinstance(result, Square)]
    # predictions are of the squares alone; names that failed keep their places between them
    predicted = iter(predict_batch(runtime, squares) if squares else ())
    for name, result in results:
        yield name, (result, next(predicted)) if isinstance(result, Square) else result


def explain_unreadable(error: CxrError) -> CxrError:
    """The error of an image with what to do in Python, where no key of a config helps."""
    if not isinstance(error, UnreadableImageError):
        return error
    do = "check the path" if isinstance(error, MissingImageError) else "export the image again"
    hint = f"{do}, or leave it out: predict(images, errors='row') keeps the others"
    return CxrError(error.problems, hint)
