"""Fields of a protocol buffer, as an ONNX file is one, read without its library.

The encoding is https://protobuf.dev/programming-guides/encoding: each field is a key, which is its number and
a kind, then its value.
"""

from collections.abc import Iterator

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10

Value = int | memoryview
"""A number, or the bytes of a text, of packed numbers or of a message inside."""


def read_fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """(number, value) of each field of a message, in its order; numbers of fixed width are given as bytes.

    Raises:
        ValueError: The bytes are no message, or it is cut off.
    """
    place = 0
    while place < len(data):
        key, place = _read_varint(data, place)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field has the number 0")
        if kind == _VARINT:
            value, place = _read_varint(data, place)
            yield number, value
            continue
        if kind == _LENGTH:
            length, place = _read_varint(data, place)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field has the kind {kind}")
        if length > len(data) - place:
            raise ValueError("it is cut off")
        yield number, data[place : place + length]
        place += length


def _read_varint(data: memoryview, place: int) -> tuple[int, int]:
    """(a number of seven bits a byte, the lowest first; the place behind it)."""
    value = 0
    for count in range(_MAX_VARINT_BYTES):
        if place + count >= len(data):
            raise ValueError("it is cut off")
        byte = data[place + count]
        value |= (byte & 127) << (7 * count)
        if byte < 128:
            return value, place + count + 1
    raise ValueError("a number is too long")
