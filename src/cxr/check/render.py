"""A Check on the terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from cxr import __version__
from cxr.check.problems import gigabytes
from cxr.check.result import Cells, Check
from cxr.console import count, line, stack
from cxr.labels.columns import describe
from cxr.labels.splits import SPLITS
from cxr.tables import Table
from cxr.text import json_text

if TYPE_CHECKING:
    from rich.console import RenderableType

_WHERE = {
    "auto": "in GPU memory or RAM while training where twice as much is free, else read from the disk",
    "ram": "as much RAM in each process while training",
    "gpu": "as much GPU memory while training",
    "disk": "read from the disk while training",
}
_PAIRS = 3
_SHORT = {"uncertain": "unc.", "unlabelled": "unlab."}  # eleven columns fit a terminal of 80


def render_json(check: Check, subject: str = "") -> str:
    """Every fact, as check.json; no patient's id is in it. `subject` tells checks of other data apart."""
    facts = {
        "cxr": __version__,
        "subject": subject,
        "verdict": verdict(check),
        "ready": check.ready,
    } | asdict(check)
    facts["about"] = dict(check.about)
    return json_text(facts, 1)


def verdict(check: Check) -> str:
    """`ready` or `not ready: 2 problems`; how many warnings there are does not change it.

    Of one archive of several `nih: no problems` or `nih: 2 problems`, as readiness is that of all together.
    """
    problems = count(len(check.problems), "problem")
    limits = " (files were not decoded)" if check.quick else ""
    if not check.ready:
        return f"{check.part or 'not ready'}: {problems}"
    final = f"{check.part}: no problems" if check.part else "ready"
    return final + (f", {count(len(check.warnings), 'warning')}" if check.warnings else "") + limits


def plan_lines(check: Check) -> list[str]:
    """What would be trained on, in a few sentences."""
    plan = check.plan
    sizes = [f"{verb} on {count(plan.images[fold], 'image')} of {count(plan.patients[fold], 'patient')}"
             for verb, fold in zip(("train", "validate", "test"), SPLITS, strict=True)]  # fmt: skip
    store = gigabytes(plan.store_bytes)
    lines = [f"would {', '.join(sizes)}; {count(len(plan.findings), 'finding')}; store {store}"]
    if plan.visits != plan.images["train"] or plan.datasets:
        drawn = [
            f"{count(one.visits, 'image')} of {one.name} ({100 * one.share:.1f} %)" for one in plan.datasets
        ]
        whole = f"an epoch draws {count(plan.visits, 'training image')}"
        lines.append(f"{whole}: {', '.join(drawn)}" if drawn else f"{whole}, by data.weight")
    if plan.steps_per_epoch is not None:
        lines.append(
            f"{count(plan.epochs, 'epoch')} in batches of {plan.batch_size:,}: {count(plan.steps_per_epoch, 'step')} "
            f"each, {count(plan.epochs * plan.steps_per_epoch, 'step')} in all"
        )
    return [*lines, f"store: {store} in {plan.store}; {_WHERE[plan.where]}"]


SHARES = ("Archive", *SPLITS, "weight", "drawn", "share", "findings")
"""Headings of `share_rows`."""


def share_rows(check: Check) -> list[list[str]]:
    """What each archive gives: images by split, then what an epoch draws from it; none where there is only one."""
    rows = []
    for one in check.plan.datasets:
        images = [f"{num:,}" for num in one.images.values()]
        drawn = [f"{one.weight:g}", f"{one.visits:,}", f"{100 * one.share:.1f} %"]
        rows.append([one.name, *images, *drawn, f"{len(one.findings)} of {len(check.plan.findings)}"])
    return rows


def file_line(check: Check) -> str:
    """The counts of files in one sentence."""
    files = check.files
    parts = [count(files.named, "row"), f"{files.missing:,} without a file"]
    if files.read is not None and files.num_bytes is not None:
        decoded = f"{count(files.read, 'file')} decoded ({gigabytes(files.num_bytes)})"
        parts += [decoded, f"{files.unreadable:,} unreadable"]
        parts += [f"{files.not_read:,} not read"] if files.not_read else []
        parts += (
            [f"median {files.median_size[0]} x {files.median_size[1]} pixels"] if files.median_size else []
        )
        parts += [f"{files.grey_as_colour:,} of them grey in colour channels"] if files.grey_as_colour else []
    else:
        parts.append("no file was decoded")
    return ", ".join(parts)


def patient_line(check: Check) -> str:
    """Patients in one sentence, none by its id."""
    own = check.patients
    each = [
        f"{num:,} with {label} image{'' if label == '1' else 's'}" for label, num in own.images_each if num
    ]
    apart = f"{own.in_two_splits:,} in more than one split"
    return f"{own.num:,} ({', '.join(each) or 'no images'}), {apart}, {count(own.rows_without, 'row')} without one"


def folds(check: Check) -> list[str]:
    """The splits that cells are counted in."""
    return list(dict.fromkeys(one.split for one in check.cells))


def pairs(check: Check) -> list[str]:
    """The findings most often positive in the same image."""
    names, counts = check.together.findings, check.together.counts
    every = [(counts[a][b], names[a], names[b]) for a in range(len(names)) for b in range(a) if counts[a][b]]
    return [f"{a} with {b} {num:,}" for num, a, b in sorted(every, reverse=True)[:_PAIRS]]


def render_terminal(check: Check) -> "RenderableType":
    """Counts, tables, warnings and problems, at most 80 columns wide but for names of files; the verdict last."""
    split = f"{check.about[-1][1]}; " + ", ".join(
        f"{fold} {num:,}" for fold, num in check.plan.images.items()
    )
    dropped = ", ".join(f"{num:,} {why}" for why, num in check.plan.dropped.items())
    lines = [("files", file_line(check)), ("split", split), ("patients", patient_line(check))]
    lines += [("left out", dropped)] if dropped else []
    lines += [("together", ", ".join(pairs(check)))] if pairs(check) else []
    columns = (text.partition(": ") for text in describe(check.columns, len(check.columns)))
    lines += [(what, names) for what, _, names in columns]
    head = [line((f"{name}: ", "bold"), text) for name, text in lines]
    every = (_labels(check), _groups(check), _archives(check))
    tables = [part for table in every if table.row_count for part in ("", table)]
    notes = [line(f"warning: {text}", style="yellow") for text in check.warnings]
    notes += [line(f"problem: {text}", style="red") for text in check.problems]
    notes += [line(f"hint: {text}") for text in check.hints]
    plan = [line(text) for text in plan_lines(check)]
    final = line(verdict(check), style="bold green" if check.ready else "bold red")
    return stack(*head, *tables, "", *notes, *([""] if notes else []), *plan, final)


def _labels(check: Check) -> Table:
    """Positive and negative cells by split; uncertain and blank ones over all splits, where there are any."""
    kinds = [kind for kind in ("uncertain", "soft", "blank", "unlabelled")
             if any(getattr(one, kind) for one in check.cells)]  # fmt: skip
    table = Table(["\nFinding", *(f"{fold}\n{kind}" for fold in folds(check) for kind in ("pos.", "neg.")),
                   *(f"\n{_SHORT.get(kind, kind)}" for kind in kinds)])  # fmt: skip
    for finding in check.plan.findings:
        own = [one for one in check.cells if one.finding == finding]
        numbers = [number for one in own for number in (one.positive, one.negative)]
        numbers += [_sum(own, kind) for kind in kinds]
        table.add([finding, *(f"{number:,}" for number in numbers)])
    return table


def _sum(cells: Sequence[Cells], kind: str) -> int:
    return sum(int(getattr(one, kind)) for one in cells)


def _groups(check: Check) -> Table:
    table = Table(["Images", *SPLITS, "all"])
    for group in check.groups:
        table.add([f"{group.column} {group.group}", *(f"{num:,}" for num in group.images.values())])
    return table


def _archives(check: Check) -> Table:
    table = Table(SHARES)
    for row in share_rows(check):
        table.add(row)
    return table
