"""cxr robustness: AUROC of a run under attacks and corruptions."""

from collections.abc import Sequence
from pathlib import Path

from cxr.commands.run_folder import report_folder
from cxr.console import out as terminal
from cxr.errors import CxrError
from cxr.explain import robustness_page
from cxr.explain.robustness import check_kinds, measure_robustness
from cxr.explain.sample import open_sample
from cxr.report.terminal import render
from cxr.streams import show


def robustness(
    run: Path,
    overrides: Sequence[str],
    kinds: Sequence[str],
    seed: int,
    max_images: int,
    out: Path | None,
    device_name: str,
) -> Path:
    """Measure a run under attacks and corruptions, print the summary, and write the report.

    Args:
        run: Run folder or checkpoint.
        overrides: KEY=VALUE texts of data.*, store.* and eval.*.
        kinds: Names of `explain.robustness.KINDS`; none for all.
        seed: Of all random numbers.
        max_images: Test images at most; 0 for all.
        out: Folder of the report; None is `robustness` in the run folder.
        device_name: As the key `device`.

    Returns:
        The page of the report.

    Raises:
        CxrError: A model that cxr did not train, no such kind, or whatever is wrong with its data.
    """
    chosen = check_kinds(kinds)
    if seed < 0:
        raise CxrError(f"--seed {seed}: is negative", "give 0 or more")
    sample = open_sample(run, overrides, device_name, max_images)
    found = measure_robustness(sample, chosen, seed)
    folder = report_folder(run, out, "robustness")
    robustness_page.write(found, sample.about, folder)
    terminal().print(render(*robustness_page.summary(found, sample.about)))
    page = folder / "robustness.html"
    show(f"report: {page}")
    return page
