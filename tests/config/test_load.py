from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cxr.config.key_tree import walk
from cxr.config.load import load, override
from cxr.config.render import render
from cxr.config.schema import Config
from cxr.config.yaml_reader import read_argument
from cxr.errors import CxrError
from cxr.model.candidate import evaluation_config

DATA = "data: {source: nih, root: /data/nih}\n"
HINT = "hint: cxr config demo prints every key with its meaning"


def problems(tmp_path: Path, text: str | bytes, *overrides: str) -> list[str]:
    """The lines of the error, with the folder of the file taken out."""
    path = tmp_path / "bad.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(CxrError) as caught:
        load(path, overrides)
    return caught.value.render().replace(f"{tmp_path}/", "").splitlines()


def loaded(tmp_path: Path, text: str, *overrides: str) -> Config:
    path = tmp_path / "good.yaml"
    path.write_text(text)
    return load(path, overrides)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (DATA + "train: {lr: [}\n", "bad.yaml:2: expected the node content, but found '}'"),
        (DATA + "train:\n\tlr: 1\n", "bad.yaml:3: found character '\\t' that cannot start any token"),
        (DATA + "---\nseed: 1\n", "bad.yaml:2: but found another document"),
        ("", "bad.yaml:1: a config is a mapping of keys to values"),
        ("# nothing\n", "bad.yaml:1: a config is a mapping of keys to values"),
        ("- seed\n", "bad.yaml:1: a config is a mapping of keys to values"),
        (DATA + "? [a]\n: 1\n", "bad.yaml:2: a key is text, not a list, a mapping or something with a tag"),
        (
            "data: &loop {source: nih, csv: *loop}\n",
            "bad.yaml:1: an alias (*name) stands inside what it names",
        ),
    ],
)
def test_a_file_that_is_no_mapping_in_yaml_is_refused_with_its_line(
    tmp_path: Path, text: str, line: str
) -> None:
    first, hint = problems(tmp_path, text)
    assert first == f"error: {line}"
    assert hint.startswith("hint: ")


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    first, hint = problems(tmp_path, "out: Größe\n".encode("latin1"))
    assert first == "error: bad.yaml:1: is no text in UTF-8: invalid start byte"
    assert hint == "hint: a config is a YAML text file"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CxrError, match=r"absent\.yaml: no such file"):
        load(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.mkdir [{0}]", "!!python/name:os.system", "!own 3"]
)
def test_python_tags_are_refused_and_not_run(tmp_path: Path, text: str) -> None:
    trap = tmp_path / "trap"
    first, hint = problems(tmp_path, DATA + f"seed: {text.format(trap)}\n")
    assert first.startswith("error: bad.yaml:2: no value of a config has the tag !")
    assert hint.endswith("values are numbers, text, lists and mappings only")
    problems(tmp_path, DATA, f"seed={text.format(trap)}")
    assert not trap.exists()


def test_all_mistakes_come_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = """train:
  lr: -1
  wieght_decay: 0
seed: 1
data:
  source: nhi
seed: 2
optimizer: sgd
eval: {batch_size: many}
"""
    assert problems(tmp_path, text, "train.epochs=0", "nonsense") == [
        "error: bad.yaml:2: train.lr: input should be greater than 0, not -1",
        "error: bad.yaml:3: unknown key train.wieght_decay; did you mean weight_decay?",
        "error: bad.yaml:5: data.root is missing",
        "error: bad.yaml:6: data.source: input should be 'nih', 'chexpert', 'mimic', 'padchest', 'vindr', 'brax', "
        "'torchxrayvision', 'table', 'folder' or 'phantom', not 'nhi'",
        "error: bad.yaml:7: seed is given twice (first on line 4)",
        "error: bad.yaml:8: unknown key optimizer; did you mean train.optimizer?",
        "error: bad.yaml:9: eval.batch_size: input should be a valid integer, "
        "unable to parse string as an integer, not 'many'",
        "error: nonsense: an override is key=value, such as train.epochs=3",
        "error: train.epochs=0: train.epochs: input should be greater than or equal to 1, not 0",
        HINT,
    ]


def test_a_key_twice_inside_a_section_names_both_lines(tmp_path: Path) -> None:
    lines = problems(tmp_path, DATA + "train:\n  lr: 1e-3\n  ema: 0\n  lr: 1e-4\n")
    assert lines == ["error: bad.yaml:5: train.lr is given twice (first on line 3)", HINT]


def test_the_two_keys_without_a_default_are_asked_for(tmp_path: Path) -> None:
    assert problems(tmp_path, "seed: 1\n")[:2] == [
        "error: bad.yaml: data.root is missing",
        "error: bad.yaml: data.source is missing",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("train:\n", "train: is a section: give it keys, or leave it out"),
        ("train: 3\n", "train: is a section: give it keys, or leave it out"),
        ("1: 2\n", "unknown key 1"),
        ("seed: 1.5\n", "seed: input should be a valid integer, got a number with a fractional part, not 1.5"),
        ("seed: true\n", "seed: must be a number, not true"),
        ("train: {lr: .nan}\n", "train.lr: input should be a finite number, not nan"),
        ("train: {compile: maybe}\n", "train.compile: input should be a valid boolean, unable to interpret input, "
         "not 'maybe'"),
        ("eval: {threshold: f2}\n", "eval.threshold: must be f1, youden, sensitivity=0.9, "
         "specificity=0.9 or a number from 0 to 1, not 'f2'"),
        ("eval: {threshold: 1.5}\n", "eval.threshold: must be f1, youden, sensitivity=0.9, "
         "specificity=0.9 or a number from 0 to 1, not 1.5"),
        ("model: {backbone: vgg16}\n", "model.backbone: input should be 'densenet121', 'densenet169', 'densenet201', "
         "'resnet18', 'resnet34', 'resnet50' or 'resnet101', not 'vgg16'"),
        ("train: {compile: graphs, accumulate: 2}\n", "train: compile=graphs and accumulate cannot be combined; "
         "use compile=true"),
        ("train: {augment: {scale: [2, 1]}}\n", "train.augment: scale is a range [low, high] with 0 < low <= high"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_key_and_line(tmp_path: Path, text: str, line: str) -> None:
    assert problems(tmp_path, DATA + text) == [f"error: bad.yaml:2: {line}", HINT]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("findings: nih", "data.findings: 'nih' is no group of findings; known are nih14, chexpert14, chexpert5, or "
         "give a list"),
        ("findings: [Mass, Mass]", "data.findings: findings must be a list of different names"),
        ("views: PA", "data.views: input should be a valid list, not 'PA'"),
        ("split: lists", "data: split=lists needs lists: {train: FILE, val: FILE, test: FILE}"),
        ("lists: {train: a, val: b}", "data.lists.test is missing"),
        ("uncertain: maybe", "data.uncertain: must be ignore, zeros, ones, a range [low, high] with 0 <= low <= high "
         "<= 1, or a mapping of findings to these, not 'maybe'"),
        ("uncertain: {Edema: [0.9, 0.1]}", "data.uncertain: must be ignore, zeros, ones, a range [low, high] with 0 "
         "<= low <= high <= 1, or a mapping of findings to these, not {'Edema': [0.9, 0.1]}"),
    ],
)  # fmt: skip
def test_a_wrong_value_of_the_data_says_what_would_be_right(tmp_path: Path, value: str, line: str) -> None:
    assert problems(tmp_path, f"data: {{source: nih, root: x, {value}}}\n")[0] == f"error: bad.yaml:1: {line}"


@pytest.mark.parametrize(
    ("text", "get"),
    [
        ("train.epochs=3", lambda c: c.train.epochs == 3),
        ("train.lr=3e-4", lambda c: c.train.lr == 3e-4),
        ("train.augment.scale=[0.5, 2]", lambda c: c.train.augment.scale == (0.5, 2)),
        ("train.compile=true", lambda c: c.train.compile is True),
        ("data.csv=null", lambda c: c.data.csv is None),
        ("data.views=[PA,AP]", lambda c: c.data.views == ("PA", "AP")),
        ("data.findings=chexpert5", lambda c: len(c.data.findings) == 5),
        (
            "data.uncertain={Edema: ones, default: [0.2, 0.4]}",
            lambda c: c.data.uncertain["default"] == (0.2, 0.4),
        ),
        ("data.lists={train: a, val: b, test: c}", lambda c: c.data.lists.val == Path("b")),
        ("data.columns.image=file name", lambda c: c.data.columns.image == "file name"),
        ("data.root=~/nih", lambda c: c.data.root == Path.home() / "nih"),
        ("model.weights=none", lambda c: c.model.weights == "none"),
        ("eval.threshold=0.3", lambda c: c.eval.threshold == 0.3),
    ],
)
def test_an_override_takes_any_value_even_in_a_section_left_out(tmp_path: Path, text: str, get: Any) -> None:  # noqa: ANN401
    assert get(loaded(tmp_path, DATA, text))


@pytest.mark.parametrize("name", ["2020", "5", "1e3", "0x10", "2_020", "1.50", "+7", "rn #2", "a "])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    assert loaded(tmp_path, DATA, f"out={name}", f"data.root={name}").out == Path(name)
    if name.isalnum():
        assert loaded(tmp_path, f"out: {name}\ndata: {{source: nih, root: {name}}}\n").data.root == Path(name)


def test_a_path_is_not_true(tmp_path: Path) -> None:
    assert "out: a path is text: put true into quotes" in problems(tmp_path, DATA, "out=true")[0]


@pytest.mark.parametrize("name", ["NIH14", "nih14 ", " Nih14"])
def test_a_group_of_findings_is_known_in_any_case(tmp_path: Path, name: str) -> None:
    assert len(loaded(tmp_path, DATA, f"data.findings={name}").data.findings or ()) == 14


def test_numbers_that_are_written_in_another_way_are_numbers(tmp_path: Path) -> None:
    config = loaded(tmp_path, DATA, "train.lr=1e-3", "seed=2_020", "data.arguments={a: 1e1, b: 0x10}")
    values = (config.train.lr, config.seed, *config.data.arguments.values())
    assert values == (1e-3, 2020, 10.0, 16) and {type(one) for one in values} <= {int, float}


def test_the_last_override_of_a_key_counts(tmp_path: Path) -> None:
    assert loaded(tmp_path, DATA + "seed: 1\n", "seed=2", "seed=3").seed == 3


ALSO = """data:
  source: nih
  root: /data/nih
  also:
    - source: chexpert
      root: /data/chexpert
      wieght: 2
    - {source: table, split: random, root: x, also: []}
    - name: a/b
      source: nih
"""


def test_mistakes_in_further_datasets_have_their_lines(tmp_path: Path) -> None:
    assert problems(tmp_path, ALSO, "data.also.7.weight=2") == [
        "error: bad.yaml:7: unknown key data.also.0.wieght; did you mean weight?",
        "error: bad.yaml:8: unknown key data.also.1.also; did you mean data.also?",
        "error: bad.yaml:9: data.also.2.name: string should match pattern '^\\w[\\w.+-]*$', not 'a/b'",
        "error: bad.yaml:9: data.also.2.root is missing",
        "error: data.also.7.weight=2: the list in data.also.7 has no such entry; the first is 0",
        HINT,
    ]


def test_further_datasets_can_be_overridden_whole_and_in_part(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, DATA, "data.also=[{source: chexpert, root: b}]", "data.also.0.weight=0.5", "data.weight=2"
    )
    assert [(one.source, one.root, one.weight) for one in config.data.also] == [("chexpert", Path("b"), 0.5)]
    assert config.data.weight == 2
    assert override(config, ["data.also=[]"]).data.also == ()
    assert override(config, ["data.also.0.name=b"]).data.also[0].name == "b"


@pytest.mark.parametrize(
    "overrides", [[], ["data.source=nih", "data.root=b"], ["data.source=table", "data.root=b"]]
)
def test_findings_with_letters_that_yaml_has_not_are_evaluated(overrides: list[str]) -> None:
    names = ("a\x80b", "c\x7fd", "e # f", '"', "1e3", "no")
    config = Config.model_validate({"data": {"source": "nih", "root": "a", "findings": names}})
    split = ["data.split=random"] if len(overrides) else []
    assert evaluation_config(config, names, [*overrides, *split]).data.findings == names


def test_a_text_that_ends_in_a_colon_is_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(DATA)
    for text in ("hub:", "a b:"):
        assert load(tmp_path / "a.yaml", [f"model.weights={text}"]).model.weights == text
    assert read_argument("{a: }") == {"a": None} and read_argument("a: 1") == {"a": 1}


def test_a_rendered_config_of_several_datasets_loads_as_an_equal_one(tmp_path: Path) -> None:
    also = [
        {"source": "chexpert", "root": "b", "uncertain": {"Edema": [0.5, 1]}, "weight": 2},
        {"source": "nih", "root": "c"},
    ]
    config = Config.model_validate({"out": "x", "data": {"source": "nih", "root": "a", "also": also}})
    assert loaded(tmp_path, render(config)) == config


def test_two_datasets_of_one_name_are_refused(tmp_path: Path) -> None:
    line = problems(tmp_path, DATA, "data.name=a", "data.also=[{source: nih, root: b, name: a}]")[0]
    assert line == "error: bad.yaml:1: data: two datasets are named a; give each its own data.name"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("train", "train: an override is key=value, such as train.epochs=3"),
        ("train.=3", "train.=3: an override is key=value, such as train.epochs=3"),
        ("train.lr=[1", "train.lr=[1: '[1' is no YAML value"),
        ("train.lr=", "train.lr=: train.lr: input should be a valid number, not None"),
        ("train.lr.x=3", "train.lr.x=3: train.lr: input should be a valid number"),
        ("train.epoch=3", "train.epoch=3: unknown key train.epoch; did you mean epochs?"),
        ("train=3", "train=3: train: is a section: give it keys, or leave it out"),
        ("data.lists.train=a", "data.lists.train=a: data.lists.test is missing"),
    ],
)
def test_a_wrong_override_is_quoted(tmp_path: Path, text: str, line: str) -> None:
    assert problems(tmp_path, DATA, text)[0] == f"error: {line}"
    with pytest.raises(CxrError) as caught:
        override(loaded(tmp_path, DATA), [text])
    assert line in caught.value.problems


def test_the_run_folder_is_named_after_the_config(tmp_path: Path) -> None:
    assert loaded(tmp_path, DATA).out == Path("runs/good")
    assert loaded(tmp_path, DATA + "out: here\n").out == Path("here")


def test_a_config_is_frozen(tmp_path: Path) -> None:
    config = loaded(tmp_path, DATA)
    with pytest.raises(ValidationError, match="frozen"):
        config.train.lr = 1.0  # type: ignore[misc]


KEYS = """seed out data.source data.root data.csv data.findings data.split data.lists data.missing data.unreadable
data.uncertain image.store_size image.size store.where model.backbone model.weights model.train_layers loss.weighting
train.epochs train.batch_size train.lr train.weight_decay train.optimizer train.schedule train.warmup_epochs train.ema
train.precision train.compile train.grad_clip train.early_stopping train.save_every eval.threshold""".split()


def test_scripts_outside_find_the_keys_they_rely_on() -> None:
    assert set(KEYS) <= {".".join(keys) for keys, _, _ in walk(Config)}


def test_every_key_has_a_meaning_of_one_line() -> None:
    for keys, meaning, _ in walk(Config):
        assert len(meaning) > 5, keys
        assert "\n" not in meaning
        assert meaning.endswith("."), keys


def test_a_rendered_config_holds_every_key_and_its_meaning(tmp_path: Path) -> None:
    lines = render(loaded(tmp_path, DATA)).splitlines()
    shown = {line.split(":")[0].strip(): line.split("  # ")[-1] for line in lines}
    for keys, meaning, _ in walk(Config):
        if keys[:2] != ("data", "lists"):
            assert keys[-1] in shown
            assert any(line.endswith(f"  # {meaning}") for line in lines), keys
    assert "  lr: 0.0001                              # Peak learning rate." in lines


text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"]), min_size=1).map(str)


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(1 - 2**63, 2**63 - 1),
    split_column=text,
    view=text,
    lr=st.floats(1e-300, 1e300),
    uncertain=st.dictionaries(text, st.sampled_from(["ones", "ignore", (0.25, 1.0)]), max_size=2),
    lists=st.none() | st.just({"train": "a b", "val": "é", "test": "#c"}),
)
def test_a_rendered_config_loads_as_an_equal_one(
    tmp_path_factory: pytest.TempPathFactory, seed: int, split_column: str, view: str, lr: float,
    uncertain: dict[str, object], lists: dict[str, str] | None,
) -> None:  # fmt: skip
    data = {"source": "nih", "root": "/data/my images/ü", "split_column": split_column, "views": [view],
            "uncertain": uncertain, "lists": lists}  # fmt: skip
    config = Config.model_validate({"seed": seed, "data": data, "train": {"lr": lr}})
    path = tmp_path_factory.getbasetemp() / "again.yaml"
    path.write_text(render(config), encoding="utf-8")
    assert load(path) == config


def test_an_old_name_of_a_key_is_read_and_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("data: {source: nih, root: nih}\neval:\n  views: single\n")
    assert load(path).eval.tta == "none"
    assert f"{path}:3: eval.views is now called eval.tta; the old name still works" in capsys.readouterr().err
    assert load(path, ["eval.views=flip"]).eval.tta == "flip"
    with pytest.raises(CxrError, match=r"unknown key eval\.views"):
        load(path, ["eval.tta=flip"])
