"""The generated dataset: drawn where there is none yet, then read by the reader of the layout it has."""

from cxr.config.schema import Data
from cxr.labels.sources import chexpert, nih
from cxr.labels.table import LabelTable
from cxr.phantom.dataset import find_layout, generate


def read(data: Data) -> LabelTable:
    """The dataset in `data.root`, generated there first if there is none; one that is there is read as it is.

    Raises:
        CxrError: `data.root` holds other files, or the reader of the layout found there objects.
    """
    layout = find_layout(data.root)
    if layout is None:
        generate(data.root, data.phantom)
        layout = data.phantom.layout
    return nih.read(data) if layout == "nih" else chexpert.read(data)
