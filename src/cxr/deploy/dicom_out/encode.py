"""A DICOM object -> the bytes of its file, in the character set of the image if that has all letters."""

from io import BytesIO

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes, encode_string, python_encoding
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from cxr.deploy.dicom_out.source import Source

_UTF_8 = "ISO_IR 192"
_TEXTS = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")


def encode(result: Dataset, source: Source) -> bytes:
    """The bytes of a result that has inherited from its source.

    The character set is that of the source, or UTF-8 where the source names none or it lacks a letter.
    """
    ours = _list_texts(result)
    source.pass_on(result)
    character_set = _choose_character_set(source.character_set, ours, _list_texts(result))
    if character_set:
        result.SpecificCharacterSet = character_set
    else:
        del result.SpecificCharacterSet
    file = BytesIO()
    result.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _choose_character_set(
    character_set: str | list[str], ours: list[str], all_texts: list[str]
) -> str | list[str]:
    """The set that was given, empty for none, if it has the letters of all texts; else UTF-8."""
    if all(text.isascii() for text in all_texts):  # these letters are in every set
        return character_set if _is_known(character_set) else ""
    # several sets with escapes between them are kept for what came in them, and not given other letters
    may_keep = isinstance(character_set, str) or all(text.isascii() for text in ours)
    return character_set if may_keep and _has_letters(character_set, all_texts) else _UTF_8


def _is_known(character_set: str | list[str]) -> bool:
    names = [character_set] if isinstance(character_set, str) else character_set
    return all(name in python_encoding for name in names)


def _list_texts(result: Dataset) -> list[str]:
    """Each value that a character set applies to, those inside sequences too."""
    values = [element.value for element in result.iterall() if element.VR in _TEXTS and element.value]
    return [str(value) for value in values]


def _has_letters(character_set: str | list[str], texts: list[str]) -> bool:
    """Whether texts are read again as they are from their bytes in a character set."""
    if not character_set or not _is_known(character_set):
        return False
    encodings = convert_encodings(character_set)
    return all(
        decode_bytes(encode_string(text, encodings), encodings, PN_DELIMS | TEXT_VR_DELIMS) == text
        for text in texts
    )
