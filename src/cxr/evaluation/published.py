"""Results that others published on ChestX-ray14 and CheXpert, beside a report of the same images."""

from collections.abc import Iterable
from importlib.resources import files
from io import StringIO
from typing import NamedTuple

import pandas as pd

from cxr.labels.split_lists import KNOWN_SPLITS, hash_names

_SPLITS = {"NIH official": "official", "NIH community": "community"}
LABEL_TABLE = "Data_Entry_2017_v2020.csv"
"""The table of NIH whose labels of the test images are known here."""
_LABELS = {
    "NIH official": "cb1337235f2e2128c6ff034efd30a512f873dfc69db07ebcd303d64375486659",
    "NIH community": "f99a19982abf522a61756e752773a382e560e2764a9a08d104e4b5187323bc5f",
}
"""`same_labels.hash_labels` of LABEL_TABLE, of the 14 findings of the test images of each split."""
COLUMNS = ("result", "year", "split", "views", "mean", "source")


class Published(NamedTuple):
    """Published mean AUROCs over the 14 findings of ChestX-ray14, or the five of CheXpert's competition.

    Attributes:
        split: Name of the known test list that was evaluated with the labels of LABEL_TABLE, or empty.
        same: Results on exactly these test images.
        other: Results on other patients or labels, with which no metric of this report can be compared.
        relabelled: Name of the known test list that was evaluated with other labels, or empty.
        dataset: Which they were measured on.
    """

    split: str
    same: pd.DataFrame
    other: pd.DataFrame
    relabelled: str = ""
    dataset: str = "ChestX-ray14"


def recognise_test(images: Iterable[str]) -> str:
    """The known split with exactly these test images, by the hash of their file names; else empty."""
    # Names alone, as copies of ChestX-ray14 lie in other folders.
    digest = hash_names(image.rsplit("/", 1)[-1] for image in images)
    return next((name for name, hashes in KNOWN_SPLITS if hashes.get("test") == digest), "")


def beside(images: Iterable[str], labels: str) -> Published:
    """Published results, divided by whether they were measured on these test images and labels.

    Args:
        images: Names of the images.
        labels: Their `hash_labels`.
    """
    table = _read("published_chestxray14.csv")
    split, relabelled = recognise_test(images), ""
    # the same images with other labels: a result on them is another result
    if _LABELS.get(split, labels) != labels:
        split, relabelled = "", split
    same = table["split"] == _SPLITS.get(split, "none")
    parts = table[same].reset_index(drop=True), table[~same].reset_index(drop=True)
    return Published(split, *parts, relabelled)


def on_chexpert() -> Published:
    """Results on the 500 test studies of CheXpert, none comparable: no list of these images is known here.

    They are means over the five findings of the competition, with the number of three readers that lie below
    the model's curves; its leaderboard gives no intervals.
    """
    table = _read("published_chexpert.csv")
    return Published("", table.iloc[:0], table, dataset="CheXpert")


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(StringIO(files("cxr.evaluation").joinpath(name).read_text(encoding="utf-8")))
