"""The commands' signatures and help; each imports inside its function, so that --help is quick."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cxr import __version__
from cxr.status import run
from cxr.streams import show


def _example(*commands: str) -> str:
    """Lines below a command's options; after a backspace, Click keeps them as they are."""
    return "\b\n" + "\n".join(["Example:", *(f"  {command}" for command in commands)])


app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Train, evaluate and run chest X-ray classifiers. A research tool, not a medical device.",
    epilog="Start with: cxr train configs/demo.yaml",
)  # fmt: skip

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="YAML recipe, such as configs/nih_densenet121.yaml.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as train.epochs=3.")
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Run, checkpoint, xrv:NAME or weight file.")]
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


class Split(StrEnum):
    """Which images `cxr eval` evaluates."""

    train = "train"
    val = "val"
    test = "test"


SplitOfRun = Annotated[Split | None, typer.Option(help="Split of a run to evaluate; test by default.")]


class Averaged(StrEnum):
    """What an ensemble averages."""

    probabilities = "probabilities"
    logits = "logits"


class Layout(StrEnum):
    """Which dataset `cxr phantom` imitates."""

    nih = "nih"
    chexpert = "chexpert"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; status 2 after a mistake of the user, 128 plus its number after a signal."""
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
    layout: Annotated[Layout, typer.Option(help="Dataset to imitate.")] = Layout.nih,
    seed: Annotated[int, typer.Option(help="Seed of patients and images.")] = 0,
) -> None:
    """Write generated chest-like images in the layout of a dataset."""
    from cxr.commands.phantom import phantom as run_phantom

    run_phantom(folder, images, size, layout.value, seed)


@app.command(
    epilog=_example(
        "cxr check configs/nih_densenet121.yaml data.root=/data/nih", "cxr check configs/demo.yaml --quick"
    )
    + "\n\nThe exit status is 1 when cxr train would refuse the data."
)
def check(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; checks/<config> by default.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only look for the files; decode no image.")] = False,
) -> None:
    """Check a dataset before training: files, labels, patients."""
    from cxr.commands.check import check as run_check
    from cxr.config.load import load

    if not run_check(load(config, overrides or []), config, out, quick):
        raise typer.Exit(1)


@app.command(epilog=_example("cxr pack configs/nih_densenet121.yaml data.root=/data/nih"))
def pack(
    config: ConfigFile,
    overrides: Overrides = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Pack every image again.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Pack only changed and damaged images again.")
    ] = False,
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
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from last.pt in the run folder.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in the run folder.")
    ] = False,
) -> None:
    """Train a classifier; packs the images first where needed."""
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
    runs: EvalTargets,
    split: SplitOfRun = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report.")] = None,
    labels: Labels = None,
    label_column: LabelColumn = None,
    skip_unlabelled: SkipUnlabelled = False,
    validation: Annotated[
        Path | None, typer.Option(help="CSV of validation images, on which thresholds are chosen.")
    ] = None,
    tune_on_test: Annotated[
        bool, typer.Option("--tune-on-test", help="Choose thresholds on the evaluated rows of a CSV; marked.")
    ] = False,
    average: Annotated[Averaged, typer.Option(help="What an ensemble averages.")] = Averaged.probabilities,
    allow_seen_patients: Annotated[
        bool, typer.Option("--allow-seen-patients", help="Evaluate patients of the run's training; marked.")
    ] = False,
) -> None:
    """Evaluate a run or a predictions file; write a report."""
    from cxr.commands.evaluate import evaluate as run_evaluate
    from cxr.evaluation.join import LabelOptions

    options = LabelOptions(label_column, skip_unlabelled)
    split_name = split and split.value
    run_evaluate(
        runs, split_name, out, labels, validation, tune_on_test, average.value, allow_seen_patients, options
    )


@app.command(
    epilog=_example(
        "cxr compare runs/resnet50 runs/densenet121",
        "cxr compare ours.csv theirs.csv --labels test_labels.csv --out comparison",
    )
)
def compare(
    runs: EvalTargets,
    split: SplitOfRun = None,
    out: Annotated[Path | None, typer.Option(help="Folder for comparison.csv, .json and .md.")] = None,
    labels: Labels = None,
    label_column: LabelColumn = None,
    skip_unlabelled: SkipUnlabelled = False,
) -> None:
    """Compare two models on the same patients."""
    from cxr.commands.compare import compare as run_compare
    from cxr.evaluation.join import LabelOptions

    run_compare(runs, split and split.value, out, labels, LabelOptions(label_column, skip_unlabelled))


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
        typer.Argument(
            metavar="READER", help="One CSV per reader: image, findings (1 or 0); then overrides."
        ),
    ],
    thresholds: Annotated[
        Path | None,
        typer.Option(help="metrics.csv of cxr eval, for the model's thresholds; else they are 0.5."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for readers.csv and readers.md.")] = None,
    label_column: LabelColumn = None,
) -> None:
    """Compare a model with human readers."""
    from cxr.commands.readers import readers as run_readers

    run_readers(predictions, reader, thresholds, out, label_column)


def _folder(text: str) -> Path:
    """The folder of a name; an empty one, as of an unset shell variable, is not the current folder."""
    if not text.strip():
        raise typer.BadParameter("the name of the folder is empty")
    return Path(text)


@app.command(
    epilog=_example("cxr predict runs/nih_densenet121 chest.png more_images/ --heatmaps overlays")
    + "\n\nThe exit status is 1 when some images cannot be read, 2 when none can."
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
        typer.Option(
            help="Folder for overlays of the findings above their threshold.",
            parser=_folder,
            metavar="FOLDER",
        ),
    ] = None,
    head_findings: HeadFindings = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> None:
    """Print the probability of each finding beside its threshold."""
    from cxr.commands.predict import predict as run_predict

    num_failed, num_images = run_predict(run, images, form.value, heatmaps, head_findings, device)
    if num_failed:
        raise typer.Exit(2 if num_failed == num_images else 1)
