"""Commands after a training: eval, compare, plan, readers, predict, explain."""

from pathlib import Path
from typing import Annotated

import typer

from cxr.cli.options import (
    Averaged,
    Device,
    DicomOut,
    EvalTargets,
    Format,
    HeadFindings,
    HeatmapFolder,
    LabelColumn,
    Labels,
    Maps,
    OnnxProgram,
    OpenReport,
    Overrides,
    Overwrite,
    PredictImages,
    PredictModel,
    ReaderRule,
    Resume,
    SkipUnlabelled,
    SplitOfRun,
    example,
    open_in_browser,
)

app = typer.Typer()


@app.command(
    "eval",
    epilog=example(
        "cxr eval runs/nih_densenet121",
        "cxr eval runs/first runs/second eval.tta=flip",
        "cxr eval predictions.csv --labels Data_Entry_2017_v2020.csv",
        "cxr eval test.csv --validation val.csv eval.threshold=sensitivity=0.9",
        "cxr eval xrv:densenet121-res224-all nih_densenet121",
        "cxr eval old.pth.tar nih_densenet121 model.head_findings=nih14",
        "cxr eval runs/first --second-labels rsna_boxes.csv --skip-unlabelled",
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
    examples: Annotated[
        int, typer.Option(help="Images of each finding and kind of call on a run's page; 0 for none.")
    ] = 3,
    open_report: OpenReport = False,
    second_labels: Annotated[
        list[Path] | None,
        typer.Option(help="Table of radiologists' labels to set beside the others; may be repeated."),
    ] = None,
) -> None:
    """Evaluate a run or a predictions file; write a report."""
    from cxr.commands.evaluate import evaluate as run_evaluate
    from cxr.evaluation.join import LabelOptions

    options = LabelOptions(label_column, skip_unlabelled)
    split_name = split and split.value
    page = run_evaluate(
        runs, split_name, out, labels, validation, tune_on_test, average.value, allow_seen_patients, options,
        second_labels or (), examples,
    )  # fmt: skip
    if open_report:
        open_in_browser(page)


@app.command(
    epilog=example(
        "cxr compare runs/resnet50 runs/densenet121",
        "cxr compare ours.csv theirs.csv --labels test_labels.csv --out comparison",
        "cxr compare a.csv b.csv --validation a_val.csv --validation b_val.csv",
        "cxr compare a.csv b.csv c.csv --against a.csv",
        "cxr compare internal.csv external.csv --unpaired",
        "cxr compare a0.csv a1.csv a2.csv b0.csv b1.csv b2.csv --seeds 3",
    )
)
def compare(
    runs: EvalTargets,
    split: SplitOfRun = None,
    out: Annotated[Path | None, typer.Option(help="Folder for comparison.csv, .json, .md, .html.")] = None,
    labels: Labels = None,
    label_column: LabelColumn = None,
    skip_unlabelled: SkipUnlabelled = False,
    validation: Annotated[
        list[Path] | None,
        typer.Option(help="CSV of validation images to choose thresholds on; once for each CSV, in order."),
    ] = None,
    thresholds: Annotated[
        list[Path] | None,
        typer.Option(help="metrics.csv of cxr eval with thresholds; once for each CSV, in order."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="One of the models, that each other is compared with; else every pair.")
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Two models on other patients, as internal and external.")
    ] = False,
    seeds: Annotated[
        int, typer.Option(min=0, help="Runs of each recipe: the models are so many of A, then of B, ...")
    ] = 0,
) -> None:
    """Compare models on the same patients, or two on other patients."""
    from cxr.commands.compare import OperatingPoints, Plan
    from cxr.commands.compare import compare as run_compare
    from cxr.evaluation.join import LabelOptions

    points = OperatingPoints(tuple(validation or ()), tuple(thresholds or ()))
    options = LabelOptions(label_column, skip_unlabelled)
    plan = Plan(against, unpaired, seeds)
    run_compare(runs, split and split.value, out, labels, options, points, plan)


@app.command(
    epilog=example(
        "cxr plan --patients 500 --prevalence 0.05 --auroc 0.85",
        "cxr plan --patients 2000 --prevalence 0.1 --auroc 0.82 --other 0.84",
        "cxr plan --patients 500 --prevalence 0.05 --auroc 0.85 --images 3",
    )
)
def plan(
    patients: Annotated[int, typer.Option(min=2, help="Patients of the planned test set.")],
    prevalence: Annotated[float, typer.Option(help="Share of positive images, such as 0.05.")],
    auroc: Annotated[float, typer.Option(help="The AUROC that is expected.")],
    other: Annotated[
        float | None, typer.Option(help="AUROC of a second model, to be told from the first.")
    ] = None,
    correlation: Annotated[
        float, typer.Option(min=0, max=1, help="Of both models' scores, within each class.")
    ] = 0.5,
    images: Annotated[float, typer.Option(min=1, help="Images of each patient.")] = 1,
    within: Annotated[float, typer.Option(min=0, max=1, help="Correlation of a patient's images.")] = 0.7,
    sensitivity: Annotated[float | None, typer.Option(help="The sensitivity that is expected.")] = None,
    specificity: Annotated[float | None, typer.Option(help="The specificity that is expected.")] = None,
) -> None:
    """Plan a test set: expected intervals, power of a comparison."""
    from cxr.commands.plan import plan as run_plan
    from cxr.evaluation.statistics.power import Design

    run_plan(
        Design(patients, prevalence, images, within), auroc, other, correlation, sensitivity, specificity
    )


@app.command(
    epilog=example(
        "cxr readers predictions.csv reader_1.csv reader_2.csv reader_3.csv",
        "cxr readers predictions.csv reader_*.csv --thresholds metrics.csv",
        "cxr readers predictions.csv reader_*.csv --reference truth.csv --margin 0.05",
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
    out: Annotated[
        Path | None, typer.Option(help="Folder for readers.html, .md, CSV files and the figure.")
    ] = None,
    label_column: LabelColumn = None,
    reference: Annotated[
        Path | None, typer.Option(help="Table of ground truth, in place of the other readers.")
    ] = None,
    rule: Annotated[
        ReaderRule | None, typer.Option(help="How readers are scored without one; majority by default.")
    ] = None,
    aided: Annotated[
        list[Path] | None,
        typer.Option(help="Second reading with the model's help; once for each reader, in order."),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(help="Test non-inferiority: how much worse the model may be, such as 0.05."),
    ] = None,
) -> None:
    """Compare a model with human readers."""
    from cxr.commands.readers import readers as run_readers
    from cxr.evaluation.join import LabelOptions
    from cxr.evaluation.readers import Against

    against = Against(rule.value if rule else None, reference, margin, tuple(aided or ()))
    run_readers(predictions, reader, thresholds, out, LabelOptions(label_column), against)


@app.command(
    epilog=example(
        "cxr predict runs/nih_densenet121 chest.png more_images/ --heatmaps overlays",
        "cxr predict runs/nih_densenet121 chest.png --heatmaps overlays --maps",
        "cxr predict runs/nih_densenet121 study/ --dicom-out results",
    )
    + "\n\nThe exit status is 1 when some images cannot be read, 2 when none can, 3 as --strict says."
)
def predict(
    run: PredictModel,
    images: PredictImages,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="table, json or csv; by default as --out ends, or table."),
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="Table with one line per image.")] = False,
    out: Annotated[Path | None, typer.Option(help="CSV or JSON lines file instead of the terminal.")] = None,
    heatmaps: HeatmapFolder = None,
    findings: Annotated[
        str | None, typer.Option(help="Findings that are drawn, such as Mass,Nodule.", metavar="A,B")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Draw every finding.")] = False,
    maps: Annotated[bool, typer.Option("--maps", help="Write the maps as .npy files too.")] = False,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Calibrated probabilities, by the validation images.")
    ] = False,
    dicom_out: DicomOut = None,
    head_findings: HeadFindings = None,
    device: Device = "auto",
    runtime: OnnxProgram = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit status 3 when an image is out of distribution.")
    ] = False,
    open_overlays: Annotated[bool, typer.Option("--open", help="Open the folder of the overlays.")] = False,
) -> None:
    """Print the probability of each finding beside its threshold."""
    from cxr.commands.predict import Heatmaps, Output
    from cxr.commands.predict import predict as run_predict

    if open_overlays and heatmaps is None:
        raise typer.BadParameter("--open opens the folder of overlays: name it with --heatmaps FOLDER")
    output = Output(form and form.value, out, wide, calibrated, resume, overwrite)
    drawn = Heatmaps(heatmaps, findings, every, maps)
    program = runtime and runtime.value
    outcome = run_predict(run, images, output, drawn, head_findings, device, program, dicom_out)
    if open_overlays and heatmaps:
        open_in_browser(heatmaps)
    num_failed = outcome.num_failed + outcome.num_incomplete
    if num_failed:
        raise typer.Exit(2 if num_failed == outcome.num_images else 1)
    if strict and outcome.num_warned:
        raise typer.Exit(3)


@app.command(
    epilog=example(
        "cxr explain runs/nih_densenet121",
        "cxr explain runs/nih_densenet121 --boxes rsna_boxes.csv --method gradcam",
        "cxr explain runs/chexpert_densenet121 --boxes gt_segmentations_test.json",
    )
)
def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run or checkpoint.")],
    overrides: Overrides = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="CSV of boxes or JSON of masks; by default BBox_List_2017.csv in the dataset's folder."
        ),
    ] = None,
    method: Annotated[Maps, typer.Option(help="How maps are made.")] = Maps.cam,
    frame: Annotated[
        int | None, typer.Option(help="Width of the images that the boxes are in; 1024 for NIH's and RSNA's.")
    ] = None,
    examples: Annotated[
        int, typer.Option(help="Pictures of each finding and kind of error in the report; 0 for none.")
    ] = 3,
    out: Annotated[Path | None, typer.Option(help="Folder of the report.")] = None,
    device: Device = "auto",
    open_report: OpenReport = False,
) -> None:
    """Score heat maps against boxes, beside chance."""
    from cxr.commands.explain import explain as run_explain

    page = run_explain(run, overrides or [], boxes, method.value, frame, out, device, examples)
    if open_report:
        open_in_browser(page)
