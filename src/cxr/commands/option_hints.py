"""For an option of another tool, such as `--epochs 3`, the override that does the same: `train.epochs=3`."""

from collections.abc import Sequence

from cxr.config.key_tree import walk
from cxr.config.schema import Config
from cxr.text import shorten

_TAKE_RECIPES = ("config", "init", "check", "pack", "train")
_ALIASES = {
    "arch": "model.backbone",
    "architecture": "model.backbone",
    "checkpoint_dir": "out",
    "csv_path": "data.csv",
    "data": "data.root",
    "data_dir": "data.root",
    "data_path": "data.root",
    "data_root": "data.root",
    "dataset": "data.source",
    "dir": "data.root",
    "early_stop": "train.early_stopping",
    "gpus": "device",
    "gpu": "device",
    "image_size": "image.size",
    "img_size": "image.size",
    "imgsz": "image.size",
    "input": "data.root",
    "labels": "data.csv",
    "learning_rate": "train.lr",
    "max_epochs": "train.epochs",
    "model": "model.backbone",
    "name": "out",
    "network": "model.backbone",
    "num_epochs": "train.epochs",
    "num_workers": "store.workers",
    "opt": "train.optimizer",
    "output": "out",
    "output_dir": "out",
    "pretrained": "model.weights",
    "project": "out",
    "random_seed": "seed",
    "save_dir": "out",
    "size": "image.size",
    "val_split": "data.val_fraction",
    "warmup": "train.warmup_epochs",
    "wd": "train.weight_decay",
    "workers": "store.workers",
}
"""What options of PyTorch scripts, Lightning and Ultralytics are called, and the key for each."""


def explain_option(option: str, command: str, arguments: Sequence[str]) -> str | None:
    """The override in place of an option that does not exist; None where no key is meant by it.

    Args:
        option: As given, such as `--epochs`.
        command: The command's name, such as `train`.
        arguments: The whole command line, which holds the option's value.
    """
    key = _find_key(option, command)
    if key is None or (command not in _TAKE_RECIPES and not _is_taken(key, command)):
        return None
    value = _find_value(option, arguments)
    if key == "out":
        value = "runs/NAME" if value is None else value
    # a bare number is taken for that of one GPU
    if key == "device" and value and value.isdigit():
        value = f"cuda:{value}"
    return f"{key}={shorten(value, 60) if value else 'VALUE'}"


def _is_taken(key: str, command: str) -> bool:
    """Whether a command without a recipe takes a key: cxr eval and compare take those of another dataset."""
    return command in ("eval", "compare") and key.split(".")[0] in ("eval", "data", "device")


def _find_key(option: str, command: str) -> str | None:
    # `--Batch-Size` as `batch_size`
    name = option.lstrip("-").replace("-", "_").lower()
    name = {"batch": "batch_size", "bs": "batch_size"}.get(name, name)
    if name in _ALIASES:
        return _ALIASES[name]
    keys = [".".join(path) for path, _, is_section in walk(Config) if not is_section]
    alike = [key for key in keys if name in (key, key.split(".")[-1])]
    # cxr eval --batch-size means eval.batch_size, cxr train --batch-size means train.batch_size
    return min(alike, key=lambda key: not key.startswith(f"{command}."), default=None)


def _find_value(option: str, arguments: Sequence[str]) -> str | None:
    """What stands after an option, in `--epochs 3` or `--epochs=3`."""
    for number, text in enumerate(arguments):
        name, equals, value = text.partition("=")
        if name == option:
            following = arguments[number + 1] if number + 1 < len(arguments) else None
            return value if equals else following if following and not following.startswith("-") else None
    return None
