import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.config.yaml_reader import read_argument
from cxr.errors import CxrError
from cxr.fields.cells import read_label
from cxr.labels.choose import as_override, choose_columns
from cxr.labels.sheet import Sheet

LABELS = ["1", "0", "-1", "True", "no", "1.0"]
OTHERS = ["2", "x", "0.25", "58Y", "left lung"]


def sheet_of(**columns: Sequence[str]) -> Sheet:
    rows = list(zip(*columns.values(), strict=True))
    return Sheet(
        Path("x.csv"), tuple(columns), list(range(2, len(rows) + 2)), [cell for row in rows for cell in row]
    )


@given(
    st.lists(st.lists(st.sampled_from([*LABELS, *OTHERS, "", "NA"]), min_size=12, max_size=12), min_size=1)
)
@settings(max_examples=150, deadline=None)
def test_no_column_drops_out_without_a_reason(columns: list[list[str]]) -> None:
    sheet = sheet_of(**{f"Finding {place}": cells for place, cells in enumerate(columns)})
    kinds = {name: {_kind(cell) for cell in sheet.column(name)} - {"blank"} for name in sheet.header}
    mixed = [name for name, kind in kinds.items() if ("label" in kind and len(kind) > 1) or kind == {"soft"}]
    if mixed:
        with pytest.raises(CxrError) as error:
            choose_columns(sheet, (), None)
        assert all(any(f": {name} is" in problem for problem in error.value.problems) for name in mixed)
    else:
        chosen = choose_columns(sheet, (), None)
        assert set(chosen.columns) == {name for name, kind in kinds.items() if kind == {"label"}}
        assert set(chosen.why) == set(sheet.header) - set(chosen.columns)


def _kind(cell: str) -> str:
    value = read_label(cell)
    if value is None:
        return "other"
    return "blank" if value != value else "label" if value in (0, 1, -1) else "soft"


@pytest.mark.parametrize(
    "name", ["Sex", "fold", "Patient Age", "ID", "is_male", "Unnamed: 0", "Height]", "split", "x"]
)
def test_known_metadata_is_no_finding_unless_it_is_named(name: str) -> None:
    sheet = sheet_of(Mass=["1", "0"], **{name: ["0", "1"]})
    chosen = choose_columns(sheet, (), None)
    assert list(chosen.columns) == ["Mass"] and chosen.why == {name: "known to be no finding"}
    assert list(choose_columns(sheet, (), [name]).columns) == [name]


def test_a_name_that_no_public_dataset_knows_is_taken_and_asked_about() -> None:
    chosen = choose_columns(sheet_of(Mass=["1", "0"], is_intubated=["0", "1"]), (), None)
    assert list(chosen.columns) == ["Mass", "is_intubated"] and chosen.unsure == ("is_intubated",)


def test_soft_labels_are_read_where_they_are_asked_for() -> None:
    sheet = sheet_of(Mass=["1", "0.25"])
    with pytest.raises(CxrError, match=r"x\.csv:3: Mass is '0\.25', a soft label") as error:
        choose_columns(sheet, (), None)
    assert "data.soft_labels=keep" in error.value.hint
    assert list(choose_columns(sheet, (), None, soft=True).columns) == ["Mass"]


@pytest.mark.parametrize(
    "asked", ["pleural_effusion", "PLEURAL EFFUSION", "Pleural-Effusion", " pleuralEffusion"]
)
def test_a_finding_is_found_in_any_spelling(asked: str) -> None:
    assert (
        choose_columns(sheet_of(**{"Pleural Effusion": ["1"]}), (), [asked]).columns[asked]
        == "Pleural Effusion"
    )


def test_two_spellings_of_one_finding_are_refused() -> None:
    with pytest.raises(CxrError, match="two columns for finding 'COVID-19': COVID-19, covid_19"):
        choose_columns(sheet_of(**{"COVID-19": ["1"], "covid_19": ["1"]}), (), None)


@pytest.mark.parametrize(
    "names", [["1e3", "Mass"], ["a 'b'", "010"], ["x\x7f", "no"], ['"', "$HOME"], ["Mass"]]
)
def test_a_hint_gives_back_the_same_names(names: list[str]) -> None:
    if names == ["Mass"]:
        assert as_override(names) == "data.findings=[Mass]"
    (text,) = shlex.split(as_override(names))
    assert read_argument(text.removeprefix("data.findings=")) == names
