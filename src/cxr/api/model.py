"""A trained model: probabilities, features and heat maps of images, however they are held."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from PIL import Image

from cxr.api.explanation import Explanation, explain_prediction
from cxr.api.inputs import is_one, name_held
from cxr.api.outcomes import explain_unreadable, predict_images
from cxr.api.words import in_python
from cxr.arrays import Float32
from cxr.deploy.open_runtime import open_runtime
from cxr.deploy.overlays import draw_one
from cxr.deploy.predict_output import describe_warning
from cxr.deploy.runtime import BATCH_SIZE, Predicted, Runtime, Square, predict_batch
from cxr.errors import CxrError, UnreadableImageError
from cxr.findings import find_spelling
from cxr.images.grey import Grey
from cxr.images.held import HeldImage, read_held
from cxr.images.notes import ignore_note
from cxr.images.prepare import prepare, undo_prepare

if TYPE_CHECKING:
    from cxr.explain.shortcuts import Shortcuts
    from cxr.model.checkpoint import Checkpoint


def load(run: str | Path, device: str = "auto", head_findings: str | Sequence[str] | None = None) -> "Model":
    """A trained model, ready to predict.

    Args:
        run: A run folder, a checkpoint file, `hub:OWNER/NAME@REVISION`, `xrv:NAME` (torchxrayvision), a file
            of weights, or a model.onnx of `cxr export`, for which PyTorch is not needed. Thresholds of
            `xrv:NAME` and weights are 0.5.
        device: auto, cpu, cuda, cuda:N or mps; auto takes a GPU if there is one.
        head_findings: What the outputs of a weight file are, in order: names, or a group such as `nih14`.

    Raises:
        CxrError: No such model, a damaged file, or a device that is not there.
    """
    names = head_findings if isinstance(head_findings, str | None) else ",".join(head_findings)
    with in_python():
        return Model(str(run), open_runtime(str(run), device, names))


class Model:
    """A trained model, as `load` gives it. A research tool, not a medical device.

    An image is a path (of PNG, JPEG, TIFF or DICOM), an array of NumPy, an image of Pillow or a dataset of
    pydicom. The same pixels give the same probabilities in every form, and those of `cxr predict`.

    An array is [H, W], or [H, W, 3] of RGB, and its dtype states its range: uint8 is 0 (black) to 255
    (white); floats are 0 to 1; uint16 is 0 to 2**bits - 1, and needs `bits`. Nothing is scaled by its own
    minimum and maximum, and a value outside the range is an error.

    Attributes:
        name: The run, as it was given.
        findings: F names, in the order of all tables.
        thresholds: [F] the probability from which a finding is called, by finding.
        size: Width and height of the model's input in pixels.
    """

    def __init__(self, name: str, runtime: Runtime) -> None:
        self._runtime = runtime
        facts = runtime.facts
        self.name = name
        self.findings: tuple[str, ...] = facts.findings
        self.thresholds = pd.Series(
            list(facts.thresholds.values), list(self.findings), dtype=float, name="threshold"
        )
        self.size: int = facts.size

    def __repr__(self) -> str:
        backbone = self._runtime.facts.backbone
        return f"<cxr.Model {self.name}: {backbone}, {len(self.findings)} findings, {self.size} pixels>"

    def predict(
        self,
        images: "HeldImage | Iterable[HeldImage]",
        *,
        bits: int | None = None,
        batch_size: int = BATCH_SIZE,
        errors: Literal["raise", "row"] = "raise",
    ) -> pd.DataFrame:
        """A row per image, in their order: its name, the probability of each finding, and what is remarkable.

        Args:
            images: One or several; a folder stands for every image file in it and below it.
            bits: White is 2**bits - 1 in arrays of uint16, such as 12.
            batch_size: Images that are computed together.
            errors: Whether an image that cannot be read raises, or has a row of nan with the reason.

        Returns:
            Columns `image` (the path, or as `images[3]`), one per finding (float64 from 0 to 1), `warning`
            (empty, or that the image is unlike those of training), `notes` (such as another modality) and
            `error` (empty, or why the image cannot be read).

        Raises:
            CxrError: An image that cannot be read, unless errors="row"; an argument of another kind.
        """
        if errors not in ("raise", "row"):
            raise CxrError(f"errors={errors!r}: is neither", "errors='raise' or errors='row'")
        names: list[str] = []
        probabilities: list[list[float]] = []
        texts: list[tuple[str, str, str]] = []  # warning, notes, error
        measured = self._runtime.facts.measured
        for name, outcome in predict_images(self._runtime, images, bits, batch_size, stop=errors == "raise"):
            names.append(name)
            if isinstance(outcome, CxrError):
                probabilities.append([np.nan] * len(self.findings))
                texts.append(("", "", "; ".join(outcome.problems)))
            else:
                image, predicted = outcome
                probabilities.append(predicted.probabilities)
                texts.append((describe_warning(predicted.score, measured), "; ".join(image.notes), ""))
        table = pd.DataFrame(probabilities, columns=list(self.findings), dtype=float)
        table.insert(0, "image", names)
        for position, column in enumerate(("warning", "notes", "error")):
            table.insert(len(table.columns), column, [row[position] for row in texts])
        return table

    def call_findings(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """Which findings are called in each row of `predict`'s table: those of at least their threshold.

        Returns:
            The table's index, one column per finding (boolean; missing where the image could not be read).
        """
        probabilities = predictions[list(self.findings)]
        return probabilities.ge(self.thresholds).astype("boolean").mask(probabilities.isna())

    def embed(
        self,
        images: "HeldImage | Iterable[HeldImage]",
        *,
        bits: int | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Float32:
        """The pooled features [N, D] of N images, which the last layer makes logits of.

        Raises:
            CxrError: As `predict`.
        """
        width = self._runtime.facts.num_features
        rows = [
            outcome[1].embedding
            for _, outcome in predict_images(self._runtime, images, bits, batch_size, stop=True)
            if not isinstance(outcome, CxrError)
        ]
        return np.stack(rows) if rows else np.empty((0, width), np.float32)

    def heatmaps(
        self, image: "HeldImage", findings: str | Sequence[str] | None = None, *, bits: int | None = None
    ) -> dict[str, Float32]:
        """For each finding how much each place of an image adds to its logit: float32 [H, W].

        These are class activation maps (Zhou et al. 2016), which are exact for these models: the mean of the
        model's own map, a grid of `size`/32 cells a side, is the logit of the whole image without the head's
        bias (and before the shift that undoes class weights of the loss). Here the map is enlarged linearly
        to the pixels of the image as it is read (upright, DICOM pixels made square); padding is cut off, and
        what was cropped away is 0. Positive places speak for the finding, negative ones against it. A map
        tells where the model looked, not whether it is right.

        Args:
            image: One image.
            findings: Names, in any spelling; None for all, which takes H x W x 4 bytes each.
            bits: As in `predict`.

        Raises:
            CxrError: The image cannot be read, or a finding is not the model's.
        """
        numbers = self._find(findings)
        grey, predicted = self._examine(image, bits)
        preprocess = self._runtime.facts.preprocess
        cells = predicted.maps  # [C, h, w]
        return {self.findings[number]: undo_prepare(cells[number], grey, preprocess) for number in numbers}

    def explain(
        self,
        image: "HeldImage",
        findings: str | Sequence[str] | None = None,
        method: str = "cam",
        *,
        bits: int | None = None,
    ) -> Explanation:
        """Probabilities of an image beside their thresholds, and maps by any method of `cxr explain`.

        Args:
            image: One image.
            findings: As in `heatmaps`.
            method: cam, gradcam, gradcam++, occlusion or integrated; the last takes seconds per finding.
            bits: As in `predict`.

        Raises:
            CxrError: As `heatmaps`; no such method, or one that an exported file cannot compute.
        """
        return explain_prediction(self._runtime, *self._examine(image, bits), self._find(findings), method)

    def overlay(self, image: "HeldImage", finding: str, *, bits: int | None = None) -> Image.Image:
        """The image beside itself with the map of a finding, a bar with numbers and a caption, in RGB.

        The same figure as that of `cxr predict --heatmaps`; docs/explain.md says how to read it.

        Raises:
            CxrError: As `heatmaps`.
        """
        number = self._find(finding)[0]
        grey, predicted = self._examine(image, bits)
        name = Path(str(image) if isinstance(image, str | Path) else name_held(image, "image")).name
        drawn = draw_one(self._runtime.facts, grey, predicted, number, name)  # BGR
        return Image.fromarray(np.ascontiguousarray(drawn[..., ::-1]))

    def shortcuts(self, *overrides: str, max_images: int = 2000, lungs: str = "auto") -> "Shortcuts":
        """Whether the model reads the chest or the scanner: the tables and warnings of `cxr shortcuts`.

        Args:
            overrides: KEY=VALUE texts, such as data.root=FOLDER.
            max_images: Test images at most, whole patients drawn at random; 0 for all.
            lungs: auto, template or segmentation; docs/behaviour.md says what they are.

        Raises:
            CxrError: A model that cxr did not train, or whatever is wrong with the data of its run.
        """
        from cxr.api.behaviour import examine_shortcuts

        return examine_shortcuts(self.name, self._need_checkpoint("shortcuts"), overrides, max_images, lungs)

    def robustness(
        self, *overrides: str, kinds: Sequence[str] = (), max_images: int = 500, seed: int = 0
    ) -> pd.DataFrame:
        """AUROC under attacks and corruptions: the table of `cxr robustness`, robustness.csv.

        Args:
            overrides: KEY=VALUE texts, such as data.root=FOLDER.
            kinds: Such as pgd or jpeg; none for all.
            max_images: Test images at most, whole patients drawn at random; 0 for all.
            seed: Of the random numbers.

        Raises:
            CxrError: As `shortcuts`; no such kind.
        """
        from cxr.api.behaviour import examine_robustness

        return examine_robustness(
            self.name, self._need_checkpoint("robustness"), overrides, kinds, max_images, seed
        )

    def _need_checkpoint(self, method: str) -> "Checkpoint":
        """The checkpoint of a model that PyTorch computes.

        Raises:
            CxrError: Another program does.
        """
        if self._runtime.facts.program != "torch":
            raise CxrError(f"{method}: {self.name} is an exported file", "load the run that it was made from")
        from cxr.deploy.torch_runtime import TorchRuntime

        assert isinstance(self._runtime, TorchRuntime)
        return self._runtime.checkpoint

    def _examine(self, image: "HeldImage", bits: int | None) -> tuple[Grey, Predicted]:
        """(grey pixels [H, W], prediction) of one image.

        Raises:
            CxrError: It cannot be read, or there are several.
        """
        if not is_one(image):
            raise CxrError(f"image: is a {type(image).__name__}, not one image", "give one image at a time")
        preprocess = self._runtime.facts.preprocess
        name = name_held(image, "image")
        try:
            grey = read_held(image, name, bits, preprocess.intensity, ignore_note)
        except UnreadableImageError as error:
            raise explain_unreadable(error) from None
        square = Square(Path(name), prepare(grey, preprocess), [])
        return grey, predict_batch(self._runtime, [square])[0]

    def _find(self, findings: str | Sequence[str] | None) -> list[int]:
        """Numbers of the findings of these names.

        Raises:
            CxrError: Every name that is not one of the model's.
        """
        asked = self.findings if findings is None else [findings] if isinstance(findings, str) else findings
        known = {name: find_spelling(name, self.findings) for name in asked}
        unknown = [f"{name}: no finding of {self.name}" for name, finding in known.items() if finding is None]
        if unknown:
            raise CxrError(unknown, f"its findings are {', '.join(self.findings)}")
        return [self.findings.index(finding) for finding in known.values() if finding is not None]
