import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from cxr.download.unpack import Unpacked, unpack
from cxr.errors import CxrError

NAMES = re.compile(r"\d{8}_\d{3}\.png")


def pack(path: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def try_unpack(archive: Path, folder: Path) -> Unpacked:
    return unpack(archive, folder, NAMES, lambda num_bytes: None)


def test_images_are_written_and_other_files_counted(tmp_path: Path) -> None:
    folder = link("images", "", tarfile.DIRTYPE)
    members: dict[str, bytes | tarfile.TarInfo] = {
        "images": folder,
        "images/00000001_000.png": b"one",
        "images/00000001_001.png": b"",
        "README": b"x",
    }
    archive = pack(tmp_path / "a.tar.gz", members)
    assert try_unpack(archive, tmp_path / "out") == Unpacked(2, 1)
    written = {str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*.*")}
    assert written == {"out/images/00000001_000.png", "out/images/00000001_001.png"}
    assert (tmp_path / "out/images/00000001_000.png").read_bytes() == b"one"


@pytest.mark.parametrize(
    "member",
    [
        link("images/00000001_000.png", "/etc/passwd"),
        link("images/00000001_000.png", "00000001_001.png", tarfile.LNKTYPE),
        link("images/00000001_000.png", "", tarfile.FIFOTYPE),
        link("../00000001_000.png", "", tarfile.REGTYPE),
        link("/tmp/00000001_000.png", "", tarfile.REGTYPE),
        link("..\\00000001_000.png", "", tarfile.REGTYPE),
    ],
    ids=["link", "hard link", "pipe", "above", "absolute", "backslash"],
)
def test_nothing_is_written_outside_and_no_link_is_made(member: tarfile.TarInfo, tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", {"x": member})
    with pytest.raises(CxrError, match=r"a\.tar\.gz: holds a (path outside|link or a device)"):
        try_unpack(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar.gz", "images", "out"]


def test_a_small_archive_cannot_fill_the_disk(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", {"images/00000001_000.png": bytes(20_000_000)})
    assert archive.stat().st_size < 100_000
    with pytest.raises(CxrError, match="unpacks to more than"):
        try_unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out" / "images").iterdir()) == []


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    archive = pack(
        tmp_path / "a.tar.gz", {f"images/0000000{n}_000.png": bytes(range(256)) * 9 for n in range(9)}
    )
    whole = archive.read_bytes()
    for content in (whole[: len(whole) // 2], b"\x1f\x8b" + b"\0" * 100, b"no gzip", b""):
        archive.write_bytes(content)
        with pytest.raises(CxrError, match=r"is damaged|holds no image"):
            try_unpack(archive, tmp_path / f"out{len(content)}")


def test_a_full_disk_is_said(small_disk: Path, tmp_path: Path) -> None:
    import numpy as np

    noise = np.random.default_rng(0).bytes(3_000_000)
    archive = pack(tmp_path / "a.tar.gz", {"images/00000001_000.png": noise})
    with pytest.raises(CxrError, match=r"00000001_000\.png: the disk is full"):
        try_unpack(archive, small_disk / "out")
