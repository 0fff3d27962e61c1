"""cxr check of findings, views and files of any name, and reports that do not replace each other."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.evaluation.test_names import _Text
from tests.helpers.commands import call
from tests.helpers.fakes import write_image, write_lines

pytestmark = pytest.mark.figures


def make_table(root: Path, csv: bytes) -> list[str]:
    """A dataset of this table, whose images are small; overrides for a recipe that make it its data."""
    root.mkdir()
    (root / "labels.csv").write_bytes(csv)
    for line in csv.splitlines()[1:]:
        write_image(root / os.fsdecode(line.partition(b",")[0]), 16)
    return [f"data.root={root}", "data.source=table", "data.csv=labels.csv", "data.split=random",
            f"store.path={root.parent / 'store'}"]  # fmt: skip


def shown(text: str) -> str:
    assert all(letter.isprintable() for letter in text.replace("\n", ""))
    return text


@pytest.mark.parametrize(
    ("case", "names"),
    [
        (
            "25-names-with-brackets-and-signs/odd.csv",
            ["PICC+", "PICC-", "A|B", "<b>Mass</b>", "[red]PTX[/red]"],
        ),
        ("25-names-with-brackets-and-signs/odd3.csv", ["Effusion [/R]", "Nodule [size]"]),
        ("25-names-with-brackets-and-signs/viewb.csv", ["view AP"]),
        ("43-markup-and-math/markup.csv", ["[/b]", "[red]x", "A=cmd"]),
        ("43-markup-and-math/escapes.csv", ["\\x1b]0;PWN\\x07Mass", "\\x1b[2JEdema"]),
    ],
)
def test_the_reported_names_are_shown_as_they_are(
    cases: Path, case: str, names: list[str], recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_table(tmp_path / "data", (cases / case).read_bytes())
    view = ["data.columns={view: view, others: [scanner]}"] if "viewb" in case else []
    assert call("check", recipe, *data, *view, "--out", tmp_path / "out", "--quick") == 0
    printed = shown(capsys.readouterr().out)
    page = "\n".join(_Text((tmp_path / "out" / "check.html").read_text()).texts)
    assert all(name in printed and name in page for name in names)
    assert call("pack", recipe, *data, *view) == 0
    printed = shown(capsys.readouterr().err)
    assert view or all(name in printed for name in names)


def test_names_of_files_cannot_act_in_a_report(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"i{place}.png,p{place},{place % 2}".encode() for place in range(20)]
    data = make_table(tmp_path / "data", b"\n".join([b"image,patient_id,Mass", *rows]))
    for name in (b"x\x1b]0;PWN\x07\xff.png", b"y\nerror: fake.png", "z\u202e[bold]\u2028.png".encode()):
        (tmp_path / "data" / os.fsdecode(name)).write_bytes(b"no image")
    call("check", recipe, *data, "--out", tmp_path / "out")
    printed = shown(capsys.readouterr().out)
    assert "x\\x1b]0;PWN\\x07\\xff.png, y\\nerror: fake.png, z\\u202e[bold]\\u2028.png" in re.sub(
        r" ?\n", " ", printed
    )
    assert "\\x1b]0;PWN" in shown((tmp_path / "out" / "check.html").read_text())
    facts = json.loads((tmp_path / "out" / "check.json").read_text())
    assert os.fsencode(facts["files"]["first_unnamed"][0]) == b"x\x1b]0;PWN\x07\xff.png"


def test_a_check_of_other_data_keeps_the_first_report(
    recipe: Path,
    nih_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").symlink_to(nih_root)
    copied = write_lines(tmp_path / "tiny.yaml", recipe.read_text().splitlines())
    for arguments in (
        [recipe],
        [recipe, "data.root=other"],
        [copied],
        [recipe, "train.epochs=2"],
        [recipe, "data.root=other"],
    ):
        assert call("check", *arguments, "--quick") == 0
    reports = sorted(path.parent.name for path in (tmp_path / "checks").glob("*/check.json"))
    assert len(reports) == 3 and reports[0] == "tiny"
    assert [re.sub("[0-9a-f]{6}$", "HASH", name) for name in reports[1:]] == [
        "tiny-nih-HASH",
        "tiny-other-HASH",
    ]
    printed = capsys.readouterr().err
    assert printed.count("checks/tiny holds the report of a check of other data and stays") == 3
    folders = {
        name: json.loads((tmp_path / "checks" / name / "check.json").read_text())["about"]["folder"]
        for name in reports
    }
    assert folders["tiny"] == str(nih_root) and "other" in folders.values()


def test_a_report_that_is_replaced_on_demand_is_named(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_table(tmp_path / "data", b"\n".join([b"image,patient_id,Mass", b"a.png,1,1", b"b.png,2,0"]))
    call("check", recipe, "--quick", "--out", tmp_path / "out")
    assert "replaced" not in capsys.readouterr().err
    call("check", recipe, *data, "--quick", "--out", tmp_path / "out")
    assert (
        capsys.readouterr().err == f"warning: {tmp_path / 'out'}: the report of another check is replaced\n"
    )
