"""Texts that are not ours as values of DICOM elements."""

from cxr.text import shorten, visible


def fit_text(text: str, max_bytes: int) -> str:
    r"""The text on one line, without the backslash that separates values, and at most so long in UTF-8.

    DICOM limits characters, and programs that check files count bytes. Control characters have become
    escapes, whose backslash becomes a slash: `\x1b` is `/x1b`.
    """
    plain = visible(text).replace("\\", "/").strip() or "-"
    columns = max_bytes
    while len(plain.encode()) > max_bytes:
        plain, columns = shorten(plain, columns), columns - 1
    return plain
