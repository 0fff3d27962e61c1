"""The ImageNet weights of torchvision: where they are on the disk, and their download."""

import contextlib
import sys
from dataclasses import replace
from pathlib import Path

import torch

from cxr.vision import get_model_weights
from cxr.weights.errors import WeightsError, visible
from cxr.weights.files import WeightFile, open_weights


def path_of(backbone: str) -> Path:
    """The file in torchvision's own cache folder, whether it is there or not."""
    url = str(get_model_weights(backbone).DEFAULT.url)
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def open_file(backbone: str) -> WeightFile:
    """The weights, downloaded if they are not in the cache folder yet.

    Raises:
        WeightsError: They cannot be downloaded, or the file in the cache folder is damaged.
    """
    path, url = path_of(backbone), get_model_weights(backbone).DEFAULT.url
    hint = f"download {url} elsewhere into {path.parent}, or train from scratch with model.weights=none"
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = path.stem.rpartition("-")[2]  # the file's name holds it; torch compares
            with contextlib.redirect_stdout(sys.stderr):  # torch prints what it downloads
                torch.hub.download_url_to_file(url, str(path), digest)
        file = open_weights(str(path))
    except (OSError, RuntimeError, EOFError) as error:  # no network
        reason = visible(str(getattr(error, "reason", error)).strip() or type(error).__name__, 200)
        raise WeightsError(f"ImageNet weights of {backbone} cannot be downloaded: {reason}", hint) from None
    except WeightsError as error:
        reasons = [f"{path}: {reason}" for reason in error.reasons]
        raise WeightsError(reasons, f"delete it, then {hint}") from None
    return replace(file, origin=f"imagenet ({backbone})")
