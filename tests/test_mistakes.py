"""Ten ordinary mistakes of the first hour: the first line of each error names the mistake that was made."""

from pathlib import Path

import pytest

from tests.helpers.commands import call


@pytest.mark.parametrize(
    ("arguments", "mistake", "hint"),
    [
        # a typo in a key
        (
            ("train", "RECIPE", "train.epohcs=3"),
            "train.epohcs=3: unknown key train.epohcs; did you mean epochs?",
            "",
        ),
        # a wrong root, and none
        (
            ("train", "nih_densenet121", "data.root=ROOT/nowhere"),
            "ROOT/nowhere: no such folder",
            "data.root must be",
        ),
        (("train", "nih_densenet121"), "data/nih: no such folder", "data.root must be"),
        # evaluation before training
        (
            ("eval", "runs/nih_densenet121"),
            "runs/nih_densenet121: no such run folder",
            "that cxr train wrote",
        ),
        # a file that is no image, and one that is not there
        (("predict", "RUN", "RECIPE"), "RECIPE: not a PNG, JPEG, TIFF or DICOM image", ""),
        (("predict", "RUN", "chest.png"), "chest.png: No such file", ""),
        # training twice
        (("train", "RECIPE", "out=RUN"), "RUN: holds a run already", "--overwrite replaces it"),
        # blanks around =, as the shell hands them over, and in quotes
        (
            ("train", "RECIPE", "train.epochs", "=", "3"),
            "train.epochs = 3: blanks around =",
            "train.epochs=3",
        ),
        (
            ("train", "RECIPE", "train.epochs = 3"),
            "train.epochs = 3: blanks around =",
            "blanks: train.epochs=3",
        ),
        # what other tools taught
        (("train", "RECIPE", "--epochs", "3"), "cxr train: no such option: --epochs", "write train.epochs=3"),
        # half a name
        (("train", "nih"), "nih: no such file or recipe; did you mean", "cxr recipes lists the names"),
        # nothing at all
        (("train",), "cxr train: missing argument 'RECIPE'", "cxr recipes"),
    ],
)
def test_an_ordinary_mistake_is_named_first(
    arguments: tuple[str, ...],
    mistake: str,
    hint: str,
    recipe: Path,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fill(text: str) -> str:
        return text.replace("RECIPE", str(recipe)).replace("RUN", str(run)).replace("ROOT", str(tmp_path))

    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    keep = arguments == ("train",)  # there RECIPE is the argument's name
    assert call(*(fill(argument) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: " + (mistake if keep else fill(mistake))), error
    assert hint in error.partition("hint: ")[2]
    assert not list(tmp_path.iterdir())


def test_help_has_a_short_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("-h") == 0
    assert "Usage: cxr" in capsys.readouterr().out
