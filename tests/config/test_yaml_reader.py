"""Whatever is in a YAML file or an override, it is read, or refused with its line, at once and in little memory."""

import os
import tracemalloc
from pathlib import Path
from time import process_time

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cxr.config.load import load
from cxr.config.yaml_reader import MAX_BYTES, compose, construct, dump, read_argument
from cxr.errors import CxrError
from cxr.text import visible

DATA = "data: {source: nih, root: /data/nih}\n"


def read(text: str) -> object:
    return construct(compose(text))


def refusal(path: Path, *overrides: str) -> str:
    """The first line of the error, once it is known to come quickly, to fit a screen and to take little memory."""
    tracemalloc.start()
    start = process_time()
    with pytest.raises(CxrError) as caught:
        load(path, overrides)
    seconds, (_, most) = process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    rendered = caught.value.render()
    assert seconds < 30 and most < 50e6  # seconds of a busy machine; without the limits it would be minutes
    assert rendered.startswith("error: ") and "\nhint: " in rendered and len(rendered) < 4_000
    assert all(letter.isprintable() for letter in rendered.replace("\n", ""))
    return rendered.splitlines()[0].removeprefix("error: ").replace(f"{path.parent}/", "")


def refused(tmp_path: Path, text: str, *overrides: str) -> str:
    path = tmp_path / "bad.yaml"
    path.write_text(DATA + text, encoding="utf-8")
    return refusal(path, *overrides)


@pytest.mark.parametrize(
    "text", ["1e-4", "1E5", "-2e-3", ".5e-3", "+1e3", "1.e5", "1.5", "7", "-.5", "1_000"]
)
def test_numbers_are_numbers(text: str) -> None:
    assert read(text) == float(text)


@pytest.mark.parametrize(
    "text",
    ["1e-4x", "e5", "1e", "2024-01-02", "none", "1.2.3", "010", "08", "1:30", "0x_", "0o7", "=", "1.5:30.5"],
)
def test_other_text_stays_text(text: str) -> None:
    assert read(text) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed: !!bool abc", "'abc' is not true or false"),
        ("seed: !!float abc", "'abc' is not a number"),
        ("seed: !!int abc", "'abc' is not a whole number"),
        ("seed: !!int ''", "'' is not a whole number"),
        ("seed: !!null abc", "'abc' is not null"),
        ("seed: !!timestamp abc", "no value of a config has the tag !!timestamp"),
        ("seed: !!set {a}", "no value of a config has the tag !!set"),
        ("seed: !!binary aaaa", "no value of a config has the tag !!binary"),
        ("seed: !!map [1]", "is not a mapping"),
        ("seed: 0x" + "f" * 40, "'0xffffffffffffffffffffffffffffffffffffffff' is too large a number"),
        ("seed: '99999999999999999999'", "seed: is too large a number"),
        ("train: {lr: 1e999}", "train.lr: input should be a finite number, not inf"),
        ("train: {<<: 5}", "expected a mapping or list of mappings for merging, but found scalar"),
        (
            "<<: {seed: abc}",
            "seed: input should be a valid integer, unable to parse string as an integer, not 'abc'",
        ),
        ("[a]: 1", "a key is text, not a list, a mapping or something with a tag"),
        ("null: 1", "unknown key null"),
        ("seed: a\0b", "has the character 0x00, which YAML has not"),
        ("seed: \x1b[2J", "has the character 0x1b, which YAML has not"),
        ("seed: " + "[" * 5000, "is nested more than 20 deep"),
        ("seed: " + "{a: " * 5000, "is nested more than 20 deep"),
        ("seed: [" + "x, " * 30_000 + "]", "holds more than 10,000 values"),
    ],
)
def test_a_value_that_is_not_of_its_kind_is_named_with_its_line(tmp_path: Path, text: str, line: str) -> None:
    assert refused(tmp_path, text) == f"bad.yaml:2: {line}"


@pytest.mark.parametrize("letter", ["1", "1_", "1.", "1:", "1e", "#", "''", "\\\\"])
def test_a_long_value_takes_no_longer_than_its_length(tmp_path: Path, letter: str) -> None:
    (tmp_path / "bad.yaml").write_text(f"{DATA}seed: {letter * (90_000 // len(letter))}\ntrain: 3\n")
    refusal(tmp_path / "bad.yaml")


@pytest.mark.parametrize("name", ["bigint", "bo", "f", "hex", "i", "ts", "lol", "lolm"])
def test_the_reported_files_are_refused_with_a_line(cases: Path, name: str) -> None:
    assert refusal(cases / "41-yaml" / f"{name}.yaml").startswith(f"{name}.yaml:")


@pytest.mark.parametrize("template", ["[*{}, *{}]", "{{a: *{}, b: *{}}}", "{{<<: [*{}, *{}]}}"])
def test_aliases_that_multiply_are_refused(tmp_path: Path, template: str) -> None:
    lines = [
        "a0: &a0 {a: 1}",
        *(f"a{n}: &a{n} {template.format(f'a{n - 1}', f'a{n - 1}')}" for n in range(1, 60)),
    ]
    assert "once its aliases (*name) are written out" in refused(tmp_path, "\n".join(lines))


def test_a_merge_brings_keys_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(DATA + "train:\n  <<: {lr: 0.5, epochs: 7}\n  lr: 0.25\n")
    assert (load(path).train.lr, load(path).train.epochs) == (0.25, 7)
    assert refused(tmp_path, "train:\n  lr: 1\n  <<:\n    - {lr: 2}\n    - {epoch: 3}\n").startswith(
        "bad.yaml:6: unkn"
    )


def test_keys_are_the_text_that_is_written(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text("data: {source: nih, root: x, uncertain: {no: ones, 1: zeros, 2024-01-02: ignore}}\n")
    assert load(path).data.uncertain == {"no": "ones", "1": "zeros", "2024-01-02": "ignore"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_are_recognised(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "good.yaml").write_bytes((DATA + "out: Größe 心").encode(encoding))
    assert load(tmp_path / "good.yaml").out == Path("Größe 心")


def test_what_is_no_file_or_too_large_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    assert refusal(tmp_path / "pipe.yaml") == "pipe.yaml: is a pipe or a device"
    assert refusal(tmp_path / "large.yaml") == "large.yaml: is larger than 100,000 bytes"
    assert refusal(Path("/dev/zero")) == "zero: is a pipe or a device"
    assert refusal(tmp_path).endswith(": is a folder without config.yaml; this command needs a recipe")
    assert refusal(tmp_path / ("a" * 300)).endswith(": File name too long")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("seed=" + "[" * 5000, "is nested more than 20 deep"),
        ("seed=" + "9" * 5000, "is too large a number"),
        ("seed=!!int x", "'x' is not a whole number"),
        ("seed=&a [*a]", "an alias (*name) stands inside what it names"),
        ("data.also.9999999999.root=x", "data.also: input should be a valid list"),
        ("data.also." + "9" * 5000 + ".root=x", "data.also: input should be a valid list"),
        ("data.also.²=x", "data.also: input should be a valid list"),
        ("data.lists.train.x=1", "data.lists.test is missing"),
        ("=", "an override is key=value, such as train.epochs=3"),
        ("a..b=1", "an override is key=value, such as train.epochs=3"),
        ("a" * 60_000 + "=1", "aaa"),
        (".".join("a" * 5000) + "=1", "is nested too deeply, or too long"),
        ("x:" + "9" * 5000 + ": =1", "unknown key x:999"),
        ("data.csv=a\0b", "'a\\x00b' is no YAML value"),
        ('data.csv="a\\0b"', "data.csv: a path cannot hold a NUL character"),
        ('data.root="\\ud800"', "data.root: a path cannot hold half of a surrogate pair"),
        ("data.root=a\udcffb", "is no YAML value"),
        ("\x1b[2J\nerror: fake=1", "\\x1b[2J\\nerror: fake=1: unknown key \\x1b[2J\\nerror: fake"),
    ],
)
def test_an_override_that_is_no_value_is_named(tmp_path: Path, text: str, what: str) -> None:
    assert what in refused(tmp_path, "", text)


@pytest.mark.parametrize("place", ["-1", "1", "²", "99999999999", "x"])
def test_a_place_that_a_list_has_not_is_named(tmp_path: Path, place: str) -> None:
    text = f"data.also.{place}=3"
    said = refused(tmp_path, "", "data.also=[{source: nih, root: b}]", text)
    assert said == f"{text}: the list in data.also has no such entry; the first is 0"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
@example(b"\xff\xfe" + "a: 1".encode("utf-16-le"))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    with pytest.raises(CxrError, match=r"any\.yaml"):
        load(path)  # no config is so short: data.source and data.root are needed


@settings(max_examples=150, deadline=None)
@given(st.text("[]{}&*!<>:-?,#'\"|%@`= \nabU01F.~_\\", max_size=60))
@example('"\\UFFFFFFFF"')
@example('"\\U00110000"')
@example("%YAML " + "9" * 5000 + ".1\n--- a")
def test_any_text_is_yaml_or_an_error_of_yaml(text: str) -> None:
    try:
        read(text)
        read_argument(text)
    except yaml.YAMLError:
        pass


@pytest.mark.parametrize("text", ["rn #2", "#2", "--- a", "a\nb", " a", "a ", "&x a", "3 # runs", "C#"])
def test_text_in_an_argument_is_kept_letter_by_letter(text: str) -> None:
    assert read_argument(text) == text


@pytest.mark.parametrize("text", ["3", " 3 ", "null", "", "[a, b]", "{a: 1}", "'a #b'", "!!str 3", '"[#]"'])
def test_values_and_quotes_in_an_argument_are_those_of_yaml(text: str) -> None:
    assert read_argument(text) == read(text)


@pytest.mark.parametrize("text", ["[a, b] # c", "'a' #b", "a: b # c", "| # c\n  a", "{a: 1 # c\n}"])
def test_a_comment_in_an_argument_is_refused(tmp_path: Path, text: str) -> None:
    assert "has a comment after its value" in refused(tmp_path, "", f"data.csv={text}")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False)
    | st.text(max_size=12),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=6), inside, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
@example({"1e5": "010", "no": "1:30", "<<": "=", "~": "\u202e", "": "0x_"})
def test_a_value_that_is_dumped_is_read_back_and_shown(value: object) -> None:
    text = dump(value)
    assert read(text) == value
    assert visible(text) == text
