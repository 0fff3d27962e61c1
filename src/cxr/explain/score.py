"""A run's maps scored against boxes, beside chance, a fixed prior and a network with random weights."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import pandas as pd
import torch

from cxr.arrays import Bool, Float32
from cxr.config.schema import Eval
from cxr.console import count
from cxr.errors import CxrError
from cxr.explain import localise
from cxr.explain.boxes import BoxFile
from cxr.explain.cases import Case, Image, count_marks, gather, place
from cxr.explain.examples import Examples
from cxr.explain.maps import OF_FEATURES, Method, compute_maps, map_features, randomise
from cxr.explain.prior import Prior
from cxr.explain.summarise import Scored, summarise
from cxr.images.box import Box
from cxr.images.grey import Grey, Intensity
from cxr.images.prepare import prepare, undo_prepare
from cxr.images.read import read_file
from cxr.model.checkpoint import Checkpoint
from cxr.model.predict import autocast_dtype, predict_squares
from cxr.parallel import map_ahead

BATCH_SIZE = 16

Item = TypeVar("Item")


def score_boxes(
    checkpoint: Checkpoint,
    file: BoxFile,
    images: Sequence[Image],
    frame: int | None,
    method: Method,
    config: Eval,
    num_examples: int = 0,
) -> Scored:
    """The scores of a model's maps.

    Args:
        checkpoint: The model.
        file: Boxes.
        images: Those that may be scored, at most one of each name.
        frame: As `BoxFile.frame`.
        method: Of the maps.
        config: For the intervals.
        num_examples: Pictures of each finding and kind.

    Raises:
        CxrError: No box is left, a box lies outside its image, or an image cannot be read.
    """
    cases, left_out = gather(file, images, checkpoint.metadata.findings)
    if not cases:
        reasons = "; ".join(left_out) or f"the file has no {count_marks(file, 1).split()[1]}"
        problem = f"{file.path}: no {count_marks(file, 1).split()[1]} can be scored: {reasons}"
        one = count_marks(file, 2).split()[1]
        raise CxrError(problem, f"give {one} of images of the dataset, of findings that the model predicts")
    # 1. where every box is, before any map: the prior of an image is made of other patients' boxes
    preprocess = checkpoint.metadata.preprocess
    prior, num_cut = _gather_prior(cases, file, frame, preprocess.intensity)
    # 2. maps, some images at a time
    by_image: dict[Image, list[Case]] = defaultdict(list)
    for case in cases:
        by_image[case.image].append(case)

    findings, points = checkpoint.metadata.findings, checkpoint.thresholds.values
    examples = Examples(findings, points, preprocess, num_examples, method)

    def score_image(mapped: _Mapped) -> list[dict[str, object]]:
        rows = []
        by_finding: dict[int, list[Box]] = {}
        for case in by_image[mapped.image]:
            mask, boxes, _ = place(case, file, mapped.grey.shape, frame)
            # a box of "lung opacity" does not say which of three findings is there
            if len(case.numbers) == 1:
                by_finding[case.numbers[0]] = boxes
            # 1. maps without a model, 2. chance, 3. the model's and those of random weights
            values = prior.maps(case.finding, mapped.image.patient, mapped.grey.shape)
            rows += [_score(case, name, one, mask, boxes) for name, one in values.items()]
            # a constant map is chance: it points to any place, and as a mask it is all of the image
            rows.append(_score(case, "chance", np.zeros(mask.shape, np.float32), mask, boxes))
            for name, cells in mapped.maps.items():  # one at a time: each has as many pixels as the image
                one = undo_prepare(cells[list(case.numbers)].max(axis=0), mapped.grey, preprocess)
                rows.append(_score(case, name, one, mask, boxes))
        if num_examples:
            probabilities = mapped.probabilities
            examples.add(mapped.image, mapped.grey, probabilities, mapped.maps["model"], by_finding)
        return rows

    # the network computes in this thread while others read the next images and score the last ones
    wanted = {image: sorted({number for case in of_image for number in case.numbers})
              for image, of_image in by_image.items()}  # fmt: skip
    mapped = _map_images(checkpoint, wanted, method)
    rows = [row for of_image in map_ahead(score_image, mapped) for row in of_image]

    notes = list(left_out)
    if file.num_repeated:
        notes.append(f"counted once: {count(file.num_repeated, 'row')} that repeat a box")
    if num_cut:
        notes.append(f"cut at the edge of the image: {count_marks(file, num_cut)}")
    if file.empty:
        notes.append(f"read, without a box: {count(len(file.empty), 'image')} in {file.path.name}")
    if file.num_empty:
        notes.append(f"not scored: {count_marks(file, file.num_empty)} in which no pixel is marked")
    if file.has_several_readers:
        notes.append(
            "boxes of all readers of an image are united; the boxes scored are those around the union"
        )
    each = pd.DataFrame(rows)
    table, intervals, interval_notes = summarise(each, config)
    shown = examples.sections([case.finding for case in cases])
    return Scored(table, each, intervals, (*notes, *interval_notes), shown)


def _gather_prior(
    cases: Sequence[Case], file: BoxFile, frame: int | None, intensity: Intensity
) -> tuple[Prior, int]:
    """(the prior of all cases; how many boxes were cut at the edge of their image).

    Raises:
        CxrError: Everything that lies outside its image or does not fit it; an image that cannot be read.
    """
    images = list(dict.fromkeys(case.image for case in cases))
    read = map_ahead(lambda image: read_file(image.path, intensity).shape, images)
    shapes = dict(zip(images, read, strict=True))
    prior, num_cut = Prior(), 0
    problems: list[str] = []
    hint = ""
    for case in cases:
        try:
            mask, boxes, num = place(case, file, shapes[case.image], frame)
        except CxrError as error:
            problems += error.problems
            hint = error.hint
            continue
        num_cut += num
        # every box is counted before any map is made
        prior.add(case.finding, case.image.patient, boxes, mask)
    if problems:
        raise CxrError(problems, hint)
    return prior, num_cut


@dataclass(frozen=True)
class _Mapped:
    """An image, its pixels [H, W], C probabilities, and maps [C, h, w] of the model and of random weights."""

    image: Image
    grey: Grey
    probabilities: list[float]
    maps: dict[str, Float32]


def _map_images(
    checkpoint: Checkpoint, wanted: Mapping[Image, Sequence[int]], method: Method
) -> Iterator[_Mapped]:
    """The maps of each image, in their order, of the findings that are wanted; threads read ahead."""
    preprocess, size = checkpoint.metadata.preprocess, checkpoint.metadata.config.image.size
    random = randomise(checkpoint.classifier)
    device = checkpoint.classifier.head.weight.device
    dtype = autocast_dtype(checkpoint.metadata.config.train.precision, device)

    def read(image: Image) -> tuple[Image, Grey, Grey]:
        grey = read_file(image.path, preprocess.intensity)
        return image, grey, prepare(grey, preprocess)

    for batch in _batches(map_ahead(read, wanted), BATCH_SIZE):
        # uint8 [B, S, S]
        squares = torch.from_numpy(np.stack([square for *_, square in batch])).to(device)
        numbers = [wanted[image] for image, *_ in batch]
        probabilities, features = predict_squares(checkpoint, squares)
        maps = {"random": compute_maps(random, squares, size, method, dtype, numbers)}
        if method in OF_FEATURES:
            maps["model"] = map_features(checkpoint.classifier, features, method)
        else:
            maps["model"] = compute_maps(checkpoint.classifier, squares, size, method, dtype, numbers)
        for number, (image, grey, _) in enumerate(batch):
            of_image = {name: maps[name][number] for name in ("model", "random")}
            yield _Mapped(image, grey, probabilities[number].tolist(), of_image)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items; the last may be shorter."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def _score(case: Case, name: str, values: Float32, mask: Bool, boxes: Sequence[Box]) -> dict[str, object]:
    """A row of the table of images."""
    levels = localise.to_levels(values)
    scores = localise.score_map(values, levels, mask)
    found = localise.draw_boxes(levels)
    overlaps = localise.best_overlaps(found, boxes)
    row: dict[str, object] = {
        "image": case.image.name,
        "patient_id": case.image.patient,
        "finding": case.finding,
        "map": name,
        "num_boxes": len(boxes),
        "area": float(mask.mean()),
        "pointing": scores["pointing"],
        "hit": scores["hit"],
        "mass": scores["mass"],
        "miou": scores["iou"],
        "false_boxes": localise.count_false(found, boxes),
    }
    for threshold in localise.IOU_THRESHOLDS:
        row[f"iou_{threshold:g}"] = sum(iou >= threshold for iou, _ in overlaps)
    for threshold in localise.IOBB_THRESHOLDS:
        row[f"iobb_{threshold:g}"] = sum(iobb >= threshold for _, iobb in overlaps)
    return row
