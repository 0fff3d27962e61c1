"""Any image file -> grey pixels [H, W], by OpenCV, and for DICOM by pydicom."""

import os
import stat
from pathlib import Path

from cxr.errors import MissingImageError, UnavailableFileError, UnreadableImageError, is_system_error
from cxr.images.decode import decode_plain, decode_tiff, name_unsupported
from cxr.images.decoder_messages import capture_messages, find_damage_in
from cxr.images.dicom.detect import is_dicom, load_pydicom
from cxr.images.grey import Grey, Intensity, to_grey
from cxr.images.kinds import JPEG, PNG
from cxr.images.large_images import image_memory, reserve_memory
from cxr.images.limits import MAX_BYTES
from cxr.images.notes import Note, ignore_note, note_constant
from cxr.images.tiff_header import TIFF
from cxr.images.validate import NO_IMAGE, validate
from cxr.system import O_CLOEXEC

_RAW_SUFFIXES = (".img", ".raw")
_RAW_ADVICE = ": pixels without a header, perhaps, as in the files of JSRT; save it as PNG"


def read_file(path: Path, intensity: Intensity = "bit-depth", note: Note = ignore_note) -> Grey:
    """Grey pixels [H, W] of a PNG, JPEG, TIFF or DICOM file, upright; the content tells which, not the name.

    Args:
        path: The file.
        intensity: As in Preprocess.
        note: Called with a sentence for everything remarkable: a constant image, a DICOM file of another
        modality.

    Raises:
        UnreadableImageError: Missing, empty, truncated, corrupt or oversized files, and other kinds of file.
        UnavailableFileError: No permission, too many open files, a failing disk: nothing is known about the
        file.
        CxrError: A DICOM file, and pydicom is not installed.
    """
    with image_memory():
        try:
            facts = path.stat()
            if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
                raise UnreadableImageError(path, "is a pipe or a device")  # reading it might never end
            if facts.st_size > MAX_BYTES:
                reason = f"file of {facts.st_size:,} bytes is larger than {MAX_BYTES:,} bytes"
                raise UnreadableImageError(path, reason)
            reserve_memory(facts.st_size)
            data = _read_bytes(path, facts.st_size)  # no more than that, should the file grow
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingImageError(path, error.strerror or "no such file") from None
        except OSError as error:
            if is_system_error(error):
                raise UnavailableFileError(path, error) from None
            raise UnreadableImageError(path, error.strerror or "cannot be read") from None
        return decode(data, path, intensity, note)


def _read_bytes(path: Path, num_bytes: int) -> bytes:
    """The first bytes of a file, in a third of the time of `path.open`, which counts for small files."""
    descriptor = os.open(path, os.O_RDONLY | O_CLOEXEC)
    try:
        data = os.read(descriptor, num_bytes)
        # a network's file system may give fewer bytes than asked for; none at all is the file's end
        while len(data) < num_bytes and (more := os.read(descriptor, num_bytes - len(data))):
            data += more
    finally:
        os.close(descriptor)
    return data


def decode(
    data: bytes, name: Path | str, intensity: Intensity = "bit-depth", note: Note = ignore_note
) -> Grey:
    """Grey pixels [H, W] of an encoded image; `name` is for errors, its suffix for DICOM without preamble.

    Raises:
        As `read_file`.
    """
    with image_memory():
        if not data.startswith((PNG, JPEG)) and is_dicom(data, name):
            load_pydicom(name)
            from cxr.images.dicom.decode import decode_dicom  # imports pydicom, which is optional

            grey = decode_dicom(data, name, intensity, note)
        else:
            grey = _decode_plain_image(data, name, intensity)
        note_constant(grey, note)
        return grey


def _decode_plain_image(data: bytes, name: Path | str, intensity: Intensity) -> Grey:
    """Grey pixels [H, W] of a PNG, JPEG or TIFF file."""
    # 1. before anything is decoded: the kind, the end, checksums, and the size in memory
    claim = validate(data)
    if isinstance(claim, str):
        is_raw = claim == NO_IMAGE and Path(name).suffix.lower() in _RAW_SUFFIXES
        raise UnreadableImageError(name, claim + (_RAW_ADVICE if is_raw else ""))
    reserve_memory(claim.num_bytes)

    # 2. the decoder, and what it prints
    with capture_messages() as messages:
        pixels = decode_tiff(data) if data.startswith(TIFF) else decode_plain(data)
    if pixels is None:
        reason = name_unsupported(data) or "image file is corrupt: the decoder refuses it"
        raise UnreadableImageError(name, reason)
    damage = find_damage_in(messages)
    if damage:
        raise UnreadableImageError(name, f"image file is corrupt: its decoder reports: {damage}")

    # 3. the size that was decoded, perhaps turned upright, is the size whose memory was checked
    if pixels.shape[:2] not in ((claim.height, claim.width), (claim.width, claim.height)):
        raise UnreadableImageError(
            name, "image file is corrupt: its pixels have another size than its header says"
        )
    return to_grey(pixels, intensity)
