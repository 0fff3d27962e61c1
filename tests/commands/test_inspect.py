from pathlib import Path

import pytest

from tests.helpers.commands import call, read_csv


def test_inspect_writes_a_page_and_the_embedding(
    run: Path, nih_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, image = tmp_path / "out", min((nih_root / "images").iterdir())
    assert call("inspect", run, "--image", image, "--layers", "layer1,layer4.1.conv2", "--out", out) == 0
    said = capsys.readouterr().out
    assert f"layer1 64 x 8 x 8; layer4.1.conv2 512 x 1 x 1, of {image.name}" in " ".join(said.split())
    rows = read_csv(out / "embedding.csv")
    tested = (nih_root / "test_list.txt").read_text().split()
    assert sorted(row["image"] for row in rows) == sorted(tested)
    page = (out / "inspect.html").read_text()
    assert "Filters of the first layer" in page and "layer4.1.conv2: 512 channels of 1 x 1" in page
    for name in ("inspect.html", "embedding.csv"):
        assert (out / name).stat().st_mode & 0o077 == 0  # they name images


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--layers", "layer9"), "--layers layer9: no such layer of resnet18"),
        (("--image", "none.png"), "none.png: No such file"),
        (("--umap",), "--umap: "),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], problem: str
) -> None:
    assert (
        call("inspect", run, *options, "--out", tmp_path / "out") == 2
    )  # 8 images are too few for UMAP, too
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
