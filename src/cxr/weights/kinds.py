"""What a file of weights is, told by its content and not by its name (imports no torch)."""

import codecs
import difflib
import json
import tarfile
import zipfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from cxr import paths
from cxr import text as text_of_others
from cxr.errors import CxrError
from cxr.text import shorten

Kind = Literal["zip", "legacy", "safetensors"]
"""Files that hold tensors for us: what torch.save has written since PyTorch 1.6, before it, and safetensors."""

_HEAD = 4096
_RECIPES = (".yaml", ".yml")
_MOST_NAMES, _MOST_LETTERS = 1_000, 100  # compared with one that is not there
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, a pickle of one long integer
_MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors format
_STATE_DICT = (
    "save its weights alone in the program that made it: torch.save(model.state_dict(), 'weights.pth')"
)
_AGAIN = "download or copy it again, and compare its size with that of the original"
_UNPACK = "unpack it, and give the file of weights inside"
_MAGIC = (
    (
        b"\x89HDF\r\n\x1a\n",
        "is a Keras or HDF5 file",
        "cxr reads PyTorch and safetensors files: convert it first",
    ),
    (b"\x93NUMPY", "is a NumPy array", "cxr reads PyTorch and safetensors files"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself", "run: git lfs pull"),
    (b"\x1f\x8b", "is compressed with gzip", _UNPACK),
    (b"BZh", "is compressed with bzip2", _UNPACK),
    (b"\xfd7zXZ\x00", "is compressed with xz", _UNPACK),
    (b"(\xb5/\xfd", "is compressed with zstd", _UNPACK),
    (b"7z\xbc\xaf'\x1c", "is a 7z archive", _UNPACK),
    (b"Rar!", "is a RAR archive", _UNPACK),
    (b"GGUF", "is a GGUF file of a language model", "cxr reads PyTorch and safetensors files"),
    (b"%PDF", "is a PDF document", "give the file of weights"),
    (b"\x89PNG", "is an image", "the weights come first, then the images"),
    (b"\xff\xd8\xff", "is an image", "the weights come first, then the images"),
)
_SUFFIXES = {
    ".onnx": ("is an ONNX program", _STATE_DICT),
    ".pb": ("is a TensorFlow program", "cxr reads PyTorch and safetensors files: convert it first"),
    ".index": (
        "is a part of a TensorFlow checkpoint",
        "cxr reads PyTorch and safetensors files: convert it first",
    ),
    ".meta": (
        "is a part of a TensorFlow checkpoint",
        "cxr reads PyTorch and safetensors files: convert it first",
    ),
    ".tflite": ("is a TensorFlow Lite program", "cxr reads PyTorch and safetensors files: convert it first"),
}


class WeightsError(Exception):
    """A file that gives no weights: each reason says why, without its path, and the hint what to do about it."""

    def __init__(self, reasons: str | Sequence[str], hint: str = _AGAIN) -> None:
        self.reasons: tuple[str, ...] = (reasons,) if isinstance(reasons, str) else tuple(reasons)
        self.hint = hint
        super().__init__("; ".join(self.reasons))

    def at(self, where: str) -> CxrError:
        """The error for the user."""
        return CxrError([f"{where}: {reason}" for reason in self.reasons], self.hint)


def visible(text: str, columns: int = 80) -> str:
    """A name from a file for a message: no control characters, and shortened in the middle where it is long."""
    return shorten(text_of_others.visible(text[:10_000]), columns)


def split_choice(text: str) -> tuple[Path, str]:
    """(file, which of the networks in it) of FILE or FILE#NAME; a file that is there may have a `#` in its name."""
    path, mark, choice = text.rpartition("#")
    try:
        has_choice = bool(mark) and not Path(text).exists() and Path(path).exists()
    except OSError:  # a name that is too long, a folder that may not be read: whoever opens it says so
        has_choice = False
    return (Path(path), choice) if has_choice else (Path(text), "")


def check_there(model: str | Path) -> None:
    """Refuse a path that is no model for a reason that stands before all others: nothing is there, a pipe, a recipe.

    Raises:
        CxrError: The reason; a circle of links and a folder that may not be entered are named by the system.
    """
    path, _ = split_choice(str(model))
    if str(model).startswith("xrv:"):
        return
    paths.refuse_pipe(path)
    hint = "give the run folder that cxr train wrote, such as runs/nih_densenet121"
    if not paths.exists(path):
        raise CxrError(f"{path}: no such run folder or checkpoint file{_near(path)}", hint)
    if path.suffix.lower() in _RECIPES and paths.is_file(path):
        raise CxrError(f"{path}: is a recipe, not a model", f"{hint}, or a file of weights")


def _near(path: Path) -> str:
    """A name beside the path that it may be a slip of; empty where there is none."""
    try:
        names = [one.name for one in islice(path.parent.iterdir(), _MOST_NAMES)]
    except OSError:
        return ""
    same = [name for name in sorted(names) if name.lower() == path.name.lower()]
    close = same or difflib.get_close_matches(path.name[:_MOST_LETTERS], names, n=1, cutoff=0.8)
    return f", but there is {visible(close[0])}" if close else ""


def is_from_elsewhere(run: str | Path) -> bool:
    """Whether a model on the command line is a file that cxr did not write: no run, checkpoint, table or recipe."""
    path, _ = split_choice(str(run))
    if path.suffix.lower() in (".csv", *_RECIPES):
        return False
    try:
        return path.is_file() and "cxr" not in _read_metadata(path)
    except WeightsError:
        return path.suffix != ".safetensors"  # else a damaged checkpoint of ours: its own reader says so
    except OSError:
        return False


def _read_metadata(path: Path) -> dict[str, str]:
    """The text entries in the header of a safetensors file."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(size) if size <= _MAX_HEADER else b""
    try:
        metadata = json.loads(header).get("__metadata__", {})
        return {str(key): str(value) for key, value in metadata.items()}
    except (ValueError, AttributeError, RecursionError):
        raise WeightsError("is a safetensors file that is cut off or damaged") from None


def locate(path: Path) -> Path:
    """The file of weights that a path means: itself, or the best checkpoint of a run folder.

    Raises:
        WeightsError: Nothing is there, or a folder of another kind.
    """
    if path.is_dir():
        return _look_into(path)
    if path.exists() and not path.is_file():
        raise WeightsError("is no regular file", "give the file of weights")
    if not path.exists() and path.with_name(path.name + ".index").exists():
        raise WeightsError(
            "is a TensorFlow checkpoint", "cxr reads PyTorch and safetensors files: convert it first"
        )
    if not path.exists():
        try:
            paths.exists(path)
        except CxrError as error:  # a circle of links, a folder that may not be entered
            raise WeightsError(
                [one.removeprefix(f"{path}: ") for one in error.problems], error.hint
            ) from None
        raise WeightsError(
            f"no such file{_near(path)}", "give imagenet, xrv:NAME, none, a checkpoint file or a run"
        )
    return path


def _look_into(folder: Path) -> Path:
    inside = {one.name for one in folder.iterdir()}
    if "best.safetensors" in inside:
        return folder / "best.safetensors"
    if "last.pt" in inside:
        raise WeightsError("is a run without best.safetensors: its first epoch is not finished",
                                     f"let it finish: cxr train {folder / 'config.yaml'} --resume")  # fmt: skip
    if "saved_model.pb" in inside or any(name.endswith(".index") for name in inside):
        raise WeightsError(
            "is a TensorFlow model", "cxr reads PyTorch and safetensors files: convert it first"
        )
    if "data.pkl" in inside:
        raise WeightsError("is a PyTorch file that was unpacked", "give the file that it was unpacked from")
    suffixes = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".tar", ".pkl")
    files = sorted(name for name in inside if name.lower().endswith(suffixes))
    hint = (
        f"give the file, such as {visible(str(folder / files[0]), 200)}"
        if files
        else "give the run or the file"
    )
    raise WeightsError("is a folder, but of no run: there is no best.safetensors in it", hint)


def tell(path: Path) -> Kind:
    """Which kind of file with tensors it is.

    Raises:
        WeightsError: It is another one, which the error names.
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
    if len(head) > 8 and head[8:9] == b"{" and 1 < length <= _MAX_HEADER:
        return True
    if suffix == ".safetensors" and not _is_text(head):
        raise WeightsError(f"is no whole safetensors file ({size:,} bytes)")
    return False


def _tell_zip(path: Path) -> Kind:
    """torch.save writes a zip archive; so do others."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # zipfile raises many kinds for a broken archive, whose list stands at its end
        raise WeightsError("is cut off or damaged: the end of the file is missing") from None
    leaves = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in leaves or any("/code/" in name for name in names):
        raise WeightsError("is a TorchScript program", _STATE_DICT)
    if "data.pkl" in leaves:
        return "zip"
    if any(name.endswith(".npy") for name in names):
        raise WeightsError("is an archive of NumPy arrays", "cxr reads PyTorch and safetensors files")
    if any(name.endswith(".h5") for name in names):
        raise WeightsError("is a Keras model", "cxr reads PyTorch and safetensors files: convert it first")
    if "archive_format" in leaves or any(name.endswith("serialized_exported_program.json") for name in names):
        raise WeightsError("is a program of torch.export", _STATE_DICT)
    raise WeightsError("is a zip archive that torch.save did not write", _UNPACK)


def _name_other(path: Path, head: bytes) -> tuple[str, str]:
    """(what it is, what to do) of a file without tensors for us."""
    for magic, what, hint in _MAGIC:
        if head.startswith(magic):
            return what, hint
    text = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if text.startswith("<"):
        hint = (
            "the download needs a login or another link; open the link in a browser and save the file itself"
        )
        return "is a web page, saved in place of the file", hint
    if text.startswith("{"):
        if '"weight_map"' in text or "index.json" in path.name:
            return (
                "lists the parts of a model in several files",
                "join them into one file, or give the single file",
            )
        return "is a JSON text", "give the file of weights"
    if (
        b"pytorch" in head[:64] and head[0] == 8
    ):  # a protocol buffer whose second field is the program that wrote it
        return _SUFFIXES[".onnx"]
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    if ".data-00000-of-" in path.name or text.startswith("model_checkpoint_path"):
        return (
            "is a part of a TensorFlow checkpoint",
            "cxr reads PyTorch and safetensors files: convert it first",
        )
    if _is_tar(head):
        return "is a tar archive", f"{_UNPACK} (torch.save writes no tar archive, whatever the suffix)"
    if head[0] == 0x80 or head[:1] in (b"(", b"c"):
        return "is a pickle that torch.save did not write", _STATE_DICT
    if _is_text(head):
        return "is a text file", "give the file of weights"
    return "is no file of weights that cxr knows", "cxr reads PyTorch and safetensors files"


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
