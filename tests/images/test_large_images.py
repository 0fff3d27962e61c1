"""How much memory large images take, in one thread and in several."""

import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from cxr.images import large_images
from cxr.images.large_images import image_memory, is_large, reserve_memory
from cxr.images.read import decode, read_file
from tests.images.test_read import join


def deep_colour(side: int) -> bytes:
    """A black PNG of side x side pixels in 16-bit RGB."""
    packed, row = zlib.compressobj(1), bytes(1 + 6 * side)
    pixels = b"".join(packed.compress(row * 50) for _ in range(side // 50)) + packed.flush()
    header = side.to_bytes(4, "big") * 2 + b"\x10\x02\0\0\0"
    return join([(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")])


PEAK = """
import resource, sys
from pathlib import Path
from cxr.images.read import read_file
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
shape = read_file(Path(sys.argv[1])).shape
print(*shape, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""
# a small process stands between: Linux counts into a process's peak what the one that started it held
LAUNCH = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"


@pytest.mark.parametrize("name", ["44-large-images/p_100M_grey8.png", "16-bit RGB"])
def test_100_million_pixels_take_less_than_the_limit(name: str, cases: Path, tmp_path: Path) -> None:
    path = cases / name
    if not path.is_file():
        path = tmp_path / "x.png"
        path.write_bytes(deep_colour(10_000))
    command = [sys.executable, "-c", LAUNCH, sys.executable, "-c", PEAK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    height, width, peak = map(int, done.stdout.split())
    assert (height, width) == (10_000, 10_000)
    assert peak < 850_000_000


def test_a_large_image_is_decoded_as_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    data = deep_colour(100)
    small = decode(data, "x")
    monkeypatch.setattr(large_images, "LARGE", 1000)
    np.testing.assert_array_equal(decode(data, "x"), small)


def test_large_images_share_the_room_and_small_ones_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_images, "LARGE", 10)
    monkeypatch.setattr(large_images, "_SHARED_BYTES", 250)
    lock, now, most = threading.Lock(), 0, 0

    def work(num_bytes: int) -> None:
        nonlocal now, most
        for _ in range(5):
            with image_memory():
                reserve_memory(num_bytes)
                with lock:
                    now += num_bytes
                    most = max(most, now)
                time.sleep(0.001)
                with lock:
                    now -= num_bytes

    threads = [threading.Thread(target=work, args=(100,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    with image_memory():
        reserve_memory(10)
        assert not is_large()
    for thread in threads:
        thread.join(20)
    assert 100 <= most <= 200
    assert not large_images._reserved


def test_a_thread_that_is_alone_never_waits_and_gives_its_room_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_images, "_SHARED_BYTES", 1)
    with pytest.raises(ValueError, match="x"), image_memory(), image_memory():
        reserve_memory(10**9)
        reserve_memory(2 * 10**9)
        assert is_large()
        raise ValueError("x")
    assert not is_large()


def test_reading_gives_its_room_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(large_images, "LARGE", 1)
    (tmp_path / "x.png").write_bytes(deep_colour(50))
    read_file(tmp_path / "x.png")
    assert not is_large()
