import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from cxr.config.schema import Data
from cxr.download import nih
from cxr.download.fetch import Remote, Report, fetch
from cxr.errors import CxrError
from cxr.labels.sources import read
from tests.download.test_unpack import pack
from tests.helpers.commands import call
from tests.helpers.fakes import NIH_IMAGES, write_nih
from tests.helpers.server import Server

TABLES = ("Data_Entry_2017_v2020.csv", "train_val_list.txt", "test_list.txt")


@pytest.fixture
def published(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """ChestX-ray14 of six images in three archives, at the addresses of a local server."""
    original = write_nih(tmp_path / "original")
    images = sorted((original / "images").iterdir())

    def publish(path: Path, url: str) -> Remote:
        content = path.read_bytes()
        server.files[url] = content
        digest = hashlib.sha256(content).hexdigest()
        return Remote(path.name, server.url + url, len(content), "sha256", digest)

    archives = []
    for number in range(3):
        members = {f"images/{path.name}": path.read_bytes() for path in images[2 * number : 2 * number + 2]}
        path = pack(tmp_path / f"images_00{number + 1}.tar.gz", members)
        archives.append(publish(path, f"/{number}.gz"))
    monkeypatch.setattr(nih, "ARCHIVES", tuple(archives))
    tables = tuple(publish(original / name, f"/{name}") for name in TABLES)
    monkeypatch.setattr(nih, "TABLES", tables)
    monkeypatch.setattr(nih, "NUM_IMAGES", len(NIH_IMAGES))
    server.asked.clear()
    return server


def test_the_command_leaves_what_the_reader_reads(
    published: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "a b" / "nih"
    assert call("download", "nih", "--to", root) == 0
    table = read(Data(source="nih", root=root))
    assert list(table.rows["image"]) == [image.name for image in NIH_IMAGES]
    assert (
        table.rows["path"].iloc[0] == "images_001/images/00000001_000.png"
        and (table.rows["path"] != "").all()
    )
    assert set(table.rows["split"]) == {"train_val", "test"}
    said = capsys.readouterr()
    assert f"next: cxr check nih_densenet121 'data.root={root}'" in said.out
    assert "images_003.tar.gz (3 of 3): 0.00 GB in 0 s, 2 images" in said.err
    assert sorted(os.listdir(root)) == [
        ".cxr-download.json", *sorted((*TABLES, "images_001", "images_002", "images_003"))
    ]  # fmt: skip


def test_a_second_call_downloads_only_what_is_missing(published: Server, tmp_path: Path) -> None:
    root = tmp_path / "nih"
    assert nih.download(root) == 6
    published.asked.clear()
    assert nih.download(root) == 6 and published.asked == []
    next((root / "images_002" / "images").iterdir()).unlink()
    assert nih.download(root) == 6
    assert [path for path, *_ in published.asked] == ["/1.gz"]
    assert len(list((root / "images_002" / "images").iterdir())) == 2


def test_a_cut_download_continues_and_a_kept_archive_is_not_fetched_again(
    published: Server, tmp_path: Path
) -> None:
    published.cuts = [None, None, None, 100, 0, 0, 0, 0]
    with pytest.raises(CxrError, match="the server sends nothing"):
        nih.download(tmp_path / "nih", keep=True)
    assert nih.download(tmp_path / "nih", keep=True) == 6
    assert (tmp_path / "nih" / "images_001.tar.gz").is_file()
    (tmp_path / "nih" / ".cxr-download.json").unlink()
    shutil.rmtree(tmp_path / "nih" / "images_001")
    shutil.rmtree(tmp_path / "nih" / "images_002")
    shutil.rmtree(tmp_path / "nih" / "images_003")
    published.asked.clear()
    assert nih.download(tmp_path / "nih") == 6 and published.asked == []


def test_ctrl_c_keeps_what_is_there_and_says_how_to_continue(
    published: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(remote: Remote, folder: Path, report: Report = lambda num_bytes: None) -> Path:
        if remote.name == "images_002.tar.gz":
            raise KeyboardInterrupt
        return fetch(remote, folder, report)

    with monkeypatch.context() as patched:
        patched.setattr(nih, "fetch", interrupt)
        assert call("download", "nih", "--to", tmp_path / "nih") == 130
    assert "what was downloaded stays; the same command continues" in capsys.readouterr().err
    published.asked.clear()
    assert call("download", "nih", "--to", tmp_path / "nih") == 0
    assert [path for path, *_ in published.asked] == ["/1.gz", "/2.gz"]


def test_what_a_killed_command_left_is_unpacked_again(published: Server, tmp_path: Path) -> None:
    left = tmp_path / "nih" / ".images_001.partial" / "images"
    left.mkdir(parents=True)
    (left / "00000009_000.png").write_bytes(b"half")
    assert nih.download(tmp_path / "nih") == 6
    assert not left.exists() and len(list((tmp_path / "nih" / "images_001" / "images").iterdir())) == 2


def test_a_small_disk_is_refused_before_anything_is_fetched(
    published: Server, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = [Remote(one.name, one.url, 10**6, one.algorithm, one.digest) for one in nih.ARCHIVES]
    monkeypatch.setattr(nih, "ARCHIVES", large)
    with pytest.raises(CxrError, match=r"the disk has 0\.0 GB free, and 0\.0 GB are needed"):
        nih.download(small_disk / "nih")
    assert published.asked == []


def test_folders_of_another_program_are_never_replaced(published: Server, tmp_path: Path) -> None:
    (tmp_path / "nih" / "images_002" / "images").mkdir(parents=True)
    with pytest.raises(CxrError, match="images_002: is there, and cxr download has not made it"):
        nih.download(tmp_path / "nih")
    assert published.asked == []


def test_a_table_that_cannot_be_had_is_named_with_the_page_and_the_images_come(
    published: Server, tmp_path: Path
) -> None:
    published.files["/test_list.txt"] = b"<html>log in</html>"
    with pytest.raises(CxrError) as error:
        nih.download(tmp_path / "nih")
    assert error.value.hint.endswith(
        "https://nihcc.app.box.com/v/ChestXray-NIHCC and put beside the images: test_list.txt"
    )
    assert len(list((tmp_path / "nih").glob("images_*/images/*.png"))) == 6
    shutil.copyfile(tmp_path / "original" / "test_list.txt", tmp_path / "nih" / "test_list.txt")
    assert nih.download(tmp_path / "nih") == 6


def test_a_table_of_another_edition_stays(
    published: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nih").mkdir()
    (tmp_path / "nih" / TABLES[0]).write_text("mine")
    nih.download(tmp_path / "nih")
    assert (tmp_path / "nih" / TABLES[0]).read_text() == "mine"
    assert "another edition? It stays as it is" in capsys.readouterr().err


def test_the_package_holds_nihs_tables_byte_for_byte() -> None:
    entry, boxes, *lists = nih.TABLES
    assert [len(nih._from_package(table) or b"") for table in (entry, boxes)] == [9_003_496, 92_416]
    assert [nih._from_package(table) for table in lists] == [None, None]


@pytest.mark.real
def test_the_lists_are_those_whose_checksums_are_recorded(sample_data: Path) -> None:
    for table in nih.TABLES[2:]:
        content = (sample_data / "nih-1024" / table.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (table.num_bytes, table.digest)


def test_the_archives_are_twelve_over_https() -> None:
    assert [archive.name for archive in nih.ARCHIVES] == [f"images_{n:03}.tar.gz" for n in range(1, 13)]
    assert all(remote.url.startswith("https://nihcc.") for remote in (*nih.ARCHIVES, *nih.TABLES))
    assert len({archive.digest for archive in nih.ARCHIVES} | {archive.url for archive in nih.ARCHIVES}) == 24
    assert sum(archive.num_bytes for archive in nih.ARCHIVES) == 45_079_862_784


def test_datasets_behind_a_registration_are_said_and_not_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("chexpert", "mimic", "padchest", "vindr", "brax", "rsna", "imagenet"):
        assert call("download", name) == 2
        text = capsys.readouterr().err
        assert text.startswith(f"error: {name}: ") and "docs/data.md" in text
        assert name == "imagenet" or "https://" in text
    assert os.listdir(tmp_path) == []


def test_the_notes_of_another_form_count_as_none(published: Server, tmp_path: Path) -> None:
    (tmp_path / "nih").mkdir()
    for text in ("[]", "{", json.dumps({"images_001.tar.gz": "x"})):
        (tmp_path / "nih" / ".cxr-download.json").write_text(text)
        assert nih._read_notes(tmp_path / "nih") == {}
