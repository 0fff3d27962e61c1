"""The commands; each imports what it needs inside itself, so that --help is quick."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cxr import __version__
from cxr.errors import CxrError
from cxr.status import run
from cxr.streams import show


def _example(*commands: str) -> str:
    """Lines below a command's options; the backspace keeps them from being filled into one."""
    return "\b\n" + "\n".join(["Example:", *(f"  {command}" for command in commands)])


app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Train, evaluate and run chest X-ray classifiers. A research tool, not a medical device.",
    epilog="Start with: cxr train configs/demo.yaml",
)  # fmt: skip

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="YAML recipe, as configs/nih_densenet121.yaml.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as train.epochs=3.")
]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run, checkpoint, xrv:NAME, or a file of weights.")
]
JudgedPaths = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN",
        help="Runs, checkpoints, CSVs; xrv:NAME or a file of weights, with CONFIG; then overrides.",
    ),
]
HeadFindings = Annotated[
    str | None, typer.Option(help="Outputs of a file of weights, in order: nih14, or A,B,C.")
]
Labels = Annotated[Path | None, typer.Option(help="Label table for a predictions CSV.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of classes or of lists of findings.")]
SkipUnlabelled = Annotated[bool, typer.Option("--skip-unlabelled", help="Leave out images without a label.")]


class Format(StrEnum):
    """How `cxr predict` prints."""

    table = "table"
    json = "json"
    csv = "csv"


class Fold(StrEnum):
    """Which rows `cxr eval` judges."""

    train = "train"
    val = "val"
    test = "test"


class Averaged(StrEnum):
    """What an ensemble averages."""

    probabilities = "probabilities"
    logits = "logits"


class Layout(StrEnum):
    """Which archive `cxr phantom` imitates."""

    nih = "nih"
    chexpert = "chexpert"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake of the user ends it with status 2, a signal with 128 and its number."""
    sys.exit(run(app, arguments))


@app.callback(invoke_without_command=True)
def _start(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        show(f"cxr {__version__}")
        raise typer.Exit


@app.command("config", epilog=_example("cxr config configs/nih_densenet121.yaml train.lr=3e-4"))
def config_command(config: ConfigFile, overrides: Overrides = None) -> None:
    """Print every key, its value and its meaning."""
    from cxr.config.load import load
    from cxr.config.render import render

    print(render(load(config, overrides or [])), end="")


@app.command(epilog=_example("cxr phantom data/phantom --images 2000"))
def phantom(
    folder: Annotated[Path, typer.Argument(help="Folder to write; it must not exist.")],
    images: Annotated[int, typer.Option(help="Number of images.")] = 2000,
    size: Annotated[int, typer.Option(help="Width and height in pixels.")] = 256,
    layout: Annotated[Layout, typer.Option(help="Archive to imitate.")] = Layout.nih,
    seed: Annotated[int, typer.Option(help="Seed of patients and images.")] = 0,
) -> None:
    """Write generated chest-like images in an archive's layout."""
    from pydantic import ValidationError

    from cxr.config.schema import Phantom
    from cxr.console import count
    from cxr.phantom.dataset import generate

    try:
        wanted = Phantom(num_images=images, size=size, layout=layout.value, seed=seed)
    except ValidationError as error:
        problems = [
            f"--{str(item['loc'][0]).removeprefix('num_')}: {item['msg']}, not {item['input']}"
            for item in error.errors()
        ]
        raise CxrError(problems, "cxr phantom --help lists the options") from None
    generate(folder, wanted)
    show(f"{count(images, 'image')} in {folder}")


@app.command(
    epilog=_example(
        "cxr check configs/nih_densenet121.yaml data.root=/data/nih", "cxr check configs/demo.yaml --quick"
    )
    + "\n\nExit status 1 when cxr train would refuse."
)
def check(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; checks/<config> by default.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Look for the files, but decode none.")] = False,
) -> None:
    """Look through a data set before training: files, labels, patients."""
    from cxr.commands.check import check as run_check
    from cxr.config.load import load

    if not run_check(load(config, overrides or []), config, out, quick):
        raise typer.Exit(1)


@app.command(epilog=_example("cxr pack configs/nih_densenet121.yaml data.root=/data/nih"))
def pack(
    config: ConfigFile,
    overrides: Overrides = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Pack all images again.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Pack changed and damaged images again.")] = False,
) -> None:
    """Decode every image once into the store that training reads."""
    from cxr.commands import train as jobs

    jobs.pack(config, overrides or [], overwrite, update)


@app.command(
    epilog=_example(
        "cxr train configs/nih_densenet121.yaml data.root=/data/nih train.epochs=3",
        "torchrun --nproc-per-node 4 -m cxr train configs/nih_densenet121.yaml",
    )
)
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from last.pt in the run folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")] = False,
) -> None:
    """Train a classifier; packs the images first when that is not done."""
    from cxr.commands import train as jobs

    jobs.train(config, overrides or [], resume, overwrite)


@app.command(
    "eval",
    epilog=_example(
        "cxr eval runs/nih_densenet121",
        "cxr eval runs/first runs/second eval.tta=flip",
        "cxr eval predictions.csv --labels Data_Entry_2017_v2020.csv",
        "cxr eval test.csv --validation val.csv eval.threshold=sensitivity=0.9",
        "cxr eval xrv:densenet121-res224-all configs/nih_densenet121.yaml",
        "cxr eval old.pth.tar configs/nih_densenet121.yaml model.head_findings=nih14",
    ),
)
def evaluate(
    judged: JudgedPaths,
    split: Annotated[Fold | None, typer.Option(help="Rows of a run to judge; test by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report.")] = None,
    labels: Labels = None,
    label_column: LabelColumn = None,
    skip_unlabelled: SkipUnlabelled = False,
    validation: Annotated[
        Path | None, typer.Option(help="CSV whose rows choose the thresholds of a CSV.")
    ] = None,
    tune_on_test: Annotated[
        bool, typer.Option("--tune-on-test", help="Choose thresholds on the judged rows of a CSV; marked.")
    ] = False,
    average: Annotated[Averaged, typer.Option(help="What several average.")] = Averaged.probabilities,
    allow_seen_patients: Annotated[
        bool, typer.Option("--allow-seen-patients", help="Judge patients that a run was trained on; marked.")
    ] = False,
) -> None:
    """Score a run, or predictions made elsewhere, and write the report."""
    from cxr.commands import evaluate as judge
    from cxr.evaluation.join import LabelOptions

    options = LabelOptions(label_column, skip_unlabelled)
    fold = split and split.value
    judge.evaluate(
        judged, fold, out, labels, validation, tune_on_test, average.value, allow_seen_patients, options
    )


@app.command(
    epilog=_example(
        "cxr compare runs/resnet50 runs/densenet121",
        "cxr compare ours.csv theirs.csv --labels test_labels.csv --out comparison",
    )
)
def compare(
    judged: JudgedPaths,
    split: Annotated[Fold | None, typer.Option(help="Rows of a run to judge; test by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for comparison.csv, .json and .md.")] = None,
    labels: Labels = None,
    label_column: LabelColumn = None,
    skip_unlabelled: SkipUnlabelled = False,
) -> None:
    """Compare two models on the same patients."""
    from cxr.commands import evaluate as judge
    from cxr.evaluation.join import LabelOptions

    judge.compare(judged, split and split.value, out, labels, LabelOptions(label_column, skip_unlabelled))


@app.command(
    epilog=_example(
        "cxr readers predictions.csv reader_1.csv reader_2.csv reader_3.csv",
        "cxr readers predictions.csv reader_*.csv --thresholds metrics.csv",
    )
)
def readers(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="CSV of predictions.")],
    reader: Annotated[
        list[str],
        typer.Argument(metavar="READER", help="A CSV a reader: image, 1 or 0 a finding; then overrides."),
    ],
    thresholds: Annotated[
        Path | None, typer.Option(help="metrics.csv of cxr eval with the model's thresholds; 0.5 without it.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for readers.csv and readers.md.")] = None,
    label_column: LabelColumn = None,
) -> None:
    """Compare a model with human readers."""
    from cxr.commands import evaluate as judge

    judge.readers(predictions, reader, thresholds, out, label_column)


def _folder(text: str) -> Path:
    """A folder that is named; an empty name, as of a variable that is not set, is not the current folder."""
    if not text.strip():
        raise typer.BadParameter("the name of the folder is empty")
    return Path(text)


@app.command(
    epilog=_example("cxr predict runs/nih_densenet121 chest.png more_images/ --heatmaps overlays")
    + "\n\nExit status 1 when some images could not be read, 2 when none could."
)
def predict(
    run: RunPath,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.", readable=False),
    ],
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
    heatmaps: Annotated[
        Path | None,
        typer.Option(help="Folder for overlays of the findings seen.", parser=_folder, metavar="FOLDER"),
    ] = None,
    head_findings: HeadFindings = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> None:
    """Print the probability of each finding beside its operating point."""
    from cxr.deploy.predict_files import predict_files

    failed, total = predict_files(run, images, form.value, heatmaps, head_findings, device)
    if failed:
        raise typer.Exit(2 if failed == total else 1)
