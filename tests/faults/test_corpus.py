"""Every hostile file is named, none stops, hangs or floods a command, and the good ones come out as without them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from tests.faults.corpus import Case, make
from tests.faults.measured import run_cxr
from tests.helpers.commands import call
from tests.helpers.dicoms import NAME, NUMBER

MOST_BYTES = 2_000_000_000


class Corpus(NamedTuple):
    """Its folder and its files."""

    folder: Path
    cases: list[Case]

    def named(self, readable: bool) -> list[str]:
        return [case.path for case in self.cases if case.readable is readable]

    def recipe(self, paths: Sequence[str], name: str) -> Path:
        """A config of a CSV that lists these files."""
        table = pd.DataFrame(
            {"image": paths, "patient_id": [f"p{row}" for row in range(len(paths))], "Mass": "0"}
        )
        table.loc[::3, "Mass"] = "1"
        table.to_csv(self.folder.parent / f"{name}.csv", index=False)
        recipe = self.folder.parent / f"{name}.yaml"
        recipe.write_text(
            f"data: {{source: table, root: {self.folder}, csv: {self.folder.parent / name}.csv, split: random,\n"
            "  missing: skip, unreadable: skip}\n"
            "image: {store_size: 32, size: 32}\n"
            f"store: {{path: {self.folder.parent / name}}}\n"
        )
        return recipe


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("hostile") / "files"
    return Corpus(folder, make(folder))


def test_the_corpus_is_large_and_has_good_and_bad(corpus: Corpus) -> None:
    assert len(corpus.cases) >= 300
    assert len(corpus.named(readable=True)) >= 50
    assert len(corpus.named(readable=False)) >= 250


def test_pack_names_each_bad_file_and_keeps_the_good_ones_pixels(corpus: Corpus) -> None:
    every = [case.path for case in corpus.cases]
    ended = run_cxr("pack", corpus.recipe(every, "every"))
    assert ended.code == 0, ended.err
    assert ended.peak_bytes < MOST_BYTES
    lists = [
        pd.read_csv(corpus.folder.parent / "every" / f"{what}.csv") for what in ("unreadable", "missing")
    ]
    named = set(pd.concat(lists)["image"])
    assert set(corpus.named(readable=False)) <= named
    assert not set(corpus.named(readable=True)) & named
    good = corpus.named(readable=True)
    assert call("pack", corpus.recipe(good, "good")) == 0
    found = [path for path in every if path not in set(lists[1]["image"])]
    _assert_equal_rows(corpus.folder.parent, found, good)


def _assert_equal_rows(home: Path, found: Sequence[str], good: Sequence[str]) -> None:
    files = [home / name / "pixels.u8" for name in ("every", "good")]
    with_bad, alone = (np.fromfile(file, np.uint8).reshape(-1, 32, 32) for file in files)
    assert len(with_bad) == len(found)
    np.testing.assert_array_equal(with_bad[[found.index(path) for path in good]], alone)


def test_predict_names_each_bad_file_and_says_the_same_of_the_good_ones(
    corpus: Corpus, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [
        corpus.folder / case.path for case in corpus.cases if case.path != "links/folder.png"
    ]  # would be searched
    ended = run_cxr("predict", run, "--format", "json", *files)
    assert ended.code == 1, ended.err[-2000:]
    assert ended.peak_bytes < MOST_BYTES
    said = [json.loads(line) for line in ended.out.splitlines()]
    assert {line["image"] for line in said} == set(map(str, files))
    refused = {line["image"] for line in said if "error" in line}
    assert {str(corpus.folder / path) for path in corpus.named(readable=False)} & set(
        map(str, files)
    ) <= refused
    good = [corpus.folder / path for path in corpus.named(readable=True)]
    assert not {str(path) for path in good} & refused
    capsys.readouterr()  # what training the model printed
    assert call("predict", run, "--format", "json", *good) == 0
    alone = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(alone) == len(good)
    probabilities = {line["image"]: line.get("probabilities") for line in said}
    for line in alone:
        assert probabilities[line["image"]] == pytest.approx(line["probabilities"], abs=1e-6)


@pytest.mark.parametrize("command", ["pack", "predict", "check"])
def test_no_command_says_who_the_patient_is(
    corpus: Corpus, run: Path, command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    files = [case.path for case in corpus.cases if case.path.endswith(".dcm")]
    recipe = corpus.recipe(files, f"dicoms_{command}")
    arguments = [run, *(corpus.folder / file for file in files)] if command == "predict" else [recipe]
    options = ("--out", corpus.folder.parent / "checked") if command == "check" else ()
    capfd.readouterr()  # what training the model printed
    code = call(command, *arguments, *options)
    said = "".join(capfd.readouterr())
    assert code in (0, 1) and said, said[-2000:]
    for secret in (NAME, NUMBER):
        assert secret not in said


def test_check_names_each_bad_file(corpus: Corpus) -> None:
    recipe = corpus.recipe([case.path for case in corpus.cases], "checked_files")
    ended = run_cxr("check", recipe, "--out", corpus.folder.parent / "check")
    assert ended.code in (0, 1), ended.err[-2000:]
    assert ended.peak_bytes < MOST_BYTES
    facts = (corpus.folder.parent / "check" / "check.json").read_text()
    for path in corpus.named(readable=False):
        assert json.dumps(path)[1:-1] in facts or json.dumps(path, ensure_ascii=False)[1:-1] in facts, path
