"""model.onnx -> its checked bytes and metadata, before any library computes something of it (no torch)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cxr.deploy.onnx_format import KEY, ExportMetadata, from_json, is_intact
from cxr.deploy.protobuf import Value, read_fields
from cxr.errors import CxrError
from cxr.paths import explain, is_folder

_MAX_BYTES = (1 << 31) - 1  # of a protocol buffer
_DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Whose operators are run: those of ONNX and onnxruntime's own, which quantised files have."""
_EXPORT = "make one with: cxr export RUN --to onnx"
_AGAIN = "copy it again, or export the run again"

# Messages of onnx.proto3 in which operators and tensors stand: field -> the kind of message in it.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_METADATA_PROPS, _ENTRY_KEY, _ENTRY_VALUE = 14, 1, 2
_NODE_OPERATOR, _NODE_DOMAIN, _FUNCTION_DOMAIN = 4, 7, 10
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


@dataclass
class _Found:
    """What stands in the messages of a file.

    Attributes:
        properties: Entries of its metadata.
        operators: (domain, name) of those in its graphs.
        functions: Domains of the functions that the file itself defines.
        is_external: Whether the numbers of a tensor are in another file.
    """

    properties: dict[str, str] = field(default_factory=dict)
    operators: set[tuple[str, str]] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    is_external: bool = False


def is_onnx(run: str) -> bool:
    """Whether a model on the command line is an ONNX file, by the end of its name."""
    return run.lower().endswith(".onnx") and not is_folder(Path(run))


def read_onnx(path: Path) -> tuple[bytes, ExportMetadata]:
    """The file's bytes, which are those that `cxr export` wrote, and its metadata.

    Raises:
        CxrError: No such file, another program's, a later format's, a damaged one, one with operators of
            another program, or one whose numbers are in other files.
    """
    data = _read(path)
    try:
        found = _search(data)
    except ValueError as error:
        raise CxrError(f"{path}: is no whole ONNX file: {error}", _AGAIN) from None
    if KEY not in found.properties:
        raise CxrError(f"{path}: was not written by cxr export", _EXPORT)
    try:
        metadata = from_json(found.properties[KEY])
    except ValueError as error:
        hint = "use the version of cxr that wrote it, or export the run again"
        raise CxrError(f"{path}: does not fit this version of cxr: {error}", hint) from None
    if found.is_external:  # never of `cxr export`: the numbers could be those of any file of this machine
        raise CxrError(f"{path}: keeps its weights in other files", _EXPORT)
    known = {*_DOMAINS, *found.functions}
    foreign = sorted(f"{domain}:{name}" for domain, name in found.operators if domain not in known)
    if foreign:
        raise CxrError(f"{path}: has operators that are not of ONNX: {', '.join(foreign[:5])}", _EXPORT)
    if not is_intact(data, metadata.sha256):
        raise CxrError(f"{path}: is damaged or was changed: its checksum is another", _AGAIN)
    return data, metadata


def _read(path: Path) -> bytes:
    """Its bytes.

    Raises:
        CxrError: It is not there, may not be read, or is larger than such a file may be.
    """
    if not path.is_file():
        raise CxrError(f"{path}: no such file", _EXPORT)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CxrError(f"{path}: is larger than the 2 GB of an ONNX file", _EXPORT)
        data = path.read_bytes()
    except OSError as error:
        raise explain(error, path) from None
    if not data:
        raise CxrError(f"{path}: is empty (0 bytes)", _AGAIN)
    return data


def _search(data: bytes) -> _Found:
    """What stands in the file, at any depth.

    Raises:
        ValueError: It is no protocol buffer, is cut off, or a text in it is no UTF-8.
    """
    found = _Found()
    waiting: list[tuple[str, memoryview]] = [("model", memoryview(data))]
    while waiting:  # and no recursion: graphs inside of graphs may be thousands deep
        kind, message = waiting.pop()
        fields = list(read_fields(message))
        for number, value in fields:
            inside = _INSIDE[kind].get(number)
            if inside is not None:
                waiting.append((inside, _bytes(value)))
        if kind == "model":
            found.properties |= dict(_read_properties(fields))
        elif kind == "node":
            texts = {
                number: _text(value) for number, value in fields if number in (_NODE_OPERATOR, _NODE_DOMAIN)
            }
            found.operators.add((texts.get(_NODE_DOMAIN, ""), texts.get(_NODE_OPERATOR, "")))
        elif kind == "function":
            found.functions |= {_text(value) for number, value in fields if number == _FUNCTION_DOMAIN}
        elif kind == "tensor":
            found.is_external |= any(
                number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
                for number, value in fields
            )
    return found


def _read_properties(fields: list[tuple[int, Value]]) -> Iterator[tuple[str, str]]:
    """(key, value) of each entry of the metadata."""
    for number, value in fields:
        if number == _METADATA_PROPS:
            entry = dict(read_fields(_bytes(value)))
            yield (
                _text(entry.get(_ENTRY_KEY, memoryview(b""))),
                _text(entry.get(_ENTRY_VALUE, memoryview(b""))),
            )


def _bytes(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number stands where a message should")
    return value


def _text(value: Value) -> str:
    return str(_bytes(value), "utf-8")
