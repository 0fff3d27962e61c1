"""The options and arguments that the commands share, and how their help is laid out."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cxr.errors import CxrError
from cxr.text import quote, shorten

_NO_OVERRIDE = "an override is key=value, such as train.epochs=3"


def example(*commands: str) -> str:
    """Lines below a command's options; after a backspace, Click keeps them as they are."""
    return "\b\n" + "\n".join(["Example:", *(f"  {command}" for command in commands)])


def _complete_recipe(begun: str) -> list[str]:
    """Names of recipes that begin so, for a shell's completion."""
    from cxr.config.recipes import recipe_folder

    return [path.stem for path in sorted(recipe_folder().glob("*.yaml")) if path.stem.startswith(begun)]


ConfigFile = Annotated[
    Path,
    typer.Argument(
        metavar="RECIPE",
        help="Name that cxr recipes lists, such as nih_densenet121, or a YAML file.",
        autocompletion=_complete_recipe,
    ),
]


def _check_overrides(context: typer.Context, texts: list[str] | None) -> list[str] | None:
    """The overrides; the name of an output among them is refused with the option that takes it.

    Raises:
        CxrError: A text without an equals sign.
    """
    wrong = [text for text in texts or () if "=" not in text]
    options = {name for parameter in context.command.params for name in parameter.opts}
    # other commands have an error that names more mistakes at once
    if not texts or not wrong or "--out" not in options:
        return texts
    from cxr.config.load import refuse_blanks

    refuse_blanks(texts)
    problems = [f"{shorten(text, 120) or quote(text)}: {_NO_OVERRIDE}" for text in wrong]
    hint = f"to write there: --out {shlex.quote(wrong[0])}" if wrong[0] else "leave it out"
    raise CxrError(problems, hint)


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Overrides, such as train.epochs=3.", callback=_check_overrides
    ),
]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run, checkpoint, hub:NAME, xrv:NAME or weight file.")
]
PredictModel = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Run, checkpoint, model.onnx, hub:NAME, xrv:NAME or weight file."),
]
PredictImages = Annotated[
    list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.", readable=False)
]
EvalTargets = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN",
        help="Runs, checkpoints or CSVs; xrv:NAME or a weight file, with CONFIG; then overrides.",
    ),
]
HeadFindings = Annotated[
    str | None, typer.Option(help="Findings of a weight file's outputs, in order: nih14, or A,B,C.")
]
Labels = Annotated[Path | None, typer.Option(help="Table of labels for a predictions CSV.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of classes, or of lists of findings.")]
SkipUnlabelled = Annotated[bool, typer.Option("--skip-unlabelled", help="Leave out images without a label.")]


class Format(StrEnum):
    """How `cxr predict` prints."""

    table = "table"
    json = "json"
    csv = "csv"


class Program(StrEnum):
    """What computes an exported file."""

    onnxruntime = "onnxruntime"
    openvino = "openvino"


class Split(StrEnum):
    """Which images `cxr eval` evaluates."""

    train = "train"
    val = "val"
    test = "test"


SplitOfRun = Annotated[Split | None, typer.Option(help="Split of a run to evaluate; test by default.")]


TrainedRun = Annotated[Path, typer.Argument(metavar="RUN", help="Run or checkpoint.")]
ReportFolder = Annotated[Path | None, typer.Option("--out", help="Folder of the report.")]
MaxImages = Annotated[
    int, typer.Option("--max-images", help="Test images at most, whole patients at random; 0 for all.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
OpenReport = Annotated[bool, typer.Option("--open", help="Open the report in a browser.")]


class Averaged(StrEnum):
    """What an ensemble averages."""

    probabilities = "probabilities"
    logits = "logits"


class ReaderRule(StrEnum):
    """What `cxr readers` scores a reader against where there is no ground truth."""

    majority = "majority"
    chexnet = "chexnet"
    pairs = "pairs"


class Maps(StrEnum):
    """How `cxr explain` makes heat maps."""

    cam = "cam"
    gradcam = "gradcam"
    gradcam_plus_plus = "gradcam++"
    occlusion = "occlusion"
    integrated = "integrated"


class LungMask(StrEnum):
    """Where `cxr shortcuts` takes the lungs to be."""

    auto = "auto"
    template = "template"
    segmentation = "segmentation"


class Layout(StrEnum):
    """Which dataset `cxr phantom` imitates."""

    nih = "nih"
    chexpert = "chexpert"


class ExportTarget(StrEnum):
    """Kind of file that `cxr export` writes."""

    onnx = "onnx"
    torch = "torch"


class ExportPrecision(StrEnum):
    """Precision of the backbone in an ONNX file."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


def folder(text: str) -> Path:
    """The folder of a name; an empty one, as of an unset shell variable, is not the current folder."""
    if not text.strip():
        raise typer.BadParameter("the name of the folder is empty")
    return Path(text)


DicomOut = Annotated[
    Path | None,
    typer.Option(
        "--dicom-out",
        help="Folder for DICOM results: structured reports of DICOM images and studies, and overlays.",
        parser=folder,
        metavar="FOLDER",
    ),
]
HeatmapFolder = Annotated[
    Path | None,
    typer.Option(
        "--heatmaps",
        help="Folder for overlays of the findings above their threshold.",
        parser=folder,
        metavar="FOLDER",
    ),
]
OnnxProgram = Annotated[
    Program | None,
    typer.Option("--runtime", help="What computes a model.onnx; onnxruntime by default."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the file of --out that an interrupted run began.")
]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file of --out if it exists.")]


def open_in_browser(path: Path) -> None:
    """Open a page or a folder with what the desktop has for it; without a desktop, nothing happens."""
    import webbrowser

    webbrowser.open(path.absolute().as_uri())
