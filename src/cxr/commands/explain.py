"""cxr explain: a run's maps scored against boxes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cxr.commands.run_folder import report_folder
from cxr.console import out as terminal
from cxr.device import choose_device
from cxr.errors import CxrError
from cxr.explain import document
from cxr.explain.cases import boxes_are_masks
from cxr.explain.images import find_boxes, list_images
from cxr.explain.maps import METHODS, NAMES
from cxr.explain.masks import read_marks
from cxr.explain.score import score_boxes
from cxr.model import checkpoint as checkpoints
from cxr.model.candidate import check_unchanged, evaluation_config
from cxr.model.external import is_external
from cxr.report.terminal import render
from cxr.streams import show


def explain(
    run: Path,
    overrides: Sequence[str],
    boxes: Path | None,
    method: str,
    frame: int | None,
    out: Path | None,
    device_name: str = "auto",
    num_examples: int = 3,
) -> Path:
    """Score the maps of a run against boxes, print the pointing game, and write the report.

    Args:
        run: Run folder or checkpoint.
        overrides: KEY=VALUE texts of data.* and eval.*.
        boxes: A file of boxes or masks; None takes that of the dataset's folder.
        method: One of METHODS.
        frame: Width of the images that the boxes are in; None as `BoxFile.frame` has it.
        out: Folder of the report; None is `explain_METHOD` in the run folder.
        device_name: As the key `device`.
        num_examples: Pictures of each finding and kind in the report.

    Returns:
        The page of the report.

    Raises:
        CxrError: A model that cxr did not train, or whatever is wrong with its data or the boxes.
    """
    if is_external(run):
        raise CxrError(f"{run}: names no dataset to explain it on", "give a run folder that cxr train wrote")
    chosen = next((name for name in METHODS if name == method), None)
    if chosen is None:
        raise CxrError(f"--method {method}: no such method", f"it is one of {', '.join(METHODS)}")
    if frame is not None and frame < 1:
        raise CxrError(f"--frame {frame}: is no width of an image", "give pixels, such as 1024")
    if num_examples < 0:
        raise CxrError(f"--examples {num_examples}: is negative", "give 0 for none")
    checkpoint = checkpoints.load(run, choose_device(device_name))
    trained = checkpoint.metadata
    # 1. which dataset, and whether the model may be looked at there
    config = evaluation_config(trained.config, trained.findings, overrides)
    check_unchanged(config, trained, run)
    # 2. boxes, and images that the model has not seen
    file = read_marks(boxes or find_boxes(config))
    images, notes = list_images(config, checkpoint)
    if frame is not None and boxes_are_masks(file):
        raise CxrError(f"--frame {frame}: {file.path} holds masks, which state their size", "leave it out")
    # as the file's format says, once the dataset is known
    if frame is None:
        frame = file.frame(config.data.source)
    # 3. maps, scores, and the report
    found = score_boxes(checkpoint, file, images, frame, chosen, config.eval, num_examples)
    scored = replace(found, notes=(*notes, *found.notes))
    about = (
        ("run", str(run)),
        ("method", NAMES[chosen]),
        ("boxes", f"{file.path} ({file.format}), in pixels of "
         + (f"images of {frame} pixels" if frame else "the images' files")),
        ("model", f"{trained.config.model.backbone} at {trained.config.image.size} pixels"),
    )  # fmt: skip
    folder = report_folder(run, out, f"explain_{chosen.replace('+', 'p')}")
    document.write(scored, about, folder)
    terminal().print(render(*document.summary(scored, about)))
    page = folder / "explain.html"
    show(f"report: {page}")
    return page
