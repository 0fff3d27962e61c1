"""The view of an image: one rule, whether a table or a DICOM header says it."""

import re
from collections.abc import Sequence

from cxr.fields.cells import is_blank
from cxr.fields.identity import normalise

LATERAL = "lateral"
KNOWN = ("PA", "AP", LATERAL)

_WORDS = {
    "PA": "PA",
    "AP": "AP",
    **dict.fromkeys(("LATERAL", "LAT", "L", "LL", "RL", "LLAT", "RLAT"), LATERAL),
}
_UNKNOWN = frozenset(("UNKNOWN", "UNK", "EXCLUDE", "OTHER"))
_STARTS = (("POSTERO", "PA"), ("ANTERO", "AP"), ("LATER", LATERAL))


def read_view(text: str) -> str:
    """`PA`, `AP` or `lateral` where the text says one of them, empty where it says nothing, else the text.

    The first word that says one decides, in any case: `AP Supine`, `ap`, `AP_horizontal` and
    `anteroposterior` are AP, `PA erect` and `postero-anterior` PA, `L`, `LL`, `LAT` and `XTABLE LATERAL`
    lateral. Other views, such as `LAO`, stay.
    """
    text = normalise(text)
    upper = text.upper().replace(".", "")
    words = re.split(r"[\s_/,;()-]+", upper)
    if is_blank(text) or words[0] in _UNKNOWN:
        return ""
    # 1. the whole text as a word: `P.A.` and `p-a`
    whole = re.sub(r"[\s_/-]", "", upper)
    if whole in _WORDS:
        return _WORDS[whole]
    # 2. the first of its words that says a view
    for word in words:
        if word in _WORDS and len(word) > 1:  # the L of `L-spine` is no view
            return _WORDS[word]
        for start, view in _STARTS:
            if word.startswith(start):
                return view
    return text


def read_views(values: Sequence[str]) -> list[str]:
    """The view of each of [N] cells."""
    views = {value: read_view(value) for value in set(values)}  # each distinct word once
    return [views[value] for value in values]
