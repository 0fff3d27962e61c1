"""What a checklist says must follow from the run."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr.checklist import claim, document, tripod
from cxr.checklist.about_results import list_limits
from cxr.checklist.answer import Item
from cxr.checklist.facts import Data, Evaluation, Facts
from cxr.checklist.flow import count_flow
from cxr.checklist.gather import gather
from cxr.checklist.methods import write_methods
from cxr.checklist.references import REFERENCES
from cxr.checklist.table_one import as_frame, as_table, count_rows
from cxr.config.schema import Data as DataSection
from tests.helpers.commands import call

TEST = Evaluation(
    folder="eval_test",
    kind="test",
    about={},
    evaluated_on="test rows (9 images, 4 patients)",
    rule="f1",
    chosen_on="validation rows (6 images, 3 patients)",
    optimistic=False,
    intervals="bootstrap over 4 patients (100 draws, seed 0)",
    mean={"auroc": 0.81, "auroc_low": 0.7, "auroc_high": 0.9},
    attributes=("sex", "age"),
    is_recalibrated=True,
    tables=("cooccurrence.csv", "metrics.csv"),
    notes=(),
)


FILES = """checklist.html checklist.md claim.csv tripod_ai.csv methods.md methods.tex table1.csv table1.md table1.tex
    figures/flow.svg figures/flow.pdf figures/flow.png"""


@pytest.fixture(scope="module")
def facts(run: Path) -> Facts:
    """Of a run of two steps that was evaluated."""
    assert call("eval", run, "eval.draws=100", "--examples", "0") == 0
    return gather(run)


def item(items: list[Item], number: str) -> Item:
    return next(found for found in items if found.number == number)


def test_the_checklists_have_all_items_in_order(facts: Facts) -> None:
    assert [found.number for found in claim.fill(facts)] == [str(number) for number in range(1, 45)]
    parts = dict(zip((3, 5, 6, 8, 9, 12, 18, 20, 23, 27), (3, 2, 3, 3, 3, 7, 6, 3, 2, 3), strict=True))
    expected = [
        f"{number}{part}" for number in range(1, 28) for part in "abcdefg"[: parts.get(number, 0)] or [""]
    ]
    assert [found.number for found in tripod.fill(facts)] == expected
    assert len(expected) == 52


def test_every_item_says_what_is_there_or_what_is_missing(facts: Facts) -> None:
    for found in (*claim.fill(facts), *tripod.fill(facts)):
        answer = found.answer
        assert bool(answer.said) == (answer.status != "author"), found
        assert bool(answer.missing) == (answer.status != "provided"), found


def test_without_an_external_test_its_item_is_the_authors(facts: Facts) -> None:
    alone = replace(facts, evaluations=(TEST,))
    found = item(claim.fill(alone), "33").answer
    assert found.status == "author" and "data.source=SOURCE" in found.missing
    assert any("No external test" in limit for limit in list_limits(alone))
    other = replace(
        TEST, folder="eval_test_on_chexpert-small", kind="external", about={"data": "chexpert, x"}
    )
    tested = replace(facts, evaluations=(TEST, other))
    found = item(claim.fill(tested), "33").answer
    assert found.status == "provided" and "0.810 (0.700-0.900)" in found.said
    assert not any("No external test" in limit for limit in list_limits(tested))


def test_thresholds_without_validation_images_are_provided_in_part(facts: Facts) -> None:
    findings = len(facts.findings)
    sound = replace(facts.thresholds, fallback=(), num_positive=(20,) * findings)
    good = replace(facts, evaluations=(TEST,), thresholds=sound)
    assert item(claim.fill(good), "38").answer.status == "provided"
    assert item(tripod.fill(good), "15").answer.status == "provided"
    fixed = replace(good, thresholds=replace(sound, chosen_on=""))
    assert item(claim.fill(fixed), "38").answer.status == "partly"
    assert item(tripod.fill(fixed), "15").answer.status == "partly"
    few = replace(good, thresholds=replace(sound, num_positive=(3,) * findings))
    assert "fewer than 10 positive images" in item(claim.fill(few), "38").answer.missing
    tuned = replace(good, evaluations=(replace(TEST, optimistic=True),))
    assert item(claim.fill(tuned), "38").answer.status == "partly"


def test_a_run_that_was_not_evaluated_reports_no_performance(facts: Facts) -> None:
    bare = replace(facts, evaluations=())
    for number in ("28", "29", "32", "37", "38"):
        found = item(claim.fill(bare), number).answer
        assert found.status == "author" and "cxr eval RUN" in found.missing
    assert "[AUTHOR: evaluation on test images]" in dict(write_methods(bare))["Evaluation"]


def test_items_follow_intervals_subgroups_and_the_end_of_the_run(facts: Facts) -> None:
    plain = replace(facts, evaluations=(replace(TEST, intervals="", attributes=()),))
    assert item(claim.fill(plain), "29").answer.status == "partly"
    assert item(tripod.fill(plain), "14").answer.status == "author"
    assert item(tripod.fill(replace(facts, evaluations=(TEST,))), "14").answer.status == "partly"
    stopped = replace(facts, unfinished="runs/x is unfinished: epoch 2 of 5")
    assert "epoch 2 of 5" in item(claim.fill(stopped), "25").answer.missing


def test_items_follow_what_other_commands_wrote(facts: Facts) -> None:
    plain = replace(facts, evaluations=(TEST,), examined=(), explained=())
    tables = (*TEST.tables, "second_reference.csv", "planned.csv", "decision_curve.csv")
    more = replace(
        plain,
        evaluations=(replace(TEST, tables=tables),),
        examined=("shortcuts",),
        explained=("explain_cam",),
    )
    for number, before, after in (
        ("18", "author", "partly"),
        ("21", "author", "partly"),
        ("31", "partly", "provided"),
    ):
        assert item(claim.fill(plain), number).answer.status == before
        assert item(claim.fill(more), number).answer.status == after
    assert "shortcuts" in item(claim.fill(more), "30").answer.said
    assert "clinical utility" in item(tripod.fill(plain), "12e").answer.missing
    assert "clinical utility" not in item(tripod.fill(more), "12e").answer.missing


def test_datasets_with_other_rules_are_named(facts: Facts) -> None:
    also = [{"source": "chexpert", "root": "x", "views": ["PA"], "uncertain": "ones", "split": "random"}]
    data = facts.config.data.model_dump(exclude={"findings", "also"}) | {"also": also}
    both = replace(facts, config=facts.config.model_copy(update={"data": DataSection.model_validate(data)}))
    said = item(claim.fill(both), "12").answer.said
    assert "nih: uncertain labels: ignore" in said and "chexpert: uncertain labels: ones" in said
    assert "nih: all views. chexpert: views PA." in item(claim.fill(both), "10").answer.said
    assert "All views." in item(claim.fill(facts), "10").answer.said


def test_a_dataset_that_is_gone_leaves_table_and_flow_to_the_author(facts: Facts) -> None:
    gone = replace(facts, data=None)
    assert {item(claim.fill(gone), number).answer.status for number in ("35", "36")} == {"author"}
    assert item(claim.fill(gone), "20").answer.status == "partly"


def test_the_methods_cite_what_was_used_and_nothing_else(facts: Facts) -> None:
    text = " ".join(body for _, body in write_methods(replace(facts, evaluations=(TEST,))))
    cited = set(re.findall(r"[a-z]+\d{4}", " ".join(re.findall(r"\[([a-z0-9; ]+)\]", text))))
    assert cited <= REFERENCES.keys()
    assert {"wang2017", "he2016", "efron1979"} <= cited and not {
        "irvin2019",
        "huang2017",
        "delong1988",
    } & cited
    assert {"pepe2003", "kish1965"} <= cited and "Student's t with the effective number of patients" in text
    assert f"{facts.num_parameters:,} parameters" in text and "random" in text


def made(num: int = 200) -> Data:
    """Rows with unknown ages, sexes and labels, and a patient with two sexes."""
    draws = np.random.default_rng(0)
    patients = draws.integers(0, 60, num)
    rows = pd.DataFrame(
        {
            "patient_id": [f"p{patient}" for patient in patients],
            "view": draws.choice(["PA", "AP", ""], num),
            "sex": np.where(patients % 3 == 0, "F", np.where(patients % 3 == 1, "M", "")),
            "age": np.where(draws.random(num) < 0.1, np.nan, draws.integers(1, 95, num)),
            "split": np.array(["train", "val", "test"])[np.minimum(patients % 4, 2)],
        }
    )
    rows.loc[np.flatnonzero(patients == 4)[0], "sex"] = "F"
    y = draws.choice([0.0, 1.0, np.nan], (num, 2), p=[0.7, 0.2, 0.1])
    return Data(rows, y, num + 30, 70, {"no file": 10, "other view": 20, "unreadable": 0}, 0, True, False)


def test_table_1_equals_direct_counts() -> None:
    data = made()
    table = as_frame(count_rows(data, ("Mass", "A&B"))).set_index(["characteristic", "level", "statistic"])
    for column in ("all", "train", "val", "test"):
        keep = np.ones(200, bool) if column == "all" else (data.rows["split"] == column).to_numpy()
        rows, y = data.rows[keep], data.y[keep]
        value = table[column]
        assert value["images", "", "n"] == len(rows)
        assert value["patients", "", "n"] == rows["patient_id"].nunique()
        each = rows["patient_id"].value_counts()
        assert value["images per patient", "", "median"] == each.median()
        assert value["images per patient", "", "max"] == each.max()
        assert value["age, years", "", "q1"] == rows["age"].quantile(0.25)
        assert value["age, years", "missing", "n"] == rows["age"].isna().sum()
        assert value["view", "missing", "n"] == (rows["view"] == "").sum()
        assert value["view", "PA", "percent"] == pytest.approx(100 * (rows["view"] == "PA").mean())
        sexes = rows[rows["sex"] != ""].drop_duplicates(["patient_id", "sex"])
        single = sexes[~sexes["patient_id"].duplicated(keep=False)]
        assert value["sex", "F", "n"] == (single["sex"] == "F").sum()
        assert value["Mass", "positive", "n"] == (y[:, 0] == 1).sum()
        assert value["Mass", "positive", "percent"] == pytest.approx(100 * np.nanmean(y[:, 0]))
        assert value["A&B", "label unknown", "n"] == np.isnan(y[:, 1]).sum()
    assert table["all"]["sex", "more than one recorded", "n"] == 1
    sexes_of_all = table["all"].xs("sex").xs("n", level=1)
    assert sexes_of_all.sum() == table["all"]["patients", "", "n"]


def test_table_1_of_a_split_without_rows_is_undefined_and_not_zero_divided() -> None:
    data = made()
    data.rows["split"] = "train"
    cells = dict((row[0], row) for row in as_table(count_rows(data, ("Mass", "B"))).rows)
    assert cells["images"][2:] == (200, 0, 0) and cells["age, years"][3] == "n/a"


def test_the_numbers_of_the_flow_diagram_add_up(facts: Facts) -> None:
    assert facts.data is not None
    for data in (made(), facts.data):
        flow = count_flow(data)
        assert flow.read.images - flow.excluded.images == flow.included.images
        assert sum(box.images for box in flow.splits) == flow.included.images
        assert flow.read.patients is not None and flow.excluded.patients is not None
        assert flow.read.patients - flow.excluded.patients == flow.included.patients
    assert (
        sum(box.patients or 0 for box in count_flow(facts.data).splits)
        == facts.data.rows["patient_id"].nunique()
    )
    assert "10: no file" in count_flow(made()).excluded.lines
    assert not any("unreadable" in line for line in count_flow(made()).excluded.lines)


@pytest.mark.figures
def test_the_command_writes_every_file_and_prints_the_counts(
    run: Path, facts: Facts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert call("checklist", run, "--out", tmp_path) == 0
    said = capsys.readouterr().out
    assert "CLAIM 2024" in said and f"checklist: {tmp_path / 'checklist.html'}" in said
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names == set(FILES.split())
    claims = pd.read_csv(tmp_path / "claim.csv")
    assert list(claims) == ["item", "section", "asks", "status", "provided", "missing"] and len(claims) == 44
    assert set(claims["status"]) == {"provided", "partly", "the author's"}
    assert list(pd.read_csv(tmp_path / "table1.csv")) == ["characteristic", "level", "statistic", "all", "train",
        "val", "test"]  # fmt: skip
    page = (tmp_path / "checklist.html").read_text()
    assert "Research tool, not a medical device." in page and "Flow of images and patients" in page
    numbers = json.loads((run / "counts.json").read_text())["images"]
    assert f"{numbers['train']} images" in (tmp_path / "figures" / "flow.svg").read_text()


def test_a_dataset_that_was_moved_is_neither_packed_nor_made(
    run: Path, facts: Facts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert gather(run, [f"data.root={elsewhere}"]).data is None
    assert f"left out: {elsewhere}: no such folder" in " ".join(capsys.readouterr().err.split())
    assert not elsewhere.exists()
    store = tmp_path / "store"
    found = gather(run, [f"store.path={store}"]).data  # not packed again
    assert found is not None and facts.data is not None and not store.exists()
    assert found.num_images == facts.data.num_images


def test_what_training_fixed_cannot_be_told_otherwise(run: Path) -> None:
    assert call("checklist", run, "train.lr=3") == 2


def test_a_report_of_another_checkpoint_is_left_out_and_named(
    run: Path, facts: Facts, tmp_path: Path
) -> None:
    import shutil

    copy = shutil.copytree(run, tmp_path / "copy")
    path = copy / "eval_test" / "report.json"
    report = json.loads(path.read_text())
    report["about"]["checkpoint"] = "best.safetensors, SHA-256 0000000000000000..."
    path.write_text(json.dumps(report))
    (copy / "eval_val").mkdir()
    (copy / "eval_val" / "report.json").write_text("[1, 2")
    found = gather(copy)
    assert found.evaluations == ()
    assert found.notes == (
        "eval_test is of another checkpoint and is left out",
        "eval_val/report.json cannot be read and is left out",
    )


def test_names_of_findings_are_no_markup(facts: Facts) -> None:
    name = "<b>x</b> \\input{y} 100% [z]"
    odd = replace(facts, findings=(name, *facts.findings[1:]))
    assert facts.data is not None
    from cxr.report import html, latex, markdown

    page = document.page(odd, document.fill(odd))
    assert "<b>x</b>" not in html.render(page) and "<b>x</b>" not in markdown.render(page)
    table = latex.render_table(as_table(count_rows(facts.data, odd.findings)))
    assert (
        r"\textless{}b\textgreater{}x\textless{}/b\textgreater{} \textbackslash{}input\{y\} 100\% {[}z{]}"
        in table
    )
    assert r"\input" not in table
