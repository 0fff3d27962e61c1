import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.fields.views import read_view
from cxr.findings import CHEXPERT_14, NIH_14, canonical, concept, find, find_spelling, name_key
from cxr.labels.classes import read_classes, read_words

NAN = np.nan


@pytest.mark.parametrize(
    ("view", "texts"),
    [
        ("PA", ["PA", "pa", "PA erect", "postero-anterior", "posteroanterior", "PA_upright", "P-A PA"]),
        ("AP", ["AP", "AP Supine", "AP_horizontal", "ap", "AP AXIAL", "antero-posterior"]),
        ("lateral", ["L", "LL", "Lateral", "LAT", "left lateral", "XTABLE LATERAL", "RL", "Lateral View"]),
        ("", ["", " ", "Unknown", "UNK", "EXCLUDE", "nan", "-"]),
        ("LAO", ["LAO", " LAO\u00a0"]),
    ],
)
def test_a_view_is_read_from_its_words(view: str, texts: list[str]) -> None:
    assert [read_view(text) for text in texts] == [view] * len(texts)


@given(st.sampled_from([*NIH_14, *CHEXPERT_14]), st.data())
@settings(max_examples=150, deadline=None)
def test_a_finding_matches_in_any_case_and_with_any_signs_between_its_words(
    name: str, data: st.DataObject
) -> None:
    letters = [data.draw(st.sampled_from([letter.lower(), letter.upper()])) for letter in name]
    sign = data.draw(st.sampled_from([" ", "_", "-", "", "\u00a0", " - "]))
    other = "".join(sign if letter in " _" else letter for letter in letters)
    assert canonical(other) == canonical(name) and concept(other) == concept(name)
    assert find(other, [name]) == find_spelling(other, [name]) == name


def test_signs_at_the_ends_tell_names_apart() -> None:
    assert len({name_key(name) for name in ("PICC+", "PICC-", "PICC", "A|B", "AB")}) == 5


def test_other_findings_are_not_merged_by_their_spelling() -> None:
    assert find_spelling("Effusion", ["Pleural Effusion"]) is None and find("Effusion", ["pleural effusion"])
    assert find("Nodule", ["Mass"]) is None


def test_lists_of_words_become_columns() -> None:
    findings, raw = read_classes(
        ["Edema|Effusion", "No Finding", "", "mass; EDEMA", "['Mass', 'Edema']", "normal"]
    )
    assert findings == ("Edema", "Effusion", "Mass", "No Finding")
    np.testing.assert_array_equal(
        raw, [[1, 1, 0, 0], [0, 0, 0, 1], [NAN] * 4, [1, 0, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    )


@pytest.mark.parametrize("cell", ["", " ", "nan", "NA", "[]", "|", "['']"])
def test_a_cell_without_words_names_nothing(cell: str) -> None:
    assert read_words(cell) == []
