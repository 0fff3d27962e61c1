import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from cxr.download import request
from cxr.download.fetch import Remote, fetch
from cxr.errors import CxrError
from tests.helpers.server import Server

CONTENT = np.random.default_rng(0).bytes(3_000_000)  # three chunks
NAME = "images_001.tar.gz"


def publish(server: Server, content: bytes = CONTENT, path: str = "/x.gz") -> Remote:
    """The file as it is published, and served."""
    server.files[path] = content
    return Remote(NAME, server.url + path, len(content), "md5", hashlib.md5(content).hexdigest())


def error_of(remote: Remote, folder: Path) -> str:
    with pytest.raises(CxrError) as error:
        fetch(remote, folder)
    return error.value.render()


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_file_is_fetched_once_and_reported(server: Server, tmp_path: Path) -> None:
    remote, reported = publish(server), list[int]()
    for _ in range(2):
        assert fetch(remote, tmp_path, reported.append).read_bytes() == CONTENT
    assert names(tmp_path) == [NAME] and len(server.asked) == 1
    assert reported == sorted(reported) and reported[-1] == len(CONTENT)


def test_a_cut_connection_is_continued_where_it_was_cut(server: Server, tmp_path: Path) -> None:
    remote = publish(server)
    server.cuts = [1_500_000, 700_000, 0]
    server.tags["/x.gz"] = '"one"'
    assert fetch(remote, tmp_path).read_bytes() == CONTENT
    wanted = [("", ""), ("bytes=1500000-", '"one"'), ("bytes=2200000-", '"one"'), ("bytes=2200000-", '"one"')]
    assert [asked[1:] for asked in server.asked] == wanted


def test_a_connection_that_stalls_is_cut(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "STALL_SECONDS", 0.2)
    server.cuts, server.stall = [1_200_000], 2.0
    assert fetch(publish(server), tmp_path).read_bytes() == CONTENT
    assert server.asked[1][1].startswith("bytes=")


def test_attempts_end_and_the_next_command_continues(server: Server, tmp_path: Path) -> None:
    remote = publish(server)
    server.cuts = [1_000_000, 0, 0, 0, 0]
    text = error_of(remote, tmp_path)
    assert "the server sends nothing" in text and "the same command continues" in text
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:1_000_000]
    server.cuts = []
    assert fetch(remote, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1][1] == "bytes=1000000-"


def test_a_server_without_ranges_sends_it_all_again(server: Server, tmp_path: Path) -> None:
    server.cuts, server.ranges = [1_000_000], False
    assert fetch(publish(server), tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_another_range_than_asked_for_is_never_appended(server: Server, tmp_path: Path) -> None:
    server.cuts, server.lie = [1_000_000], 7
    assert fetch(publish(server), tmp_path).read_bytes() == CONTENT
    assert [asked[1] for asked in server.asked] == ["", "bytes=1000000-", ""]


def test_a_file_that_changes_in_between_is_not_joined(server: Server, tmp_path: Path) -> None:
    old = publish(server)
    server.cuts, server.tags["/x.gz"] = [1_000_000, 0, 0, 0, 0], '"old"'
    error_of(old, tmp_path)
    new = publish(server, CONTENT[::-1])
    server.cuts, server.tags["/x.gz"] = [], '"new"'
    assert fetch(new, tmp_path).read_bytes() == CONTENT[::-1]
    assert server.asked[-1] == ("/x.gz", "bytes=1000000-", '"old"')


def test_a_file_of_another_size_or_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    remote = publish(server)
    server.files["/x.gz"] = CONTENT + b"more"
    assert "has 3,000,004 bytes, and 3,000,000 are published" in error_of(remote, tmp_path)
    server.files["/x.gz"] = CONTENT[::-1]
    assert f"and {remote.digest} is published" in error_of(remote, tmp_path)
    assert names(tmp_path) == [] and len(server.asked) == 3  # damage may have been on the way: tried twice


def test_a_file_that_is_there_with_other_bytes_stays(server: Server, tmp_path: Path) -> None:
    remote = publish(server)
    (tmp_path / NAME).write_bytes(b"mine")
    assert "has 4 bytes" in error_of(remote, tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"mine" and server.asked == []


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/gzip"])
def test_a_web_page_is_no_file(kind: str, server: Server, tmp_path: Path) -> None:
    page = b"\n<!DOCTYPE html><title>Log in</title>" + b" " * 100
    server.kind = kind
    assert "answers with a web page instead of the file" in error_of(publish(server, page), tmp_path)
    assert names(tmp_path) == []


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server: Server, tmp_path: Path) -> None:
    remote = publish(server)
    server.statuses = [503, 429]
    assert fetch(remote, tmp_path).read_bytes() == CONTENT
    gone = Remote("other", server.url + "/gone", 1, "md5", "")
    assert "answers 404 (Not Found)" in error_of(gone, tmp_path)
    assert len(server.asked) == 4


def test_redirects_lead_to_https_only(server: Server, tmp_path: Path) -> None:
    remote = publish(server)
    server.redirects["/there"] = "/x.gz"
    there = Remote(NAME, server.url + "/there", remote.num_bytes, "md5", remote.digest)
    assert fetch(there, tmp_path).read_bytes() == CONTENT
    for place, address in enumerate(
        ("http://example.org/x.gz", "ftp://127.0.0.1/x.gz", "file:///etc/passwd")
    ):
        server.redirects[f"/{place}"] = address
        text = error_of(Remote("other", f"{server.url}/{place}", 1, "md5", ""), tmp_path)
        assert "not https" in text or "answers 302" in text
    assert "not https" in error_of(Remote("other", "http://example.org/x", 1, "md5", ""), tmp_path)


def test_an_unreachable_server_is_an_error(server: Server, tmp_path: Path) -> None:
    nobody = Remote(NAME, "http://127.0.0.1:9/x", 1, "md5", "")
    assert "no connection (Connection refused)" in error_of(nobody, tmp_path)


def test_a_full_disk_keeps_what_is_there_and_more_room_continues(
    server: Server, small_disk: Path, tmp_path: Path
) -> None:
    remote = publish(server)
    assert f"{NAME}.part: the disk is full" in error_of(remote, small_disk)
    part = (small_disk / f"{NAME}.part").read_bytes()
    assert 1_000_000 < len(part) < len(CONTENT) and CONTENT.startswith(part)
    (tmp_path / f"{NAME}.part").write_bytes(part)
    assert fetch(remote, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1][1] == f"bytes={len(part)}-"


def test_a_part_that_is_too_long_or_whole_is_judged_by_the_published_size(
    server: Server, tmp_path: Path
) -> None:
    remote = publish(server)
    part = tmp_path / f"{NAME}.part"
    part.write_bytes(CONTENT)
    assert fetch(remote, tmp_path).read_bytes() == CONTENT and server.asked == []
    (tmp_path / NAME).unlink()
    part.write_bytes(CONTENT + b"x")
    assert fetch(remote, tmp_path).read_bytes() == CONTENT and len(server.asked) == 1
