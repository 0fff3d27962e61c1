"""What a column of a label table is: found by its name where that is usual, counted where it is not taken.

Names are compared without case, blanks and signs: `Patient ID`, `patientId` and `PATIENT_ID` are the same.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cxr.errors import CxrError
from cxr.fields.cells import is_blank
from cxr.fields.identity import normalise_ids
from cxr.findings import is_known
from cxr.labels.sheet import Sheet, column_key

KINDS: Mapping[str, tuple[str, ...]] = {
    "image": (
        "image", "imageindex", "imagepath", "imagefile", "imagefilename", "imagename", "imageid",
        "imgpath", "imgname", "imgid", "img", "path", "filepath", "pngpath", "filename", "file",
        "fname", "dicomid", "dicompath", "dicomfile", "dicom", "sopinstanceuid", "imageuid",
    ),
    "patient_id": (
        "patientid", "patient", "patientnumber", "patientno", "patientnr", "patientidentifier",
        "patientkey", "patientcode", "patientuid", "patientname", "idpatient", "ptid", "subjectid",
        "subject", "subjectnumber", "personid", "person", "mrn", "pid",
    ),
    "study_id": (
        "studyid", "study", "studyuid", "studyinstanceuid", "accessionnumber", "accession",
        "accessionid", "examid", "exam",
    ),
    "view": ("view", "viewposition", "viewpos", "projection", "imageview", "xrayview"),
    "sex": ("sex", "gender", "patientsex", "patientgender", "patientsexdicom"),
    "age": ("ageyears", "age", "patientage", "ageinyears", "patientageyears", "ageatstudy"),
    "split": ("split", "fold", "set", "subset", "partition"),
}  # fmt: skip
"""Usual names of the columns that identify a row, the most telling first, as `column_key` writes them."""

_METADATA = frozenset(
    """
    name firstname lastname surname
    id uid uuid guid index unnamed0 row rowid number no nr num series seriesid seriesuid seriesinstanceuid
    imagenumber
    instance instanceid instancenumber case caseid followup followupnumber visit visitid visitnumber
    session episode
    train training val valid validation test testing istrain isval istest holdout cv
    male female issmale ismale isfemale sexmale sexfemale birth birthdate birthyear patientbirth dob
    yearofbirth
    ethnicity race language insurance maritalstatus weight weightkg height heightcm size bmi smoker
    laterality position orientation modality bodypart bodypartexamined manufacturer manufacturermodel
    model scanner
    device machine vendor site hospital institution institutionname center centre location country city
    region ward
    date studydate studydatedicom acquisitiondate time studytime datetime timestamp year month day offset
    daysoffset
    rows columns width height bits bitsstored channels originalimagewidth originalimagepixelspacingx
    pixelspacing
    originalimagewidthheight originalimagepixelspacingxy originalwidth originalheight spacing spacingx
    spacingy y x w h
    kvp exposure mas sid photometricinterpretation windowcenter windowwidth md5 sha256 hash checksum
    filesize
    reader readerid radid rad radiologist rater annotator doctor physician methodlabel methodprojection
    xmin ymin xmax ymax x1 y1 x2 y2
    xcenter ycenter xcentre ycentre xc yc x0 y0 bbox box boxes area mask rle encodedpixels segmentation
    polygon
    report reporttext impression text findingstext note notes clinicalnotes othernotes comment comments
    description
    indication history caption url doi license licence source dataset folder directory
    confidence probability prob score certainty loss
    survival survived death died mortality intubated extubated intubationpresent ventilated icu inicu
    wenticu
    icuadmission admitted discharged lengthofstay los neededsupplementalo2 oxygen rtpcrpositive rtpcr pcr
    vaccinated
    temperature po2saturation spo2 saturation leukocytecount neutrophilcount lymphocytecount crp ddimer
    """.split()
)
"""Names of columns that are never findings unless data.findings names them, as `column_key` writes them."""


def is_metadata(name: str) -> bool:
    """Whether a column is known to say something about the image that is no finding."""
    key = column_key(name)
    # a known finding is never metadata, whatever words are in the list
    return not is_known(name) and (key in _METADATA or any(key in usual for usual in KINDS.values()))


def find_column(sheet: Sheet, kind: str, taken: Collection[str] = ()) -> str | None:
    """The column that is usually called so, None where there is none.

    Args:
        sheet: The table.
        kind: One of KINDS.
        taken: Columns that are something else.

    Raises:
        CxrError: Two columns that may name the patient, and group the images differently.
    """
    found = _find_all([name for name in sheet.header if name not in taken], kind)
    if kind == "patient_id":
        check_same_patients(sheet, found)
    return found[0] if found else None


def find_name(names: Sequence[str], kind: str) -> str | None:
    """The first of the names that usually means this kind of column."""
    return next(iter(_find_all(names, kind)), None)


def _find_all(names: Sequence[str], kind: str) -> list[str]:
    """Every name that usually means this, the most telling first."""
    order = KINDS[kind]
    known = [name for name in names if column_key(name) in order]
    # by the order in KINDS, not by that of the file: `Image Index` tells more than `path`
    return sorted(known, key=lambda name: order.index(column_key(name)))


def check_same_patients(sheet: Sheet, names: Sequence[str]) -> None:
    """Refuse columns that may name the patient where they do not group the images alike.

    Raises:
        CxrError: One patient of a column is several of another; rows where either is blank say nothing.
    """
    if len(names) < 2:
        return
    first, *others = (normalise_ids(sheet.column(name)) for name in names)
    for name, other in zip(names[1:], others, strict=True):
        # each pair of ids once; a row where either is blank cannot contradict
        pairs = {(a, b) for a, b in zip(first, other, strict=True) if not (is_blank(a) or is_blank(b))}
        num_first, num_other = len({a for a, _ in pairs}), len({b for _, b in pairs})
        # as many pairs as ids of either column: each id of it goes with a single id of the other
        if len(pairs) > min(num_first, num_other):
            problem = f"{sheet.path}: both {names[0]} and {name} may name the patient, and they differ"
            hint = f"keep one of them, or name it: data.columns.patient={quoted(name)}, "
            hint += f"or, where {names[0]} is it, data.columns.others=[{quoted(name)}]"
            raise CxrError(problem, hint)


def quoted(name: str) -> str:
    """A column's name as a value in an override, in quotes where YAML would read it otherwise."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else repr(name)


@dataclass(frozen=True)
class ColumnUse:
    """What a reader made of one column.

    Attributes:
        column: Its name in the file.
        use: What it is, as `finding Edema`, `image` or `patient`; empty where it was not taken.
        why: Why it was not taken, or what else is to be said.
    """

    column: str
    use: str = ""
    why: str = ""


def describe(columns: Sequence[ColumnUse], most: int = 12) -> list[str]:
    """Lines on the columns taken and, at most so many, on those that were not, for a terminal."""
    findings, others, left = [], [], []
    for column in columns:
        if column.use.startswith("finding"):
            findings.append(_name_use(column, column.use.removeprefix("finding ")))
        elif column.use:
            others.append(_name_use(column, column.use))
        else:
            left.append(f"{column.column} ({column.why})")
    lines = []
    if findings:
        lines.append(f"findings taken: {', '.join(findings)}")
    if others:
        lines.append(f"other columns: {', '.join(others)}")
    if left:
        more = f" and {len(left) - most:,} more" if len(left) > most else ""
        lines.append(f"columns not used: {', '.join(left[:most])}{more}")
    return lines


def _name_use(column: ColumnUse, use: str) -> str:
    """The use, and the column's name where it says something else."""
    return use if column_key(column.column) == column_key(use) else f"{use} from {column.column!r}"


def account(
    sheet: Sheet, named: Mapping[str, str], findings: Mapping[str, str], why: Mapping[str, str], other: str
) -> tuple[ColumnUse, ...]:
    """The use of every column of a table, so that none drops out in silence.

    Args:
        sheet: The table.
        named: The column of each kind, as {"patient_id": "Patient ID"}.
        findings: The column of each finding.
        why: The reason for a column that was not taken.
        other: The reason for every other column that was not taken.
    """
    # a column may be two things at once
    uses: dict[str, list[str]] = {}
    for kind, column in named.items():
        uses.setdefault(column, []).append(kind.removesuffix("_id"))
    for finding, column in findings.items():
        uses.setdefault(column, []).append(f"finding {finding}")
    found = []
    for index, name in enumerate(sheet.header):
        if name in uses:
            found.append(ColumnUse(name, use=" and ".join(uses[name])))
        elif name:
            found.append(ColumnUse(name, why=why.get(name, other)))
        # cells lie row after row; a column without a name and without a cell is no more than a spare
        # separator
        elif any(cell.strip() for cell in sheet.cells[index :: len(sheet.header)]):
            found.append(ColumnUse(f"column {index + 1}", why="has no name"))
    return tuple(found)
