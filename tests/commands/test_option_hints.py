"""What other tools taught their users is answered with what does it here."""

from pathlib import Path

import pytest

from cxr.config.load import load, override
from tests.helpers.commands import call


@pytest.mark.parametrize(
    ("command", "override_text"),
    [
        ("train demo --epochs 3", "train.epochs=3"),
        ("train demo --epochs=3", "train.epochs=3"),
        ("train demo --lr 1e-3", "train.lr=1e-3"),
        ("train demo --learning-rate 0.1", "train.lr=0.1"),
        ("train demo --batch-size 8", "train.batch_size=8"),
        ("train demo --batch 8", "train.batch_size=8"),
        ("train demo --device cpu", "device=cpu"),
        ("train demo --gpu 1", "device=cuda:1"),
        ("train demo --output here", "out=here"),
        ("train demo --data-dir /data", "data.root=/data"),
        ("train demo --model resnet50", "model.backbone=resnet50"),
        ("pack demo --workers 4", "store.workers=4"),
        ("train demo --seed", "seed=VALUE"),
        ("eval runs/x --batch-size 8", "eval.batch_size=8"),
        ("eval runs/x --device cpu", "device=cpu"),
    ],
)
def test_an_option_of_another_tool_is_answered_with_its_override(
    command: str, override_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*command.split()) == 2
    problem, hint = capsys.readouterr().err.splitlines()
    option = next(text for text in command.split() if text.startswith("--")).partition("=")[0]
    assert problem == f"error: cxr {command.split()[0]}: no such option: {option}"
    assert hint == f"hint: write {override_text} in its place; cxr config demo lists every key"
    if not override_text.endswith("VALUE"):  # and it is one that works
        override(load(Path("demo")), [override_text])


@pytest.mark.parametrize("command", ["train demo --fast", "predict run x.png --epochs 3", "recipes --lr 1"])
def test_an_option_that_means_no_key_is_answered_with_help(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*command.split()) == 2
    assert capsys.readouterr().err.endswith(f"hint: cxr {command.split()[0]} --help shows how\n")


@pytest.mark.parametrize(
    "arguments", [["train.epochs", "=", "3"], ["train.epochs=", "3"], ["train.epochs", "=3"]]
)
@pytest.mark.parametrize("command", [["train", "demo"], ["config", "demo"], ["eval", "runs/x"]])
def test_blanks_around_the_equals_sign_are_named(
    command: list[str], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*command, *arguments) == 2
    problem, hint = capsys.readouterr().err.splitlines()
    assert problem == f"error: {' '.join(arguments)}: blanks around ="
    assert hint == "hint: write it without blanks: train.epochs=3"


@pytest.mark.parametrize("command", [["-h"], ["train", "-h"], ["predict", "-h"]])
def test_h_is_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*command) == 0
    assert capsys.readouterr().out.startswith("Usage: ")
