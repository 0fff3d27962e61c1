"""The commands' signatures and help; each imports inside its function, so that --help is quick."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cxr import __version__
from cxr.cli_options import (
    Averaged,
    ConfigFile,
    EvalTargets,
    Format,
    HeadFindings,
    LabelColumn,
    Labels,
    Layout,
    OpenReport,
    Overrides,
    RunPath,
    SkipUnlabelled,
    SplitOfRun,
    example,
    folder,
    open_in_browser,
)
from cxr.status import run
from cxr.streams import show

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, evaluate and run chest X-ray classifiers. A research tool, not a medical device.",
    epilog="Start with: cxr train demo",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; status 2 after a mistake of the user, 128 plus its number after a signal."""
    given = sys.argv[1:] if arguments is None else arguments

    def explain(option: str, command: str) -> str | None:
        from cxr.commands.option_hints import explain_option

        return explain_option(option, command, given)

    sys.exit(run(app, given, explain))


@app.callback(invoke_without_command=True)
def _start(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        show(f"cxr {__version__}")
        raise typer.Exit


@app.command(epilog=example("cxr recipes"))
def recipes() -> None:
    """List the recipes that come with cxr."""
    from cxr.commands.recipes import recipes as print_recipes

    print_recipes()


@app.command(
    "config",
    epilog=example(
        "cxr config nih_densenet121 train.lr=3e-4", "cxr config demo train", "cxr config demo data.columns"
    ),
)
def config_command(
    config: ConfigFile,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE | SECTION]...", help="Overrides; sections, to print them alone."),
    ] = None,
) -> None:
    """Print every key, its value and its meaning."""
    from cxr.commands.config import print_config

    print_config(config, overrides or [])


@app.command(epilog=example("cxr phantom data/phantom --images 2000"))
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
    epilog=example("cxr check nih_densenet121 data.root=/data/nih", "cxr check demo --quick")
    + "\n\nThe exit status is 1 when cxr train would refuse the data."
)
def check(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; checks/<config> by default.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only look for the files; decode no image.")] = False,
    open_report: OpenReport = False,
) -> None:
    """Check a dataset before training: files, labels, patients."""
    from cxr.commands.check import check as run_check
    from cxr.config.load import load

    is_ready, page = run_check(load(config, overrides or []), config, out, quick)
    if open_report:
        open_in_browser(page)
    if not is_ready:
        raise typer.Exit(1)


@app.command(epilog=example("cxr pack nih_densenet121 data.root=/data/nih"))
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
    epilog=example(
        "cxr train nih_densenet121 data.root=/data/nih train.epochs=3",
        "torchrun --nproc-per-node 4 -m cxr train nih_densenet121",
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
    epilog=example(
        "cxr eval runs/nih_densenet121",
        "cxr eval runs/first runs/second eval.tta=flip",
        "cxr eval predictions.csv --labels Data_Entry_2017_v2020.csv",
        "cxr eval test.csv --validation val.csv eval.threshold=sensitivity=0.9",
        "cxr eval xrv:densenet121-res224-all nih_densenet121",
        "cxr eval old.pth.tar nih_densenet121 model.head_findings=nih14",
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
    open_report: OpenReport = False,
) -> None:
    """Evaluate a run or a predictions file; write a report."""
    from cxr.commands.evaluate import evaluate as run_evaluate
    from cxr.evaluation.join import LabelOptions

    options = LabelOptions(label_column, skip_unlabelled)
    split_name = split and split.value
    page = run_evaluate(
        runs, split_name, out, labels, validation, tune_on_test, average.value, allow_seen_patients, options
    )
    if open_report:
        open_in_browser(page)


@app.command(
    epilog=example(
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
    epilog=example(
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


@app.command(
    epilog=example("cxr predict runs/nih_densenet121 chest.png more_images/ --heatmaps overlays")
    + "\n\nThe exit status is 1 when some images cannot be read, 2 when none can, 3 as --strict says."
)
def predict(
    run: RunPath,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.", readable=False),
    ],
    form: Annotated[
        Format | None,
        typer.Option("--format", help="table, json or csv; by default as --out ends, or table."),
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="Table with one line per image.")] = False,
    out: Annotated[Path | None, typer.Option(help="CSV or JSON lines file instead of the terminal.")] = None,
    heatmaps: Annotated[
        Path | None,
        typer.Option(
            help="Folder for overlays of the findings above their threshold.",
            parser=folder,
            metavar="FOLDER",
        ),
    ] = None,
    head_findings: HeadFindings = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit status 3 when an image is out of distribution.")
    ] = False,
    open_overlays: Annotated[bool, typer.Option("--open", help="Open the folder of the overlays.")] = False,
) -> None:
    """Print the probability of each finding beside its threshold."""
    from cxr.commands.predict import Output
    from cxr.commands.predict import predict as run_predict

    if open_overlays and heatmaps is None:
        raise typer.BadParameter("--open opens the folder of overlays: name it with --heatmaps FOLDER")
    output = Output(form and form.value, out, wide)
    outcome = run_predict(run, images, output, heatmaps, head_findings, device)
    if open_overlays and heatmaps:
        open_in_browser(heatmaps)
    num_failed = outcome.num_failed + outcome.num_undrawn
    if num_failed:
        raise typer.Exit(2 if num_failed == outcome.num_images else 1)
    if strict and outcome.num_warned:
        raise typer.Exit(3)
