"""The forms of all answers, from which OpenAPI's description is made."""

from typing import Literal

from pydantic import BaseModel, Field

from cxr.deploy.serve.evaluated import Evaluation
from cxr.text import DISCLAIMER


class Problem(BaseModel):
    """Why there is no answer."""

    error: str
    hint: str = ""


class FindingAnswer(BaseModel):
    """One finding of an image or a study."""

    probability: float = Field(ge=0, le=1)
    threshold: float = Field(description="The operating point: the probability from which it is called.")
    called: bool


class Distance(BaseModel):
    """How unlike the validation images of the training an image is."""

    score: float
    limit: float
    warning: bool


class ImageAnswer(BaseModel):
    """One image of a request."""

    index: int = Field(description="Its place in the request, from 0.")
    error: str = Field("", description="Why it cannot be read; the other fields are then empty.")
    width: int = 0
    height: int = 0
    view: str = Field("", description="PA, AP, lateral or other, as a DICOM header says; else empty.")
    is_counted: bool = Field(True, description="Whether its view counts for its study.")
    study: str = Field("", description="Equal for images of one DICOM study, until the server stops.")
    findings: dict[str, FindingAnswer] = {}
    out_of_distribution: Distance | None = None
    warnings: list[str] = []


class StudyAnswer(BaseModel):
    """The images of one study together."""

    study: str
    images: list[int] = Field(description="Their places in the request.")
    left_out: list[int] = Field(description="Images of a view that the model was not trained on.")
    findings: dict[str, FindingAnswer]


class PredictAnswer(BaseModel):
    """What the model makes of the images of a request."""

    images: list[ImageAnswer]
    studies: list[StudyAnswer]
    rule: str = Field(description="How probabilities of several images become one, in words.")
    disclaimer: str = DISCLAIMER


class Place(BaseModel):
    """A rectangle in the image's pixels; what lies outside the image is padding."""

    x: int
    y: int
    width: int
    height: int


class ExplainAnswer(BaseModel):
    """Class activation maps of an image: how much each place adds to a finding's logit."""

    image: ImageAnswer
    maps: dict[str, list[list[float]]] = Field(description="[rows, columns] by finding, in logits.")
    place: Place = Field(description="Where the maps lie on the image.")
    top: float = Field(description="The contribution of the strongest colour, the same for all findings.")
    disclaimer: str = DISCLAIMER


class ModelFinding(BaseModel):
    """What is known of one finding."""

    name: str
    threshold: float
    few_positives: int | None = Field(
        None, description="Positive images its threshold was chosen on, where these are very few."
    )
    is_calibrated: bool


class LimitsAnswer(BaseModel):
    """What a request may hold."""

    max_bytes: int
    max_files: int
    max_pixels: int


class ModelAnswer(BaseModel):
    """The facts of the model."""

    name: str
    backbone: str
    size: int = Field(description="Width and height in pixels of what the network sees.")
    sha256: str
    version: str = Field(description="The version of cxr that trained it.")
    server_version: str
    thresholds: str = Field(description="How the operating points were chosen, in words.")
    calibrated: bool
    rule: str
    combine: Literal["max", "mean"]
    has_ood: bool
    findings: list[ModelFinding]
    evaluation: Evaluation
    limits: LimitsAnswer
    disclaimer: str = DISCLAIMER


class Health(BaseModel):
    """Whether the server lives, or takes requests."""

    status: str
