"""cxr readers: a predictions file beside the files of human readers."""

from collections.abc import Sequence
from pathlib import Path

from cxr.commands.targets import file_options, split_overrides
from cxr.console import out as terminal
from cxr.errors import CxrError
from cxr.evaluation.join import DEFAULT, LabelOptions
from cxr.evaluation.readers import Against, compare_reader_files
from cxr.report import readers as report
from cxr.report.terminal import render
from cxr.streams import show


def readers(
    predictions: Path,
    arguments: Sequence[str],
    thresholds: Path | None,
    out: Path | None,
    options: LabelOptions = DEFAULT,
    against: Against = Against(),
) -> None:
    """Compare a predictions file with the files of human readers, print, and write where `out` is given."""
    paths, overrides = split_overrides(arguments)
    # data.duplicates joins rows of the readers' files, which are tables of labels
    config, options = file_options(overrides, options, has_labels=True)
    if config.scores == "raw":
        raise CxrError("eval.scores=raw: raw scores call nothing, as readers do", "give probabilities")
    comparison = compare_reader_files(predictions, paths, thresholds, config, options, against)
    if out is not None:
        report.write(comparison, out)
    terminal().print(render(*report.summary(comparison)))
    if out is not None:
        show(f"readers: {out / 'readers.md'}")
