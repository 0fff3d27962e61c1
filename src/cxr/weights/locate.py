"""Which file a model on the command line or in a config means; whether cxr wrote it (imports no torch)."""

import difflib
import json
from itertools import islice
from pathlib import Path

from cxr import paths
from cxr.download import hub
from cxr.errors import CxrError
from cxr.weights.errors import WeightsError, visible
from cxr.weights.kinds import MAX_HEADER

_RECIPES = (".yaml", ".yml")
_MAX_NAMES, _MAX_LETTERS = 1_000, 100  # compared with a name that is not there
_CONVERT = "cxr reads PyTorch and safetensors files: convert it first"


def split_choice(text: str) -> tuple[Path, str]:
    """(file, which of its networks) of FILE or FILE#NAME; an existing file may have a `#` in its name.

    hub:OWNER/NAME@REVISION#sha256=DIGITS is one name.
    """
    if hub.is_named(text):
        return Path(text), ""
    path, mark, choice = text.rpartition("#")
    try:
        has_choice = bool(mark) and not Path(text).exists() and Path(path).exists()
    except OSError:  # a name that is too long, a folder that may not be read: whoever opens it says so
        has_choice = False
    return (Path(path), choice) if has_choice else (Path(text), "")


def check_there(model: str | Path) -> None:
    """Refuse a path that cannot be a model: nothing is there, a pipe, a recipe.

    Raises:
        CxrError: The reason; a circle of links and a folder that may not be entered are named by the system.
    """
    path, _ = split_choice(str(model))
    if str(model).startswith("xrv:"):
        return
    if hub.is_named(model):
        hub.parse(model)
        return
    paths.refuse_pipe(path)
    hint = "give the run folder that cxr train wrote, such as runs/nih_densenet121"
    if not paths.exists(path):
        raise CxrError(f"{path}: no such run folder or checkpoint file{_near(path)}", hint)
    if path.suffix.lower() in _RECIPES and paths.is_file(path):
        raise CxrError(f"{path}: is a recipe, not a model", f"{hint}, or a file of weights")


def _near(path: Path) -> str:
    """A similar name beside the path, which may be meant; empty where there is none."""
    try:
        names = [file.name for file in islice(path.parent.iterdir(), _MAX_NAMES)]
    except OSError:
        return ""
    same = [name for name in sorted(names) if name.lower() == path.name.lower()]
    close = same or difflib.get_close_matches(path.name[:_MAX_LETTERS], names, n=1, cutoff=0.8)
    return f", but there is {visible(close[0])}" if close else ""


def is_from_elsewhere(run: str | Path) -> bool:
    """Whether a model is a file that cxr did not write: no run, checkpoint, hub:NAME, table or recipe."""
    if hub.is_named(run):
        return False
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
        header = file.read(size) if size <= MAX_HEADER else b""
    try:
        metadata = json.loads(header).get("__metadata__", {})
        return {str(key): str(value) for key, value in metadata.items()}
    except (ValueError, AttributeError, RecursionError):
        raise WeightsError("is a safetensors file that is cut off or damaged") from None


def locate(path: Path) -> Path:
    """The file of weights that a path means: itself, or the best checkpoint of a run folder.

    hub:OWNER/NAME@REVISION is downloaded, unless it is in the cache folder.

    Raises:
        WeightsError: Nothing is there, or a folder of another kind.
        CxrError: It cannot be downloaded.
    """
    if hub.is_named(path):
        return hub.fetch_weights(path)
    if path.is_dir():
        return _locate_in_folder(path)
    if path.exists() and not path.is_file():
        raise WeightsError("is no regular file", "give the file of weights")
    if not path.exists() and path.with_name(path.name + ".index").exists():
        raise WeightsError("is a TensorFlow checkpoint", _CONVERT)
    if not path.exists():
        try:
            paths.exists(path)
        except CxrError as error:  # a circle of links, a folder that may not be entered
            raise WeightsError(
                [problem.removeprefix(f"{path}: ") for problem in error.problems], error.hint
            ) from None
        hint = "give imagenet, xrv:NAME, hub:OWNER/NAME@REVISION, none, a checkpoint file or a run"
        raise WeightsError(f"no such file{_near(path)}", hint)
    return path


def _locate_in_folder(folder: Path) -> Path:
    """The best checkpoint of a run folder; another folder is refused with what it is."""
    inside = {path.name for path in folder.iterdir()}
    if "best.safetensors" in inside:
        return folder / "best.safetensors"
    if "last.pt" in inside:
        raise WeightsError("is a run without best.safetensors: its first epoch is not finished",
                           f"let it finish: cxr train {folder / 'config.yaml'} --resume")  # fmt: skip
    if "saved_model.pb" in inside or any(name.endswith(".index") for name in inside):
        raise WeightsError("is a TensorFlow model", _CONVERT)
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
