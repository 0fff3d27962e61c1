import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from cxr.config.load import override
from cxr.config.schema import Config
from cxr.data import combine as joint
from cxr.data import open_stores
from cxr.data.counts import counts as count_parts
from cxr.data.dataset import Dataset, open_dataset
from cxr.data.placement import place
from cxr.data.store import JoinedPixels
from cxr.errors import CxrError
from cxr.findings import CHEXPERT_14, NIH_14, NO_FINDING, concept, find
from cxr.report.terminal import render
from tests.helpers.fakes import write_lines

SHARED = {"Atelectasis", "Cardiomegaly", "Effusion", "Pneumonia", "Pneumothorax", "Consolidation", "Edema"}


@pytest.fixture
def config(nih_root: Path, chexpert: Path, tmp_path: Path) -> Config:
    also = [{"source": "chexpert", "root": chexpert, "split": "random"}]
    return Config.model_validate(
        {
            "data": {"source": "nih", "root": nih_root, "also": also},
            "image": {"store_size": 32, "size": 32},
            "store": {"path": tmp_path / "store"},
        }
    )


@pytest.fixture
def both(config: Config) -> Dataset:
    return open_dataset(config)


def rows_of(dataset: Dataset, source: str) -> np.ndarray:
    return np.flatnonzero(dataset.table.rows["source"] == source)


def column(dataset: Dataset, finding: str) -> int:
    return dataset.targets.findings.index(finding)


def test_targets_are_the_main_datasets_findings_then_those_of_the_others(both: Dataset) -> None:
    further = [name for name in CHEXPERT_14 if concept(name) not in NIH_14 and name != NO_FINDING]
    assert both.targets.findings == (*NIH_14, *further)
    assert len(both.targets.findings) == 20
    assert {name for name in NIH_14 if find(name, CHEXPERT_14)} == SHARED


@pytest.mark.parametrize("lookalike", ["Infiltration", "Nodule", "Mass", "Pleural_Thickening", "Fibrosis"])
def test_what_only_resembles_a_finding_is_not_merged(lookalike: str) -> None:
    assert find(lookalike, CHEXPERT_14) is None


def test_a_merged_finding_has_the_labels_of_each_datasets_table(both: Dataset, chexpert: Path) -> None:
    csv = pd.concat([pd.read_csv(chexpert / f"{name}.csv") for name in ("train", "valid", "test")])
    labels = csv.set_index("Path")["Pleural Effusion"]
    labels.index = "chexpert/" + labels.index.str.extract("((?:train|valid|test)/.*)", expand=False)
    rows = rows_of(both, "chexpert")
    expected = labels[both.table.rows["image"].iloc[rows]].to_numpy()
    np.testing.assert_array_equal(both.table.raw[rows, column(both, "Effusion")], expected)
    np.testing.assert_array_equal(both.targets.y[rows, column(both, "Effusion")], expected == 1)
    np.testing.assert_array_equal(both.targets.mask[rows, column(both, "Effusion")], expected != -1)


def test_what_a_dataset_does_not_label_is_masked_though_blank_cells_are_negative(both: Dataset) -> None:
    for source, finding in (("chexpert", "Hernia"), ("nih", "Lung Opacity")):
        rows = rows_of(both, source)
        assert np.isnan(both.table.raw[rows, column(both, finding)]).all()
        assert not both.targets.mask[rows, column(both, finding)].any()
    assert both.targets.mask[rows_of(both, "nih"), column(both, "Hernia")].all()
    assert np.isnan(
        both.table.raw[rows_of(both, "chexpert"), column(both, "Edema")]
    ).any()  # blank, and negative:
    assert both.targets.mask[rows_of(both, "chexpert"), column(both, "Edema")].sum() > 20


def test_names_of_images_and_patients_tell_their_dataset(both: Dataset) -> None:
    rows = both.table.rows
    assert rows["image"].is_unique
    for name in ("image", "patient_id"):
        assert (rows[name].str.partition("/")[0] == rows["source"]).all()
    assert [part.name for part in both.parts] == ["nih", "chexpert"]


def test_each_dataset_is_split_and_resolved_as_if_it_were_alone(config: Config, both: Dataset) -> None:
    alone = [open_dataset(dataset) for dataset in joint.separate(config)]
    assert both.assigned.tolist() == [fold for dataset in alone for fold in dataset.assigned]
    for dataset, source in zip(alone, ("nih", "chexpert"), strict=True):
        names = [find(name, both.targets.findings) for name in dataset.targets.findings]
        columns = [both.targets.findings.index(name) for name in names if name]
        np.testing.assert_array_equal(both.targets.y[rows_of(both, source)][:, columns], dataset.targets.y)
        np.testing.assert_array_equal(
            both.targets.mask[rows_of(both, source)][:, columns], dataset.targets.mask
        )


def test_a_store_of_each_dataset_serves_it_alone_and_together(
    config: Config, both: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("packed again")

    monkeypatch.setattr(open_stores, "pack", never)
    alone = [open_dataset(dataset) for dataset in joint.separate(config)]
    expected = np.concatenate([np.asarray(dataset.store.pixels)[dataset.index] for dataset in alone])
    np.testing.assert_array_equal(both.store.pixels[both.index], expected)
    assert config.store.path is not None
    assert [dataset.store.path.name for dataset in alone] == ["store", "store-chexpert"]
    open_dataset(override(config, ["data.also=[]"]))


def test_pixels_are_read_where_they_lie_or_copied_into_ram(both: Dataset) -> None:
    cpu = torch.device("cpu")
    disk, ram = (place(both.store, where, cpu)[0] for where in ("disk", "ram"))
    assert isinstance(disk, JoinedPixels) and all(isinstance(part, np.memmap) for part in disk.parts)
    assert isinstance(ram, np.ndarray) and ram.shape == disk.shape and ram.nbytes == disk.nbytes
    np.testing.assert_array_equal(disk[range(len(disk))], ram)
    with pytest.raises(IndexError):
        disk[len(disk)]


@pytest.mark.cuda
def test_pixels_on_the_gpu_are_those_of_all_stores(both: Dataset, gpu: torch.device) -> None:
    pixels, _ = place(both.store, "gpu", gpu)
    assert isinstance(pixels, torch.Tensor)
    np.testing.assert_array_equal(pixels.cpu().numpy(), np.asarray(both.store.pixels))


def test_policies_are_those_of_each_dataset_under_either_name(config: Config, both: Dataset) -> None:
    for name in ("Effusion", "Pleural Effusion"):
        ones = open_dataset(override(config, [f"data.also.0.uncertain={{{name}: ones}}"]))
        unsure = ones.table.raw == -1
        assert unsure[:, column(ones, "Effusion")].any()
        assert (ones.targets.y[unsure[:, column(ones, "Effusion")], column(ones, "Effusion")] == 1).all()
        assert not ones.targets.mask[unsure[:, column(ones, "Edema")], column(ones, "Edema")].any()
    assert (both.targets.y[both.table.raw == -1] == 0).all()


def error_of(config: Config, *overrides: str) -> str:
    with pytest.raises(CxrError) as error:
        open_dataset(override(config, overrides))
    return error.value.render()


def test_an_error_names_the_further_datasets_key(config: Config) -> None:
    assert error_of(config, "data.also.0.uncertain={Oedema: ones}").startswith(
        "error: data.also.0.uncertain: 'Oedema' is no finding here\n"
    )
    assert error_of(config, "data.also.0.csv=absent.csv").startswith("error: data.also.0: data.csv: no file")


def test_a_finding_that_no_dataset_labels_is_refused(config: Config) -> None:
    assert error_of(config, "data.findings=[Effusion, Scoliosis, Hernia]").startswith(
        "error: data.findings: no dataset has labels for 'Scoliosis'\nhint: "
    )


def test_asked_for_findings_are_found_under_each_datasets_name(config: Config) -> None:
    some = open_dataset(override(config, ["data.findings=[Pleural Effusion, Hernia]"]))
    assert some.targets.findings == ("Pleural Effusion", "Hernia")
    assert some.targets.mask[rows_of(some, "nih")].all()
    assert some.targets.mask[rows_of(some, "chexpert")].any(axis=0).tolist() == [True, False]


def table(root: Path, name: str, patients: str, findings: str = "Effusion") -> dict[str, Any]:
    """A table source of three images in as many folds, of the patients a, b and c, say."""
    lines = [
        f"{fold}.png,{patient},{fold},1"
        for patient, fold in zip(patients, ("train", "val", "test"), strict=True)
    ]
    write_lines(root / name / "labels.csv", [f"image,patient_id,split,{findings}", *lines])
    return {"source": "table", "root": root / name, "csv": "labels.csv", "split": "column", "missing": "skip"}


def test_patients_of_one_dataset_read_twice_are_not_in_two_splits(config: Config, nih_root: Path) -> None:
    again = f"data.also=[{{source: nih, root: {nih_root}, split: random, split_seed: 4}}]"
    text = error_of(config, again)
    assert "error: data.split: patient" in text
    assert text.endswith("hint: two datasets hold the same patients; give both the same split")


def test_equal_ids_of_two_tables_are_other_people_only_where_names_say_so(
    tmp_path: Path, nih_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = table(tmp_path, "a", "123"), table(tmp_path, "b", "312", "Pleural Effusion")
    for root in ("a", "b"):
        for fold in ("train", "val", "test"):
            (tmp_path / root / f"{fold}.png").write_bytes(
                next((nih_root / "images").glob("*.png")).read_bytes()
            )
    sections = {"image": {"store_size": 32}, "store": {"path": tmp_path / "store"}}
    assert "patient 1 is in train and val" in error_of(
        Config.model_validate({"data": {**first, "also": [second]}, **sections})
    )
    named = Config.model_validate(
        {"data": {**first, "name": "A", "also": [{**second, "name": "B"}]}, **sections}
    )
    dataset = open_dataset(named)
    assert dataset.table.rows["patient_id"].tolist() == ["A/1", "A/2", "A/3", "B/3", "B/1", "B/2"]
    assert dataset.targets.findings == ("Effusion",) and dataset.targets.y.all()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([("nih", None), ("chexpert", None)], ["nih", "chexpert"]),
        ([("nih", None), ("nih", None), ("nih", None)], ["nih", "nih_2", "nih_3"]),
        ([("nih", None), ("table", "nih")], ["nih_2", "nih"]),
    ],
)
def test_names_default_to_the_source_and_differ(
    given: list[tuple[str, str | None]], expected: list[str]
) -> None:
    roots: list[dict[str, Any]] = [{"source": s, "name": n, "root": "x", "split": "random"} for s, n in given]
    config = Config.model_validate({"data": {**roots[0], "also": roots[1:]}})
    assert joint.names(config.data) == expected


def test_two_datasets_never_share_a_store_by_its_default_name(tmp_path: Path) -> None:
    also = [
        {"source": "nih", "root": tmp_path / "b" / "nih"},
        {"source": "chexpert", "root": tmp_path / "chexpert"},
    ]
    config = Config.model_validate({"data": {"source": "nih", "root": tmp_path / "a" / "nih", "also": also}})
    assert [str(alone.store.path) for alone in joint.separate(config)] == [
        "stores/nih-nih-256",
        "stores/nih-nih-256-nih_2",
        "stores/chexpert-chexpert-256",
    ]


def test_the_printed_counts_say_what_each_dataset_gives(config: Config) -> None:
    dataset = open_dataset(override(config, ["data.also.0.weight=1.5"]))
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(render(*count_parts(dataset)))
    lines = console.export_text().splitlines()
    for line, part in zip(lines, dataset.parts, strict=False):
        assert line.startswith(
            f"{part.name}: split: {part.split.name}: train {len(part.rows('train'))} images of "
        )
    assert lines[1].rstrip().endswith("training rows 1.5 times an epoch")
    counts = dataset.counts()
    assert counts["datasets"] == {part.name: part.counts() for part in dataset.parts}
