"""cxr export: a run as one file that other programs run, checked against PyTorch before it is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cxr.console import out as terminal
from cxr.console import say, warn
from cxr.deploy.export_images import (
    CheckImages,
    NoRunImagesError,
    RunImages,
    generate_images,
    open_run_images,
    read_images,
    take_validation,
)
from cxr.deploy.export_metadata import describe, describe_parity
from cxr.deploy.export_summary import refuse_text, summarise
from cxr.deploy.export_targets import FILES, Exported, Target, check_packages, make
from cxr.deploy.onnx_format import Cost, Precision
from cxr.deploy.parity import compare, compare_resize, is_equal
from cxr.deploy.quantise import MAX_COST, measure_cost
from cxr.errors import CxrError
from cxr.files import write_bytes
from cxr.model.checkpoint import Checkpoint
from cxr.model.external import is_external
from cxr.model.external_checkpoint import open_any
from cxr.paths import is_folder
from cxr.replace import refuse_existing
from cxr.report.terminal import render
from cxr.streams import show

_PROGRAMS: dict[Target, str] = {"onnx": "onnxruntime", "torch": "torch.export"}


@dataclass(frozen=True)
class Options:
    """What is made.

    Attributes:
        target: Kind of file.
        precision: fp32, or for ONNX fp16 or int8.
        images: Files or folders to compare on; none takes validation images of the run.
        out: The file; None is model.onnx or model.pt2 in the run folder.
        overwrite: Whether a file that is there is replaced.
        licence: Of the weights.
        head_findings: What the outputs of a weight file are.
    """

    target: Target = "onnx"
    precision: Precision = "fp32"
    images: tuple[Path, ...] = ()
    out: Path | None = None
    overwrite: bool = False
    licence: str = ""
    head_findings: str | None = None


def export(run: Path, overrides: Sequence[str], options: Options = Options()) -> Path:
    """Write a run as one file, and print how it differs from PyTorch.

    Args:
        run: Run folder, checkpoint file, `xrv:NAME` or a weight file.
        overrides: KEY=VALUE texts of data.* and store.*, where the run's images are.
        options: What is made.

    Raises:
        CxrError: No model, options that do not go together, a package that is not installed, images that are
            not there, or a file that differs from PyTorch by more than the tolerance.
    """
    # 1. what is asked for, before anything is computed
    path = _choose_path(run, options)
    if options.target == "torch" and options.precision != "fp32":
        raise CxrError(f"--precision {options.precision}: is for --to onnx", "leave --precision out")
    fixed = [text for text in overrides if not text.startswith(("data.", "store."))]
    if fixed:
        problems = [f"{text}: cannot change in an exported file" for text in fixed]
        raise CxrError(problems, "override data.* and store.* only, which tell where the run's images are")
    check_packages(options.target)
    checkpoint = open_any(str(run), torch.device("cpu"), options.head_findings)

    # 2. images to compare on, and for a smaller precision those of the run
    run_images = _open_run_images(run, checkpoint, overrides, options)
    images = _choose_images(checkpoint, run_images, options)

    # 3. the file, and how it differs
    exported = make(checkpoint, options.target, options.precision, run_images)
    differences = compare(checkpoint, exported.run, images)
    if options.precision == "fp32" and not is_equal(differences):
        raise CxrError(
            f"{path}: {refuse_text(differences)}", "report it, with the versions of torch and onnx"
        )
    parity = describe_parity(images, differences, compare_resize(checkpoint, exported.run, images))
    cost = _measure(checkpoint, exported, run_images, options)

    # 4. written whole or not at all
    metadata = describe(run, checkpoint, exported.graph, options.precision, options.licence, parity, cost)
    data = exported.to_bytes(metadata)
    write_bytes(path, data)
    terminal().print(render(*summarise(metadata, _PROGRAMS[options.target])))
    following = f"; next: cxr predict {path} IMAGE" if options.target == "onnx" else ""
    show(metadata.use)
    show(f"{path} ({len(data) / 1e6:,.1f} MB){following}")
    return path


def _choose_path(run: Path, options: Options) -> Path:
    """Where the file goes.

    Raises:
        CxrError: It is there already, is a folder or a checkpoint, or has no folder.
    """
    path = options.out
    if path is None:
        if is_external(run):
            raise CxrError("--out: a model that cxr did not train has no run folder", "--out model.onnx")
        path = (run if is_folder(run) else run.parent) / FILES[options.target]
    elif is_folder(path):
        raise CxrError(f"--out {path}: is a folder", f"name a file, such as {path / FILES[options.target]}")
    elif not is_folder(path.absolute().parent):
        raise CxrError(f"--out {path}: there is no folder {path.parent}", "make it first")
    refuse_existing(path, options.overwrite)
    return path


def _open_run_images(
    run: Path, checkpoint: Checkpoint, overrides: Sequence[str], options: Options
) -> RunImages | None:
    """The run's images; None where they are not there or not used.

    Raises:
        CxrError: They are not there, and a smaller precision cannot be measured without them.
    """
    needed = options.precision != "fp32"
    if options.images and not needed:
        return None
    try:
        if is_external(run):
            raise NoRunImagesError("no run of cxr trained it")
        return open_run_images(run, checkpoint, overrides)
    except NoRunImagesError as error:
        if needed:
            problem = f"--precision {options.precision}: its cost in AUROC cannot be measured: {error.reason}"
            hint = "cxr pack makes the store, data.root=FOLDER tells where the images are; or leave it out"
            raise CxrError(problem, hint) from None
        say(f"no validation images: {error.reason}")
        return None


def _choose_images(checkpoint: Checkpoint, run_images: RunImages | None, options: Options) -> CheckImages:
    preprocess = checkpoint.metadata.preprocess
    if options.images:
        return read_images(options.images, preprocess)
    if run_images is not None:
        return take_validation(run_images)
    warn("compared on generated images; --images FOLDER compares on radiographs")
    return generate_images(preprocess)


def _measure(
    checkpoint: Checkpoint, exported: Exported, run_images: RunImages | None, options: Options
) -> Cost | None:
    """What a smaller precision costs; None in float32."""
    if options.precision == "fp32":
        return None
    assert run_images is not None
    cost = measure_cost(checkpoint, exported.run, run_images, exported.method)
    if cost.auroc_fp32 - cost.auroc > MAX_COST:
        warn(f"{options.precision} costs more than {MAX_COST:g} of mean AUROC")
    return cost
