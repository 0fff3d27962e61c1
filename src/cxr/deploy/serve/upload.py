"""The body of a request -> the bytes of its images, piece by piece, in memory alone.

FastAPI's own forms are not used: they write large parts into temporary files. Here no byte reaches the disk,
the limits hold before a body is complete, and of a file name only is read whether there is one.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from cxr.deploy.serve.limits import Held, Limits, RefusedError, too_large

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_FORM = b"multipart/form-data"


async def read_upload(
    pieces: AsyncIterator[bytes], headers: Mapping[str, str], held: Held, limits: Limits
) -> list[bytearray]:
    """The images of a request: each file of a form, an empty one too, or else the body as one image.

    Args:
        pieces: Of the body, as they arrive.
        headers: Of the request.
        held: Where bytes are counted.
        limits: Of one request.

    Raises:
        RefusedError: 400, no such form; 408, the client is too slow; 413, too many bytes or images; 503.
    """
    kind, options = parse_options_header(headers.get("content-type"))
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > limits.max_bytes:
        raise too_large(limits)
    files = _Form(options.get(b"boundary", b""), limits) if kind == _FORM else _Whole()
    try:
        async for piece in _in_time(pieces, limits.idle_seconds):
            held.add(len(piece))
            files.add(piece)
    except FormParserError:
        raise RefusedError(
            400, "the form is damaged", "send multipart/form-data, or one image as the body"
        ) from None
    if not files.is_whole:
        raise RefusedError(400, "the form is cut off", "send it again")
    if not any(files.images):
        raise RefusedError(400, "the request holds no image", "send an image as the body, or a form of files")
    # an empty file stays and gets an error: the client knows the answers by the order of its files
    return files.images


async def read_one(
    pieces: AsyncIterator[bytes], headers: Mapping[str, str], held: Held, limits: Limits
) -> bytearray:
    """The only image of a request, as `read_upload`.

    Raises:
        RefusedError: 400, there are several; and as `read_upload`.
    """
    images = await read_upload(pieces, headers, held, limits)
    if len(images) > 1:
        problem = f"the request holds {len(images)} files, and this endpoint takes one"
        raise RefusedError(400, problem, "send a request for each image")
    return images[0]


async def _in_time(pieces: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    """The pieces, each within so many seconds of the one before.

    Raises:
        RefusedError: 408.
    """
    while True:
        try:
            async with asyncio.timeout(seconds):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise RefusedError(408, "the request did not arrive in time", "send it again") from None
        if piece is None:
            return
        yield piece


class _Whole:
    """A body that is one image."""

    is_whole = True

    def __init__(self) -> None:
        self.images = [bytearray()]

    def add(self, piece: bytes) -> None:
        self.images[0] += piece


class _Form:
    """The files of a form; its other fields are passed over.

    A part is a file where it has a file name, or states a kind of content that is no text.
    """

    def __init__(self, boundary: bytes, limits: Limits) -> None:
        if not boundary:
            raise RefusedError(400, "the form names no boundary", "let the client library build the form")
        self.images: list[bytearray] = []
        self.is_whole = False
        # of the part that is being read
        self._headers: list[tuple[bytearray, bytearray]] = []
        self._is_file = False
        self._max_files = limits.max_files
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_begin": self._begin_header,
            "on_header_field": self._name_header,
            "on_header_value": self._fill_header,
            "on_headers_finished": self._begin_content,
            "on_part_data": self._keep,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def add(self, piece: bytes) -> None:
        self._parser.write(piece)

    def _begin(self) -> None:
        self._headers.clear()

    def _begin_header(self) -> None:
        self._headers.append((bytearray(), bytearray()))

    def _name_header(self, data: bytes, start: int, end: int) -> None:
        self._headers[-1][0].extend(data[start:end])

    def _fill_header(self, data: bytes, start: int, end: int) -> None:
        self._headers[-1][1].extend(data[start:end])

    def _begin_content(self) -> None:
        headers = {bytes(name).lower(): bytes(value) for name, value in self._headers}
        _, options = parse_options_header(headers.get(b"content-disposition"))
        kind, _ = parse_options_header(headers.get(b"content-type", b"text/plain"))
        self._is_file = b"filename" in options or not kind.startswith(b"text/")
        if not self._is_file:
            return
        if len(self.images) == self._max_files:
            raise RefusedError(413, f"more than {self._max_files} images in one request", "send fewer images")
        self.images.append(bytearray())

    def _keep(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.images[-1] += memoryview(data)[start:end]

    def _end(self) -> None:
        self.is_whole = True
