"""The largest images and files that are read, so that no file can fill the memory or the hours."""

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded; the largest detectors have about 20 million pixels."""

MAX_BYTES = 6 * MAX_PIXELS + (64 << 20)
"""Larger files are refused before they are read: the largest image takes as much in 16-bit colour."""

MAX_DECODING_BYTES = 850_000_000
"""Images that take more while they are decoded, file included, are refused; the libraries take 1.1 GB."""


def explain_excess(width: int, height: int, num_bytes: int = 0) -> str | None:
    """Why an image of this size, or of so many bytes while it is decoded, is refused; None if it is not."""
    size = f"image of {width:,} x {height:,} pixels"
    if width * height > MAX_PIXELS:
        return f"{size} is larger than {MAX_PIXELS:,} pixels"
    if num_bytes > MAX_DECODING_BYTES:
        gigabytes, max_gigabytes = num_bytes / 1e9, MAX_DECODING_BYTES / 1e9
        return f"{size} takes {gigabytes:.2f} GB to decode, which is more than {max_gigabytes:.2f} GB"
    return None


def explain_truncation(num_bytes: int) -> str:
    """Why a file of so many bytes, which ends too early, is refused."""
    return f"image file is truncated ({num_bytes:,} bytes)"
