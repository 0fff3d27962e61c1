"""What a file of weights is, told by its content and not by its name (imports no torch)."""

import codecs
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

from cxr.weights.errors import WeightsError

Kind = Literal["zip", "legacy", "safetensors"]
"""Files with tensors: as torch.save has written since PyTorch 1.6, as it did before, and safetensors."""

_HEAD = 4096
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, a pickle of one long integer
MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors format
_STATE_DICT = (
    "save its weights alone in the program that made it: torch.save(model.state_dict(), 'weights.pth')"
)
_READS = "cxr reads PyTorch and safetensors files"
_CONVERT = f"{_READS}: convert it first"
_UNPACK = "unpack it, and give the file of weights inside"
_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "is a Keras or HDF5 file", _CONVERT),
    (b"\x93NUMPY", "is a NumPy array", _READS),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself", "run: git lfs pull"),
    (b"\x1f\x8b", "is compressed with gzip", _UNPACK),
    (b"BZh", "is compressed with bzip2", _UNPACK),
    (b"\xfd7zXZ\x00", "is compressed with xz", _UNPACK),
    (b"(\xb5/\xfd", "is compressed with zstd", _UNPACK),
    (b"7z\xbc\xaf'\x1c", "is a 7z archive", _UNPACK),
    (b"Rar!", "is a RAR archive", _UNPACK),
    (b"GGUF", "is a GGUF file of a language model", _READS),
    (b"%PDF", "is a PDF document", "give the file of weights"),
    (b"\x89PNG", "is an image", "the weights come first, then the images"),
    (b"\xff\xd8\xff", "is an image", "the weights come first, then the images"),
)
_SUFFIXES = {
    ".onnx": ("is an ONNX program", f"cxr predict runs one that cxr export wrote; else {_STATE_DICT}"),
    ".pb": ("is a TensorFlow program", _CONVERT),
    ".index": ("is a part of a TensorFlow checkpoint", _CONVERT),
    ".meta": ("is a part of a TensorFlow checkpoint", _CONVERT),
    ".tflite": ("is a TensorFlow Lite program", _CONVERT),
}


def tell(path: Path) -> Kind:
    """Which kind of file with tensors it is.

    Raises:
        WeightsError: It is a file of another kind, which the error names.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        size = file.seek(0, 2)
    if not head:
        raise WeightsError("is empty (0 bytes)")
    if head[:4] == b"PK\x03\x04":
        return _tell_zip(path)
    if head.startswith(_LEGACY):
        return "legacy"
    if _starts_as_safetensors(head, size, path.suffix):
        return "safetensors"
    raise WeightsError(*_name_other(path, head))


def _starts_as_safetensors(head: bytes, size: int, suffix: str) -> bool:
    """Eight bytes of length, then a JSON object; a cut one is still called by its suffix."""
    length = int.from_bytes(head[:8], "little")
    # the length counts the bytes of the JSON object that follows
    if len(head) > 8 and head[8:9] == b"{" and 1 < length <= MAX_HEADER:
        return True
    if suffix == ".safetensors" and not _is_text(head):
        raise WeightsError(f"is no whole safetensors file ({size:,} bytes)")
    return False


def _tell_zip(path: Path) -> Kind:
    """torch.save writes a zip archive; other programs do too."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # zipfile raises many kinds for a broken archive, whose list is at its end
        raise WeightsError("is cut off or damaged: the end of the file is missing") from None
    leaves = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in leaves or any("/code/" in name for name in names):
        raise WeightsError("is a TorchScript program", _STATE_DICT)
    if "data.pkl" in leaves:
        return "zip"
    # not ours: what it is instead, so that a user knows what to do
    if any(name.endswith(".npy") for name in names):
        raise WeightsError("is an archive of NumPy arrays", _READS)
    if any(name.endswith(".h5") for name in names):
        raise WeightsError("is a Keras model", _CONVERT)
    if "archive_format" in leaves or any(name.endswith("serialized_exported_program.json") for name in names):
        raise WeightsError("is a program of torch.export", _STATE_DICT)
    raise WeightsError("is a zip archive that torch.save did not write", _UNPACK)


def _name_other(path: Path, head: bytes) -> tuple[str, str]:
    """(what it is, what to do) of a file without tensors for us."""
    for magic, kind, hint in _MAGIC:
        if head.startswith(magic):
            return kind, hint
    text = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if text.startswith("<"):
        hint = (
            "the download needs a login or another link; open the link in a browser and save the file itself"
        )
        return "is a web page, saved in place of the file", hint
    if text.startswith("{"):
        if '"weight_map"' in text or "index.json" in path.name:
            hint = "join them into one file, or give the single file"
            return "lists the parts of a model in several files", hint
        return "is a JSON text", "give the file of weights"
    # a protocol buffer whose second field is the program that wrote it
    if b"pytorch" in head[:64] and head[0] == 8:
        return _SUFFIXES[".onnx"]
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    if ".data-00000-of-" in path.name or text.startswith("model_checkpoint_path"):
        return "is a part of a TensorFlow checkpoint", _CONVERT
    if _is_tar(head):
        return "is a tar archive", f"{_UNPACK} (torch.save writes no tar archive, whatever the suffix)"
    if head[0] == 0x80 or head[:1] in (b"(", b"c"):
        return "is a pickle that torch.save did not write", _STATE_DICT
    if _is_text(head):
        return "is a text file", "give the file of weights"
    return "is no file of weights that cxr knows", _READS


def _is_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "replace")
    except tarfile.HeaderError:
        return False
    return True


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last letter may be cut
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in text)
