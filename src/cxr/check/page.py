"""check.html: one page that opens from the disk and asks no network."""

from collections.abc import Sequence

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cxr import __version__
from cxr.check import charts, render, samples
from cxr.check.result import Check
from cxr.check.samples import Gallery
from cxr.labels.splits import SPLITS
from cxr.report.html import show
from cxr.text import DISCLAIMER, visible

_SHOWN = 20
"""Names of a kind that the page lists; check.json has them all."""
_KINDS = ("positive", "negative", "uncertain", "soft", "blank", "unlabelled")


def render_html(check: Check, galleries: Sequence[Gallery], name: str) -> str:
    """The page; names of files and labels are untrusted, so everything is escaped."""
    loader = ChoiceLoader([PackageLoader("cxr.check"), PackageLoader("cxr.report")])  # which has the style
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=show
    )
    environment.filters["breaks"] = _breaks
    return environment.get_template("check.html").render(
        check=check,
        name=name,
        version=__version__,
        disclaimer=DISCLAIMER,
        verdict=render.verdict(check),
        plan=render.plan_lines(check),
        key=_key(check),
        files=render.file_line(check),
        patients=render.patient_line(check),
        galleries={gallery.kind: gallery.samples for gallery in galleries},
        charts=charts.draw(check),
        pixels=dict(check.about)["pixels"],
        side=samples.SIDE,
        share_headings=render.SHARES,
        share_rows=render.share_rows(check),
        shown=_SHOWN,
        label_headings=_label_headings(check),
        label_rows=_label_rows(check),
        group_rows=[[f"{one.column} {one.group}", *(f"{num:,}" for num in one.images.values())]
                    for one in check.groups],
        folds=SPLITS,
        columns=[[one.column, one.use or f"not taken: {one.why}"] for one in check.columns],
        shades=_shades(check),
    )  # fmt: skip


def _breaks(path: str) -> Markup:
    """A path that a narrow column may break after its folders."""
    return Markup("/<wbr>").join(visible(path).split("/"))


def _key(check: Check) -> list[tuple[str, str]]:
    """The figures at the top."""
    plan = check.plan
    odd = sum(len(one.images) for one in check.listings)
    return [
        *((f"images to {verb}", f"{plan.images[fold]:,}") for verb, fold in
          zip(("train on", "validate on", "test on"), SPLITS, strict=True)),
        ("patients", f"{check.patients.num:,}"),
        ("findings", f"{len(plan.findings):,}"),
        ("files listed as odd", f"{odd:,}"),
        ("pictures there twice or more", "not looked at" if check.quick else f"{len(check.twins):,}"),
    ]  # fmt: skip


def _kinds(check: Check) -> list[str]:
    """Kinds of cells that there are; positive and negative always."""
    return [kind for kind in _KINDS if kind in _KINDS[:2] or any(getattr(one, kind) for one in check.cells)]


def _label_headings(check: Check) -> list[str]:
    return ["Finding", *(f"{fold} {kind}" for fold in render.folds(check) for kind in _kinds(check))]


def _label_rows(check: Check) -> list[list[str]]:
    rows = []
    for finding in check.plan.findings:
        own = {one.split: one for one in check.cells if one.finding == finding}
        rows.append([finding, *(f"{getattr(own[fold], kind):,}" for fold in own for kind in _kinds(check))])
    return rows


def _shades(check: Check) -> list[tuple[str, list[tuple[int, float]]]]:
    """(finding, (images with both, their share of the finding's own) of each other finding)."""
    names, counts = check.together.findings, check.together.counts
    return [
        (name, [(num, num / row[place] if row[place] and at != place else 0.0) for at, num in enumerate(row)])
        for place, (name, row) in enumerate(zip(names, counts, strict=True))
    ]
