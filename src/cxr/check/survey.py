"""Config -> Survey: one pass that goes on after every fault, in the order in which cxr train would meet them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr.check import odd, refusals, tally, together
from cxr.check.inspect import Facts
from cxr.check.look import Look, look_at, resolve
from cxr.check.refusals import Said
from cxr.check.result import Cells, Check, Files, Listing, Plan, Share, Twins
from cxr.config.schema import Config
from cxr.data import combine as joint
from cxr.data.dataset import preprocess, store_path
from cxr.data.pack import Read
from cxr.data.sampling import num_visits
from cxr.findings import find
from cxr.images.prepare import Preprocess
from cxr.labels.splits import FOLDS
from cxr.labels.table import NO_PATIENTS, LabelTable, Targets

_SIZES = 8
_MANY = 40  # images of as many patients that are remarkable
_JUDGED = ("missing", "truncated", "unreadable")  # listings that the config's policies refuse or let pass


@dataclass(frozen=True)
class Survey:
    """The Check, and what samples are drawn from.

    Attributes:
        check: What was found.
        kept: [n] rows that would be trained on or judged.
        fold: [n] their splits.
        read: Grey pixels of one of their files.
        how: What packing makes of these.
        parts: Each archive by itself, where there are several.
        private: Lines that name patients, for the terminal alone.
    """

    check: Check
    kept: LabelTable
    fold: npt.NDArray[np.str_]
    read: Read
    how: Preprocess
    parts: tuple["Survey", ...] = ()
    private: tuple[str, ...] = ()


def survey(config: Config, quick: bool = False, skip: Sequence[Path] = ()) -> Survey:
    """One pass over everything that the config would train on; nothing is written.

    Args:
        config: The recipe.
        quick: Look whether files are there, and decode none.
        skip: Folders below data.root that hold no images of the archive.

    Raises:
        CxrError: A phantom that is not generated yet, so that there is nothing to look at.
    """
    alone = joint.separate(config)
    exact = len(alone) == 1
    for one in alone:
        refusals.check_generated(one.data)
    named = [""] if exact else joint.names(config.data)
    looks = [look_at(one, name, place, exact, quick, skip)
             for place, (one, name) in enumerate(zip(alone, named, strict=True))]  # fmt: skip
    said = looks[0].said if exact else Said()
    findings = together.choose(config, looks, exact, said)
    all_read = all(look.was_read for look in looks)  # else a policy may name what only the unread one labels
    targets = [resolve(look, findings, exact, look.said if all_read else Said()) for look in looks]
    refusals.judge_disk({store_path(look.config): look.to_pack for look in looks}, said)
    if exact:
        return _conclude(
            looks[0], targets[0] or _no_targets(looks[0]), _plan(config, looks, targets, said), quick
        )
    together.judge(looks, said)
    plan = _plan(config, looks, targets, said)
    whole = together.merge(config, looks, findings, said)
    shown = together.join_targets(targets, looks, findings)
    parts = [
        _conclude_part(look, one or _no_targets(look), quick)
        for look, one in zip(looks, targets, strict=True)
    ]
    cells = tally.add_cells([tally.count_cells(look.kept, findings, look.fold, look.folds) for look in looks])
    return _conclude(whole, shown, plan, quick, cells, parts)


def _no_targets(look: Look) -> Targets:
    return Targets((), np.empty((len(look.rows), 0), np.float32), np.empty((len(look.rows), 0), bool))


def _conclude(
    look: Look,
    targets: Targets,
    plan: Plan,
    quick: bool,
    cells: Sequence[Cells] | None = None,
    parts: Sequence[Survey] = (),
) -> Survey:
    """The Check of a Look at everything, or at one archive of several."""
    kept, fold = joint.align(look.kept, targets.findings), look.fold
    files, twins = _count_files(look), _find_twins(look)
    if cells is None:
        cells = tally.count_cells(kept, targets.findings, fold, look.folds)
    one_class = [] if look.name else tally.find_one_class(targets, fold)
    check = Check(
        about=_about(look),
        quick=quick,
        problems=tuple(look.said.problems),
        hints=tuple(look.said.hints),
        warnings=(
            *look.said.warnings,
            *_table_warnings(look),
            *_warnings(look.listings, twins, files),
            *one_class,
        ),
        files=files,
        listings=look.listings,
        twins=tuple(twins),
        cells=tuple(cells),
        together=tally.count_together(kept, targets.findings),
        groups=tuple(tally.count_groups(kept.rows, fold)),
        patients=tally.count_patients(list(look.table.rows["patient_id"]), look.split.fold),
        split_hashes=dict(look.split.hashes),
        plan=plan,
        part=look.name,
        columns=look.table.columns,
    )
    return Survey(
        check, kept, fold, look.read, preprocess(look.config), tuple(parts), tuple(look.said.private)
    )


def _conclude_part(look: Look, targets: Targets, quick: bool) -> Survey:
    """One archive of several: for the targets that it labels, without what is only judged of all together."""
    columns = [place for place, name in enumerate(targets.findings) if find(name, look.table.findings)]
    own = Targets(
        tuple(targets.findings[c] for c in columns), targets.y[:, columns], targets.mask[:, columns]
    )
    return _conclude(look, own, _plan(look.config, [look], [own]), quick)


def _find_twins(look: Look) -> list[Twins]:
    if not look.facts:
        return []
    own = look.table.rows.iloc[look.found]
    archives = [look.archives[row] for row in look.found] if look.archives else ()
    return odd.find_twins(list(own["path"]), list(own["patient_id"]), list(look.split.fold[look.found]), look.facts,
                          archives)  # fmt: skip


def _count_files(look: Look) -> Files:
    facts = look.facts
    good = [one for one in facts if not one.reason]
    sizes = Counter((one.width, one.height) for one in good).most_common(_SIZES)
    return Files(
        named=len(look.table),
        missing=len(look.table) - len(look.found),
        absent=len(look.split.absent),
        read=len(good) if facts else None,
        unreadable=sum(bool(one.reason and not one.hint) for one in facts) if facts else None,
        num_bytes=sum(one.num_bytes for one in good) if facts else None,
        median_size=_median(good) if good else None,
        sizes=tuple((width, height, num) for (width, height), num in sizes),
        grey_as_colour=sum(one.kind == "grey as colour" for one in good) if facts else None,
        unnamed=look.unnamed[0],
        first_unnamed=look.unnamed[1],
        not_read=sum(bool(one.hint) for one in facts) if facts else None,
    )


def _median(good: Sequence[Facts]) -> tuple[int, int]:
    return round(float(np.median([one.width for one in good]))), round(
        float(np.median([one.height for one in good]))
    )


def _table_warnings(look: Look) -> list[str]:
    """What the label table leaves open; of several archives together it is said of each."""
    table = look.table
    lines = [*table.notes, *([NO_PATIENTS] if not table.names_patients else [])]
    ids = table.rows["patient_id"]
    if table.names_patients and len(table) >= _MANY and ids.is_unique and not look.archives:
        lines.append(
            f"each of the {len(table):,} images has another patient: is it the right column of patients?"
        )
    return lines


def _warnings(listings: Sequence[Listing], twins: Sequence[Twins], files: Files) -> list[str]:
    """A line for each kind of oddity; missing and unreadable files are judged by the config's policies."""
    several = [one for one in twins if len(one.archives) > 1]
    alone = [one for one in twins if len(one.archives) < 2]
    lines = []
    for what, groups in (
        ("leak: equal pictures in splits of two archives", [one for one in several if len(one.folds) > 1]),
        ("leak: equal pictures in more than one split", [one for one in alone if len(one.folds) > 1]),
        ("equal pictures in more than one archive", several),
        ("equal pictures under several patients", [one for one in alone if one.num_patients > 1]),
        ("pictures that are there more than once", alone),
    ):
        if groups:
            names = " = ".join(groups[0].images[:3])
            lines.append(f"{what}: {len(groups):,}: {names}" + (", ..." if len(groups) > 1 else ""))
    for one in listings:
        if one.kind not in _JUDGED:
            first = refusals.name_first(one.images)
            lines.append(f"{one.title[0].lower()}{one.title[1:]}: {len(one.images):,}: {first}")
    if files.unnamed:
        first = refusals.name_first(files.first_unnamed)
        lines.append(f"image files that no row names: {files.unnamed:,}: {first}")
    return lines


def _about(look: Look) -> tuple[tuple[str, str], ...]:
    data, how = look.config.data, preprocess(look.config)
    archives = (data, *(data.also if look.archives else ()))
    pixels = f"{how.size} x {how.size}, fit {how.fit}, intensity {how.intensity}, borders {how.borders}"
    return (
        ("source", ", ".join(one.source for one in archives)),
        ("folder", ", ".join(str(one.root) for one in archives)),
        ("rows", f"{len(look.table):,}"),
        ("pixels", pixels),
        ("split", look.split.name),
    )


def _plan(
    config: Config, looks: Sequence[Look], targets: Sequence[Targets | None], said: Said | None = None
) -> Plan:
    """What would be trained on; `said` is None for one archive of several, of which nothing is asked by itself."""
    shares = _shares(looks, targets)
    images = {fold: sum(one.images[fold] for one in shares) for fold in FOLDS}
    known = all(look.has_split for look in looks)
    findings = next((one.findings for one in targets if one), ())
    visits, steps = [one.visits for one in shares], None
    if said and known:
        steps = refusals.judge_training(config, images, visits, _validation(looks, targets), said)
    ids = np.concatenate([look.people.iloc[look.rows] for look in looks])
    fold = np.concatenate([look.fold for look in looks])
    named = len(looks) > 1
    return Plan(
        images=images,
        patients={name: len(set(ids[fold == name])) for name in FOLDS},
        findings=findings,
        dropped={f"{look.name}: {why}" if named else why: num
                 for look in looks for why, num in look.dropped.items() if num},
        batch_size=config.train.batch_size,
        epochs=config.train.epochs,
        visits=sum(visits),
        steps_per_epoch=steps,
        store=", ".join(one.store for one in shares),
        store_bytes=sum(one.store_bytes for one in shares),
        where=config.store.where,
        archives=tuple(shares) if named else (),
    )  # fmt: skip


def _validation(looks: Sequence[Look], targets: Sequence[Targets | None]) -> Targets | None:
    """Targets of all validation rows, None where those of an archive are not known."""
    known = [one for one in targets if one is not None]
    if len(known) < len(looks):
        return None
    rows = np.concatenate([look.fold for look in looks]) == "val"
    y, mask = (np.concatenate([getattr(one, part) for one in known])[rows] for part in ("y", "mask"))
    return Targets(known[0].findings, y, mask)


def _shares(looks: Sequence[Look], targets: Sequence[Targets | None]) -> list[Share]:
    """What each archive gives."""
    num_train = [int((look.fold == "train").sum()) for look in looks]
    visits = [num_visits(num, look.config.data.weight) for num, look in zip(num_train, looks, strict=True)]
    shares = []
    for look, own, drawn in zip(looks, targets, visits, strict=True):
        fold, ids = look.fold, look.kept.rows["patient_id"]
        labelled = [name for name in (own.findings if own else ()) if find(name, look.table.findings)]
        shares.append(
            Share(
                name=look.name,
                images=refusals.count_folds(fold),
                patients={name: int(ids[fold == name].nunique()) for name in FOLDS},
                findings=tuple(labelled),
                weight=look.config.data.weight,
                visits=drawn,
                share=drawn / sum(visits) if sum(visits) else 0.0,
                store=str(store_path(look.config)),
                store_bytes=len(look.found) * look.config.image.store_size**2,
            )
        )
    return shares
