import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxr.cli import main
from cxr.config.schema import Config, Data
from cxr.data.dataset import open_dataset
from cxr.errors import CxrError, UnreadableImageError
from cxr.images.prepare import Preprocess, prepare
from cxr.images.read import read_file
from cxr.labels.sources import read
from cxr.labels.sources.torchxrayvision import to_grey
from cxr.labels.table import LabelTable
from tests.helpers.dicoms import write_dicom
from tests.helpers.fakes import (
    PADCHEST_TABLE,
    NihImage,
    write_brax,
    write_chexpert,
    write_image,
    write_lines,
    write_mimic,
    write_nih,
    write_padchest,
)

NIH = [
    NihImage(
        f"{row:08}_000.png", ("Mass|Nodule", "No Finding")[row % 2], str(row // 2), "58", "MF"[row % 2], view
    )
    for row, view in enumerate(("PA", "AP") * 6)
]


def data_of(root: Path, dataset: str, **keys: object) -> Data:
    said = {"source": "torchxrayvision", "root": root, "dataset": dataset, "split": "random", **keys}
    return Data.model_validate(said)


def read_xrv(root: Path, dataset: str, **keys: object) -> LabelTable:
    return read(data_of(root, dataset, **keys))


def error_of(root: Path, dataset: str, **keys: object) -> str:
    with pytest.raises(CxrError) as error:
        read_xrv(root, dataset, **keys)
    return error.value.render().replace(f"{root}", "ROOT")


def nih(root: Path) -> tuple[Path, dict[str, object]]:
    write_nih(root, NIH)
    return root / "images", {"csv": root / "Data_Entry_2017_v2020.csv"}


def pixels_of(table: LabelTable, row: int) -> np.ndarray:
    assert table.read_pixels
    return table.read_pixels(table.rows["path"][row])


def test_every_row_and_view_is_kept_where_the_class_by_itself_drops_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, keys = nih(tmp_path)
    rows = read_xrv(root, "NIH_Dataset", **keys).rows
    assert rows["image"].tolist() == [image.name for image in NIH]
    assert rows["patient_id"].tolist() == [image.patient for image in NIH]
    assert rows[["view", "sex", "age"]].values.tolist() == [[image.view, image.sex, 58] for image in NIH]
    assert "NIH_Dataset: unique_patients=False, views=['*'], pathology_masks=False" in capsys.readouterr().err


def test_the_classs_traps_are_the_users_to_switch_on(tmp_path: Path) -> None:
    root, keys = nih(tmp_path)
    asked = {"unique_patients": True, "views": ["AP"]}
    assert set(read_xrv(root, "NIH_Dataset", **keys, arguments=asked).rows["view"]) == {"AP"}


def test_labels_equal_those_of_our_own_reader(tmp_path: Path) -> None:
    root, keys = nih(tmp_path)
    theirs = read_xrv(root, "NIH_Dataset", **keys)
    ours = read(Data(source="nih", root=tmp_path))
    np.testing.assert_array_equal(
        theirs.raw, ours.raw[:, [ours.findings.index(name) for name in theirs.findings]]
    )


@pytest.mark.parametrize("level", [0, 1, 127, 128, 254, 255])
def test_eight_bit_pixels_come_back_exactly(tmp_path: Path, level: int) -> None:
    root, keys = nih(tmp_path)
    assert cv2.imwrite(str(root / NIH[0].name), np.full((9, 7), level, np.uint8))
    table = read_xrv(root, "NIH_Dataset", **keys)
    np.testing.assert_array_equal(pixels_of(table, 0), np.full((9, 7), level))
    np.testing.assert_array_equal(pixels_of(table, 1), read_file(root / NIH[1].name))


def test_every_eight_bit_level_survives_torchxrayvisions_normalisation() -> None:
    import torchxrayvision as xrv

    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(to_grey(xrv.utils.normalize(levels, 255, reshape=True), "row 0"), levels)


def test_sixteen_bit_pixels_are_divided_by_their_bit_depth(tmp_path: Path) -> None:
    write_padchest(tmp_path, flat=True)
    table = read_xrv(tmp_path, "PC_Dataset", csv=PADCHEST_TABLE)
    raw = np.asarray(cv2.imread(str(tmp_path / table.rows["image"][0]), cv2.IMREAD_UNCHANGED))
    np.testing.assert_array_equal(pixels_of(table, 0), np.round(raw / 65535 * 255))


@pytest.mark.parametrize("bad", [np.full((1, 4, 4), 1100), np.full((1, 4, 4), np.nan), np.zeros((3, 4, 4))])
def test_pixels_out_of_range_or_of_another_shape_are_refused_by_row(bad: np.ndarray) -> None:
    with pytest.raises(CxrError, match=r"^data\.dataset: row 7 \(a\.png\) has pixels (from|of shape)"):
        to_grey(bad, "row 7 (a.png)")


def test_other_datasets_are_read_through_their_classes(tmp_path: Path) -> None:
    mimic = write_mimic(tmp_path / "mimic")
    tables = {
        "csvpath": f"{mimic}/mimic-cxr-2.0.0-chexpert.csv",
        "metacsvpath": f"{mimic}/mimic-cxr-2.0.0-metadata.csv",
    }
    table = read_xrv(mimic / "files", "MIMIC_Dataset", arguments=tables)
    assert (len(table), pixels_of(table, 0).shape, table.rows["view"][1]) == (18, (32, 32), "lateral")
    chexpert = write_chexpert(tmp_path / "chexpert")
    table = read_xrv(chexpert, "CheX_Dataset", csv="train.csv")
    assert (len(table), pixels_of(table, 1).shape, table.rows["age"][1]) == (6, (32, 32), 68)
    write_lines(
        write_brax(tmp_path / "brax") / "x.csv", sized(tmp_path / "brax/master_spreadsheet_update.csv")
    )
    table = read_xrv(tmp_path / "brax/images", "BRAX_Dataset", csv="../x.csv")
    assert (len(table), pixels_of(table, 5).shape, table.rows["view"][2]) == (6, (32, 32), "")


def sized(path: Path) -> list[str]:
    """BRAX's table with Rows and Columns, the last image a strip."""
    lines = path.read_text().splitlines()
    return [f"{lines[0]},Rows,Columns", *(f"{line},32,32" for line in lines[1:-1]), f"{lines[-1]},32,3200"]


def test_a_dataset_of_another_shape_is_named_by_its_own_arguments(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as file:
        file.write(tmp_path / "a.png", "train/a.png")
    write_lines(tmp_path / "x.csv", ["image_name,annotation", "a.png,0 1 2"])
    table = read_xrv(
        tmp_path, "ObjectCXR_Dataset", csv="x.csv", arguments={"imgzippath": f"{tmp_path}/images.zip"}
    )
    assert table.findings == ("Foreign Object",) and table.raw.tolist() == [[1]]
    np.testing.assert_array_equal(pixels_of(table, 0), read_file(tmp_path / "a.png"))
    assert "hint: it needs imgzippath, csvpath in data.arguments" in error_of(tmp_path, "ObjectCXR_Dataset")


def test_rows_of_one_image_are_one_under_its_name(tmp_path: Path) -> None:
    write_lines(tmp_path / "x.csv", ["ImageId, EncodedPixels", "a,-1", "b,1 2", "b,3 4"])
    for name, level in (("a", 10), ("b", 20)):
        write_dicom(tmp_path / f"{name}.dcm", np.full((8, 8), level * 16, np.uint16))
    table = read_xrv(tmp_path, "SIIM_Pneumothorax_Dataset", csv="x.csv")
    assert table.rows["image"].tolist() == ["a", "b"] and table.raw.tolist() == [[0], [1]]
    assert "2 images on 3 rows" in table.notes[0] and not table.names_patients


@pytest.mark.parametrize(
    "name", ["patientid", "Patient ID", "patientId", "PATIENT_ID", "Subject ID", "subject"]
)
def test_the_patient_is_found_under_many_names(tmp_path: Path, name: str) -> None:
    lines = [
        f"{name},finding,view,filename,offset",
        "p1 ,No Finding,AP Supine,a.png,0",
        "\u00a0p1,No Finding,L,b.png,0",
    ]
    write_lines(tmp_path / "x.csv", lines)
    table = read_xrv(tmp_path, "COVID19_Dataset", csv="x.csv")
    assert table.names_patients and table.rows["patient_id"].tolist() == ["p1", "p1"]
    assert table.rows["view"].tolist() == ["AP", "lateral"]


def test_a_column_of_the_classs_table_may_hold_the_split(tmp_path: Path) -> None:
    lines = ["patientid,sex,age,finding,view,filename,offset,fold", "1,M,30,Pneumonia/Viral,PA,a.png,0,train"]
    write_lines(tmp_path / "x.csv", [*lines, "2,,,No Finding,L,b.png,0,test"])
    keys = {"csv": "x.csv", "split": "column", "split_column": "fold"}
    table = read_xrv(tmp_path, "COVID19_Dataset", **keys)
    assert table.findings == ("No Finding", "Pneumonia", "Viral")
    assert table.rows["split"].tolist() == ["train", "test"] and table.rows["view"][1] == "lateral"
    np.testing.assert_array_equal(table.rows["age"], [30, np.nan])
    keys["split_column"] = "folds"
    assert error_of(tmp_path, "COVID19_Dataset", **keys).startswith(
        "error: data.split_column: COVID19_Dataset has no column 'folds'\nhint: its columns are"
    )


def test_wrong_names_are_answered_with_the_right_ones(tmp_path: Path) -> None:
    assert error_of(tmp_path, "NIHDataset").startswith(
        "error: data.dataset: torchxrayvision has no NIHDataset; did you mean NIH_Dataset?\n"
        "hint: its classes are NIH_D"
    )
    assert "torchxrayvision has no MergeDataset" in error_of(tmp_path, "MergeDataset")
    assert error_of(tmp_path, "NLMTB_Dataset", csv="x.csv", arguments={"csv": "x"}) == (
        "error: data.arguments: NLMTB_Dataset takes no csv\nerror: data.csv: NLMTB_Dataset takes no csvpath\n"
        "hint: its arguments are imgpath, transform, data_aug, seed, views"
    )


def test_the_classs_own_message_says_what_it_misses(tmp_path: Path) -> None:
    assert error_of(tmp_path, "NIH_Dataset", csv="no.csv").startswith(
        "error: data.dataset: NIH_Dataset: csvpath must be a file\nhint: data.root is its imgpath, and paths"
    )
    assert "No such file or directory: 'ROOT/CXR_png'" in error_of(tmp_path, "NLMTB_Dataset")
    assert "hint: it needs csvpath, metacsvpath in data.arguments" in error_of(tmp_path, "MIMIC_Dataset")
    write_lines(tmp_path / "x.csv", ["a,b", "1,2"])
    assert "NIH_Dataset: KeyError: 'View Position'" in error_of(tmp_path, "NIH_Dataset", csv="x.csv")


def test_scores_are_no_labels(tmp_path: Path) -> None:
    names = "Subject_ID,Exam_DateTime,Total GEOGRAPHIC,Total GEOGRAPHIC.1,Total OPACITY,Total OPACITY.1"
    write_lines(tmp_path / "x.csv", ["a,b,c,d,e,f", names, "1,20200101_1,2,3,4,5"])
    assert error_of(tmp_path, "StonyBrookCOVID_Dataset", csv="x.csv").startswith(
        "error: data.dataset: StonyBrookCOVID_Dataset: Geographic Extent is 2.5 in row 0\n"
    )


def config_of(data: Data, store: Path) -> Config:
    sections = {"image": {"store_size": 16}, "store": {"path": store, "workers": 4}}
    return Config.model_validate({"data": data.model_dump(), **sections})


def test_four_threads_pack_what_one_reads(tmp_path: Path) -> None:
    root, keys = nih(tmp_path)
    dataset = open_dataset(config_of(data_of(root, "NIH_Dataset", **keys), tmp_path / "store"))
    expected = [prepare(read_file(root / image.name), Preprocess(16)) for image in NIH]
    np.testing.assert_array_equal(dataset.store.pixels[dataset.index], expected)


def test_files_that_are_missing_or_damaged_are_unreadable(tmp_path: Path) -> None:
    root, keys = nih(tmp_path)
    (root / NIH[0].name).unlink()
    (root / NIH[1].name).write_bytes((root / NIH[1].name).read_bytes()[:200])
    table = read_xrv(root, "NIH_Dataset", **keys)
    for row in (0, 1):
        with pytest.raises(UnreadableImageError, match=NIH[row].name):
            pixels_of(table, row)
    skip = data_of(root, "NIH_Dataset", **keys, unreadable="skip")
    assert open_dataset(config_of(skip, tmp_path / "store")).dropped["unreadable"] == 2


def test_a_run_trains_through_the_command_line(tmp_path: Path) -> None:
    lines = ["patientid,finding,view,filename,offset"]
    for row in range(20):
        write_image(tmp_path / f"images/{row}.png")
        lines.append(f"{row},{('Pneumonia', 'No Finding')[row % 2]},PA,{row}.png,0")
    write_lines(tmp_path / "metadata.csv", lines)
    (tmp_path / "tiny.yaml").write_text(
        "data: {source: torchxrayvision, dataset: COVID19_Dataset, split: random, "
        f"root: {tmp_path}/images}}\n"
        "image: {store_size: 32, size: 32}\n"
        "model: {backbone: resnet18, weights: none, train_layers: head}\n"
        "train: {epochs: 1, batch_size: 8, precision: fp32}\n"
    )
    extra = (
        f"data.arguments.csvpath={tmp_path}/metadata.csv",
        f"out={tmp_path}/run",
        f"store.path={tmp_path}/store",
    )
    with pytest.raises(SystemExit) as ended:
        main(["train", str(tmp_path / "tiny.yaml"), *extra])
    assert ended.value.code == 0 and (tmp_path / "run/best.safetensors").exists()


def test_a_config_without_a_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="source=torchxrayvision needs dataset"):
        Data(source="torchxrayvision", root=tmp_path)
