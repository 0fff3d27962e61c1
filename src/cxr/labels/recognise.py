"""Tables of public datasets, known by the names of their columns: which reader understands one."""

from collections.abc import Sequence
from dataclasses import dataclass

from cxr.labels.sheet import column_key


@dataclass(frozen=True)
class Reader:
    """The reader of a public dataset's table.

    Attributes:
        source: A value of data.source.
        what: What it reads, for a hint.
        dataset: For source=torchxrayvision, the class.
    """

    source: str
    what: str
    dataset: str = ""

    @property
    def hint(self) -> str:
        """As `data.source=nih reads tables of ChestX-ray14`."""
        dataset = f" data.dataset={self.dataset}" if self.dataset else ""
        return f"data.source={self.source}{dataset} reads {self.what}"


def _xrv(dataset: str) -> Reader:
    return Reader("torchxrayvision", "such a table", dataset)


_VINDR = Reader("vindr", "tables of VinDr-CXR, Kaggle's train.csv too")
TABLES: tuple[tuple[frozenset[str], Reader], ...] = tuple(
    (frozenset(columns.split()), reader)
    for columns, reader in (
        ("imageindex findinglabels", Reader("nih", "tables of ChestX-ray14")),
        ("path frontallateral", Reader("chexpert", "tables of CheXpert")),
        ("dicomid subjectid", Reader("mimic", "tables of MIMIC-CXR-JPG")),
        ("imageid labels projection", Reader("padchest", "tables of PadChest")),
        ("imageid radid", _VINDR),
        ("imageid classname", _VINDR),
        ("pngpath accessionnumber", Reader("brax", "tables of BRAX")),
        ("patientid x y width height target", _xrv("RSNA_Pneumonia_Dataset")),
        ("imageid encodedpixels", _xrv("SIIM_Pneumothorax_Dataset")),
        ("patientid offset finding filename", _xrv("COVID19_Dataset")),
        ("imagename annotation", _xrv("ObjectCXR_Dataset")),
    )
)
"""(columns that only this dataset's table has, as `column_key` writes them; the reader of it)."""


def find_reader(header: Sequence[str]) -> Reader | None:
    """The reader that understands a table of these columns, None where none is known."""
    # a table may have more columns than those it is known by
    keys = {column_key(name) for name in header}
    return next((reader for columns, reader in TABLES if columns <= keys), None)


def name_reader(header: Sequence[str]) -> str:
    """The same for a hint; empty where none is known."""
    reader = find_reader(header)
    return reader.hint if reader else ""
