import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cxr import __version__
from cxr.config.key_tree import walk
from cxr.config.load import load
from cxr.config.schema import Config
from cxr.findings import NIH_14
from tests.helpers.commands import call, read_csv
from tests.helpers.fakes import write_chexpert, write_lines, write_nih

COMMANDS = ("recipes", "config", "init", "download", "phantom", "check", "pack", "train", "runs", "eval", "compare",
            "plan", "readers", "checklist", "card", "predict", "serve", "explain", "export", "inspect",
            "shortcuts", "robustness")  # fmt: skip
REPORT = [
    "calibration.csv",
    "figures",
    "metrics.csv",
    "predictions.csv",
    "reliability.csv",
    "report.html",
    "report.json",
    "report.md",
]


@pytest.fixture(autouse=True)
def no_width_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a terminal of any width."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_on_a_line_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(command, "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    after = lines[lines.index("  Example:") + 1 :]
    assert after[0].split()[:2] == ["cxr", command]
    assert "\\b" not in "".join(lines)
    assert max(map(len, lines)) <= 80


def test_help_lists_every_command_uncut(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help") == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)
    assert "..." not in text.partition("Commands:")[2]
    assert "not a medical device" in " ".join(text.split())


def test_no_command_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert call() in (0, 2)  # as Click's version has it
    said = capsys.readouterr()
    assert "Start with: cxr train demo" in said.out + said.err


@pytest.mark.parametrize(
    "arguments", [["trian"], ["train"], ["train", "--fast", "x.yaml"], ["predict", "run"]]
)
def test_wrong_usage_is_an_error_with_a_hint(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments) == 2
    problem, hint = capsys.readouterr().err.splitlines()
    assert problem.startswith("error: ") and hint.startswith("hint: ") and hint.endswith(" --help shows how")


@pytest.mark.parametrize("command", [("export", "runs/x"), ("card", "runs/x"), ("check", "demo")])
def test_the_name_of_an_output_among_overrides_is_told_its_option(
    command: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*command, "train.epochs=3", "my file") == 2
    assert capsys.readouterr().err == (
        "error: my file: an override is key=value, such as train.epochs=3\n"
        "hint: to write there: --out 'my file'\n"
    )


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out == f"cxr {__version__}\n"


def test_python_m_cxr_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "cxr", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"cxr {__version__}\n", "")


def test_a_user_error_of_a_process_has_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cxr", "config", "absent.yaml"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: absent.yaml: no such file\n"
        "hint: cxr recipes lists the names; cxr init writes a recipe for your own images\n"
    )


def test_config_prints_every_key_and_can_be_read_back(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("config", recipe, "train.lr=3e-4", "out=here") == 0
    text = capsys.readouterr().out
    for keys, meaning, _ in walk(Config):
        assert keys[:2] == ("data", "lists") or f"{keys[-1]}: " in text or f"{keys[-1]}:\n" in text
        assert len(keys) == 3 or meaning in text
    write_lines(tmp_path / "again.yaml", text.splitlines())
    assert load(tmp_path / "again.yaml") == load(recipe, ["train.lr=3e-4", "out=here"])


def test_phantom_writes_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("phantom", tmp_path / "p", "--images", "5", "--size", "32", "--layout", "chexpert") == 0
    assert capsys.readouterr().out == f"5 images in {tmp_path / 'p'}\n"
    assert (tmp_path / "p" / "train.csv").exists()


def test_pack_says_what_it_packed_and_packs_once(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    for overwrite in ([], [], ["--overwrite"]):
        assert call("pack", recipe, f"store.path={store}", *overwrite) == 0
    said = capsys.readouterr()
    assert said.out == f"40 images of 32 pixels in {store}\n" * 3
    assert said.err.count(f"packing 40 images at 32 pixels into {store}") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_train_says_what_it_does(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert call("train", recipe, f"out={out}") == 0
    said = capsys.readouterr()
    assert said.out == f"{out / 'best.safetensors'}; next: cxr eval {out}\n"
    assert "\n\n\n" not in said.err
    for part in (
        "split: official",
        "Pleural_Thickening",
        "device c",
        "epoch 1/1: validation AUROC ",
        ", loss ",
    ):
        assert part in said.err
    files = {path.name for path in out.iterdir()} - {"tensorboard"}
    assert files == {
        "best.safetensors", "config.yaml", "counts.json", "curves.png", "last.pt", "log.jsonl", "run.json", "train.log",
    }  # fmt: skip
    assert load(out / "config.yaml") == load(recipe, [f"out={out}"])


def test_train_overwrites_only_when_asked_and_resumes_a_finished_run(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("train", recipe, f"out={tmp_path / 'run'}", "model.train_layers=head")
    assert [call(*arguments), call(*arguments), call(*arguments, "--overwrite")] == [0, 2, 0]
    assert call(*arguments, "--resume") == 0
    assert "finished already, after 1 epoch" in capsys.readouterr().err
    assert call(*arguments, "--resume", "--overwrite") == 2
    (tmp_path / "run" / "last.pt").unlink()
    assert call(*arguments) == 2
    assert (tmp_path / "run" / "best.safetensors").exists()


@pytest.mark.figures
def test_eval_prints_the_table_and_writes_the_report(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("eval", run) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0].startswith("Evaluated on test rows (")
    assert said.out.endswith(
        f"Research tool, not a medical device.\nreport: {run / 'eval_test' / 'report.html'}\n"
    )
    assert set(REPORT) <= {path.name for path in (run / "eval_test").iterdir()}
    table = read_csv(run / "eval_test" / "metrics.csv")
    assert list(table[0])[:6] == ["finding", "num", "num_positive", "auroc", "auroc_low", "auroc_high"]
    assert [row["finding"] for row in table] == [*NIH_14, "mean", "micro"]
    assert "The whole recipe" in (run / "eval_test" / "report.html").read_text()


def test_eval_writes_the_columns_of_predictions(run: Path, tmp_path: Path) -> None:
    assert call("eval", run / "best.safetensors", "--split", "val", "--out", tmp_path / "report") == 0
    columns = ["image", "patient_id", "split", "view", "sex", "age"]
    labels = [f"{kind}_{finding}" for kind in "yp" for finding in NIH_14]
    rows = read_csv(tmp_path / "report" / "predictions.csv")
    assert sorted(rows[0]) == sorted(columns + labels)
    assert list(rows[0])[:6] == columns
    assert {row["split"] for row in rows} == {"val"}


def test_eval_reports_the_figure_that_chose_the_checkpoint(run: Path, tmp_path: Path) -> None:
    assert call("eval", run, "--split", "val", "--out", tmp_path) == 0
    epochs = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    logged = next(line["val_auroc"] for line in epochs if line["kind"] == "epoch")
    assert float(read_csv(tmp_path / "metrics.csv")[-2]["auroc"]) == logged


def test_eval_of_the_written_predictions_is_the_same_report(run: Path, tmp_path: Path) -> None:
    assert call("eval", run, "--out", tmp_path / "one") == 0
    assert call("eval", tmp_path / "one" / "predictions.csv") == 0
    one, two = (
        read_csv(tmp_path / "one" / "metrics.csv"),
        read_csv(tmp_path / "one" / "predictions_report" / "metrics.csv"),
    )
    assert [row["auroc"] for row in one] == [row["auroc"] for row in two]


def write_scores(path: Path, image: str, columns: Sequence[str], names: Sequence[str]) -> Path:
    rows = [",".join([name, *(f"0.{place + 1}" for _ in columns)]) for place, name in enumerate(names)]
    return write_lines(path, [",".join([image, *columns]), *rows])


NIH_NAMES = ("00000001_000.png", "00000001_001.png", "00000003_000.png", "00000004_000.png")


@pytest.mark.parametrize("image", ["image", "Image Index", "Path"])
@pytest.mark.parametrize("prefix", ["p_", "prob_", ""])
def test_eval_reads_predictions_made_elsewhere(
    image: str, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_nih(tmp_path / "nih") / "Data_Entry_2017_v2020.csv"
    columns = [f"{prefix}Cardiomegaly", f"{prefix}Hernia"]
    scores = write_scores(tmp_path / "scores.csv", image, columns, NIH_NAMES)
    assert call("eval", scores, "--labels", labels) == 0
    rows = read_csv(tmp_path / "scores_report" / "metrics.csv")
    assert [(row["finding"], row["num_positive"], row["auroc"][:5]) for row in rows[:2]] == [
        ("Cardiomegaly", "2", "0.0"),
        ("Hernia", "1", "0.666"),
    ]
    assert "thresholds are not tuned" in " ".join(capsys.readouterr().out.split())
    assert {*REPORT} - {"figures"} <= {path.name for path in (tmp_path / "scores_report").iterdir()}


def write_predictions(path: Path, split: str, power: float = 1.0, patients: bool = True) -> Path:
    """Sixty images of thirty patients, a finding, probabilities that tell something."""
    lines = ["image,patient_id,split,y_Mass,p_Mass"]
    for row in range(60):
        patient = f"{split}{row // 2}" if patients else ""
        score = (0.3 + 0.4 * (row % 3 == 0) + 0.29 * ((row * 7) % 10) / 10) ** power
        lines.append(f"{split}_{row}.png,{patient},{split},{int(row % 3 == 0)},{score:.4f}")
    return write_lines(path, lines)


@pytest.mark.figures
def test_eval_takes_eval_keys_and_a_validation_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test, val = (write_predictions(tmp_path / f"{split}.csv", split) for split in ("test", "val"))
    assert call("eval", test, "--validation", val, "eval.threshold=specificity=0.9", "eval.draws=100") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Thresholds: specificity of at least 0.9 on validation rows (60 images, 30 patients)" in said
    assert "bootstrap over 30 patients (100 draws, seed 0)" in said
    assert {*REPORT} <= {path.name for path in (tmp_path / "test_report").iterdir()}


def test_eval_tunes_on_test_rows_only_when_told_and_marks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = write_predictions(tmp_path / "test.csv", "test")
    assert call("eval", test) == 0
    assert "thresholds are not tuned: there are no validation rows" in " ".join(
        capsys.readouterr().out.split()
    )
    assert call("eval", test, "--tune-on-test") == 0
    assert "metrics marked * are optimistic" in " ".join(capsys.readouterr().out.split())
    assert {row["optimistic"] for row in read_csv(tmp_path / "test_report" / "metrics.csv")} == {"True"}


def test_eval_averages_several_files(tmp_path: Path) -> None:
    files = [write_predictions(tmp_path / f"{power}.csv", "test", power) for power in (1, 3)]
    assert (
        call("eval", *files, "--average", "logits", "--out", tmp_path / "report", "eval.interval=none") == 0
    )
    own, one, other = (
        float(read_csv(path)[0]["p_Mass"]) for path in (tmp_path / "report" / "predictions.csv", *files)
    )
    assert own == pytest.approx(1 / (1 + ((1 / one - 1) * (1 / other - 1)) ** 0.5))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["p.csv", "data.root=x"], "error: data.root=x: a predictions file has no config\n"),
        (["p.csv", "run"], "error: p.csv: runs and predictions files cannot be combined\n"),
        (["eval.draws=100"], "error: nothing to evaluate\n"),
        (["p.csv", "eval.drows=100"], "error: eval.drows=100: unknown key eval.drows; did you mean draws?\n"),
        (
            ["run", "--tune-on-test"],
            "error: --tune-on-test: cannot be combined with a run, which has its own labels and validation rows\n",
        ),
    ],
)
def test_eval_refuses_what_does_not_go_together(
    arguments: list[str],
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    assert call("eval", *arguments) == 2
    assert capsys.readouterr().err.startswith(what)


def test_compare_prints_differences_and_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_predictions(tmp_path / "a.csv", "test")
    second = write_predictions(tmp_path / "b.csv", "test", 0.5)
    assert call("compare", first, second, "--out", tmp_path / "out", "eval.draws=100") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"A: {first}\nB: {second}\nEvaluated on test rows (60 images, 30 patients)\n")
    assert said.endswith(f"comparison: {tmp_path / 'out' / 'comparison.html'}\n")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(f"comparison.{kind}" for kind in ("csv", "html", "json", "md")),
    ]
    assert [row["auroc_difference"] for row in read_csv(tmp_path / "out" / "comparison.csv")] == [
        "0.0",
        "0.0",
    ]


def test_compare_takes_runs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("compare", run, run / "best.safetensors", "eval.draws=100", "eval.interval=images") == 0
    assert f"thresholds of {run}: best F1 on validation rows" in " ".join(capsys.readouterr().out.split())


def test_compare_takes_two_models_or_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("compare", write_predictions(tmp_path / "a.csv", "test")) == 2
    assert capsys.readouterr().err == (
        "error: 1 model given\nhint: cxr compare takes two to 26: runs, or CSV files of predictions\n"
    )


@pytest.mark.parametrize("weights", ["absent.pt", "xrv:nothing", "xrv:densenet121-res224-all"])
def test_weights_that_cannot_be_had_are_known_before_packing(
    recipe: Path, tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert (
        call("train", recipe, f"model.weights={weights}", f"store.path={store}", f"out={tmp_path / 'run'}")
        == 2
    )
    said = capsys.readouterr().err
    assert "error: " in said and weights in said
    assert not list(tmp_path.iterdir())


def test_a_model_given_twice_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("eval", "compare"):
        assert call(command, run, run / ".." / run.name) == 2
        assert "is given twice\nhint: give each model once" in capsys.readouterr().err


def test_what_would_be_ignored_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("eval", write_predictions(tmp_path / "a.csv", "test"), "--split", "val") == 2
    assert "error: --split: cannot be combined with a CSV of predictions" in capsys.readouterr().err
    assert call("eval", run, "train.lr=3") == 2
    assert f"error: {run}: train cannot change after training" in capsys.readouterr().err
    assert call("eval", run / "last.pt") == 2
    assert "hint: last.pt only resumes; give best.safetensors" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "inside", Path("/proc/nowhere")):
        assert call("phantom", folder, "--images", "3", "--size", "32") == 2
        assert f"error: {folder}: cannot be written" in capsys.readouterr().err


def test_readers_are_compared_with_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_predictions(tmp_path / "model.csv", "test")
    readers = []
    for number in range(3):
        rows = [f"test_{row}.png,{int(row % 3 == 0 or row % 7 == number)}" for row in range(60)]
        readers.append(write_lines(tmp_path / f"reader{number}.csv", ["image,Mass", *rows]))
    assert call("readers", model, *readers, "--out", tmp_path / "out", "eval.draws=100") == 0
    assert capsys.readouterr().out.endswith(f"readers: {tmp_path / 'out' / 'readers.md'}\n")
    names = [row["reader"] for row in read_csv(tmp_path / "out" / "readers.csv")]
    assert names == ["reader0", "reader1", "reader2", "all readers"]


def test_eval_reads_chexperts_labels(tmp_path: Path) -> None:
    labels = write_chexpert(tmp_path / "chexpert") / "train.csv"
    names = [f"train/patient0000{number}/study1/view1_frontal.jpg" for number in (1, 2, 3)]
    scores = write_scores(tmp_path / "scores.csv", "Path", ["Edema", "Atelectasis"], names)
    assert call("eval", scores, "--labels", labels, "--out", tmp_path / "report") == 0
    rows = read_csv(tmp_path / "report" / "metrics.csv")
    assert [(row["finding"], row["num"], row["num_positive"]) for row in rows[:2]] == [
        ("Edema", "3", "0"),
        ("Atelectasis", "0", "0"),
    ]


def test_a_pipe_is_100_columns_wide_and_a_terminal_its_own(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    widths = []
    for columns in (None, "60"):
        if columns:
            monkeypatch.setenv("COLUMNS", columns)
        assert call("eval", run, "--out", tmp_path) == 0
        widths.append(
            max(len(line) for line in capsys.readouterr().out.splitlines() if not line.startswith("report"))
        )
    assert 80 < widths[0] <= 100
    assert widths[1] <= 80


@pytest.mark.parametrize("layout", ["nih", "chexpert"])
def test_the_counts_fit_80_columns(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"source": layout, "root": str(tmp_path / "data"), "blank": "masked"}
    recipe = write_lines(tmp_path / "x.yaml", [f"data: {json.dumps(data)}", "image: {store_size: 16}"])
    call("phantom", tmp_path / "data", "--images", "30", "--size", "32", "--layout", layout)
    monkeypatch.setattr("cxr.console.err.width", 80)
    assert call("pack", recipe, f"store.path={tmp_path / 'store'}") == 0
    table = capsys.readouterr().err.partition("Finding ")[2]
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 80
    assert "Pleural_Thickening" in table or "Cardiomediastinum" in table


def test_ctrl_c_ends_with_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cxr.config.load.load", interrupt)
    assert call("check", "demo") == 130
    assert "Traceback" not in capsys.readouterr().err
