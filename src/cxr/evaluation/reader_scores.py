"""Metrics of the calls of readers and of a model, side by side."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cxr.evaluation.reader_files import Reading
from cxr.evaluation.reader_rules import References
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.agreement import METRICS, Scored, score_calls, scored_interval
from cxr.evaluation.statistics.bootstrap import Resampling
from cxr.evaluation.statistics.difference import difference_interval
from cxr.evaluation.statistics.intervals import NONE, UnitCounts
from cxr.evaluation.statistics.metrics import Float

AVERAGE = "all readers"
COLUMNS = ("finding", "reader", "num", "num_positive", "reader_f1", "reader_low", "reader_high", "model_f1",
           "model_low", "model_high", "difference", "difference_low", "difference_high", "rule",
           "num_ties")  # fmt: skip
METRIC_COLUMNS = ("finding", "reader", "metric", "rule", "num", "num_positive", "reader_value", "reader_low",
                  "reader_high", "model_value", "model_low", "model_high", "difference", "difference_low",
                  "difference_high")  # fmt: skip

Row = dict[str, object]


class _Columns:
    """Pairs of a reference and calls [N] of one finding, scored together in one pass over the draws."""

    def __init__(self) -> None:
        self.references: list[Float] = []
        self.calls: list[Float] = []

    def add(self, references: Sequence[Float], calls: Float) -> list[int]:
        """Their places; one for each reference."""
        first = len(self.calls)
        self.references += references
        self.calls += [calls] * len(references)
        return list(range(first, len(self.calls)))

    def score(self, resampling: Resampling) -> list[dict[str, Scored]]:
        return score_calls(np.stack(self.references, axis=1), np.stack(self.calls, axis=1), resampling)


def score_readers(
    findings: Sequence[str],
    readings: Sequence[Reading],
    references: Sequence[References],
    calls: Float,
    rule: str,
    resampling: Resampling,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(F1 in COLUMNS, every metric in METRIC_COLUMNS), a row per finding and reader, and per metric.

    Each value stands beside that of the model on the same images, with 95 % intervals and the difference,
    model less reader. Of several readers, row AVERAGE holds the mean. A reader who is the reference has no
    value.

    Args:
        findings: C names.
        readings: J readers.
        references: J times what reader and model are scored against.
        calls: [N, C] of the model.
        rule: Name of the rule.
        resampling: Draws.
    """
    # 1. every pair of reference and calls as one more column [N, K]: one pass over the draws scores all,
    # and a reader and the model meet the same patients in each draw
    columns, places = _Columns(), []
    for c in range(len(findings)):
        for reading, reference in zip(readings, references, strict=True):
            of_reader = columns.add([table[:, c] for table in reference.reader], reading.calls[:, c])
            of_model = columns.add([table[:, c] for table in reference.model], calls[:, c])
            places.append((of_reader, of_model))
    scored = columns.score(resampling)

    # 2. places are in the order of the loops above: finding by finding, reader by reader
    f1_rows: list[Row] = []
    metric_rows: list[Row] = []
    for c, finding in enumerate(findings):
        of_finding = places[c * len(readings) : (c + 1) * len(readings)]
        heads = [
            _head(finding, reading, reference, c, rule)
            for reading, reference in zip(readings, references, strict=True)
        ]
        for metric in METRICS:
            pairs = [
                (_mean([scored[place][metric] for place in mine], skips=True) if mine else None,
                 _mean([scored[place][metric] for place in models], skips=True))
                for mine, models in of_finding
            ]  # fmt: skip
            # 3. the mean over readers; a reader who is the reference has no score
            if len(readings) > 1:
                both = [reader for reader, _ in pairs if reader], [model for _, model in pairs]
                pairs.append((_mean(both[0]), _mean(both[1])))
            for head, pair in zip([*heads, _average_head(finding, rule)], pairs, strict=False):
                metric_rows.append(_row(head, metric, *pair))
                if metric == "f1":
                    f1_rows.append(_row(head, metric, *pair))
    # with a capital I, as rows of means have empty cells
    types = {"num": "Int64", "num_positive": "Int64"}
    f1 = pd.DataFrame(f1_rows).rename(columns={"reader_value": "reader_f1", "model_value": "model_f1"})
    every = pd.DataFrame(metric_rows)
    return (
        f1[list(COLUMNS)].astype(types | {"num_ties": "Int64"}),
        every[list(METRIC_COLUMNS)].astype(types),
    )


def _head(finding: str, reading: Reading, reference: References, c: int, rule: str) -> Row:
    """What a row is about; positives are counted where there is one reference."""
    tables = reference.reader or reference.model
    if len(tables) == 1:
        num, num_positive = metrics.count(tables[0][:, c])
    else:  # every reference has its own positives
        known = ~np.isnan(reading.calls[:, c]) & np.any([~np.isnan(table[:, c]) for table in tables], axis=0)
        num, num_positive = int(known.sum()), None
    return {"finding": finding, "reader": reading.name, "num": num, "num_positive": num_positive,
            "rule": rule, "num_ties": reference.num_ties[c]}  # fmt: skip


def _average_head(finding: str, rule: str) -> Row:
    empty = dict.fromkeys(("num", "num_positive", "num_ties"))
    return {"finding": finding, "reader": AVERAGE, "rule": rule, **empty}


def _mean(scored: Sequence[Scored], skips: bool = False) -> Scored:
    """The mean over references or readers; with `skips`, over those that define the metric."""
    if len(scored) == 1:
        return scored[0]
    # references by which a metric is undefined, as without a positive, say nothing of the reader
    defined = [one for one in scored if not np.isnan(one.value)]
    used = (defined if skips else None) or list(scored)
    # the fewest patients of any of them: the widest, and so the cautious, interval
    fewest = UnitCounts(*np.min([one.units for one in used], axis=0).tolist())
    value = float(np.mean([one.value for one in used]))
    chance = float(np.mean([one.chance for one in used]))
    return Scored(value, np.mean([one.draws for one in used], axis=0), fewest, chance)


def _row(head: Row, metric: str, reader: Scored | None, model: Scored) -> Row:
    """One row; without a scored reader the model stands alone."""
    row = head | {"metric": metric}
    for side, scored in (("reader", reader), ("model", model)):
        low, high = scored_interval(metric, scored) if scored else NONE
        row |= {f"{side}_value": scored.value if scored else np.nan, f"{side}_low": low, f"{side}_high": high}
    difference, bounds = np.nan, NONE
    if reader:
        # draw by draw, on the same patients: the interval is paired
        difference = model.value - reader.value
        num_patients = min(side.units.for_metric(metric) for side in (reader, model))
        # a kappa lies between -1 and 1, every other metric between 0 and 1
        largest = 2.0 if metric == "kappa" else 1.0
        points, draws = (reader.value, model.value), (reader.draws, model.draws)
        bounds = difference_interval(points, draws, num_patients, largest)
    return row | {"difference": difference, "difference_low": bounds.low, "difference_high": bounds.high}
