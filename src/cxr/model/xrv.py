"""Weights that torchxrayvision pretrained on chest X-rays: their names, files, findings and datasets.

Cohen et al. "TorchXRayVision: A library of chest X-ray datasets and models." MIDL 2022 (densenet121: Cohen et
al. "On the limits of cross-domain generalization in automated X-ray prediction." MIDL 2020).

A model takes one grey channel of u in [0, 255] as (2 u / 255 - 1) 1024 and gives 18 logits, of which some
were never trained. The package then rescales their sigmoid so that its operating points (`op_threshs`) lie at
0.5; here they stay raw logits. The DenseNets are published as whole pickled modules, which
`weights.safe_unpickle` reads; nothing in them is run.
"""

import contextlib
import sys
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch

from cxr.errors import CxrError
from cxr.files import write_atomically
from cxr.weights.errors import WeightsError, visible
from cxr.weights.files import WeightFile, open_weights

PREFIX = "xrv:"
MEAN, STD = 127.5, 127.5 / 1024
"""(u - MEAN) / STD is their input for a grey value u; their black padding is our black padding."""

_RELEASE = "https://github.com/mlmed/torchxrayvision/releases/download/v1/"
_SEED_0 = "densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"
_OUTPUTS = (
    "Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema", "Fibrosis",
    "Effusion", "Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule", "Mass", "Hernia", "Lung Lesion",
    "Fracture", "Lung Opacity", "Enlarged Cardiomediastinum",
)  # fmt: skip
_OF_NIH = _OUTPUTS[:14]
_OF_CHEXPERT = (
    "Atelectasis", "Consolidation", "Pneumothorax", "Edema", "Effusion", "Pneumonia", "Cardiomegaly",
    *_OUTPUTS[14:],
)  # fmt: skip


@dataclass(frozen=True)
class Pretrained:
    """A published model.

    Attributes:
        name: As in `xrv:NAME`.
        file: Its file's name in torchxrayvision's release and cache folder.
        trained: Findings whose outputs were trained.
        datasets: What it was trained on, in torchxrayvision's words.
        size: Width and height of its input in pixels.
    """

    name: str
    file: str
    trained: tuple[str, ...]
    datasets: tuple[str, ...]
    size: int = 224

    @property
    def backbone(self) -> str:
        """Its architecture in torchvision."""
        return self.name.partition("-")[0]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The finding of each of its 18 outputs, empty where that was never trained."""
        return tuple(finding if finding in self.trained else "" for finding in _OUTPUTS)

    @property
    def url(self) -> str:
        """Where it is published."""
        return _RELEASE + self.file

    def __str__(self) -> str:
        return PREFIX + self.name


_ALL = ("nih", "pc", "chex", "mimic_ch", "google", "openi", "rsna")
_WITHOUT = ("Lung Lesion", "Enlarged Cardiomediastinum")  # no images of these in the ResNet's datasets
PRETRAINED = {
    model.name: model
    for model in (
        Pretrained(
            "densenet121-res224-all", f"nih-pc-chex-mimic_ch-google-openi-kaggle-{_SEED_0}", _OUTPUTS, _ALL
        ),
        Pretrained("densenet121-res224-nih", f"nih-{_SEED_0}", _OF_NIH, ("nih",)),
        Pretrained("densenet121-res224-rsna", f"kaggle-{_SEED_0}", ("Pneumonia", "Lung Opacity"), ("rsna",)),
        Pretrained("densenet121-res224-pc", f"pc-{_SEED_0}", (*_OF_NIH, "Fracture"), ("pc",)),
        Pretrained("densenet121-res224-chex", f"chex-{_SEED_0}", _OF_CHEXPERT, ("chex",)),
        Pretrained("densenet121-res224-mimic_nb", f"mimic_nb-{_SEED_0}", _OF_CHEXPERT, ("mimic_nb",)),
        Pretrained("densenet121-res224-mimic_ch", f"mimic_ch-{_SEED_0}", _OF_CHEXPERT, ("mimic_ch",)),
        Pretrained(
            "resnet50-res512-all",
            "pc-nih-rsna-siim-vin-resnet50-test512-e400-state.pt",
            tuple(finding for finding in _OUTPUTS if finding not in _WITHOUT),
            ("pc", "nih", "rsna", "siim", "vin"),
            512,
        ),
    )
}
"""By name. An output counts as trained where torchxrayvision has a label and an operating point for it."""

_SOURCES = {
    "nih": ("nih", "google", "rsna", "siim"),  # the last three chose their images out of ChestX-ray14
    "chexpert": ("chex",),
    "mimic": ("mimic_nb", "mimic_ch"),
    "padchest": ("pc",),
    "vindr": ("vin",),
    "brax": (),
    "phantom": (),
}
"""Which of those datasets hold images of a source; a source that is not here may hold any of them."""


def is_named(weights: str | Path) -> bool:
    """Whether these are weights of torchxrayvision rather than a file or a run."""
    return str(weights).startswith(PREFIX)


def find(weights: str | Path) -> Pretrained:
    """The published model that `xrv:NAME` means.

    Raises:
        CxrError: There is none of that name.
    """
    model = PRETRAINED.get(str(weights).removeprefix(PREFIX))
    if model is None:
        names = ", ".join(PREFIX + name for name in PRETRAINED)
        raise CxrError(f"{weights}: torchxrayvision has no such weights here", f"known are {names}")
    return model


def path_of(model: Pretrained) -> Path:
    """The file in torchxrayvision's cache folder, whether it is there or not."""
    return Path("~/.torchxrayvision/models_data").expanduser() / model.file


def fetch(model: Pretrained) -> Path:
    """The file, downloaded if it is not in the cache folder yet; a download that cannot be read is not kept.

    Raises:
        CxrError: No network, or the download is no model.
    """
    path = path_of(model)
    if path.is_file():
        return path

    def download(temporary: Path) -> None:
        with contextlib.redirect_stdout(sys.stderr):
            # torch prints what it downloads; stdout is for results
            torch.hub.download_url_to_file(model.url, str(temporary))
        open_weights(str(temporary))  # refuses what is no model before it is kept

    hint = f"download {model.url} elsewhere into {path.parent}"
    try:
        write_atomically(path, download)
    except (OSError, RuntimeError, EOFError, HTTPException) as error:  # no network
        reason = visible(str(getattr(error, "reason", error)).strip() or type(error).__name__, 200)
        raise CxrError(f"{model}: cannot be downloaded: {reason}", hint) from None
    except WeightsError as error:
        raise CxrError(f"{model}: {model.url} gave no model: it {error.reasons[0]}", hint) from None
    return path


def open_file(model: Pretrained, width: int) -> WeightFile:
    """The tensors of a model with a grey stem; `width` is its number of features.

    Raises:
        CxrError: The file cannot be downloaded, holds more than tensors, or is of another model.
    """
    path = fetch(model)
    hint = f"delete it, then it is downloaded again from {model.url}"
    try:
        file = open_weights(str(path))
    except WeightsError as error:
        raise CxrError(f"{path}: is no model of torchxrayvision: it {error.reasons[0]}", hint) from None
    # the layers by which the file is known: one grey channel in, 18 logits out
    head, stem = ("classifier", "features.conv0") if model.backbone == "densenet121" else ("fc", "conv1")
    shapes = {f"{stem}.weight": (64, 1, 7, 7), f"{head}.weight": (len(_OUTPUTS), width),
              f"{head}.bias": (len(_OUTPUTS),)}  # fmt: skip
    problems = []
    for name, shape in shapes.items():
        found = file.tensors[name].shape if name in file.tensors else "not there"
        if found != shape:
            problems.append(f"{path}: is not {model}: {name} is {found}, not {shape}")
    if problems:
        raise CxrError(problems, hint)
    return file


def note_on_patients(model: Pretrained, source: str) -> str:
    """A note on patients that the model may have seen; `source` is that of the images evaluated on."""
    # a source that is not known may be any of the datasets
    shared = [name for name in model.datasets if name in _SOURCES.get(source, model.datasets)]
    trained = f"{model} was trained on {', '.join(model.datasets)}"
    if not shared:
        return f"{trained}, not on images of {source}"
    if source not in _SOURCES:
        return f"{trained}; where these images are of those, it may have been trained on these patients"
    which = "" if shared == [source] else f" ({', '.join(shared)}: images of {source})"
    return (
        f"NOT A FAIR TEST: {trained}{which}, with another split: it may have been trained on these patients"
    )
