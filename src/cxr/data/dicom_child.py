"""Lossless JPEG in DICOM, decoded in a process of its own: GDCM, which alone reads it, crashes on damaged bytes.

A crash costs one file and not the hours of packing before it; the process takes about half a second to start.
"""

import signal
import subprocess
import sys
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

_SECONDS = 120


def decode_apart(data: bytes) -> npt.NDArray[Any]:
    """Stored values of a DICOM file, decoded by GDCM in a child process.

    Raises:
        ValueError: The child failed, crashed or took longer than two minutes.
        MemoryError: The system ended it.
    """
    command = [sys.executable, "-m", "cxr.data.dicom_child"]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=_SECONDS, check=True)
    except subprocess.SubprocessError as error:
        if getattr(error, "returncode", 0) == -signal.SIGKILL:  # as the system ends a process that takes its memory
            raise MemoryError from None
        raise ValueError("GDCM does not decode it") from None
    pixels: npt.NDArray[Any] = np.load(BytesIO(done.stdout), allow_pickle=False)
    return pixels


def _decode() -> None:
    import pydicom
    from pydicom.pixels.utils import pixel_array

    dataset = pydicom.dcmread(BytesIO(sys.stdin.buffer.read()), force=True)
    pixels = pixel_array(dataset, decoding_plugin="gdcm")
    result = BytesIO()  # in whole first: GDCM prints on stdout
    np.save(result, pixels, allow_pickle=False)
    sys.stdout.buffer.write(result.getvalue())


if __name__ == "__main__":
    _decode()
