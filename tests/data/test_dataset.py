import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from cxr.config.schema import Config
from cxr.data import open_stores
from cxr.data.counts import counts as count_parts
from cxr.data.dataset import Dataset, open_dataset, store_path
from cxr.errors import CxrError
from cxr.labels.targets import count_targets
from cxr.report.terminal import render
from tests.helpers.fakes import NihImage, write_lines, write_nih

NUM = 24
FOLDS = ("train", "train", "val", "test", "train", "")
VIEWS = ("PA", "AP", "lateral")


class Source:
    """A table of 24 images of three views, two findings and three splits; the grey level tells the row."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = root / "dataset", root / "store"
        lines = ["image,patient_id,view,split,Mass,Edema"]
        for row in range(NUM):
            cells = (
                f"{row}.png",
                row,
                VIEWS[row % 3],
                FOLDS[row % 6],
                row % 2,
                ("1", "-1", "")[row // 2 % 3],
            )
            lines.append(",".join(map(str, cells)))
            self.draw(row)
        write_lines(self.root / "labels.csv", lines)

    def draw(self, row: int) -> None:
        self.root.mkdir(exist_ok=True)
        assert cv2.imwrite(str(self.root / f"{row}.png"), np.full((16, 16), level(row), np.uint8))

    def remove(self, rows: Sequence[int]) -> None:
        for row in rows:
            (self.root / f"{row}.png").unlink()

    def spoil(self, rows: Sequence[int]) -> None:
        for row in rows:
            (self.root / f"{row}.png").write_bytes(b"")

    def config(
        self, data: Mapping[str, object] | None = None, image: Mapping[str, object] | None = None
    ) -> Config:
        keys: dict[str, Any] = {
            "source": "table",
            "csv": "labels.csv",
            "split": "column",
            "columns": {"view": "view"},
        }
        return Config.model_validate(
            {
                "data": {**keys, "root": self.root, **(data or {})},
                "image": {"store_size": 16, **(image or {})},
                "store": {"path": self.store, "workers": 2},
            }
        )

    def open(
        self, overwrite: bool = False, image: Mapping[str, object] | None = None, **data: object
    ) -> Dataset:
        return open_dataset(self.config(data, image), overwrite)


def level(row: int) -> int:
    """The grey level of a row's image: never 0, which is what a row without a picture holds."""
    return 10 * row + 5


def rows_of(dataset: Dataset) -> list[int]:
    """Rows of the label table that a dataset holds."""
    return [int(name.removesuffix(".png")) for name in dataset.table.rows["image"]]


def check_pixels(dataset: Dataset) -> None:
    """Every row's index leads to its own image."""
    assert dataset.store.pixels[dataset.index].max(axis=(1, 2)).tolist() == [
        level(row) for row in rows_of(dataset)
    ]
    assert dataset.store.pixels[dataset.index].min(axis=(1, 2)).tolist() == [
        level(row) for row in rows_of(dataset)
    ]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def error_of(source: Source, image: Mapping[str, object] | None = None, **data: object) -> str:
    with pytest.raises(CxrError) as error:
        open_dataset(source.config(data, image))
    return error.value.render().replace(f"{source.root}", "ROOT").replace(f"{source.store}", "STORE")


def test_a_dataset_holds_every_row_that_is_in_a_split_with_its_own_pixels(source: Source) -> None:
    dataset = source.open()
    assert rows_of(dataset) == [row for row in range(NUM) if row % 6 != 5]
    check_pixels(dataset)
    assert [dataset.assigned[row] for row in range(len(dataset.assigned))] == [
        FOLDS[row % 6] for row in rows_of(dataset)
    ]
    assert {fold: len(dataset.rows(fold)) for fold in ("train", "val", "test")} == {
        "train": 12,
        "val": 4,
        "test": 4,
    }


def test_targets_are_those_of_the_rows(source: Source) -> None:
    dataset = source.open(missing="skip", unreadable="skip", views=["PA", "AP"])
    assert dataset.targets.findings == ("Mass", "Edema")
    assert dataset.targets.y[:, 0].tolist() == [row % 2 for row in rows_of(dataset)]
    assert dataset.targets.mask[:, 1].tolist() == [row // 2 % 3 != 1 for row in rows_of(dataset)]


ROWS = st.sets(st.integers(0, NUM - 1), max_size=10)


@given(missing=ROWS, unreadable=ROWS, views=st.none() | st.sets(st.sampled_from(VIEWS), min_size=1))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_dropped_the_rest_keeps_its_own_pixels_and_labels(
    tmp_path_factory: pytest.TempPathFactory, missing: set[int], unreadable: set[int], views: set[str] | None
) -> None:
    source = Source(tmp_path_factory.mktemp("dataset"))
    source.spoil(sorted(unreadable))
    source.remove(sorted(missing))
    shown = None if views is None else sorted(views)
    dataset = source.open(missing="skip", unreadable="skip", views=shown)
    expected = [row for row in range(NUM) if row not in missing | unreadable and row % 6 != 5]
    assert rows_of(dataset) == [row for row in expected if views is None or VIEWS[row % 3] in views]
    check_pixels(dataset)
    assert dataset.targets.y[:, 0].tolist() == [row % 2 for row in rows_of(dataset)]
    assert dataset.assigned.tolist() == [FOLDS[row % 6] for row in rows_of(dataset)]
    assert len(dataset.table) + sum(dataset.dropped.values()) == NUM


def test_dropped_rows_are_counted_once_by_their_first_reason(source: Source) -> None:
    source.remove([0, 5])  # 5 is in no split, too
    source.spoil([1, 2, 11])  # 2 is lateral and 11 in no split, too
    dataset = source.open(missing="skip", unreadable="skip", views=["PA", "AP"])
    assert dataset.dropped == {"no file": 2, "unreadable": 3, "other view": 5, "in no split": 0}
    assert len(dataset.table) == NUM - 10


def test_missing_files_are_an_error_that_counts_them_and_names_the_first(source: Source) -> None:
    source.remove([3, 4, 8, 9, 10, 20, 21])
    assert error_of(source) == (
        "error: ROOT: 7 of 24 listed images have no file: 3.png, 4.png, 8.png, 9.png, 10.png, ...\n"
        "hint: unpack the rest of the dataset there, or data.missing=skip to continue without them "
        "(listed in missing.csv)"
    )
    assert not source.store.exists()


def test_few_missing_files_are_all_named(source: Source) -> None:
    source.remove([7])
    assert "1 of 24 listed images have no file: 7.png\n" in error_of(source)


def test_skipped_missing_files_are_listed_beside_the_store(
    source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    source.remove([3, 8])
    dataset = source.open(missing="skip")
    assert not {3, 8} & set(rows_of(dataset))
    assert (source.store / "missing.csv").read_text() == "image,reason\n3.png,no file\n8.png,no file\n"
    assert f"warning: 2 images missing and skipped: see {source.store}/missing.csv" in capsys.readouterr().err


def test_names_in_lists_without_a_row_are_missing_too(tmp_path: Path) -> None:
    images = [NihImage(f"{row:08}_000.png", patient=str(row), split="train_val") for row in range(1, 9)]
    root = write_nih(tmp_path / "nih", [*images, NihImage("00000009_000.png", patient="9", split="test")])
    write_lines(root / "test_list.txt", ["00000009_000.png", "00000010_000.png"])
    sections: dict[str, Any] = {
        "data": {"source": "nih", "root": root},
        "image": {"store_size": 16},
        "store": {"path": tmp_path / "store"},
    }
    with pytest.raises(
        CxrError, match=r"1 of 10 listed images have no row in the label table: 00000010_000\.png"
    ):
        open_dataset(Config.model_validate(sections))
    sections["data"]["missing"] = "skip"
    dataset = open_dataset(Config.model_validate(sections))
    assert len(dataset.table) == 9
    assert dataset.dropped["listed but not in the label table"] == 1
    assert "00000010_000.png,no row in the label table" in (tmp_path / "store" / "missing.csv").read_text()


def test_no_file_at_all_asks_for_the_root(source: Source) -> None:
    source.remove(range(NUM))
    assert error_of(source, missing="skip") == (
        "error: ROOT: none of its 24 images has a file\nhint: is data.root the right folder?"
    )


def test_unreadable_files_are_an_error_or_skipped(source: Source) -> None:
    source.spoil([6])
    assert "ROOT/6.png: file is empty (0 bytes)" in error_of(source)
    dataset = source.open(unreadable="skip")
    assert 6 not in rows_of(dataset)
    assert "6.png" in (source.store / "unreadable.csv").read_text()
    check_pixels(dataset)


def test_a_store_with_skipped_files_is_refused_where_they_are_an_error(source: Source) -> None:
    source.spoil([6])
    source.open(unreadable="skip")
    assert error_of(source) == (
        "error: STORE: 1 of its files were unreadable and are listed in unreadable.csv\n"
        "hint: data.unreadable=skip continues without them; cxr pack CONFIG --update reads them again"
    )
    source.draw(6)
    assert 6 in rows_of(source.open(overwrite=True))


@pytest.mark.parametrize(
    "change",
    [
        {"findings": ["Edema"]},
        {"uncertain": "ones"},
        {"uncertain": {"Edema": "zeros", "default": "ones"}},
        {"blank": "masked"},
        {"views": ["PA"]},
        {"split": "random"},
        {"split": "random", "split_seed": 4},
        {"missing": "skip", "unreadable": "skip"},
    ],
    ids=str,
)
def test_a_store_serves_every_config_of_the_same_images(
    source: Source, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    source.open()
    monkeypatch.setattr(open_stores, "pack", never)
    dataset = open_dataset(source.config(change))
    check_pixels(dataset)
    assert len(dataset.table) + sum(dataset.dropped.values()) == NUM


def never(*_: object) -> None:
    raise AssertionError("packed again")


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ({"store_size": 32}, "packed with preprocess.size 16, but the config asks for 32"),
        ({"fit": "crop"}, "packed with preprocess.fit pad, but the config asks for crop"),
    ],
)
def test_a_store_of_other_pixels_is_refused_until_it_is_overwritten(
    source: Source, image: dict[str, object], reason: str
) -> None:
    source.open()
    assert error_of(source, image=image).startswith(f"error: STORE: {reason}\nhint: ")
    check_pixels(source.open(overwrite=True, image=image))


def test_a_store_of_other_images_is_refused(source: Source) -> None:
    source.remove([5])
    source.open(missing="skip")
    source.draw(5)
    assert error_of(source) == (
        "error: STORE: packed with num_images 23, but the config asks for 24\n"
        "error: STORE: packed from other images than the label table now names: 1 new (5.png)\n"
        "hint: cxr pack CONFIG --overwrite packs it again, or store.path=FOLDER keeps both"
    )


def test_the_order_of_the_label_table_is_the_order_of_the_store(source: Source) -> None:
    source.open()
    first, *rest = (source.root / "labels.csv").read_text().splitlines()
    write_lines(source.root / "labels.csv", [first, *rest[::-1]])
    assert "packed in another order than the label table now has" in error_of(source)
    check_pixels(source.open(overwrite=True))


def test_where_another_process_packs_none_is_packed(source: Source) -> None:
    with pytest.raises(CxrError, match="is no store of packed images"):
        open_dataset(source.config(), may_pack=False)
    source.open()
    check_pixels(open_dataset(source.config(), may_pack=False))


def test_the_split_does_not_depend_on_files_that_are_missing(source: Source) -> None:
    whole = source.open(split="random")
    folds = dict(zip(rows_of(whole), whole.assigned.tolist(), strict=True))
    source.remove([0, 1, 2, 3])
    rest = source.open(split="random", missing="skip", overwrite=True)
    assert {row: folds[row] for row in rows_of(rest)} == dict(
        zip(rows_of(rest), rest.assigned.tolist(), strict=True)
    )


def test_a_policy_for_what_is_no_finding_is_refused(source: Source) -> None:
    assert error_of(source, uncertain={"Oedema": "ones", "Edema": "zeros", "Masses": "ones"}) == (
        "error: data.uncertain: 'Masses' is no finding here\n"
        "error: data.uncertain: 'Oedema' is no finding here\n"
        "hint: findings are Mass, Edema"
    )


def test_a_policy_may_spell_a_finding_in_another_way(source: Source) -> None:
    text = (source.root / "labels.csv").read_text().replace("Edema", "Pleural Thickening")
    (source.root / "labels.csv").write_text(text)
    thick = source.open(uncertain={"Pleural Thickening": "ones"})
    assert thick.targets.findings == ("Mass", "Pleural_Thickening")
    assert thick.targets.y[:, 1].tolist() == [float(row // 2 % 3 < 2) for row in rows_of(thick)]


def test_counts_add_up_and_are_plain_json(source: Source) -> None:
    source.spoil([1])
    dataset = source.open(unreadable="skip", blank="masked")
    counts = json.loads(json.dumps(dataset.counts()))
    assert sum(counts["images"].values()) + sum(counts["dropped"].values()) == NUM
    assert counts["patients"] == counts["images"]  # each image is another patient's
    for fold, cells in counts["cells"].items():
        for cell in cells:
            assert (
                sum(cell[kind] for kind in ("positive", "negative", "soft", "masked"))
                == counts["images"][fold]
            )


def test_the_printed_counts_are_those_of_the_targets(source: Source) -> None:
    source.remove([0])
    dataset = source.open(missing="skip")
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(render(*count_parts(dataset)))
    lines = [line.split() for line in console.export_text().splitlines()]
    cells = [count_targets(dataset.select(dataset.rows(fold))) for fold in ("train", "val", "test")]
    kinds = [("positive", "negative", *(["masked"] if fold["masked"].any() else [])) for fold in cells]
    edema = [str(fold[kind][1]) for fold, shown in zip(cells, kinds, strict=True) for kind in shown]
    assert next(line for line in lines if line and line[0] == "Edema") == ["Edema", *edema]
    assert "dropped: 1 no file, 4 in no split" in " ".join(lines[1])


def test_a_store_is_named_by_source_folder_and_size(source: Source) -> None:
    plain = source.config().model_copy(update={"store": Config.model_fields["store"].default})
    assert store_path(plain) == Path("stores/table-dataset-16")
    assert store_path(source.config()) == source.store


@pytest.mark.real
def test_real_radiographs_whose_files_are_missing_are_named_or_skipped(
    sample_data: Path, tmp_path: Path
) -> None:
    sections: dict[str, Any] = {
        "data": {"source": "nih", "root": sample_data / "nih-1024"},
        "image": {"store_size": 64},
        "store": {"path": tmp_path / "store", "workers": 2},
    }
    with pytest.raises(
        CxrError, match="111,990 of 112,120 listed images have no row in the label table: 0000"
    ):
        open_dataset(Config.model_validate(sections))
    sections["data"]["missing"] = "skip"
    dataset = open_dataset(Config.model_validate(sections))
    assert len(dataset.store.pixels) == 130
    assert len(dataset.table) == 130
