"""Tables of public datasets, known by the names of their columns: for hints that name the reader of one."""

from collections.abc import Sequence

from cxr.labels.sheet import column_key

_CLASS = "data.source=torchxrayvision data.dataset={} reads such a table"
TABLES: tuple[tuple[frozenset[str], str], ...] = tuple(
    (frozenset(columns.split()), reader)
    for columns, reader in (
        ("imageindex findinglabels", "data.source=nih reads tables of ChestX-ray14"),
        ("path frontallateral", "data.source=chexpert reads tables of CheXpert"),
        ("dicomid subjectid", "data.source=mimic reads tables of MIMIC-CXR-JPG"),
        ("imageid labels projection", "data.source=padchest reads tables of PadChest"),
        ("imageid radid", "data.source=vindr reads tables of VinDr-CXR, Kaggle's train.csv too"),
        ("imageid classname", "data.source=vindr reads tables of VinDr-CXR, Kaggle's train.csv too"),
        ("pngpath accessionnumber", "data.source=brax reads tables of BRAX"),
        ("patientid x y width height target", _CLASS.format("RSNA_Pneumonia_Dataset")),
        ("imageid encodedpixels", _CLASS.format("SIIM_Pneumothorax_Dataset")),
        ("patientid offset finding filename", _CLASS.format("COVID19_Dataset")),
        ("imagename annotation", _CLASS.format("ObjectCXR_Dataset")),
    )
)
"""(columns that only this dataset's table has, as `column_key` writes them; the reader of it)."""


def name_reader(header: Sequence[str]) -> str:
    """The reader that understands a table of these columns, for a hint; empty where none is known."""
    keys = {column_key(name) for name in header}
    return next((reader for columns, reader in TABLES if columns <= keys), "")
