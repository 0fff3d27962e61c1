"""The report of loaded weights: what became of every tensor of a file, and of the classifier's head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxr.console import count
from cxr.weights.errors import visible
from cxr.weights.match import MAX_LISTED, Match, suggest


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor of a file: matched, of the head, or left out for a reason.

    They add up to `total`.

    Attributes:
        origin: What was loaded.
        total: Tensors in the file.
        matched: Those that are the backbone's.
        prefix: What stands before the backbone's names in the file.
        in_head: Those of linear layers on its features.
        left_out: How many others there are, by the reason for which they are left out.
        missing: Ours that the file lacks: counters of batch norms.
        head: What became of our head.
        notes: What was assumed.
    """

    origin: str
    total: int = 0
    matched: int = 0
    prefix: str = ""
    in_head: int = 0
    left_out: tuple[tuple[str, int], ...] = ()
    missing: tuple[str, ...] = ()
    head: str = "new"
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.origin == "none":
            return "weights none: every tensor is random"
        under = f" (under {visible(self.prefix)})" if self.prefix else ""
        parts = [f"{self.matched} matched{under}", f"{self.in_head} in the head"]
        parts += [f"{num} left out ({reason})" for reason, num in self.left_out]
        weights = f"weights {self.origin}: {count(self.total, 'tensor')}: {', '.join(parts)}"
        if self.missing:
            weights += f"; {count(len(self.missing), 'counter')} of batch norms missing"
        return "; ".join([weights, f"head {self.head}", *self.notes])


def make_report(match: Match, head: str, notes: Sequence[str]) -> LoadReport:
    """The report of a file whose tensors were matched; `head` is from `describe_head`."""
    notes = list(notes)
    if match.twin:
        chosen = f"{match.file.path}#{visible(match.twin)}"
        notes.append(
            f"a network and its momentum twin: the one that learns is taken, {chosen} takes the other"
        )
    return LoadReport(
        origin=match.file.origin,
        total=len(match.file.tensors),
        matched=len(match.fit.names),
        prefix=match.fit.prefix,
        in_head=sum(1 + (head.bias is not None) for head in match.heads),
        left_out=tuple((reason, len(names)) for reason, names in match.left_out.items()),
        missing=tuple(name for name in match.layout.shapes if name not in match.fit.names),
        head=head,
        notes=tuple(notes),
    )


def describe_head(
    match: Match, findings: Sequence[str], names: Sequence[str] | None, rows: Mapping[int, int]
) -> str:
    """What became of the head, and why it is new where it is.

    Args:
        match: The file.
        findings: Of the classifier.
        names: Findings of the outputs of the file's head, if they are known.
        rows: The row of the file's head by the position of each finding that has one.
    """
    new = [name for position, name in enumerate(findings) if position not in rows]
    if rows:
        loaded = f"loaded for {count(len(rows), 'finding')}"
        return f"{loaded}, new for {len(new)}: {', '.join(new)}" if new else loaded
    # the file names its outputs, and none of them is wanted
    if names is not None:
        return f"new: none of its findings is used here ({', '.join(name for name in names if name)})"
    # ImageNet's classes are no findings: there is nothing to say of them
    if not match.heads or match.file.origin.startswith("imagenet ("):
        return "new"
    # which of them is the head cannot be told
    if len(match.heads) > 1:
        heads = "; ".join(str(head) for head in match.heads[:MAX_LISTED])
        return f"new: {len(match.heads)} heads without names of findings ({heads})"
    outputs = count(match.heads[0].num_outputs, "output")
    return f"new: the file does not name its {outputs}; {suggest(match)} says what they are"
