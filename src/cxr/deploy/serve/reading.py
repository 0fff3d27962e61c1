"""The bytes of an upload -> a square for the model, in a few threads."""

import asyncio
import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO

from cxr.deploy.serve.limits import Limits, RefusedError
from cxr.errors import CxrError, UnavailableFileError, UnreadableImageError
from cxr.images.box import Box
from cxr.images.dicom.detect import is_dicom, load_pydicom
from cxr.images.dicom.header import read_upload_header
from cxr.images.grey import Grey
from cxr.images.prepare import Preprocess, kept_box, prepare
from cxr.images.read import decode
from cxr.images.validate import Claim, validate

_NAME = "image"  # stands for every upload: no name of a client's file is known here
_NUM_THREADS = 2


@dataclass(frozen=True)
class Picture:
    """An image that was read.

    Attributes:
        square: uint8 [S, S], as the model takes it.
        grey: uint8 [H, W]; None where it was not asked for.
        width, height: Of the image in pixels.
        place: Where the square lies on the image, in its pixels; padding lies outside.
        notes: What is remarkable.
        view: PA, AP, lateral or what a DICOM header says besides; empty where none does.
        study: A name of the DICOM study, which only this server's process gives it; empty without one.
    """

    square: Grey
    grey: Grey | None
    width: int
    height: int
    place: Box
    notes: tuple[str, ...]
    view: str
    study: str


class Reader:
    """Decodes uploads in a fixed number of threads."""

    def __init__(self, preprocess: Preprocess, limits: Limits) -> None:
        self._preprocess, self._limits = preprocess, limits
        self._threads = ThreadPoolExecutor(_NUM_THREADS, "decode")
        # without it, who knows a study's UID could look for it in answers that were kept
        self._salt = secrets.token_bytes(16)

    async def read(self, data: bytes | bytearray, has_grey: bool = False) -> Picture | CxrError:
        """The image, or why it cannot be read.

        Raises:
            RefusedError: 503, there is no memory, or decoding does not end in time; its thread stays taken
                until it does.
        """
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self._read, data, has_grey)
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await work
        except TimeoutError:
            raise RefusedError(503, "decoding the image takes too long", "send a smaller image") from None

    def stop(self) -> None:
        """Begin no more decoding."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, data: bytes | bytearray, has_grey: bool) -> Picture | CxrError:
        data = bytes(data)
        notes: list[str] = []
        try:
            view, study = self._check(data)
            grey = decode(data, _NAME, self._preprocess.intensity, notes.append)
        except (MemoryError, UnavailableFileError):
            raise RefusedError(503, "there is no memory for the image", "send it again later") from None
        except CxrError as error:
            return error
        height, width = grey.shape
        return Picture(
            square=prepare(grey, self._preprocess),
            grey=grey if has_grey else None,
            width=width,
            height=height,
            place=place_square(grey, self._preprocess),
            notes=tuple(dict.fromkeys(notes)),
            view=view,
            study=study and hashlib.blake2b(study.encode(), key=self._salt, digest_size=6).hexdigest(),
        )

    def _check(self, data: bytes) -> tuple[str, str]:
        """(view, study UID) of a DICOM file, empty of others; sizes are checked before anything is decoded.

        Raises:
            UnreadableImageError: More pixels than the limit.
        """
        if not is_dicom(data, _NAME):
            claim = validate(data)
            if isinstance(claim, Claim):
                self._check_pixels(claim.width, claim.height)
            return "", ""
        load_pydicom(_NAME)
        header = read_upload_header(BytesIO(data))
        self._check_pixels(header.columns, header.rows)
        return header.view, header.study

    def _check_pixels(self, width: int, height: int) -> None:
        if width * height > self._limits.max_pixels:
            reason = (
                f"image of {width:,} x {height:,} pixels is larger than {self._limits.max_pixels:,} pixels"
            )
            raise UnreadableImageError(_NAME, reason)


def place_square(grey: Grey, preprocess: Preprocess) -> Box:
    """Where the model's square lies on an image [H, W]: all that `prepare` keeps, and its padding outside."""
    kept = kept_box(grey, preprocess)
    if preprocess.fit == "squash":
        return kept
    sides = kept.width, kept.height
    side = max(sides) if preprocess.fit == "pad" else min(sides)
    # a padded square begins outside the image, a cropped one inside: both are in the middle
    left, top = int((kept.width - side) / 2), int((kept.height - side) / 2)
    return Box(kept.x + left, kept.y + top, side, side)
