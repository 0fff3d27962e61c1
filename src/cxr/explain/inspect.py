"""What a network has learned: filters, activations, images that activate a channel most, an embedding."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from cxr.arrays import Float32, Float64
from cxr.data.augment import resample
from cxr.explain.embedding import embed_pca, embed_umap
from cxr.explain.layers import activations, default_layers, first_filters
from cxr.explain.sample import Sample, feature_maps, pool, read_squares
from cxr.explain.scale import Scale
from cxr.images.grey import Grey
from cxr.images.prepare import prepare
from cxr.images.read import read_file
from cxr.report.document import Thumbnail

_IDENTITY = ("image", "patient_id", "view", "sex", "age")
_SIDE = 160
"""Pixels of a picture of an image."""
_IMAGES_EACH = 4
"""Images that are shown for a channel."""


@dataclass(frozen=True)
class Channel:
    """A channel of the last block, a finding that it speaks for, and the images that activate it most.

    Attributes:
        finding: Whose logit it raises most, of all channels.
        number: From 0.
        weight: In the head, of that finding.
        spread: Weight times the deviation of the pooled activation over the images.
        thumbnails: The images, of different patients, with the channel's map.
    """

    finding: str
    number: int
    weight: float
    spread: float
    thumbnails: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class Inspected:
    """What was found.

    Attributes:
        filters: [K, h, w] of the first layer.
        image: Whose activations are shown.
        square: Its packed pixels [S, S].
        layers: By name [D, h, w] for that image.
        channels: One for each finding.
        embedding: A row per image: identity, `pc_1`, `pc_2`, and `umap_1`, `umap_2` where asked for.
        variance: [2] share of variance of each principal component.
        notes: What a reader must know.
    """

    filters: Float32
    image: str
    square: Grey
    layers: dict[str, Float32]
    channels: tuple[Channel, ...]
    embedding: pd.DataFrame
    variance: Float64
    notes: tuple[str, ...]


def inspect(sample: Sample, image: Path | None, layers: Sequence[str], with_umap: bool) -> Inspected:
    """Look into the network of a sample.

    Args:
        sample: Test images.
        image: Whose activations are shown; None takes the test image with the highest probability.
        layers: Names; none for the stem and each block.
        with_umap: Whether to embed by UMAP as well.

    Raises:
        CxrError: The image cannot be read, a layer's output is no map, or too few images for UMAP.
    """
    classifier = sample.candidate.checkpoint.classifier
    # [n, D] of all images; a logit is a weighted sum of them and a bias
    pooled = np.concatenate(
        [
            pool(maps["model"])
            for _, maps in feature_maps(sample, sample.rows, {"model": classifier}, "features")
        ]
    )
    name, square = _choose_image(sample, image)
    packed = torch.from_numpy(square[None]).to(sample.device)
    found = activations(
        classifier, resample(packed, sample.config.image.size), layers or default_layers(classifier)
    )
    embedding, variance = _embed(sample, pooled, with_umap)
    channels = tuple(_find_channels(sample, pooled))
    return Inspected(
        first_filters(classifier), name, square, found, channels, embedding, variance, sample.notes
    )


def _choose_image(sample: Sample, path: Path | None) -> tuple[str, Grey]:
    """(name, packed pixels [S, S]) of the image whose activations are shown."""
    if path is not None:
        preprocess = sample.candidate.checkpoint.metadata.preprocess
        return path.name, prepare(read_file(path, preprocess.intensity), preprocess)
    # over all findings: [n, C] -> [n]
    place = int(sample.predictions.p.max(axis=1).argmax())
    square = read_squares(sample, sample.rows[place : place + 1])[0].cpu().numpy()
    return str(sample.predictions.rows["image"].iloc[place]), square


def _embed(sample: Sample, pooled: Float32, with_umap: bool) -> tuple[pd.DataFrame, Float64]:
    rows = sample.predictions.rows
    names = [*_IDENTITY, *(name for name in ("source",) if name in rows)]
    places, variance = embed_pca(pooled)
    table = rows[names].reset_index(drop=True).assign(pc_1=places[:, 0], pc_2=places[:, 1])
    if with_umap:
        placed = embed_umap(pooled)
        table = table.assign(umap_1=placed[:, 0], umap_2=placed[:, 1])
    return table, variance


def _find_channels(sample: Sample, pooled: Float32) -> list[Channel]:
    """For each finding the channel that raises its logit most, and the images that activate it most."""
    classifier = sample.candidate.checkpoint.classifier
    weights = classifier.head.weight.detach().cpu().numpy()  # [C, D]
    spread = weights * pooled.std(axis=0)  # of positive weights: a channel that speaks for the finding
    patients = sample.patients
    channels = []
    for finding, of_finding, weight in zip(sample.predictions.findings, spread, weights, strict=True):
        number = int(of_finding.argmax())
        order = np.argsort(-pooled[:, number], kind="stable")
        _, first = np.unique(patients[order], return_index=True)  # the strongest image of each patient
        places = order[np.sort(first)[:_IMAGES_EACH]]
        thumbnails = _draw(sample, places, number, finding)
        channels.append(
            Channel(finding, number, float(weight[number]), float(of_finding[number]), tuple(thumbnails))
        )
    return channels


def _draw(
    sample: Sample, places: "np.ndarray[tuple[int], np.dtype[np.intp]]", number: int, finding: str
) -> list[Thumbnail]:
    """Images of the sample beside themselves with a channel's map, on one scale for the channel."""
    rows = sample.rows[places]
    classifier = sample.candidate.checkpoint.classifier
    pairs = list(feature_maps(sample, rows, {"model": classifier}, finding))
    maps = np.concatenate([maps["model"][:, number].float().cpu().numpy() for _, maps in pairs])
    squares = torch.cat([batch.images for batch, _ in pairs]).cpu().numpy()
    # of this channel: channels have no common unit
    scale = Scale(max(float(maps.max()), 1e-9))
    labels = sample.predictions.y[:, sample.predictions.findings.index(finding)]
    words = {1.0: "positive", 0.0: "negative"}
    thumbnails = []
    for place, cells, square in zip(places, maps, squares, strict=True):
        grey = cv2.resize(square, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        values = cv2.resize(cells, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
        drawn = scale.paint(np.asarray(grey, np.uint8), np.asarray(values, np.float32))
        pair = np.hstack([cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), drawn])
        jpeg = cv2.imencode(".jpg", pair, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
        name = str(sample.predictions.rows["image"].iloc[place])
        label = words.get(float(labels[place]), "unknown")
        thumbnails.append(Thumbnail(jpeg, name, f"{finding} {label}"))
    return thumbnails
