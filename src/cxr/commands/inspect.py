"""cxr inspect: what a run's network has learned."""

from collections.abc import Sequence
from pathlib import Path

from cxr.commands.run_folder import report_folder
from cxr.console import out as terminal
from cxr.explain import inspect_page
from cxr.explain.embedding import check_umap
from cxr.explain.inspect import inspect as look
from cxr.explain.layers import check_layers
from cxr.explain.sample import open_sample
from cxr.report.terminal import render
from cxr.streams import show


def inspect(
    run: Path,
    overrides: Sequence[str],
    image: Path | None,
    layers: Sequence[str],
    with_umap: bool,
    max_images: int,
    out: Path | None,
    device_name: str,
) -> Path:
    """Look into a run's network, print a summary, and write the report.

    Args:
        run: Run folder or checkpoint.
        overrides: KEY=VALUE texts of data.*, store.* and eval.*.
        image: Whose activations are shown; None takes a test image.
        layers: Names of layers; none for the stem and each block.
        with_umap: Whether to embed by UMAP as well as by PCA.
        max_images: Test images at most; 0 for all.
        out: Folder of the report; None is `inspect` in the run folder.
        device_name: As the key `device`.

    Returns:
        The page of the report.

    Raises:
        CxrError: A model that cxr did not train, no such layer, or whatever is wrong with its data.
    """
    if with_umap:
        check_umap()
    sample = open_sample(run, overrides, device_name, max_images)
    check_layers(sample.candidate.checkpoint.classifier, layers)
    found = look(sample, image, layers, with_umap)
    folder = report_folder(run, out, "inspect")
    inspect_page.write(found, sample, folder)
    terminal().print(render(*inspect_page.summary(found, sample.about)))
    page = folder / "inspect.html"
    show(f"report: {page}")
    return page
