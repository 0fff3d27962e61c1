"""cxr plan: what a test set of a given size may be expected to show, before there is one."""

from cxr.console import out as terminal
from cxr.errors import CxrError
from cxr.evaluation.statistics.power import Design
from cxr.report.plan import summary
from cxr.report.terminal import render

_FEWEST = 2


def plan(
    design: Design,
    auroc: float,
    other: float | None,
    correlation: float,
    sensitivity: float | None,
    specificity: float | None,
) -> None:
    """Print the expected intervals, and the power to tell `other` from `auroc`.

    Raises:
        CxrError: A number outside its range, or fewer than two images of a class.
    """
    between = {
        "--prevalence": design.prevalence,
        "--auroc": auroc,
        "--other": other,
        "--sensitivity": sensitivity,
        "--specificity": specificity,
    }
    problems = [
        f"{name}: {value:g} is not between 0 and 1"
        for name, value in between.items()
        if value is not None and not 0 < value < 1
    ]
    if problems:
        raise CxrError(problems, "give a share such as 0.85")
    if design.num_rarer < _FEWEST:
        problem = (
            f"--patients: {design.num_patients:,} are worth {design.num_rarer:.2g} images of the rarer class"
        )
        raise CxrError(problem, "plan more patients, or a higher prevalence; two images are the least")
    shares = [
        (name, share)
        for name, share in (("sensitivity", sensitivity), ("specificity", specificity))
        if share is not None
    ]
    terminal().print(render(*summary(design, auroc, other, correlation, shares)))
