"""Invented patients and their exams, and one exam drawn into an image file.

Every number is drawn from (seed, stream, patient or image), so an image depends on neither the number of
threads nor the other images. The order of draws within a stream is fixed: another order would be another
dataset.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cxr.images.box import Box
from cxr.phantom.anatomy import Chest
from cxr.phantom.findings import radiograph

PREVALENCE = {
    "Atelectasis": 0.15,
    "Cardiomegaly": 0.14,
    "Effusion": 0.15,
    "Infiltration": 0.16,
    "Mass": 0.14,
    "Nodule": 0.15,
    "Pneumonia": 0.13,
    "Pneumothorax": 0.14,
    "Consolidation": 0.13,
    "Edema": 0.12,
    "Emphysema": 0.12,
    "Fibrosis": 0.13,
    "Pleural_Thickening": 0.13,
    "Hernia": 0.12,
    "Fracture": 0.12,
    "Support Devices": 0.20,
}
"""Share of images with each finding."""

_MAX_IMAGES_PER_PATIENT = 6
_PATIENT_STREAM, _IMAGE_STREAM = 0, 1


@dataclass(frozen=True)
class Exam:
    """One image to draw: whose, which follow-up (from 0), and how the chest lies in it."""

    index: int
    patient: int
    follow_up: int
    age: int
    sex: str
    view: str
    chest: Chest
    height: float
    """Height over width of the image in the CheXpert layout."""

    @property
    def is_test(self) -> bool:
        """Whether the patient is one of the fifth that is tested on."""
        return self.patient % 5 == 2  # so that two patients are enough for a training and a test row


@dataclass(frozen=True)
class Drawn:
    """An exam whose image is written, with the box of each of its findings."""

    exam: Exam
    boxes: dict[str, Box]


def random_stream(seed: int, *stream: int) -> np.random.Generator:
    """Random numbers of one patient or image, the same whatever was drawn before."""
    return np.random.default_rng([seed % 2**32, *stream])


def plan(num_images: int, seed: int) -> list[Exam]:
    """The images to draw, patient by patient."""
    exams: list[Exam] = []
    patient = 0
    while len(exams) < num_images:
        patient += 1
        rng = random_stream(seed, _PATIENT_STREAM, patient)
        exams.extend(_plan_patient(patient, len(exams), rng))
    return exams[:num_images]


def _plan_patient(patient: int, first_index: int, rng: np.random.Generator) -> Iterator[Exam]:
    # most patients have one or two images, a few have six
    num_images = min(int(rng.geometric(0.45)), _MAX_IMAGES_PER_PATIENT)
    age = int(rng.integers(18, 85))
    sex = "MF"[rng.integers(2)]
    height = float(rng.uniform(0.83, 1.0))
    # half width of the thorax, apex, dome, cardiothoracic ratio, air
    build = rng.uniform((0.33, 0.09, 0.66, 0.40, 0.36), (0.38, 0.13, 0.71, 0.46, 0.42))
    for follow_up in range(num_images):
        view = "AP" if rng.random() < 0.35 else "PA"
        chest = _draw_chest(build.tolist(), view, rng)
        yield Exam(first_index + follow_up, patient, follow_up, age, sex, view, chest, height)
        # years until the next exam; drawn behind the image, so that the first exam has the first age
        age += int(rng.integers(0, 3))


def _draw_chest(build: Iterable[float], view: str, rng: np.random.Generator) -> Chest:
    width, apex, dome, heart, air = build
    dome += rng.normal(0, 0.008) - (0.015 if view == "AP" else 0)  # breathed in less deeply when lying
    return Chest(
        width=width,
        apex=apex,
        domes=(dome - 0.012, dome + 0.012),
        heart=heart * (1.06 if view == "AP" else 1),  # the heart is further from the detector
        air=air,
        tilt=rng.normal(0, 2),
        shift=(rng.normal(0, 0.012), rng.normal(0, 0.012)),
        zoom=rng.uniform(0.95, 1.04),
        gamma=float(np.exp(rng.normal(0, 0.12))),
    )


def draw_exam(
    path: Path, exam: Exam, findings: Iterable[str], shape: tuple[int, int], seed: int, options: list[int]
) -> Drawn:
    """Draws an exam into a file.

    Args:
        path: The file, whose suffix decides the format.
        exam: What to draw.
        findings: Those that may be drawn, each by chance.
        shape: Height and width in pixels.
        seed: Of the dataset.
        options: OpenCV's, of the encoder.
    """
    rng = random_stream(seed, _IMAGE_STREAM, exam.index)
    # before the image, in the order of the findings: each by its own chance
    present = frozenset(name for name in findings if rng.random() < PREVALENCE[name])
    image, boxes = radiograph(exam.chest, present, shape, rng)
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(path.suffix, image, options)
    path.write_bytes(encoded.tobytes())
    return Drawn(exam, boxes)


def write_lines(path: Path, lines: list[str]) -> None:
    """Writes a text file, each line with its end."""
    path.write_text("".join(f"{line}\n" for line in lines))
