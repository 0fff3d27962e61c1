"""cxr predict --out FILE --resume: no row is lost or computed twice, and the file is that of a straight run."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from cxr.deploy import predict_all
from cxr.deploy.journal import Journal
from cxr.deploy.runtime import Predicted, Runtime, Square, predict_batch
from cxr.errors import CxrError
from tests.helpers.commands import call
from tests.helpers.exports import Exported

Said = pytest.CaptureFixture[str]
MADE_BY = {"the model": "a"}


@pytest.fixture
def folder(nih_root: Path, tmp_path: Path) -> Path:
    """Eleven images, and files that are none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, file in enumerate(sorted((nih_root / "images").iterdir())[:11]):
        (folder / f"{number:02}.png").write_bytes(file.read_bytes())
    (folder / "03_damaged.png").write_bytes((folder / "03.png").read_bytes()[:90])
    (folder / "06_damaged.png").write_bytes((folder / "06.png").read_bytes()[:90])
    (folder / "notes.txt").write_text("no image")
    return folder


class Batches:
    """Counts the images that are predicted, and presses Ctrl-C before a batch."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.stop_before: int | None = None

    def predict(self, runtime: Runtime, batch: Sequence[Square]) -> list[Predicted]:
        if self.stop_before == 0:
            raise KeyboardInterrupt
        if self.stop_before:
            self.stop_before -= 1
        self.names += [image.file.name for image in batch]
        return predict_batch(runtime, batch)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Batches:
    """Batches of four images."""
    counted = Batches()
    monkeypatch.setattr(predict_all, "BATCH_SIZE", 4)
    monkeypatch.setattr(predict_all, "predict_batch", counted.predict)
    return counted


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("kind", ["run", "onnx"])
def test_a_resumed_file_is_that_of_a_straight_run_and_each_image_is_predicted_once(
    exported: Exported, folder: Path, tmp_path: Path, batches: Batches, capsys: Said, kind: str, ending: str
) -> None:
    model = exported.run if kind == "run" else exported.onnx
    straight, resumed = tmp_path / f"straight.{ending}", tmp_path / f"resumed.{ending}"
    part = tmp_path / f"resumed.{ending}.part"
    assert call("predict", model, folder, "--out", straight) == 1  # two are damaged
    said = capsys.readouterr().out.replace("straight", "resumed")
    names, batches.names = batches.names, []

    for stop_before in (2, 0):  # the second is interrupted at once
        batches.stop_before = stop_before
        assert (
            call("predict", model, folder, "--out", resumed, *(["--resume"] if stop_before == 0 else []))
            == 130
        )
        assert (
            f"hint: 10 images in {part}; the same command with --resume continues" in capsys.readouterr().err
        )
        assert part.exists() and not resumed.exists()
    part.write_bytes(part.read_bytes() + b'{"images": ["a kill cut this li')

    batches.stop_before = None
    assert call("predict", model, folder, "--out", resumed, "--resume") == 1
    assert capsys.readouterr().out == said and batches.names == names
    assert resumed.read_bytes() == straight.read_bytes() and not part.exists()


def test_what_an_interrupted_run_left_is_not_lost_without_a_word(
    exported: Exported, folder: Path, tmp_path: Path, batches: Batches, capsys: Said
) -> None:
    out, part = tmp_path / "p.csv", tmp_path / "p.csv.part"
    batches.stop_before = 1
    assert call("predict", exported.onnx, folder, "--out", out) == 130
    batches.stop_before = None
    before = part.read_bytes()
    assert call("predict", exported.onnx, folder, "--out", out) == 2
    assert (
        f"error: {part}: an interrupted run left its rows there\nhint: add --resume"
        in capsys.readouterr().err
    )
    for other in ((exported.run,), (exported.onnx, "--calibrated")):
        assert call("predict", *other, folder, "--out", out, "--resume") == 2
        assert f"{part}: was begun with " in capsys.readouterr().err
    assert part.read_bytes() == before and not out.exists()


def test_resuming_nothing_begins_and_needs_a_file(
    exported: Exported, folder: Path, tmp_path: Path, capsys: Said
) -> None:
    image, out = folder / "00.png", tmp_path / "p.csv"
    assert call("predict", exported.onnx, image, "--out", out, "--resume") == 0
    assert f"note: no {out}.part to continue" in capsys.readouterr().err and out.exists()
    assert call("predict", exported.onnx, image, "--resume") == 2
    assert "--resume: continues a file\nhint: name it with --out FILE" in capsys.readouterr().err


def test_a_full_disk_keeps_whole_batches_and_leaves_no_empty_file(small_disk: Path) -> None:
    path, part, filler = small_disk / "p.csv", small_disk / "p.csv.part", small_disk / "filler"
    large = "x" * 900_000
    for num_batches in (0, 1):
        with (
            pytest.raises(CxrError, match=r"p\.csv\.part: the disk is full"),
            Journal(path, MADE_BY) as journal,
        ):
            filler.write_bytes(bytes(1_500_000 if num_batches == 0 else 0))
            for number in range(3):
                journal.rows.write(large)
                journal.keep([Path(str(number))], {"num_images": number + 1})
        assert part.exists() == bool(num_batches)
    with Journal(path, MADE_BY) as journal:
        journal.begin(resume=True)
        assert journal.done == {"0", "1"} and journal.counts == {"num_images": 2}


def test_two_commands_never_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    with Journal(path, MADE_BY) as first, Journal(path, MADE_BY) as second:
        second.begin(resume=False)
        first.keep([Path("a.png")], {})
        with pytest.raises(CxrError, match=r"p\.csv\.part: another cxr predict writes it"):
            second.keep([Path("b.png")], {})
        with pytest.raises(CxrError, match=r"p\.csv\.part: another cxr predict writes it"):
            Journal(path, MADE_BY).begin(resume=True)


@pytest.mark.parametrize("text", ["text\n", '{"made_by": 3}\n', '{"made_by": {"the model": "a"}}\n[]\n'])
def test_another_file_is_not_continued(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.csv.part").write_text(text)
    with pytest.raises(CxrError, match="was not left by cxr predict, or is damaged"):
        Journal(tmp_path / "p.csv", MADE_BY).begin(resume=True)
    assert (tmp_path / "p.csv.part").read_text() == text


def write_part(path: Path) -> bytes:
    """A journal of three batches, left by a run that was interrupted."""
    with pytest.raises(KeyboardInterrupt), Journal(path, MADE_BY) as journal:
        for number in range(3):
            journal.rows.write(f"{number}.png,0.2{number}\n")
            journal.keep([Path(f"{number}.png")], {"num_images": number + 1})
        raise KeyboardInterrupt
    return path.with_name("p.csv.part").read_bytes()


def test_each_line_has_the_checksum_of_all_lines_up_to_it(tmp_path: Path) -> None:
    before = b""
    for line in write_part(tmp_path / "p.csv").splitlines(keepends=True):
        digits, _, content = line.partition(b" ")
        before += content
        assert digits.decode() == hashlib.sha256(before).hexdigest()[:16]


@pytest.mark.parametrize("damage", ["digit", "dropped", "moved", "twice", "other head"])
def test_a_damaged_journal_is_not_continued(tmp_path: Path, damage: str) -> None:
    whole = write_part(tmp_path / "p.csv")
    head, first, second, third = whole.splitlines(keepends=True)
    lines = {
        "digit": [head, first, second.replace(b"0.21", b"0.91"), third],
        "dropped": [head, first, third],
        "moved": [head, second, first, third],
        "twice": [head, first, first, second, third],
        "other head": [head.replace(b"}}", b',"x": ""}}'), first, second, third],
    }[damage]
    part = tmp_path / "p.csv.part"
    part.write_bytes(b"".join(lines))
    assert part.read_bytes() != whole
    with pytest.raises(CxrError, match="was not left by cxr predict, or is damaged"):
        Journal(tmp_path / "p.csv", MADE_BY).begin(resume=True)
    assert part.read_bytes() == b"".join(lines)


def test_names_that_are_no_utf_8_are_kept_byte_for_byte(tmp_path: Path) -> None:
    path, name = tmp_path / "p.csv", Path("r\udcf6ntgen.png")
    with pytest.raises(KeyboardInterrupt), Journal(path, MADE_BY) as journal:
        journal.rows.write(f"{name}\n")
        journal.keep([name], {"num_images": 1})
        raise KeyboardInterrupt
    _, _, content = (tmp_path / "p.csv.part").read_text().splitlines()[1].partition(" ")
    assert json.loads(content)["images"] == [str(name)]
    with Journal(path, MADE_BY) as journal:
        journal.begin(resume=True)
        assert journal.done == {str(name)} and journal.counts == {"num_images": 1}
        journal.finish("image\n")
    assert path.read_bytes() == b"image\nr\xf6ntgen.png\n"
