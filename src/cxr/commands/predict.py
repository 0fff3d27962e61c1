"""cxr predict: probabilities of image files; an image that cannot be read stops no other."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from cxr import __version__
from cxr.console import count, warn
from cxr.deploy.calibrated import calibrate_thresholds
from cxr.deploy.dicom_results import check_folder, open_results
from cxr.deploy.journal import Journal
from cxr.deploy.open_runtime import open_runtime
from cxr.deploy.overlay_names import OverlayNames
from cxr.deploy.overlays import Drawing, choose_findings
from cxr.deploy.predict_all import Draw, Outcome, predict_all
from cxr.deploy.predict_output import CsvWriter, JsonWriter, TableWriter, WideWriter, Writer
from cxr.deploy.runtime import Facts
from cxr.errors import CxrError
from cxr.evaluation.recalibration import Recalibration
from cxr.files import clear_leftovers, explain_os_errors
from cxr.images.kinds import FIRST_BYTES, may_be_image
from cxr.paths import exists, is_file, is_folder
from cxr.replace import refuse_existing
from cxr.streams import exact_stdout, show


@dataclass(frozen=True)
class Output:
    """In which form predictions are written, and where to.

    Attributes:
        format: table, json (one object per line and image) or csv (`image`, `p_<finding>`, `warning`); None
            takes that of the file's ending, and the table on stdout.
        path: A file that is written whole or not at all; None is stdout.
        wide: A table with one line per image.
        calibrated: Whether probabilities and thresholds are calibrated.
        resume: Whether to continue a file that an interrupted run began.
        overwrite: Whether a file that is there is replaced.
    """

    format: str | None = None
    path: Path | None = None
    wide: bool = False
    calibrated: bool = False
    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Heatmaps:
    """What is drawn, and where to.

    Attributes:
        folder: For the overlays; None draws nothing.
        findings: Names with commas between; None takes those above their threshold, or else the likeliest.
        every: Whether every finding is drawn.
        with_maps: Whether maps are written as .npy files too.
    """

    folder: Path | None = None
    findings: str | None = None
    every: bool = False
    with_maps: bool = False

    def check(self, dicom_out: Path | None = None) -> None:
        """Refuse options of overlays without a folder for them, and a file in its place.

        DICOM results have overlays too: with a folder for those, --findings and --all mean something.

        Raises:
            CxrError: With each such option.
        """
        if self.folder is not None and exists(self.folder) and not is_folder(self.folder):
            raise CxrError(f"--heatmaps {self.folder}: is a file", "name a folder for the overlays")
        options = {"--maps": self.with_maps}
        if dicom_out is None:
            options = {"--findings": self.findings is not None, "--all": self.every} | options
        given = [f"{name}: is for overlays" for name, is_given in options.items() if is_given]
        if given and self.folder is None:
            raise CxrError(given, "name a folder for the overlays with --heatmaps FOLDER")


def predict(
    run: Path,
    images: Sequence[Path],
    output: Output,
    heatmaps: Heatmaps,
    head_findings: str | None = None,
    device_name: str = "auto",
    program: str | None = None,
    dicom_out: Path | None = None,
) -> Outcome:
    """Write the probabilities of every image.

    Args:
        run: Run folder, checkpoint file, `xrv:NAME`, a weight file or a model.onnx of `cxr export`;
            thresholds of `xrv:NAME` and of a weight file are 0.5.
        images: Files, or folders of them; files in a folder that are no image are counted and passed over.
        output: In which form, and where to.
        heatmaps: What is drawn of each image, and where to.
        head_findings: What the outputs of a weight file are: a group or names with commas between.
        device_name: As the key `device`.
        program: What computes a model.onnx: onnxruntime (as None) or openvino.
        dicom_out: Folder for DICOM results of images that are DICOM; None writes none.

    Raises:
        CxrError: The model cannot be loaded, or the output or an overlay cannot be written.
    """
    # 1. the model, before anything is written
    output_format = _choose_format(output)
    heatmaps.check(dicom_out)
    check_folder(dicom_out)
    runtime = open_runtime(str(run), device_name, head_findings, program)
    facts, recalibration = runtime.facts, None
    if output.calibrated:
        facts, recalibration = calibrate_thresholds(str(run), facts), facts.recalibration
        if recalibration.unfitted:
            warn(f"the model's own probabilities, not calibrated: {', '.join(recalibration.unfitted)}")
    chosen = choose_findings(heatmaps.findings, heatmaps.every, facts.findings)
    drawing = Drawing(chosen, heatmaps.with_maps)
    if heatmaps.folder is not None:
        with explain_os_errors(heatmaps.folder):
            heatmaps.folder.mkdir(parents=True, exist_ok=True)
        clear_leftovers(heatmaps.folder)

    # 2. the images, into a file or onto stdout
    outcome = Outcome()
    results = open_results(dicom_out, facts, drawing, recalibration, outcome.fail_to_write)
    draw = Draw(facts, OverlayNames(heatmaps.folder), drawing, outcome, results)
    make_writer = partial(_make_writer, output_format, output.wide, facts, recalibration)
    if output.path is None:
        predict_all(runtime, images, make_writer(exact_stdout()), draw)
    else:
        made_by = {
            "the model": _identify(run, facts),
            "the findings": ", ".join(facts.findings),
            "the program": f"cxr {__version__}, {facts.program}",
            "the format": output_format,
            "--calibrated": "given" if output.calibrated else "",
            "--heatmaps": f"{heatmaps.folder}, {drawing}" if heatmaps.folder else "",
            "--dicom-out": f"{dicom_out}, {drawing}" if dicom_out else "",
        }
        with Journal(output.path, made_by) as journal:
            journal.begin(output.resume)
            outcome.restore(journal.counts)
            writer = make_writer(journal.rows)
            header = journal.take_rows()
            predict_all(runtime, images, writer, draw, journal)
            journal.finish(header)
        show(f"{count(outcome.num_images - outcome.num_failed, 'image')} in {output.path}")
    outcome.finish()
    return outcome


def _make_writer(
    output_format: str, is_wide: bool, facts: Facts, recalibration: Recalibration | None, file: TextIO
) -> Writer:
    """The writer of a format; tables go to the terminal, whatever the file."""
    if output_format == "table":
        return (WideWriter if is_wide else TableWriter)(facts, recalibration)
    return (JsonWriter if output_format == "json" else CsvWriter)(facts, recalibration, file)


def _identify(run: Path, facts: Facts) -> str:
    """What tells a model from every other: a checksum, or the name of a model that is downloaded."""
    if facts.sha256:
        return facts.sha256
    try:
        with run.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # xrv:NAME, or FILE#NETWORK
        return str(run)


def _choose_format(output: Output) -> str:
    """table, json or csv: as asked for, else by the ending of the file.

    Raises:
        CxrError: A file that cannot be written or is there already, a table into a file, or a wide form of
            csv or json.
    """
    path = output.path
    by_ending = {".csv": "csv", ".json": "json", ".jsonl": "json"}.get(path.suffix.lower()) if path else None
    chosen = output.format or by_ending or "table"
    if output.wide and chosen != "table":
        raise CxrError(f"--wide: is for the table; {chosen} has one row per image already", "leave it out")
    if path is None:
        given = {"--resume: continues": output.resume, "--overwrite: replaces": output.overwrite}
        problems = [f"{option} a file" for option, is_given in given.items() if is_given]
        if problems:
            raise CxrError(problems, "name it with --out FILE")
        return chosen
    if chosen == "table":
        raise CxrError(f"--out {path}: a table is for the terminal", "name a .csv or .jsonl file")
    if is_folder(path):
        raise CxrError(f"--out {path}: is a folder", "name a .csv or .jsonl file")
    if not is_folder(path.absolute().parent):
        raise CxrError(f"--out {path}: there is no folder {path.parent}", "make it first")
    refuse_existing(path, output.overwrite)
    _refuse_image(path)
    return chosen


def _refuse_image(path: Path) -> None:
    """Refuse to replace an image, which may be in a folder that is to be predicted.

    Raises:
        CxrError: There is one.
    """
    if not is_file(path):
        return
    with explain_os_errors(path), path.open("rb") as file:
        data = file.read(FIRST_BYTES)
    if may_be_image(data, path):
        raise CxrError(f"{path}: is an image, and is not replaced", "take another name with --out")
