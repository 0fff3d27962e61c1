"""A config for strangers: without the folders of the machine that it was used on."""

from pathlib import Path
from typing import TypeVar

from cxr.config.data import Lists, OneDataset
from cxr.config.schema import Config

_Dataset = TypeVar("_Dataset", bound=OneDataset)
_PUBLISHED = ("xrv:", "hub:")


def without_folders(config: Config) -> Config:
    """The config with no folder in it: files keep their last name, data.root is `path/to/SOURCE`.

    Arguments of torchxrayvision's classes are left out, since any of them may be a path.
    """
    changes = {
        "out": Path("runs") / config.out.name,
        "data": _without_folders(config.data).model_copy(
            update={"also": tuple(_without_folders(dataset) for dataset in config.data.also)}
        ),
        "store": config.store.model_copy(update={"path": None}),
        "model": config.model.model_copy(update={"weights": _last_name(config.model.weights)}),
    }
    return config.model_copy(update=changes)


def _without_folders(dataset: _Dataset) -> _Dataset:
    changes: dict[str, object] = {"root": Path("path/to") / dataset.source, "arguments": {}}
    if dataset.csv is not None:
        changes["csv"] = Path(dataset.csv.name)
    if dataset.lists is not None:
        files = {split: Path(getattr(dataset.lists, split).name) for split in Lists.model_fields}
        changes["lists"] = Lists.model_validate(files)
    return dataset.model_copy(update=changes)


def _last_name(weights: str) -> str:
    """model.weights, of a file or a run its last name alone."""
    return weights if weights.startswith(_PUBLISHED) else Path(weights).name
