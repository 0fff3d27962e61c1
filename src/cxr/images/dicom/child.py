"""JPEG of more than 8 bits in DICOM, in a child process: GDCM, which alone reads it, crashes on damage.

A crash costs one file and not the hours of packing before it; the process takes about half a second to start.
What goes in is the compressed stream alone, whose size was checked, and nothing about the patient.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cxr.arrays import AnyArray
from cxr.errors import CxrError
from cxr.images.decoder_messages import find_damage_in
from cxr.system import limit_memory

_MAX_SECONDS = 120
_SIGKILL = 9  # Windows has no such signal
_MAX_MEMORY_BYTES = 2_000_000_000
_HEADER_BYTES = 256  # before the pixels, so that these begin where NumPy likes them to
_EXTENDED, _LOSSLESS = "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.70"
_PACKAGE_FOLDER = Path(__file__).resolve().parents[3]


def decode_in_child(stream: bytes, syntax: str, options: dict[str, Any]) -> tuple[AnyArray, str]:
    """(words [H, W] or [H, W, 3], photometric interpretation) of a JPEG stream that GDCM decodes in a child.

    Args:
        stream: The compressed pixels.
        syntax: Identifier of their transfer syntax.
        options: As pydicom's decoders take them.

    Raises:
        ValueError: The child failed, crashed, reported damage or took longer than two minutes.
        CxrError: It could not be started, or the system ended it, which says nothing about the file.
    """
    request = json.dumps({"syntax": syntax, "options": options}).encode() + b"\n" + stream
    try:
        done = subprocess.run(
            _child_command(), input=request, capture_output=True, timeout=_MAX_SECONDS, check=True
        )
    except OSError as error:
        raise _not_started(error.strerror or "unknown reason") from None
    except subprocess.SubprocessError as error:
        # the system ends a process so that takes its last memory
        if getattr(error, "returncode", 0) == -_SIGKILL:
            raise _not_started("it was killed, perhaps for lack of memory") from None
        raise ValueError("GDCM does not decode it") from None
    if find_damage_in([done.stderr]):
        raise ValueError("GDCM reports damage")
    start = done.stdout.index(b"\n") + 1
    facts = json.loads(done.stdout[:start])
    pixels = np.frombuffer(done.stdout, facts["kind"], offset=start).reshape(facts["shape"])  # no copy
    return pixels, facts["photometric"]


def _child_command() -> list[str]:
    """What starts the child: with no module of the current folder, which may hold a stranger's `json.py`.

    The folder of this package comes last on the child's path, so that it is found however the parent found
    it.
    """
    flags = ["-P"]
    if sys.flags.ignore_environment:
        flags.append("-E")
    if sys.flags.no_user_site:
        flags.append("-s")
    start = f"import sys; sys.path.append(sys.argv[1]); from {__name__} import run_child; run_child()"
    return [sys.executable, *flags, "-c", start, str(_PACKAGE_FOLDER)]


def _not_started(reason: str) -> CxrError:
    hint = "free some memory, or store.workers=1, and start the command again"
    return CxrError(f"the decoder of lossless JPEG in DICOM does not run: {reason}", hint)


def run_child() -> None:
    """Decode the stream on stdin; the answer on stdout is a line of JSON, then the pixels."""
    # 1. limits and streams, before anything is imported that could print or take memory
    limit_memory(_MAX_MEMORY_BYTES)
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # GDCM prints on stdout

    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    # 2. decode
    request = json.loads(sys.stdin.buffer.readline())
    content = encapsulate([sys.stdin.buffer.read()])
    # pydicom refuses 12 bits of JPEG Extended here, which GDCM reads: it goes by the stream, whatever its
    # name is
    syntax = UID(_LOSSLESS if request["syntax"] == _EXTENDED else request["syntax"])
    pixels, facts = get_decoder(syntax).as_array(
        content, index=0, validate=False, raw=True, decoding_plugin="gdcm", **request["options"]
    )

    # 3. answer
    header = {
        "photometric": facts["photometric_interpretation"],
        "kind": pixels.dtype.str,
        "shape": pixels.shape,
    }
    answer.write(json.dumps(header).encode().ljust(_HEADER_BYTES - 1) + b"\n")
    answer.write(np.ascontiguousarray(pixels).data)
    answer.flush()
    os._exit(0)  # GDCM frees memory of 12-bit streams twice when Python ends
