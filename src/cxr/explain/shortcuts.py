"""The chest or the scanner? Hidden regions, probes, AUROC within views, maps on the border."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxr.arrays import Float32
from cxr.console import count
from cxr.data.loader import Rows
from cxr.evaluation.changes import MEAN, UNCHANGED, compare_changes
from cxr.evaluation.statistics.intervals import NONE
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.within import COLUMNS as WITHIN_COLUMNS
from cxr.evaluation.within import compare_within
from cxr.explain import probe
from cxr.explain.lungs import Segment, describe
from cxr.explain.maps import randomise
from cxr.explain.regions import REGIONS, TITLES, Regions
from cxr.explain.sample import (
    MAX_IMAGES,
    Change,
    Sample,
    choose_rows,
    feature_maps,
    pool,
    predict_changed,
    read_squares,
)
from cxr.explain.summarise import interval_of_mean
from cxr.report.document import Thumbnail

KEPT = 0.5
"""Share of the AUROC above 0.5 that a finding may keep with the chest hidden."""
DROP_OF_MEAN, DROP_OF_FINDING = 0.02, 0.05
"""AUROC that may be lost when images are compared with those of the same view or dataset alone."""
MAP_COLUMNS = ("finding", "num_images", "num_patients", "border", "border_low", "border_high", "area")
_EXAMPLE_PIXELS = 200


@dataclass(frozen=True)
class Shortcuts:
    """What was found out.

    Attributes:
        regions: `evaluation.changes.COLUMNS`: AUROC with each region hidden.
        within: `evaluation.within.COLUMNS`.
        probes: `probe.COLUMNS`.
        maps: MAP_COLUMNS: share of positive CAM mass on the border of images in which a finding is called.
        warnings: What a reader must know first; empty where the rules find nothing.
        lungs: What was taken for the lungs.
        intervals: What was drawn for them.
        examples: One image with each region hidden.
        notes: What else a reader must know.
    """

    regions: pd.DataFrame
    within: pd.DataFrame
    probes: pd.DataFrame
    maps: pd.DataFrame
    warnings: tuple[str, ...]
    lungs: str
    intervals: str
    examples: tuple[Thumbnail, ...]
    notes: tuple[str, ...]

    @property
    def num_tested(self) -> int:
        """Findings whose interval is above 0.5, so that there is something to lose."""
        # a finding that the model does not tell from chance has nothing that hiding could take away
        whole = self.regions[(self.regions["change"] == UNCHANGED) & (self.regions["finding"] != MEAN)]
        return int((whole["auroc_low"] > 0.5).sum())


def find_shortcuts(sample: Sample, segment: Segment | None) -> Shortcuts:
    """Examine a sample, with lungs from `explain.lungs.open_segmentation`."""
    regions = Regions(segment, sample.device)
    notes: list[str] = []
    # 1. hidden regions
    changes: dict[str, Change] = {TITLES[region]: partial(regions.hide, region=region) for region in REGIONS}
    changed = predict_changed(sample, changes, "hiding regions")
    hidden = compare_changes(sample.predictions, changed, sample.resampling)
    if regions.num_failed:
        failed = count(regions.num_failed, "image")
        notes.append(f"no lungs were found in {failed}; the template stood in for them")
    # 2. features and maps of the test images, features of the images that probes are fitted on
    test, maps = _examine(sample, sample.rows, regions)
    fit, fit_notes = _fit_rows(sample)
    probes = pd.DataFrame(columns=list(probe.COLUMNS))
    if len(fit):
        rows = sample.candidate.dataset.table.rows
        fitted = probe.Rows(rows.iloc[fit], _examine(sample, fit, None)[0])
        tested = probe.Rows(rows.iloc[sample.rows], test)
        probes, probe_notes = probe.probe(fitted, tested, sample.resampling)
        fit_notes += probe_notes
    # 3. AUROC within views and datasets
    columns = [name for name in ("view", "source") if name in sample.predictions.rows]
    within = [row for name in columns for row in compare_within(sample.predictions, name, sample.resampling)]
    within_table = pd.DataFrame(within, columns=list(WITHIN_COLUMNS)).astype({"num_groups": "Int64"})
    if not within:
        notes.append("no AUROC within views: fewer than two views have enough patients of both classes")
    return Shortcuts(
        hidden,
        within_table,
        probes,
        _map_table(sample, maps),
        tuple(find_warnings(hidden, within_table, probes)),
        describe(segment),
        sample.resampling.describe() if sample.resampling else "",
        tuple(_draw_examples(sample, regions)),
        (*sample.notes, *notes, *fit_notes),
    )


def _fit_rows(sample: Sample) -> tuple[Rows, list[str]]:
    """(rows that probes are fitted on: of validation, or of training where there are none; notes)."""
    dataset = sample.candidate.dataset
    for split in ("val", "train"):
        rows = choose_rows(sample.candidate, dataset.rows(split), MAX_IMAGES)
        if len(rows):
            word = {"val": "validation", "train": "training"}[split]
            return rows, [f"probes are fitted on {count(len(rows), f'{word} image')}"]
    return np.empty(0, np.int64), ["no probes: there are neither validation nor training images to fit on"]


@dataclass(frozen=True)
class _Maps:
    """Share of positive CAM mass on the border, and the band's share of the area [n, C]."""

    border: Float
    area: Float


def _examine(sample: Sample, rows: Rows, regions: Regions | None) -> tuple[probe.Features, _Maps]:
    """(pooled features of the model and of random weights; shares of maps, where regions are given)."""
    classifier = sample.candidate.checkpoint.classifier
    # both networks see each batch once: pixels are read and placed a single time
    networks = {probe.MODEL: classifier, probe.RANDOM: randomise(classifier)}
    pooled: dict[str, list[Float32]] = {name: [] for name in networks}
    border, area = [], []
    for batch, features in feature_maps(sample, rows, networks, "features"):
        for name, maps in features.items():
            pooled[name].append(pool(maps))
        if regions:
            # [B, S, S]
            mask = regions.find(batch.images, batch.rows)["border"]
            with torch.inference_mode():
                border.append(share_on(mask, classifier.activation_maps(features[probe.MODEL])))
            # [B] of each image alone: padding, which belongs to the border, is not the same in all
            area.append(mask.float().mean(dim=(1, 2)).cpu().numpy())
    joined = {name: np.concatenate(parts) for name, parts in pooled.items()}
    if not border:
        return joined, _Maps(np.empty((0, 0)), np.empty((0, 0)))
    shares = np.concatenate(border)
    return joined, _Maps(shares, np.repeat(np.concatenate(area)[:, None], shares.shape[1], axis=1))


def share_on(mask: Tensor, maps: Tensor) -> Float:
    """Share of the positive values of maps [B, C, h, w] in a mask [B, S, S]; nan where none is positive.

    A cell's value is spread evenly over its square, so that a constant map has the mask's share of the area.
    """
    # [B, C, h, w] what speaks for the finding; what speaks against it is no sign of where it looked
    positive = maps.float().clamp(min=0)
    # [h, S], [w, S]
    rows, columns = (_overlaps(num, mask.shape[1]).to(mask.device) for num in maps.shape[2:])
    # share of each cell that lies in the mask: rows of pixels are summed into cells, then columns
    inside = torch.einsum("hi,bij,wj->bhw", rows, mask.float(), columns)[:, None]  # [B, 1, h, w]
    # [B, C]; 0 / 0 of a map without a positive value is nan
    shares = (positive * inside).sum(dim=(2, 3)) / positive.sum(dim=(2, 3))
    return shares.cpu().numpy().astype(np.float64)


def _overlaps(num: int, size: int) -> Tensor:
    """[num, size] share of each of `num` equal cells that each of `size` pixels fills."""
    # overlap of cell [a, b] and pixel [n, n + 1]: the smaller end less the larger beginning, if above 0
    edges, pixels = torch.arange(num + 1) * (size / num), torch.arange(size)
    filled = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return filled.clamp(min=0) * (num / size)


def _map_table(sample: Sample, maps: _Maps) -> pd.DataFrame:
    """MAP_COLUMNS: a row per finding, of the images in which it is called."""
    thresholds = np.array(sample.candidate.checkpoint.thresholds.values)
    # [n, C]
    is_called = sample.predictions.p >= thresholds
    patients = sample.patients
    rows = []
    for c, finding in enumerate(sample.predictions.findings):
        # [n] of the images in which the finding is called: elsewhere a map explains nothing that was said
        values = np.where(is_called[:, c], maps.border[:, c], np.nan)
        known = ~np.isnan(values)
        bounds = interval_of_mean(values, sample.resampling) if sample.resampling and known.any() else NONE
        share, area = (
            float(part[known].mean()) if known.any() else np.nan for part in (values, maps.area[:, c])
        )
        num = int(known.sum()), len(np.unique(patients[known]))
        rows.append(dict(zip(MAP_COLUMNS, (finding, *num, share, *bounds, area), strict=True)))
    return pd.DataFrame(rows, columns=list(MAP_COLUMNS))


def find_warnings(hidden: pd.DataFrame, within: pd.DataFrame, probes: pd.DataFrame) -> list[str]:
    """A line for each sign that the model reads the scanner; docs/behaviour.md states the rules."""
    return [*_warn_hidden(hidden), *_warn_within(within, probes)]


def _warn_hidden(hidden: pd.DataFrame) -> list[str]:
    """Findings that are still told apart with the chest hidden."""
    whole = hidden[hidden["change"] == UNCHANGED].set_index("finding")
    without = hidden[hidden["change"] == TITLES["chest"]].set_index("finding")
    # comparisons with nan, which stands where there is no interval, are false
    suspect = (whole["auroc_low"] > 0.5) & (without["auroc_low"] > 0.5) & (without["kept"] >= KEPT)
    told = [
        f"{finding} {row['auroc']:.3f} ({row['auroc_low']:.3f}-{row['auroc_high']:.3f}), "
        f"{row['kept']:.0%} of what is above 0.5"
        for finding, row in without[suspect].iterrows()
    ]
    if not told:
        return []
    return [f"with the chest hidden the model still tells findings apart, as AUROC: {'; '.join(told)}"]


def _warn_within(within: pd.DataFrame, probes: pd.DataFrame) -> list[str]:
    """Attributes that the features tell, and within whose groups AUROC is lower."""
    lines = []
    for attribute in within["attribute"].unique():
        title = probe.ATTRIBUTES[attribute]
        # where the features do not tell the attribute, a drop is no sign that it was used
        of_attribute = probes["target"].astype(str).str.startswith(f"{title}: ")
        if not (probes.loc[of_attribute, "low"] > 0.5).any():
            continue
        # only drops whose interval is above 0, and then only those that are large enough to matter
        rows = within[(within["attribute"] == attribute) & (within["drop_low"] > 0)]
        least = np.where(rows["finding"] == MEAN, DROP_OF_MEAN, DROP_OF_FINDING)
        rows = rows[rows["drop"] >= least]
        told = [f"{row.finding} {row.auroc:.3f}, within {row.within:.3f}" for row in rows.itertuples()]
        if told:
            lines.append(
                f"the features tell the {title} of an image, and AUROC is lower within one {title}: "
                + "; ".join(told)
            )
    return lines


def _draw_examples(sample: Sample, regions: Regions) -> Iterable[Thumbnail]:
    """The first image of the sample as it is, and with each region hidden."""
    rows = sample.rows[:1]
    images = read_squares(sample, rows)
    hide: dict[str, Callable[[], Tensor]] = {UNCHANGED: lambda: images}
    hide |= {TITLES[region]: partial(regions.hide, images, rows, region) for region in REGIONS}
    for name, change in hide.items():
        square = change()[0].cpu().numpy()
        larger = cv2.resize(square, (_EXAMPLE_PIXELS, _EXAMPLE_PIXELS), interpolation=cv2.INTER_AREA)
        jpeg = cv2.imencode(".jpg", larger, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
        yield Thumbnail(jpeg, name, "")
