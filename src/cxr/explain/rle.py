"""Masks as COCO writes them: lengths of runs of 0 and 1 in turn, column after column, packed into text."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxr.arrays import Bool

Runs = npt.NDArray[np.int64]
"""Lengths of runs, the first of 0, the second of 1 and so on; they add up to the pixels of a mask."""


def read_counts(text: str) -> list[int]:
    """The lengths in COCO's compressed `counts`.

    A number is one or more characters from `0` on with six bits each. Five of them are the number's, low ones
    first, the sixth says that another character follows; the last character's fifth bit is the sign. From the
    fourth number on, what is written is the difference to the length two runs before.

    Raises:
        ValueError: Another character, or the text ends within a number.
    """
    lengths: list[int] = []
    number = shift = 0
    for letter in text:
        bits = ord(letter) - ord("0")
        if not 0 <= bits < 64:
            raise ValueError(f"counts hold {letter!r}, which COCO does not write")
        # five bits of the number, the low ones first
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        # sign: the bits above are all 1 in a negative number, which is 2^shift less
        if bits & 16:
            number -= 1 << shift
        lengths.append(number + lengths[-2] if len(lengths) > 2 else number)
        number = shift = 0
    if shift:
        raise ValueError("counts end within a number")
    return lengths


def check_runs(lengths: Sequence[int], size: tuple[int, int]) -> Runs:
    """The lengths as an array.

    Raises:
        ValueError: A negative length, or lengths that do not add up to the pixels of (height, width).
    """
    # differences to earlier lengths can make one, in a text that is damaged
    if any(length < 0 for length in lengths):
        raise ValueError("counts have a negative length")
    if sum(lengths) != size[0] * size[1]:
        raise ValueError(f"counts hold {sum(lengths):,} pixels, and its size is {size[0]} x {size[1]}")
    return np.array(lengths, np.int64)


def draw_runs(runs: Runs, size: tuple[int, int]) -> Bool:
    """The mask [height, width] of its runs."""
    # [height * width]: runs of 0 and of 1 in turn, beginning with 0
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs)  # column after column
    return np.ascontiguousarray(columns.reshape(size[1], size[0]).T)
