"""A Check in a few sentences, on the terminal and as JSON."""

from dataclasses import asdict

from cxr import __version__
from cxr.check.problems import gigabytes
from cxr.check.result import Cells, Check
from cxr.console import count
from cxr.labels.columns import describe
from cxr.labels.splits import SPLITS
from cxr.report.document import Cell, Table, Text
from cxr.text import json_text

_WHERE = {
    "auto": "in GPU memory or RAM while training where twice as much is free, else read from the disk",
    "ram": "as much RAM in each process while training",
    "gpu": "as much GPU memory while training",
    "disk": "read from the disk while training",
}
_NUM_PAIRS = 3
_SHORT = {"uncertain": "unc.", "unlabelled": "unlab."}  # eleven columns fit a terminal of 80


def render_json(check: Check, subject: str = "") -> str:
    """Every fact, as check.json; no patient's id is in it. `subject` tells checks of other data apart."""
    facts = {"cxr": __version__, "subject": subject, "verdict": verdict(check), "ready": check.ready}
    facts |= asdict(check)
    facts["about"] = dict(check.about)
    return json_text(facts, 1)


def verdict(check: Check) -> str:
    """As `ready, 1 warning` or `not ready: 2 problems`.

    Of one dataset of several `nih: no problems` or `nih: 2 problems`, as readiness is that of all together.
    """
    if not check.ready:
        return f"{check.part or 'not ready'}: {count(len(check.problems), 'problem')}"
    warnings = f", {count(len(check.warnings), 'warning')}" if check.warnings else ""
    limits = " (files were not decoded)" if check.quick else ""
    return (f"{check.part}: no problems" if check.part else "ready") + warnings + limits


def plan_lines(check: Check) -> list[str]:
    """What would be trained on, in a few sentences."""
    plan = check.plan
    sizes = [
        f"{verb} on {count(plan.images[split], 'image')} of {count(plan.patients[split], 'patient')}"
        for verb, split in zip(("train", "validate", "test"), SPLITS, strict=True)
    ]
    store = gigabytes(plan.store_bytes)
    lines = [f"would {', '.join(sizes)}; {count(len(plan.findings), 'finding')}; store {store}"]
    # an epoch that draws each training image once needs no word
    if plan.visits != plan.images["train"] or plan.datasets:
        drawn = [
            f"{count(share.visits, 'image')} of {share.name} ({100 * share.share:.1f} %)"
            for share in plan.datasets
        ]
        epoch = f"an epoch draws {count(plan.visits, 'training image')}"
        lines.append(f"{epoch}: {', '.join(drawn)}" if drawn else f"{epoch}, by data.weight")
    if plan.steps_per_epoch is not None:
        epochs = f"{count(plan.epochs, 'epoch')} in batches of {plan.batch_size:,}"
        steps = f"{count(plan.steps_per_epoch, 'step')} each"
        lines.append(f"{epochs}: {steps}, {count(plan.epochs * plan.steps_per_epoch, 'step')} in all")
    return [*lines, f"store: {store} in {plan.store}; {_WHERE[plan.where]}"]


def file_line(check: Check) -> str:
    """The counts of files in one sentence."""
    files = check.files
    parts = [count(files.named, "row"), f"{files.missing:,} without a file"]
    if files.read is None or files.num_bytes is None:
        return ", ".join([*parts, "no file was decoded"])
    parts.append(f"{count(files.read, 'file')} decoded ({gigabytes(files.num_bytes)})")
    parts.append(f"{files.unreadable:,} unreadable")
    if files.not_read:
        parts.append(f"{files.not_read:,} not read")
    if files.median_size:
        parts.append(f"median {files.median_size[0]} x {files.median_size[1]} pixels")
    if files.grey_as_colour:
        parts.append(f"{files.grey_as_colour:,} of them grey in colour channels")
    return ", ".join(parts)


def patient_line(check: Check) -> str:
    """Patients in one sentence, none by its id."""
    patients = check.patients
    each = [
        f"{num:,} with {label} image{'' if label == '1' else 's'}"
        for label, num in patients.images_each
        if num
    ]
    parts = [
        f"{patients.num:,} ({', '.join(each) or 'no images'})",
        f"{patients.in_two_splits:,} in more than one split",
        f"{count(patients.rows_without, 'row')} without one",
    ]
    return ", ".join(parts)


def splits(check: Check) -> list[str]:
    """The splits that cells are counted in."""
    return list(dict.fromkeys(cell.split for cell in check.cells))


def label_cells(check: Check, finding: str) -> dict[str, Cells]:
    """The cells of a finding by split."""
    return {cells.split: cells for cells in check.cells if cells.finding == finding}


def datasets(check: Check) -> Table:
    """What each dataset gives: images by split, then what an epoch draws; no rows where there is only one."""
    rows: list[tuple[Cell, ...]] = []
    for share in check.plan.datasets:
        drawn = (f"{share.weight:g}", share.visits, f"{100 * share.share:.1f} %")
        labelled = f"{len(share.findings)} of {len(check.plan.findings)}"
        rows.append((share.name, *share.images.values(), *drawn, labelled))
    title = "Images of each dataset by split, what an epoch draws from it by data.weight, and its findings"
    columns = ("Dataset", *SPLITS, "weight", "drawn", "share", "findings")
    return Table(title, columns, tuple(rows), "l" + "r" * (len(columns) - 1))


def subgroups(check: Check) -> Table:
    """Views, sexes and ages by split."""
    rows: list[tuple[Cell, ...]] = [
        (f"{group.column} {group.group}", *group.images.values()) for group in check.groups
    ]
    return Table("Images kept, by split", ("Images", *SPLITS, "all"), tuple(rows), "lrrrr")


def summary(check: Check) -> tuple[Text | Table, ...]:
    """Counts, tables, warnings and problems for a terminal of 80 columns; the verdict is last."""
    images = ", ".join(f"{split} {num:,}" for split, num in check.plan.images.items())
    lines = [
        ("files", file_line(check)),
        ("split", f"{check.about[-1][1]}; {images}"),
        ("patients", patient_line(check)),
        ("left out", ", ".join(f"{num:,} {why}" for why, num in check.plan.dropped.items())),
        ("together", ", ".join(_frequent_pairs(check))),
    ]
    for text in describe(check.columns, len(check.columns)):
        label, _, names = text.partition(": ")
        lines.append((label, names))
    tables = [table for table in (_short_labels(check), subgroups(check), datasets(check)) if table.rows]
    messages = [
        *(Text(f"warning: {text}", "note") for text in check.warnings),
        *(Text(f"problem: {text}", "bad") for text in check.problems),
        *(Text(f"hint: {text}") for text in check.hints),
    ]
    return (
        *(Text(text, label=label) for label, text in lines if text),
        *(part for table in tables for part in (Text(""), table)),
        Text(""),
        *messages,
        *([Text("")] if messages else []),
        *map(Text, plan_lines(check)),
        Text(verdict(check), "good" if check.ready else "bad"),
    )


def _short_labels(check: Check) -> Table:
    """Positive and negative cells by split; uncertain and blank ones over all splits, where there are any."""
    kinds = [kind for kind in ("uncertain", "soft", "blank", "unlabelled") if _sum(check.cells, kind)]
    columns = [f"{split}\n{kind}" for split in splits(check) for kind in ("pos.", "neg.")]
    columns += [f"\n{_SHORT.get(kind, kind)}" for kind in kinds]
    rows: list[tuple[Cell, ...]] = []
    for finding in check.plan.findings:
        cells = tuple(label_cells(check, finding).values())
        numbers = [number for each in cells for number in (each.positive, each.negative)]
        rows.append((finding, *numbers, *(_sum(cells, kind) for kind in kinds)))
    return Table("", ("\nFinding", *columns), tuple(rows), "l" + "r" * len(columns))


def _sum(cells: tuple[Cells, ...], kind: str) -> int:
    return sum(int(getattr(each, kind)) for each in cells)


def _frequent_pairs(check: Check) -> list[str]:
    """The findings most often positive in the same image."""
    names, counts = check.together.findings, check.together.counts
    # each pair once: b below a
    every = [(counts[a][b], names[a], names[b]) for a in range(len(names)) for b in range(a) if counts[a][b]]
    return [f"{a} with {b} {num:,}" for num, a, b in sorted(every, reverse=True)[:_NUM_PAIRS]]
