"""cxr shortcuts: whether a run reads the chest or the scanner."""

from collections.abc import Sequence
from pathlib import Path

from cxr.commands.run_folder import report_folder
from cxr.console import out as terminal
from cxr.device import choose_device
from cxr.explain import shortcuts_page
from cxr.explain.lungs import Lungs, open_segmentation
from cxr.explain.sample import open_sample
from cxr.explain.shortcuts import find_shortcuts
from cxr.report.terminal import render
from cxr.streams import show


def shortcuts(
    run: Path, overrides: Sequence[str], lungs: Lungs, max_images: int, out: Path | None, device_name: str
) -> Path:
    """Examine a run for shortcuts, print the summary, and write the report.

    Args:
        run: Run folder or checkpoint.
        overrides: KEY=VALUE texts of data.*, store.* and eval.*.
        lungs: Where they are, see `explain.lungs`.
        max_images: Test images at most; 0 for all.
        out: Folder of the report; None is `shortcuts` in the run folder.
        device_name: As the key `device`.

    Returns:
        The page of the report.

    Raises:
        CxrError: A model that cxr did not train, or whatever is wrong with its data.
    """
    segment = open_segmentation(lungs, choose_device(device_name))  # before the images are predicted
    sample = open_sample(run, overrides, device_name, max_images)
    found = find_shortcuts(sample, segment)
    folder = report_folder(run, out, "shortcuts")
    shortcuts_page.write(found, sample.about, folder)
    terminal().print(render(*shortcuts_page.summary(found, sample.about)))
    page = folder / "shortcuts.html"
    show(f"report: {page}")
    return page
