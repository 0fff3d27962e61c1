"""How cxr recognises the DICOM images that it made itself, so that no model is given them."""

from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

MANUFACTURER = "cxr"


def is_own_capture(dataset: Dataset) -> bool:
    """Whether a dataset is an overlay that `cxr predict --dicom-out` wrote."""
    kind, maker = dataset.get("SOPClassUID"), dataset.get("Manufacturer")
    return (kind, maker) == (SecondaryCaptureImageStorage, MANUFACTURER)
