"""The page of a check: what was found, with figures and thumbnails."""

from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

from cxr import __version__
from cxr.check import figures
from cxr.check.result import Check, Listing
from cxr.check.summary import (
    datasets,
    file_line,
    label_cells,
    patient_line,
    plan_lines,
    splits,
    subgroups,
    verdict,
)
from cxr.labels.splits import SPLITS
from cxr.report.document import (
    Cell,
    Document,
    Figure,
    Gallery,
    Items,
    KeyNumbers,
    Part,
    Section,
    Table,
    Text,
    two_columns,
)

_MAX_SHOWN = 20
"""Names of a kind that the page lists; check.json has them all."""
_MAX_FILES = 6
"""Files of a group of duplicates that the page lists."""
_KINDS = ("positive", "negative", "uncertain", "soft", "blank", "unlabelled")


def page(check: Check, galleries: Mapping[str, Gallery], name: str) -> Document:
    """The whole check; galleries by the kind of their listing, and `random` and `twins`."""
    drawn = figures.draw(check)
    sections = [
        Section("Datasets", _datasets(check)),
        Section("Random images", _random(check, galleries)),
        Section("Files", _files(check, galleries)),
        Section("Columns of the label table", _columns(check)),
        Section("Labels", _labels(check, drawn)),
        Section("Patients", (Text(f"{patient_line(check)}."), *_pick(drawn, "patients"))),
        Section("Views, sexes and ages", _groups(check, drawn)),
        Section("About", _about(check)),
    ]
    return Document(
        f"Check of {name}",
        (
            Text(verdict(check), "good" if check.ready else "bad"),
            *_items(check.problems, "Problems that cxr train would stop at", "bad"),
            *_items(check.hints, "Hints", "soft"),
            *map(Text, plan_lines(check)),
            _key_numbers(check),
            *_items(check.warnings, "Warnings", "note"),
            *(section for section in sections if section.parts),
        ),
    )


def _items(
    lines: tuple[str, ...], title: str, style: Literal["plain", "soft", "bad", "note"]
) -> tuple[Items, ...]:
    return (Items(lines, title, style),) if lines else ()


def _pick(drawn: Mapping[str, Figure], *names: str) -> tuple[Figure, ...]:
    return tuple(drawn[name] for name in names if name in drawn)


def _key_numbers(check: Check) -> KeyNumbers:
    plan = check.plan
    splits_in_words = zip(("train on", "validate on", "test on"), SPLITS, strict=True)
    return KeyNumbers(
        (
            *((f"images to {verb}", plan.images[split]) for verb, split in splits_in_words),
            ("patients", check.patients.num),
            ("findings", len(plan.findings)),
            ("files to look at", sum(len(listing.images) for listing in check.listings)),
            ("groups of duplicate images", "not decoded" if check.quick else len(check.twins)),
        )
    )


def _datasets(check: Check) -> tuple[Part, ...]:
    """What each dataset gives and where its check is; nothing where there is only one."""
    if not check.plan.datasets:
        return ()
    names = [share.name for share in check.plan.datasets]
    links = tuple(f"{quote(name)}/check.html" for name in names)
    return datasets(check), Items(tuple(f"{name} alone" for name in names), "Datasets", links=links)


def _random(check: Check, galleries: Mapping[str, Gallery]) -> tuple[Part, ...]:
    if "random" not in galleries:
        return ()
    pixels = dict(check.about)["pixels"]
    note = f"These and all images below are as packing prepares them and the model would see them: {pixels}."
    return Text(note, "soft"), galleries["random"]


def _files(check: Check, galleries: Mapping[str, Gallery]) -> tuple[Part, ...]:
    parts: list[Part] = [Text(f"{file_line(check)}.")]
    if check.listings and check.plan.datasets:
        parts.append(Text("Rules are applied in each dataset separately.", "soft"))
    if check.quick:
        parts.append(Text("Files were listed, not decoded (--quick): nothing is known of what is in them."))
    parts += [_listing(listing, galleries) for listing in check.listings]
    if check.twins:
        parts.append(_duplicates(check, galleries))
    if check.files.sizes:
        sizes = tuple(f"{width} x {height}: {num:,}" for width, height, num in check.files.sizes)
        parts.append(Section("Most frequent sizes", (Items(sizes, style="soft"),)))
    if check.files.unnamed:
        names = Items(check.files.first_unnamed[:_MAX_SHOWN], style="soft")
        title = f"Image files that no row names: {check.files.unnamed:,}"
        parts.append(Section(title, (Section("Names", (names,), is_folded=True),)))
    return tuple(parts)


def _listing(listing: Listing, galleries: Mapping[str, Gallery]) -> Section:
    """The rule of a kind of image, thumbnails and names; names alone are not folded."""
    shown, num_more = listing.images[:_MAX_SHOWN], len(listing.images) - _MAX_SHOWN
    parts: list[Part] = [Items(shown, style="soft", notes=listing.notes[:_MAX_SHOWN])]
    if num_more > 0:
        parts.append(Text(f"and {num_more:,} more in check.json", "soft"))
    if listing.kind in galleries:
        parts = [galleries[listing.kind], Section("Names", tuple(parts), is_folded=True)]
    title = f"{listing.title}: {len(listing.images):,}"
    return Section(title, (Text(f"Rule: {listing.rule}.", "soft"), *parts))


def _duplicates(check: Check, galleries: Mapping[str, Gallery]) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for group in check.twins[:_MAX_SHOWN]:
        names = ", ".join(group.images[:_MAX_FILES]) + (", ..." if len(group.images) > _MAX_FILES else "")
        rows.append((names, ", ".join(group.splits) or "none", group.num_patients, group.same))
    order = ", then those in several datasets" if check.plan.datasets else ""
    num_more = len(check.twins) - _MAX_SHOWN
    table = Table(
        f"Duplicate images, those in several splits first{order}",
        ("Files", "Splits", "Patients", "Same"),
        tuple(rows),
        "llll",
        notes=(f"And {num_more:,} more in check.json.",) if num_more > 0 else (),
    )
    rule = (
        "Rule: the decoded grey pixels are the same; constant images are left out. "
        "Duplicates in two splits are a leak."
    )
    gallery = (galleries["twins"],) if "twins" in galleries else ()
    return Section(f"Groups of duplicate images: {len(check.twins):,}", (Text(rule, "soft"), *gallery, table))


def _columns(check: Check) -> tuple[Part, ...]:
    if not check.columns:
        return ()
    pairs = [(column.column, column.use or f"not taken: {column.why}") for column in check.columns]
    table = two_columns("Columns taken, and those that were not", pairs, ("Column", "Taken as"))
    return (Section(f"What became of each of {len(pairs)}", (table,), is_folded=True),)


def _labels(check: Check, drawn: Mapping[str, Figure]) -> tuple[Part, ...]:
    """Prevalence, cells of each finding, and findings that are positive together."""
    if not check.plan.findings:
        return ()
    kinds = [
        kind for kind in _KINDS if kind in _KINDS[:2] or any(getattr(cells, kind) for cells in check.cells)
    ]
    columns = ("Finding", *(f"{split} {kind}" for split in splits(check) for kind in kinds))
    rows: list[tuple[Cell, ...]] = []
    for finding in check.plan.findings:
        cells = label_cells(check, finding).values()
        rows.append((finding, *(getattr(each, kind) for each in cells for kind in kinds)))
    title = "Cells of each finding by split, as the label table says them"
    table = Table(title, columns, tuple(rows), "l" + "r" * (len(columns) - 1))
    together = Section("Findings that are positive together", (_together(check),))
    return (*_pick(drawn, "prevalence"), table, together)


def _together(check: Check) -> Table:
    """Images with both findings [C][C]; shaded by their share of the row's finding, the diagonal excepted."""
    names, counts = check.together.findings, check.together.counts
    shades = []
    for place, row in enumerate(counts):
        whole = row[place] or 1  # without images every other cell is 0 as well
        # the diagonal is the whole itself: it would be the darkest of every row and hide the others
        shades.append(tuple(0.0 if column == place else num / whole for column, num in enumerate(row)))
    rows: list[tuple[Cell, ...]] = [(name, *row) for name, row in zip(names, counts, strict=True)]
    title = "Images with both findings; darker is a larger share of the row's finding"
    return Table(title, ("", *names), tuple(rows), "l" + "r" * len(names), shades=tuple(shades))


def _groups(check: Check, drawn: Mapping[str, Figure]) -> tuple[Part, ...]:
    return (*_pick(drawn, "view", "sex", "age"), subgroups(check)) if check.groups else ()


def _about(check: Check) -> tuple[Part, ...]:
    table = two_columns("What was checked, and with what", [*check.about, ("cxr", __version__)])
    if not check.split_hashes:
        return (table,)
    hashes = Items(tuple(f"{split} {digest}" for split, digest in check.split_hashes.items()), style="soft")
    return table, Section("Hashes of the splits' names", (hashes,), is_folded=True)
