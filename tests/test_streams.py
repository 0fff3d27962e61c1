"""stdout and stderr: closed, full, without an encoding; nothing written there can act."""

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cxr.cli import main
from cxr.streams import StdoutError, complain, exact_stdout, guarded, show
from tests.helpers.fakes import write_lines

HOSTILE = "\x1b[2J\x9b\u202e\x07"


def shell(line: str, **environment: str) -> tuple[int, str]:
    """(exit status, what stderr says) of a line for bash in which `cxr` is the command."""
    line = line.replace("cxr ", f"{sys.executable} -m cxr ")
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=os.environ | environment)
    return done.returncode, done.stderr


FULL = (
    "error: stdout: the disk is full\n"
    "hint: free some space or choose another folder; files written before are intact\n"
)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["--version", "--help", "config configs/demo.yaml"])
def test_a_full_stdout_is_an_error(command: str, unbuffered: str) -> None:
    assert shell(f"cxr {command} > /dev/full", PYTHONUNBUFFERED=unbuffered) == (2, FULL)


@pytest.mark.parametrize("command", ["--version", "--help", "config configs/demo.yaml"])
def test_a_closed_stdout_and_a_reader_that_has_gone_end_quietly(command: str) -> None:
    assert shell(f"cxr {command} >&-") == (0, "")
    assert shell(f"(sleep 0.2; cxr {command}; echo $? >&2) | true") == (0, "141\n")


def test_a_closed_stderr_hides_what_is_said_and_nothing_else(tmp_path: Path) -> None:
    assert shell(f"cxr config absent.yaml 2>&- > {tmp_path / 'out'}")[0] == 2
    assert (tmp_path / "out").read_text() == ""
    assert shell("cxr config absent.yaml 2>/dev/full")[0] == 2
    assert shell("cxr --version <&- >&- 2>&-") == (0, "")


class Broken(io.StringIO):
    """A stdout that takes nothing."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, _text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 2), (errno.EPIPE, 141)])
def test_every_command_ends_alike_when_stdout_does(
    number: int, status: int, run: Path, recipe: Path, nih_root: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    image = next((nih_root / "images").iterdir())
    forms = [["predict", str(run), str(image), "--format", form] for form in ("table", "json", "csv")]
    scores = write_lines(tmp_path / "p.csv", ["image,y_Mass,p_Mass", "a.png,1,0.5", "b.png,0,0.25"])
    every = [*forms, ["eval", str(scores), "eval.interval=none", "--out", str(tmp_path / "report")],
             ["check", str(recipe), "--quick", "--out", str(tmp_path / "check")],
             ["phantom", str(tmp_path / "new"), "--images", "1", "--size", "32"]]  # fmt: skip
    for command in every:
        monkeypatch.setattr(sys, "stdout", Broken(number))
        with pytest.raises(SystemExit) as ended:
            main(command)
        said = capsys.readouterr().err
        assert (ended.value.code, "Traceback" in said) == (status, False), command
        assert ("error: stdout: " in said) == (status == 2)
    assert (tmp_path / "report" / "report.html").exists()  # written before it is shown


def test_whatever_is_printed_is_visible(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded():
        print(f"a{HOSTILE}\nb")
        show(f"c\n{HOSTILE}")
        complain(f"d\r{HOSTILE}")
        print(f"\r50 %{HOSTILE}", file=sys.stderr)
    out, err = capsys.readouterr()
    seen = "\\x1b[2J\\x9b\\u202e\\x07"
    assert out == f"a{seen}\nb\nc\\n{seen}\n"
    assert err == f"d\\r{seen}\n\r50 %{seen}\n"  # a library may begin its line again


def test_what_is_for_a_program_is_exact_unless_it_goes_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    name = b"\xff\x1b[2J\xe5\xbf\x83.png".decode(errors="surrogateescape")
    for encoding, is_terminal, expected in (
        ("utf-8", False, b"\xff\x1b[2J\xe5\xbf\x83.png"),
        ("utf-8", True, b"\\xff\\x1b[2J\xe5\xbf\x83.png"),
        ("ascii", True, b"\\xff\\x1b[2J\\u5fc3.png"),
    ):
        file = io.BytesIO()
        stream = io.TextIOWrapper(file, encoding)
        monkeypatch.setattr(stream, "isatty", lambda answer=is_terminal: answer)
        monkeypatch.setattr(sys, "stdout", stream)
        with guarded():
            exact_stdout().write(name)
        assert file.getvalue() == expected


def test_a_library_that_swallows_the_failure_does_not_hide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(errno.ENOSPC))
    with pytest.raises(StdoutError), guarded():
        try:
            print("a")
        except Exception:
            pass


Predict = Callable[..., bytes]


@pytest.fixture
def predict(run: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Predict:
    """What `cxr predict` writes to stdout for images, whose mistakes may be any."""

    def call(*images: bytes | Path, form: str) -> bytes:
        capfdbinary.readouterr()
        with pytest.raises(SystemExit):
            main(["predict", str(run), *map(os.fsdecode, images), "--format", form])
        return capfdbinary.readouterr().out

    return call


def test_names_of_images_are_exact_for_programs_and_visible_for_people(
    predict: Predict, nih_root: Path, tmp_path: Path
) -> None:
    names = [b"a\xff\x1b[2J.png", b'b\r\nerror: fake,".png', "心\u202e[bold].png".encode(), b"=cmd|calc.png"]
    image = next((nih_root / "images").iterdir()).read_bytes()
    paths = [os.fsencode(tmp_path) + b"/" + name for name in names]
    for path in paths:
        Path(os.fsdecode(path)).write_bytes(image)
    rows = predict(*paths, form="csv")
    quoted = [b'"' + path.replace(b'"', b'""') + b'"' if b"\r" in path else path for path in paths]
    assert all(b"\n" + path + b"," in rows for path in quoted)
    objects = [json.loads(row) for row in predict(*paths, form="json").splitlines()]
    assert [os.fsencode(one["image"]) for one in objects] == paths
    screen = predict(*paths, form="table").decode()
    assert all(
        name in screen for name in ("a\\xff\\x1b[2J.png", 'b\\r\\nerror: fake,".png', "心\\u202e[bold].png")
    )
    assert all(letter.isprintable() or letter == "\n" for letter in screen)


def test_a_dicom_file_that_nothing_reads_is_named_and_the_next_one_read(
    run: Path,
    nih_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "x.png").write_bytes(bytes(128) + b"DICM\2" + bytes(400))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    image = next((nih_root / "images").iterdir())
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(run), str(tmp_path / "x.png"), str(image)])
    out, err = capsys.readouterr()
    assert (ended.value.code, image.name in out) == (1, True)
    assert err.splitlines() == [
        f"error: {tmp_path / 'x.png'}: reading DICOM needs pydicom",
        "hint: 1 of 2 images not read, for the reasons above; pip install 'cxr[dicom]'",
    ]


def test_the_name_of_a_chunk_cannot_act(cases: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", str(run), str(cases / "42-terminal-escapes" / "chunk.png")])
    assert "checksum of its \\x1b[2J part" in capsys.readouterr().err
