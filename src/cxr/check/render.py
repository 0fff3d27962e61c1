"""A Check on the terminal and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from cxr import __version__
from cxr.check.refusals import gigabytes
from cxr.check.result import Cells, Check
from cxr.data.splits import FOLDS

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_WHERE = {
    "auto": "in GPU memory or RAM while training where twice as much is free, else read from the disk",
    "ram": "as much RAM in each process while training",
    "gpu": "as much GPU memory while training",
    "disk": "read from the disk while training",
}
_PAIRS = 3


def render_json(check: Check) -> str:
    """Every fact, as check.json; no patient's id is in it."""
    facts = {"cxr": __version__, "verdict": verdict(check), "ready": check.ready} | asdict(check)
    facts["about"] = dict(check.about)
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"


def verdict(check: Check) -> str:
    """`ready` or `not ready: 2 problems`; how many warnings there are does not change it."""
    if not check.ready:
        return f"not ready: {_many(len(check.problems), 'problem')}"
    limits = " (files were not decoded)" if check.quick else ""
    return "ready" + (f", {_many(len(check.warnings), 'warning')}" if check.warnings else "") + limits


def plan_lines(check: Check) -> list[str]:
    """What would be trained on, in three sentences."""
    plan = check.plan
    sizes = [f"{verb} on {_many(plan.images[fold], 'image')} of {_many(plan.patients[fold], 'patient')}"
             for verb, fold in zip(("train", "validate", "test"), FOLDS, strict=True)]  # fmt: skip
    store = gigabytes(plan.store_bytes)
    steps = plan.epochs * plan.steps_per_epoch
    return [
        f"would {', '.join(sizes)}; {_many(len(plan.findings), 'finding')}; store {store}",
        f"{_many(plan.epochs, 'epoch')} in batches of {plan.batch_size:,}: "
        f"{_many(plan.steps_per_epoch, 'step')} each, {_many(steps, 'step')} in all",
        f"store: {store} in {plan.store}; {_WHERE[plan.where]}",
    ]


def file_line(check: Check) -> str:
    """The counts of files in one sentence."""
    files = check.files
    parts = [f"{files.named:,} rows", f"{files.missing:,} without a file"]
    if files.read is not None and files.num_bytes is not None:
        parts += [f"{files.read:,} files decoded ({gigabytes(files.num_bytes)})", f"{files.unreadable:,} unreadable"]
        parts += [f"median {files.median_size[0]} x {files.median_size[1]} pixels"] if files.median_size else []
        parts += [f"{files.grey_as_colour:,} of them grey in colour channels"] if files.grey_as_colour else []
    else:
        parts.append("no file was decoded")
    return ", ".join(parts)


def patient_line(check: Check) -> str:
    """Patients in one sentence, none by its id."""
    own = check.patients
    each = ", ".join(f"{num:,} with {label}" for label, num in own.images_each if num)
    apart = f"{own.in_two_splits:,} in more than one split"
    return f"{own.num:,} ({each or 'no'} images), {apart}, {own.rows_without:,} rows without one"


def folds(check: Check) -> list[str]:
    """The splits that cells are counted in."""
    return list(dict.fromkeys(one.fold for one in check.cells))


def pairs(check: Check) -> list[str]:
    """The findings most often positive in the same image."""
    names, counts = check.together.findings, check.together.counts
    every = [(counts[a][b], names[a], names[b]) for a in range(len(names)) for b in range(a) if counts[a][b]]
    return [f"{a} with {b} {num:,}" for num, a, b in sorted(every, reverse=True)[:_PAIRS]]


def render_terminal(check: Check) -> "RenderableType":
    """Counts, tables, warnings and problems, at most 80 columns wide but for names of files; the verdict last."""
    from rich.console import Group
    from rich.text import Text

    split = f"{check.about[-1][1]}; " + ", ".join(f"{fold} {num:,}" for fold, num in check.plan.images.items())
    dropped = ", ".join(f"{num:,} {why}" for why, num in check.plan.dropped.items())
    lines = [("files", file_line(check)), ("split", split), ("patients", patient_line(check))]
    lines += [("left out", dropped)] if dropped else []
    lines += [("together", ", ".join(pairs(check)))] if pairs(check) else []
    head = [Text.assemble((f"{name}: ", "bold"), text) for name, text in lines]
    tables = [part for table in (_labels(check), _groups(check)) if table.row_count for part in ("", table)]
    notes = [Text(_visible(f"warning: {line}"), style="yellow") for line in check.warnings]
    notes += [Text(_visible(f"problem: {line}"), style="red") for line in check.problems]
    notes += [Text(f"hint: {line}") for line in check.hints]
    plan = [Text(line) for line in plan_lines(check)]
    final = Text(verdict(check), style="bold green" if check.ready else "bold red")
    return Group(*head, *tables, "", *notes, *([""] if notes else []), *plan, final)


def _visible(line: str) -> str:
    """The line without what would move the cursor or change colours: names of files are not ours."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)


def _labels(check: Check) -> "Table":
    """Positive and negative cells by split; uncertain and blank ones over all splits, where there are any."""
    kinds = [kind for kind in ("uncertain", "blank") if any(getattr(one, kind) for one in check.cells)]
    table = _table("\nFinding", [f"{fold}\n{kind}" for fold in folds(check) for kind in ("pos.", "neg.")]
                   + [f"\n{ {'uncertain': 'unc.'}.get(kind, kind) }" for kind in kinds])  # fmt: skip
    for finding in check.plan.findings:
        own = [one for one in check.cells if one.finding == finding]
        numbers = [number for one in own for number in (one.positive, one.negative)]
        numbers += [_sum(own, kind) for kind in kinds]
        table.add_row(finding, *(f"{number:,}" for number in numbers))
    return table


def _sum(cells: Sequence[Cells], kind: str) -> int:
    return sum(int(getattr(one, kind)) for one in cells)


def _groups(check: Check) -> "Table":
    table = _table("Images", [*FOLDS, "all"])
    for group in check.groups:
        table.add_row(f"{group.column} {group.group}", *(f"{num:,}" for num in group.images.values()))
    return table


def _table(first: str, columns: Sequence[str]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
