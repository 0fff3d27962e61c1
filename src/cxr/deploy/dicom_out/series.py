"""Where a result stands: a new series for the reports and one for the overlays of each study."""

from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.uid import generate_uid

from cxr.deploy.dicom_out.result import Model
from cxr.deploy.dicom_out.values import fit_text

_MAX_NAME = 64  # characters of an LO
REPORT, CAPTURE = "report", "capture"
_NUMBERS = {REPORT: 9001, CAPTURE: 9002}  # far above those of the series that a modality makes
_DESCRIPTIONS = {
    REPORT: "cxr report: research use only, not for diagnosis",
    CAPTURE: "cxr overlays: research use only, not for diagnosis",
}


@dataclass(frozen=True)
class Place:
    """Series and instance of one result; the UIDs are new."""

    series_uid: str
    series_number: int
    description: str
    instance_uid: str
    instance_number: int

    def sign(self, result: Dataset, model: Model) -> None:
        """Say in a result which program and which model made it, and what its series is."""
        result.SeriesDescription = self.description
        result.ManufacturerModelName = fit_text(model.facts.name, _MAX_NAME)
        result.SoftwareVersions = model.software


@dataclass
class SeriesBook:
    """Gives each result its place; what belongs to one study and patient shares its series."""

    _series: dict[tuple[object, str], str] = field(default_factory=dict)
    _counts: dict[tuple[object, str], int] = field(default_factory=dict)

    def next_place(self, study: object, kind: str) -> Place:
        """The next place among the reports or the captures of a study."""
        key = study, kind
        series = self._series.setdefault(key, new_uid())
        self._counts[key] = self._counts.get(key, 0) + 1
        return Place(series, _NUMBERS[kind], _DESCRIPTIONS[kind], new_uid(), self._counts[key])


def new_uid() -> str:
    """A UID that nobody has used: 128 random bits below 2.25 (PS3.5, B.2)."""
    return str(generate_uid(prefix=None))
