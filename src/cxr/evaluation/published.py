"""Results that others published on ChestX-ray14, beside a report only where the test images are the same."""

from collections.abc import Iterable
from importlib.resources import files
from io import StringIO
from typing import NamedTuple

import pandas as pd

from cxr.labels.split_lists import KNOWN_SPLITS, hash_names

_SPLITS = {"NIH official": "official", "NIH community": "community"}
COLUMNS = ("result", "year", "split", "views", "mean", "source")


class Published(NamedTuple):
    """Published mean AUROCs over the 14 findings of ChestX-ray14, and per finding where they were given.

    Attributes:
        split: Name of the known test list that was evaluated, or empty.
        same: Results on exactly these test images.
        other: Results on other patients, with which no metric of this report can be compared.
    """

    split: str
    same: pd.DataFrame
    other: pd.DataFrame


def recognise_test(images: Iterable[str]) -> str:
    """The known split with exactly these test images, by the hash of their file names; else empty."""
    # Names alone, as copies of ChestX-ray14 lie in other folders.
    digest = hash_names(image.rsplit("/", 1)[-1] for image in images)
    return next((name for name, hashes in KNOWN_SPLITS if hashes.get("test") == digest), "")


def beside(images: Iterable[str]) -> Published:
    """Published results, divided by whether they were measured on these test images."""
    text = files("cxr.evaluation").joinpath("published_chestxray14.csv").read_text(encoding="utf-8")
    table = pd.read_csv(StringIO(text))
    split = recognise_test(images)
    same = table["split"] == _SPLITS.get(split, "none")
    return Published(split, table[same].reset_index(drop=True), table[~same].reset_index(drop=True))
