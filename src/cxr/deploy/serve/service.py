"""What the endpoints answer, without HTTP: uploads -> images, findings, studies, maps."""

import asyncio
from collections.abc import Sequence

import cv2
import numpy as np

from cxr import __version__
from cxr.arrays import Float32
from cxr.deploy.predict_output import describe_warning
from cxr.deploy.runtime import Runtime
from cxr.deploy.serve.answers import (
    Distance,
    ExplainAnswer,
    FindingAnswer,
    ImageAnswer,
    LimitsAnswer,
    ModelAnswer,
    ModelFinding,
    Place,
    PredictAnswer,
    StudyAnswer,
)
from cxr.deploy.serve.batcher import Batcher, Result
from cxr.deploy.serve.limits import Limits, RefusedError
from cxr.deploy.serve.model import Model
from cxr.deploy.serve.reading import Picture, Reader
from cxr.deploy.studies import combine_studies
from cxr.errors import CxrError, UnreadableImageError
from cxr.evaluation.thresholds import origin
from cxr.explain.overlay_png import encode_png
from cxr.explain.scale import choose_scale
from cxr.findings import find_spelling
from cxr.images.grey import Grey
from cxr.images.prepare import undo_prepare

_MAX_SIDE = 2048
"""Pixels of the longer side of an image that is sent back: more than a browser shows of a radiograph."""

_TOGETHER = "request"
"""The study of images that a client says belong together."""


class Service:
    """Answers requests; `batcher.run` must be running."""

    def __init__(self, model: Model, runtime: Runtime, limits: Limits) -> None:
        self.model, self.limits = model, limits
        self.reader = Reader(model.facts.preprocess, limits)
        self.batcher = Batcher(runtime, limits)
        self.num_images = self.num_unreadable = 0

    async def predict(self, images: Sequence[bytes | bytearray], together: bool) -> PredictAnswer:
        """The answer for the images of a request.

        Args:
            images: Their bytes.
            together: Whether images without a DICOM study are one study.

        Raises:
            RefusedError: The server is busy.
        """
        work = [asyncio.ensure_future(self._answer(index, data)) for index, data in enumerate(images)]
        try:
            answers = await asyncio.gather(*work)
        finally:
            for task in work:
                task.cancel()
        if together:
            for image in answers:
                image.study = image.study or ("" if image.error else _TOGETHER)
        return PredictAnswer(
            images=answers, studies=self._answer_studies(answers), rule=self.model.rule.describe()
        )

    async def _answer(self, index: int, data: bytes | bytearray) -> ImageAnswer:
        picture = await self.reader.read(data)
        if isinstance(picture, CxrError):
            self.num_unreadable += 1
            return ImageAnswer(index=index, error=_explain(picture))
        return self._describe(index, picture, await self.batcher.predict(picture.square))

    def _answer_studies(self, answers: Sequence[ImageAnswer]) -> list[StudyAnswer]:
        read = [image for image in answers if not image.error]
        probabilities = {
            image.index: [finding.probability for finding in image.findings.values()] for image in read
        }
        studies = {image.index: (image.study, image.view) for image in read}
        return [
            StudyAnswer(
                study=study.name,
                images=list(study.images),
                left_out=list(study.left_out),
                findings=self._name(study.probabilities) if study.probabilities else {},
            )
            for study in combine_studies(studies, probabilities, self.model.rule)
        ]

    async def explain(self, data: bytes | bytearray) -> ExplainAnswer:
        """The maps of one image, as numbers.

        Raises:
            RefusedError: 422, it cannot be read; 503.
        """
        picture, result, maps = await self._examine(data)
        called = self._called(self._calibrate(result))
        return ExplainAnswer(
            image=self._describe(0, picture, result),
            maps=dict(zip(self.model.facts.findings, np.round(maps, 5).tolist(), strict=True)),
            place=Place(**picture.place._asdict()),
            top=choose_scale(maps, called).top,
        )

    async def draw(self, data: bytes | bytearray, finding: str) -> bytes:
        """PNG of one image under the map of a finding, coloured as by `cxr predict --heatmaps`.

        Raises:
            RefusedError: 422, it cannot be read, or the model has no such finding; 503.
        """
        findings = self.model.facts.findings
        name = find_spelling(finding, findings)
        if name is None:
            raise RefusedError(422, "the model has no such finding", f"it has {', '.join(findings)}")
        picture, result, maps = await self._examine(data, has_grey=True)
        scale = choose_scale(maps, self._called(self._calibrate(result)))

        def paint() -> bytes:
            assert picture.grey is not None
            values = undo_prepare(maps[findings.index(name)], picture.grey, self.model.facts.preprocess)
            return encode_png(scale.paint(picture.grey, values))

        return await asyncio.to_thread(paint)

    async def render(self, data: bytes | bytearray) -> bytes:
        """PNG of the grey pixels of an image as the model reads it, at most 2048 pixels a side.

        Raises:
            RefusedError: 422, it cannot be read; 503.
        """
        picture = await self.reader.read(data, has_grey=True)
        if isinstance(picture, CxrError):
            raise RefusedError(422, _explain(picture), "cxr reads PNG, JPEG, TIFF and DICOM")
        assert picture.grey is not None
        return await asyncio.to_thread(_encode_grey, picture.grey)

    async def _examine(
        self, data: bytes | bytearray, has_grey: bool = False
    ) -> tuple[Picture, Result, Float32]:
        picture = await self.reader.read(data, has_grey)
        if isinstance(picture, CxrError):
            self.num_unreadable += 1
            raise RefusedError(422, _explain(picture), "cxr reads PNG, JPEG, TIFF and DICOM")
        result = await self.batcher.predict(picture.square, has_maps=True)
        assert result.maps is not None
        return picture, result, result.maps

    def _describe(self, index: int, picture: Picture, result: Result) -> ImageAnswer:
        self.num_images += 1
        measured = self.model.facts.measured
        unlike = describe_warning(result.score, measured)
        warnings = [unlike, self.model.rule.warn_of_view(picture.view), *picture.notes]
        distance = None
        if result.score is not None and measured is not None:
            distance = Distance(score=result.score, limit=measured.limit, warning=bool(unlike))
        return ImageAnswer(
            index=index,
            width=picture.width,
            height=picture.height,
            view=picture.view,
            is_counted=self.model.rule.is_trained_on(picture.view),
            study=picture.study,
            findings=self._name(self._calibrate(result)),
            out_of_distribution=distance,
            warnings=[warning for warning in warnings if warning],
        )

    def _calibrate(self, result: Result) -> list[float]:
        if not self.model.calibrated:
            return result.probabilities
        calibrated: list[float] = self.model.facts.recalibration.apply(
            np.array(result.probabilities)
        ).tolist()
        return calibrated

    def _called(self, probabilities: Sequence[float]) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
        return np.array(probabilities) >= np.array(self.model.facts.thresholds.values)

    def _name(self, probabilities: Sequence[float]) -> dict[str, FindingAnswer]:
        facts = self.model.facts
        rows = zip(facts.findings, probabilities, facts.thresholds.values, strict=True)
        return {
            name: FindingAnswer(probability=p, threshold=threshold, called=p >= threshold)
            for name, p, threshold in rows
        }

    def describe_model(self) -> ModelAnswer:
        """The facts of the model."""
        facts, rule = self.model.facts, self.model.rule
        few = facts.thresholds.few_positives
        is_fitted = facts.recalibration.is_fitted if self.model.calibrated else [False] * len(facts.findings)
        rows = zip(facts.findings, facts.thresholds.values, is_fitted, strict=True)
        return ModelAnswer(
            name=facts.name,
            backbone=facts.backbone,
            size=facts.size,
            sha256=facts.sha256,
            version=facts.version,
            server_version=__version__,
            thresholds=origin(facts.thresholds),
            calibrated=self.model.calibrated,
            rule=rule.describe(),
            combine=rule.combine,
            has_ood=facts.measured is not None,
            findings=[
                ModelFinding(name=name, threshold=p, few_positives=few.get(name), is_calibrated=fitted)
                for name, p, fitted in rows
            ],
            evaluation=self.model.evaluation,
            limits=LimitsAnswer(
                max_bytes=self.limits.max_bytes,
                max_files=self.limits.max_files,
                max_pixels=self.limits.max_pixels,
            ),
        )


def _explain(error: CxrError) -> str:
    """Why an image cannot be read, without the name that stands for it."""
    if isinstance(error, UnreadableImageError):
        return error.reason
    return "; ".join(problem.removeprefix("image: ") for problem in error.problems)


def _encode_grey(grey: Grey) -> bytes:
    height, width = grey.shape
    scale = _MAX_SIDE / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    is_encoded, data = cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert is_encoded
    return data.tobytes()
