import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr.data import placement
from cxr.data.file_records import PACKED, new_records
from cxr.data.manifest import make_manifest
from cxr.data.placement import Where, place
from cxr.data.store import Store, join_stores, open_store
from cxr.errors import CxrError
from cxr.images.prepare import Preprocess

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NUM_BYTES = 100 * 32 * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    wanted = make_manifest("nih", [str(row) for row in range(100)], Preprocess(32))
    pixels = np.random.default_rng(0).integers(0, 256, NUM_BYTES, dtype=np.uint8)
    pixels.tofile(tmp_path / "pixels.u8")
    rows = new_records(100)
    rows.status[:] = PACKED
    rows.crc32[:] = [zlib.crc32(row.data) for row in pixels.reshape(100, -1)]
    rows.save(tmp_path)
    (tmp_path / "manifest.json").write_text(wanted.to_json())
    return open_store(tmp_path, wanted)


def every(store: Store) -> npt.NDArray[np.intp]:
    return np.arange(len(store.readable))


def has_free(monkeypatch: pytest.MonkeyPatch, ram: float, gpu: float = 0) -> None:
    """A machine with this many times the store's bytes free."""
    monkeypatch.setattr(placement, "free_ram", lambda: int(ram * NUM_BYTES))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(gpu * NUM_BYTES), 10**12))


def test_the_gpu_without_a_gpu_is_an_error(store: Store) -> None:
    with pytest.raises(CxrError) as error:
        place(store, "gpu", CPU)
    assert error.value.render() == (
        "error: store.where: gpu needs a CUDA GPU, and there is none\nhint: use store.where=auto, ram or disk"
    )


@pytest.mark.parametrize("where", ["disk", "ram", "auto"])
def test_pixels_are_the_stores_wherever_they_live(store: Store, where: Where) -> None:
    pixels, _ = place(store, where, CPU)
    np.testing.assert_array_equal(np.asarray(pixels), store.pixels)


def test_ram_is_a_copy_and_disk_is_the_map(store: Store) -> None:
    assert isinstance(place(store, "disk", CPU)[0], np.memmap)
    assert not np.shares_memory(np.asarray(place(store, "ram", CPU)[0]), store.pixels)


@pytest.mark.parametrize(
    ("ram", "processes", "where"),
    [(2.0, 1, "RAM"), (1.9, 1, "disk"), (8.0, 4, "RAM"), (7.9, 4, "disk"), (0.0, 1, "disk")],
)
def test_auto_takes_ram_when_every_process_fits_in_half_of_what_is_free(
    store: Store, monkeypatch: pytest.MonkeyPatch, ram: float, processes: int, where: str
) -> None:
    has_free(monkeypatch, ram)
    assert f" {where} " in place(store, "auto", CPU, processes)[1]


@pytest.mark.parametrize(("gpu", "chosen"), [(2.0, "gpu"), (1.9, "ram")])
def test_auto_takes_the_gpu_when_half_of_its_free_memory_is_enough(
    monkeypatch: pytest.MonkeyPatch, gpu: float, chosen: str
) -> None:
    has_free(monkeypatch, ram=2, gpu=gpu)
    assert placement._choose(NUM_BYTES, CUDA, 1, spare=0)[0] == chosen


def test_free_ram_is_below_what_the_machine_has() -> None:
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total = int(lines["MemTotal"].split()[0]) * 1024
    assert 0 < placement.free_ram() <= total


def test_pixels_are_carried_over_in_blocks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_IMAGES_PER_BLOCK", 30)
    for one in (store, join_stores([store, store])):
        np.testing.assert_array_equal(
            placement._copy_to_gpu(one, every(one), CPU).numpy(), np.asarray(one.pixels)
        )
        np.testing.assert_array_equal(placement._copy_to_ram(one, every(one)), np.asarray(one.pixels))


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("num", [0, 1, 99, 100])
def test_only_the_rows_that_are_used_are_copied(store: Store, joined: bool, num: int) -> None:
    one = join_stores([store, store]) if joined else store
    rows = np.sort(np.random.default_rng(num).choice(len(one.readable), num, replace=False))
    pixels, line = place(one, "ram", CPU, rows=rows)
    np.testing.assert_array_equal(np.asarray(pixels), np.asarray(one.pixels)[rows])
    assert line == f"pixels in RAM ({num * 1024 / 1e6:,.1f} MB)"


def test_what_steps_need_is_left_free_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    has_free(monkeypatch, ram=2, gpu=3)
    assert placement._choose(NUM_BYTES, CUDA, 1, spare=NUM_BYTES)[0] == "gpu"
    assert placement._choose(NUM_BYTES, CUDA, 1, spare=NUM_BYTES + 2)[0] == "ram"


@pytest.mark.parametrize("joined", [False, True])
@given(place=st.integers(0, NUM_BYTES - 1), bit=st.integers(0, 7))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_found_wherever_pixels_are_copied_to(
    store: Store, joined: bool, place: int, bit: int
) -> None:
    whole = (store.path / "pixels.u8").read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 1 << bit
    (store.path / "pixels.u8").write_bytes(damaged)
    one = open_store(store.path, store.manifest)
    one = join_stores([one, one]) if joined else one
    for copy in (placement._copy_to_ram, lambda store, rows: placement._copy_to_gpu(store, rows, CPU)):
        with pytest.raises(CxrError, match=f"1 image of 100 damaged on this disk: row {place // 1024}\n"):
            copy(one, every(one))
    (store.path / "pixels.u8").write_bytes(whole)


@pytest.mark.cuda
def test_the_gpu_holds_the_stores_pixels(store: Store, gpu: torch.device) -> None:
    for where in ("gpu", "auto"):
        pixels, line = place(store, "gpu" if where == "gpu" else "auto", gpu)
        assert isinstance(pixels, torch.Tensor)
        assert pixels.device.type == "cuda"
        assert " GPU " in line
        np.testing.assert_array_equal(pixels.cpu().numpy(), store.pixels)


def test_what_a_slurm_job_or_a_container_may_take_is_not_exceeded(tmp_path: Path) -> None:
    job = tmp_path / "sys/fs/cgroup/system.slice/job_7"
    (job / "step_0").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 900 kB\nMemAvailable: 800 kB\n")
    assert placement.free_ram(tmp_path) == 800 * 1024
    (tmp_path / "proc/self/cgroup").write_text("0::/system.slice/job_7/step_0\n")
    for group, limit in ((job, "300000"), (job / "step_0", "max")):
        (group / "memory.max").write_text(limit)
        (group / "memory.current").write_text("250000\n")
        (group / "memory.stat").write_text("anon 50000\ninactive_file 100000\n")
    assert placement.free_ram(tmp_path) == 150_000
