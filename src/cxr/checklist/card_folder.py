"""The folder of a model card: what cxr wrote into it, and which of its files may be replaced."""

import hashlib
from pathlib import Path

from pydantic import ValidationError

from cxr.download.manifest import CARD, MANIFEST, RECIPE, WEIGHTS, Manifest
from cxr.errors import CxrError
from cxr.paths import exists, is_file

_LAST = "last.pt"
_ELSEWHERE = "name another folder with --out"


def check_folder(folder: Path, source: Path, overwrite: bool) -> None:
    """Refuse a folder in which a file would be lost.

    Args:
        folder: Where the card is to be written.
        source: The checkpoint that the card is of.
        overwrite: Whether files that cxr did not write are replaced; a run's checkpoint never is.

    Raises:
        CxrError: The folder is that of the checkpoint or of a run, or files in it are not as cxr card wrote
            them.
    """
    weights = folder / WEIGHTS
    if exists(weights) and weights.samefile(source):
        raise CxrError(f"{folder}: holds the checkpoint itself, which its copy would replace", _ELSEWHERE)
    if exists(folder / _LAST):
        raise CxrError(f"{folder}: is a run folder, whose checkpoint would be replaced", _ELSEWHERE)
    if overwrite:
        return
    written = _read_checksums(folder)
    problems = [
        f"{folder / name}: was not written by cxr card, or was changed since"
        for name in (CARD, WEIGHTS, RECIPE, MANIFEST)
        if exists(folder / name) and not _is_written(folder / name, written)
    ]
    if problems:
        raise CxrError(problems, f"--overwrite replaces it; or {_ELSEWHERE}")


def _read_checksums(folder: Path) -> dict[str, str] | None:
    """SHA-256 of each file that cxr card wrote here, by its name; None without a manifest of a card."""
    if not is_file(folder / MANIFEST):
        return None
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None
    written = {name: file.sha256 for name, file in manifest.files.items()}
    # manifests of earlier versions have no checksum of the card
    return written | ({CARD: manifest.card_sha256} if manifest.card_sha256 else {})


def _is_written(path: Path, written: dict[str, str] | None) -> bool:
    """Whether a file is as cxr card wrote it; the manifest is, where it can be read as one."""
    if written is None or not is_file(path):
        return False
    if path.name == MANIFEST:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == written.get(path.name)
