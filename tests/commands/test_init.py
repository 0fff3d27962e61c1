import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cxr.config.load import load
from cxr.config.recipes import _read_head
from cxr.config.schema import Config
from tests.helpers.commands import call
from tests.helpers.dicoms import write_dicom
from tests.helpers.fakes import (
    write_brax,
    write_image,
    write_lines,
    write_mimic,
    write_padchest,
    write_vindr,
)

NUM = 60


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, without a terminal."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return folder


def write_table(
    folder: Path,
    header: str,
    row: str,
    name: str = "labels.csv",
    encoding: str = "utf-8",
    images: bool = True,
) -> Path:
    """A table of 60 images of 20 patients; in a row {n} is the image, {p} the patient, {a} and {b} change labels."""
    lines = [header]
    for n in range(NUM):
        lines.append(
            row.format(n=n, p=n // 3, a=n % 2, b=int(n % 5 == 0), split=("train", "val", "test")[n // 3 % 3])
        )
        if images:
            write_image(folder / f"{n}.png")
    return write_lines(folder / name, lines, encoding=encoding)


def init(*arguments: str | Path) -> Config:
    """The config of a recipe that init has written, which a check finds ready at once."""
    assert call("init", "my.yaml", "--yes", *arguments) == 0
    assert call("check", "my.yaml", "--quick") == 0
    return load(Path("my.yaml"))


def error(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What init says where it writes nothing."""
    assert call("init", "my.yaml", "--yes", *arguments) == 2
    assert not Path("my.yaml").exists()
    return capsys.readouterr().err


def test_a_column_per_finding_with_patients(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path, "File Name,MRN,Edema,Mass,remark", "{n}.png,p{p},{a},{b},note {n}")
    data = init("--csv", table).data
    assert (data.source, data.root, data.csv, data.split) == ("table", tmp_path, Path("labels.csv"), "random")
    assert (data.columns.image, data.columns.patient) == ("File Name", "MRN")
    assert data.findings == ("Edema", "Mass")
    text = Path("my.yaml").read_text()
    assert "# column 'MRN': 20 patients, so the split is by patient" in text
    assert "Edema: 30 positive (" in text and "remark (no cell is a label" in text
    said = capsys.readouterr().out
    assert "next: cxr check my.yaml\nthen: cxr train my.yaml\n" in said


def test_the_head_is_that_of_a_shipped_recipe(tmp_path: Path) -> None:
    init("--csv", write_table(tmp_path, "image,patient_id,Edema", "{n}.png,{p},{a}"))
    recipe = _read_head(Path("my.yaml"))
    assert (recipe.hardware, recipe.time) == ("one CUDA GPU with 16 GB or more", "not yet measured")
    assert re.match(
        r"# cxr train my\.yaml\n# Written by: cxr init my\.yaml --csv ", Path("my.yaml").read_text()
    )


def test_a_table_without_patients_warns_of_leaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = init("--csv", write_table(tmp_path, "image,Edema", "{n}.png,{a}")).data
    assert data.columns.patient is None
    text = Path("my.yaml").read_text()
    assert "WARNING: no column of a usual name holds the patient" in text
    assert "warning: the dataset names no patient" in capsys.readouterr().err


def test_a_column_of_classes_or_lists(tmp_path: Path) -> None:
    words = ["Edema|Effusion", "No Finding", "Mass"]
    lines = ["image,patient,what was seen"]
    lines += [f"{n}.png,{n // 3},{words[n % 3]}" for n in range(NUM)]
    for n in range(NUM):
        write_image(tmp_path / f"{n}.png")
    data = init("--csv", write_lines(tmp_path / "labels.csv", lines)).data
    assert data.columns.labels == "what was seen"
    assert data.findings == ("Edema", "Effusion", "Mass")


def test_a_split_column_is_taken_where_it_can_be(tmp_path: Path) -> None:
    table = write_table(tmp_path, "image,patient,Edema,Set", "{n}.png,{p},{a},{split}")
    data = init("--csv", table).data
    assert (data.split, data.split_column) == ("column", "Set")
    leaking = write_table(tmp_path, "image,patient,Edema,fold", "{n}.png,{p},{a},train", name="leak.csv")
    text = (
        leaking.read_text()
        .replace("1.png,0,1,train", "1.png,0,1,test")
        .replace("5.png,1,1,train", "5.png,1,1,val")
    )
    leaking.write_text(text)
    assert call("init", "leak.yaml", "--yes", "--csv", leaking) == 0
    assert load(Path("leak.yaml")).data.split == "random"
    assert "not column: data.split: patient 0 is in train and test" in Path("leak.yaml").read_text()


def test_uncertain_and_blank_labels_are_counted(tmp_path: Path) -> None:
    lines = ["image,patient,Edema,Mass"]
    lines += [f"{n}.png,{n // 3},{('1', '0', '-1', '')[n % 4]},{n % 2}" for n in range(NUM)]
    for n in range(NUM):
        write_image(tmp_path / f"{n}.png")
    data = init("--csv", write_lines(tmp_path / "labels.csv", lines)).data
    assert (data.uncertain, data.blank) == ("ignore", "negative")
    text = Path("my.yaml").read_text()
    assert "15 uncertain labels (-1)" in text and "15 blank labels" in text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_tables_of_spreadsheets(encoding: str, tmp_path: Path) -> None:
    table = write_table(
        tmp_path, "Bild;image;Größe;Patient;Edema", "x;{n}.png;1,5;{p};{a}", encoding=encoding
    )
    data = init("--csv", table).data
    assert (data.columns.image, data.columns.patient, data.findings) == ("image", "Patient", ("Edema",))


def test_images_in_another_folder_and_a_column_of_any_name(tmp_path: Path) -> None:
    write_table(tmp_path / "pictures", "x", "{n}")
    table = write_table(tmp_path, "radiograph,patient,Edema", "{n},{p},{a}", images=False)
    (tmp_path / "pictures" / "labels.csv").unlink()
    data = init("--csv", table, "--images", tmp_path / "pictures").data
    assert (data.root, data.csv, data.columns.image) == (tmp_path / "pictures", table, "radiograph")


def test_a_table_without_its_images_is_a_plain_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path, "image,patient,Edema", "images/{n}.png,{p},{a}")
    text = error(capsys, "--csv", table)
    assert "none of the 60 images has a file, such as images/0.png" in text
    assert "for images/0.png there is 0.png (without images/)" in text and "--images names the folder" in text


def test_some_missing_images_are_skipped_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path, "image,patient,Edema", "{n}.png,{p},{a}")
    (tmp_path / "7.png").unlink()
    assert init("--csv", table).data.missing == "skip"
    assert (
        "warning: 1 image of tables and lists without a file or labels: skipped and listed"
        in capsys.readouterr().err
    )


def test_findings_without_positive_images_are_not_taken_and_few_are_said(tmp_path: Path) -> None:
    table = write_table(tmp_path, "image,patient,Edema,Hernia", "{n}.png,{p},{a},0")
    assert init("--csv", table).data.findings == ("Edema",)
    text = Path("my.yaml").read_text()
    assert "WARNING: not taken: Hernia: no image has it" in text
    assert "WARNING: fewer than 20 positive images in a split" in text


def test_a_column_that_may_be_a_finding_is_left_out_with_the_reason(tmp_path: Path) -> None:
    lines = ["image,patient,Edema,grade"]
    lines += [f"{n}.png,{n // 3},{n % 2},{n % 4}" for n in range(NUM)]
    for n in range(NUM):
        write_image(tmp_path / f"{n}.png")
    assert init("--csv", write_lines(tmp_path / "labels.csv", lines)).data.findings == ("Edema",)
    assert (
        "not taken: grade is '2', no label, and 30 other cells are 1, 0 or -1" in Path("my.yaml").read_text()
    )


def test_overrides_go_before_proposals_and_answer_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path, "image,patient,subject,Edema,Mass", "{n}.png,{p},{n},{a},{b}")
    assert "both patient and subject may name the patient, and they differ" in error(capsys, "--csv", table)
    given = (
        "data.columns.patient=patient",
        "data.columns.others=[subject]",
        "data.findings=[Mass]",
        "train.epochs=3",
    )
    config = init("--csv", table, *given)
    assert (config.data.columns.patient, config.data.findings, config.train.epochs) == (
        "patient",
        ("Mass",),
        3,
    )
    assert "# as given on the command line" in Path("my.yaml").read_text()


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("train.epoch=3", "my.yaml:44: unknown key train.epoch; did you mean epochs?"),
        ("data.split=official", "a table has no official split"),
        ("data.columns.patient=nobody", "no column 'nobody' (data.columns.patient)"),
        ("data.findings=[Hernia]", "no column for finding 'Hernia'"),
        ("data.findings=[", "data.findings=[: "),
        ("epochs", "epochs: is no override"),
        ("data.a: b=1", "data.a: b=1: is no override"),
        ("data.root=/nowhere", "/nowhere: no such folder"),
        ("data={split: column}", "no column 'split'"),
    ],
)
def test_an_override_that_cannot_be_is_an_error(
    given: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path, "image,patient,Edema", "{n}.png,{p},{a}")
    assert what in error(capsys, "--csv", table, given)


def test_sections_inside_sections_are_written_together(tmp_path: Path) -> None:
    table = write_table(tmp_path, "image,patient,Edema,Mass", "{n}.png,{p},{b},{a}")
    table.write_text(table.read_text().replace(",1,1", ",-1,1"))
    policy = "data.uncertain={default: ones, Edema: zeros}"
    config = init("--csv", table, "train.augment.flip=0", policy, "train.lr=3e-4")
    assert (config.train.augment.flip, config.train.lr) == (0, 3e-4)
    assert config.data.uncertain == {"default": "ones", "Edema": "zeros"}


@pytest.mark.parametrize("below", ["{c}", "{s}/{c}", "chest_xray/{s}/{c}"])
def test_folders_as_classes(below: str, tmp_path: Path) -> None:
    for n in range(NUM):
        split, word = ("train", "val", "test")[n // 2 % 3], ("NORMAL", "PNEUMONIA")[n % 2]
        write_image(tmp_path / "data" / below.format(s=split, c=word) / f"person{n}_virus_{n}.png")
    data = init("--images", tmp_path / "data").data
    assert (data.source, data.findings) == ("folder", ("PNEUMONIA",)) or data.findings == ("Pneumonia",)
    assert data.split == ("official" if "{s}" in below else "random")


def test_dicom_files_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(12):
        write_dicom(tmp_path / "data" / f"p{n:05}" / "1.2.840.1" / f"{n}.dcm", np.full((8, 8), n, np.uint16))
    text = error(capsys, "--images", tmp_path / "data")
    assert "12 images, 12 of them DICOM, and no labels: no table" in text
    assert "image,patient_id,Edema,Effusion" in text


def test_images_without_labels_several_tables_and_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a" / "0.png")
    assert "1 image, and no labels" in error(capsys, "--images", tmp_path / "a")
    for name in ("a.csv", "b.csv"):
        write_lines(tmp_path / "a" / name, ["image,Edema", "0.png,1"])
    assert "several tables: a.csv, b.csv" in error(capsys, "--images", tmp_path / "a")
    (tmp_path / "empty").mkdir()
    assert "no image in it" in error(capsys, "--images", tmp_path / "empty")
    assert "no such folder" in error(capsys, "--images", tmp_path / "absent")
    assert "no such file" in error(capsys, "--csv", tmp_path / "absent.csv")
    assert "is a folder" in error(capsys, "--csv", tmp_path / "empty")
    assert "needs a table of labels or a folder of images" in error(capsys)


def test_the_only_table_beside_the_images_is_found(tmp_path: Path) -> None:
    write_table(tmp_path / "data", "image,patient,Edema", "{n}.png,{p},{a}", name="anything.csv")
    assert init("--images", tmp_path / "data").data.csv == Path("anything.csv")


def test_images_called_by_patients_and_a_row_per_box(tmp_path: Path) -> None:
    lines = ["patientId,x,y,width,height,Target"]
    lines += [f"p{n // 2},{n},{n},9,9,{n // 2 % 2}" for n in range(NUM)]
    for n in range(NUM // 2):
        write_image(tmp_path / f"p{n}.png")
    data = init("--csv", write_lines(tmp_path / "stage_2_train_labels.csv", lines)).data
    assert (data.source, data.columns.patient, data.findings) == ("table", "patientId", ("Target",))


def test_known_datasets_get_their_reader_and_recipe(
    tmp_path: Path, nih_root: Path, chexpert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roots = {"nih": nih_root, "chexpert": chexpert, "mimic": write_mimic(tmp_path / "m", repeats=4)}
    roots |= {"padchest": write_padchest(tmp_path / "p", repeats=8)}
    for source, root in roots.items():
        assert call("init", f"{source}.yaml", "--yes", "--images", root, "data.val_fraction=0.3") == 0
        assert call("check", f"{source}.yaml", "--quick") == 0
        config, shipped = load(Path(f"{source}.yaml")), load(Path(f"{source}_densenet121"))
        assert (config.data.source, config.data.root, config.data.csv) == (source, root, None)
        assert (config.data.findings, config.image, config.model) == (
            shipped.data.findings, shipped.image, shipped.model
        )  # fmt: skip


@pytest.mark.parametrize("table", ["train.csv", "valid.csv"])
def test_a_table_of_a_known_dataset_is_known_too(table: str, tmp_path: Path, chexpert: Path) -> None:
    assert call("init", "my.yaml", "--yes", "--csv", chexpert / table) == 0
    assert (load(Path("my.yaml")).data.source, load(Path("my.yaml")).data.csv) == ("chexpert", None)


def test_vindr_and_brax_are_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vindr, brax = write_vindr(tmp_path / "vindr"), write_brax(tmp_path / "brax")
    for root, source in ((vindr, "vindr"), (brax, "brax")):
        status = call("init", f"{source}.yaml", "--yes", "--images", root)
        said = capsys.readouterr()
        assert status == 0 and f"source {source}" in said.out
    by_table = vindr / "annotations" / "image_labels_train.csv"
    assert call("init", "by_table.yaml", "--yes", "--csv", by_table) == 0
    assert load(Path("by_table.yaml")).data.root == vindr


def test_nih_without_its_lists_is_split_at_random(tmp_path: Path, nih_root: Path) -> None:
    import shutil

    shutil.copytree(nih_root, tmp_path / "nih")
    (tmp_path / "nih" / "test_list.txt").unlink()
    assert init("--images", tmp_path / "nih").data.split == "random"
    assert "# not official: no test_list.txt, which split=official needs" in Path("my.yaml").read_text()


def test_a_recipe_is_never_overwritten_unless_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path, "image,patient,Edema", "{n}.png,{p},{a}")
    Path("my.yaml").write_text("mine")
    assert call("init", "my.yaml", "--yes", "--csv", table) == 2
    assert "is there already" in capsys.readouterr().err and Path("my.yaml").read_text() == "mine"
    assert call("init", "my.yaml", "--yes", "--overwrite", "--csv", table) == 0
    assert load(Path("my.yaml")).data.csv == Path("labels.csv")
    assert call("init", "recipe", "--yes", "--csv", table) == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def answer(monkeypatch: pytest.MonkeyPatch, lines: Sequence[str]) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in lines)))


def test_enter_takes_every_proposal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_table(tmp_path, "image,patient,Edema,Mass", "{n}.png,{p},{a},{b}")
    assert call("init", "a.yaml", "--yes", "--csv", table) == 0
    answer(monkeypatch, [""] * 4)
    assert call("init", "b.yaml", "--csv", table) == 0
    assert load(Path("a.yaml")).data == load(Path("b.yaml")).data


def test_answers_are_asked_again_until_they_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path, "image,who,Edema,Mass", "{n}.png,{p},{a},{b}")
    answer(monkeypatch, ["", "nobody", "who", "Mass", "official", "random"])
    assert call("init", "my.yaml", "--csv", table) == 0
    data = load(Path("my.yaml")).data
    assert (data.columns.patient, data.findings, data.split) == ("who", ("Mass",), "random")
    said = capsys.readouterr().err
    assert "no column 'nobody' (data.columns.patient)" in said and "a table has no official split" in said
    assert "# your answer" in Path("my.yaml").read_text()


def test_a_closed_terminal_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, [""])
    table = write_table(tmp_path, "image,patient,Edema", "{n}.png,{p},{a}")
    assert call("init", "my.yaml", "--csv", table) == 130
    assert not Path("my.yaml").exists()


@pytest.mark.parametrize(
    "name", ["a\nb: c", "a # b", "\x85x", "\u2028y", "'\"{", "\u202ex", "-", "null", "naïve 胸"]
)
def test_names_of_columns_cannot_leave_their_comment(name: str, tmp_path: Path) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    table = write_table(tmp_path, f"image,patient,Edema,{quoted}", "{n}.png,{p},{a},text {n}")
    assert init("--csv", table).data.findings == ("Edema",)
    for line in Path("my.yaml").read_text().splitlines():
        assert line.isprintable()


def test_few_validation_images_select_by_loss(tmp_path: Path) -> None:
    lines = ["image,patient,Edema"] + [f"{n}.png,{n},{int(n == 0)}" for n in range(12)]
    for n in range(12):
        write_image(tmp_path / f"{n}.png")
    config = init("--csv", write_lines(tmp_path / "labels.csv", lines))
    assert config.train.select == "loss"
    assert "one class only of every finding" in Path("my.yaml").read_text()
