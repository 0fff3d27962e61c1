import itertools
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.data.loader import Batch, Loader, Rows, epoch_order, epoch_rows, gather, split_batches
from cxr.data.sampling import num_visits
from cxr.data.store import JoinedPixels
from cxr.labels.targets import Targets

CPU = torch.device("cpu")
SOME = st.tuples(st.integers(1, 60), st.integers(1, 20), st.integers(1, 5), st.integers(0, 10_000))
"""Rows, global batch size, processes, seed."""


def make_loader(num: int, device: torch.device = CPU) -> Loader:
    """Rows of 3 cells, some masked; row r has the pixels of row 7 r + 3 of a longer store."""
    draws = np.random.default_rng(num)
    store = np.arange(7 * num + 4, dtype=np.uint16).view(np.uint8).reshape(-1, 1, 2).repeat(2, axis=1)
    targets = Targets(("a", "b", "c"), draws.random((num, 3), np.float32), draws.random((num, 3)) < 0.7)
    return Loader(np.ascontiguousarray(store), 7 * np.arange(num) + 3, targets, device)


def place_of(image: torch.Tensor) -> int:
    """The place that `make_loader` wrote into a picture's pixels."""
    return int(image[0, 0]) + 256 * int(image[0, 1])


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "loader"]


@given(SOME)
@settings(max_examples=150, deadline=None)
def test_every_epoch_visits_each_row_once_for_any_number_of_processes(
    some: tuple[int, int, int, int],
) -> None:
    num, batch_size, world, seed = some
    order = epoch_order(np.arange(num), seed, epoch=1)
    seen = [split_batches(order, batch_size, rank, world) for rank in range(world)]
    shares = np.concatenate([share for steps in seen for _, share in steps])
    assert sorted(shares[shares >= 0]) == list(range(num))
    assert len({len(steps) for steps in seen}) == 1


@given(SOME)
@settings(max_examples=150, deadline=None)
def test_the_shares_of_all_processes_join_to_the_batch_of_one(some: tuple[int, int, int, int]) -> None:
    num, batch_size, world, seed = some
    order = epoch_order(np.arange(num), seed, epoch=0)
    straight = split_batches(order, batch_size)
    parts = [split_batches(order, batch_size, rank, world) for rank in range(world)]
    for step, (batch, whole) in enumerate(straight):
        joined = np.concatenate([part[step][1] for part in parts])
        assert len({len(part[step][1]) for part in parts}) == 1
        np.testing.assert_array_equal(joined[: len(whole)], whole)
        assert (joined[len(whole) :] == -1).all()
        np.testing.assert_array_equal(batch, whole)


@given(SOME)
@settings(max_examples=40, deadline=None)
def test_processes_agree_on_what_counts_and_fillers_never_do(some: tuple[int, int, int, int]) -> None:
    num, batch_size, world, seed = some
    loader, order = make_loader(num), epoch_order(np.arange(num), seed, epoch=0)
    ranks = [loader.batches(order, batch_size, rank, world) for rank in range(world)]
    for shares in zip(*ranks, strict=True):
        assert sum(int(share.mask.sum()) for share in shares) == shares[0].num_valid
        assert len({(share.num_valid, share.num_global) for share in shares}) == 1
        assert [share.first for share in shares] == [rank * len(shares[0].rows) for rank in range(world)]
        assert sum(int((share.rows >= 0).sum()) for share in shares) == shares[0].num_global
        assert not any(share.mask[torch.from_numpy(share.rows < 0)].any() for share in shares)


@given(SOME)
@settings(max_examples=40, deadline=None)
def test_images_and_targets_are_those_of_their_rows(some: tuple[int, int, int, int]) -> None:
    num, batch_size, world, seed = some
    loader, order = make_loader(num), epoch_order(np.arange(num), seed, epoch=0)
    for batch in loader.batches(order, batch_size, world - 1, world):
        real = np.flatnonzero(batch.rows >= 0)
        assert [place_of(batch.images[row]) for row in real] == [7 * row + 3 for row in batch.rows[real]]
        torch.testing.assert_close(batch.y[real], loader._y[batch.rows[real]], rtol=0, atol=0)
        assert (batch.mask[real] == loader._mask[batch.rows[real]]).all()
        assert len(batch.images) == len(batch.y) == len(batch.mask) == len(batch.rows)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    rows = np.arange(100)
    orders = {
        (seed, epoch): tuple(epoch_order(rows, seed, epoch)) for seed in range(5) for epoch in range(20)
    }
    assert len(set(orders.values())) == 100
    torch.manual_seed(1)
    torch.rand(3)
    assert all(tuple(epoch_order(rows, *key)) == order for key, order in orders.items())


def test_the_order_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    epoch_order(np.arange(10), 0, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_of_weight_one_are_visited_as_without_weights() -> None:
    groups = [(np.arange(10), 1.0), (np.arange(10, 35), 1.0)]
    assert epoch_rows(groups, 3, 2).tolist() == list(range(35))


WEIGHTED = st.lists(st.tuples(st.integers(1, 30), st.floats(0.01, 4)), min_size=1, max_size=4)


@given(WEIGHTED, st.integers(0, 10_000), st.integers(0, 50))
@settings(max_examples=100, deadline=None)
def test_each_row_is_visited_as_often_as_its_weight_says(
    sizes: list[tuple[int, float]], seed: int, epoch: int
) -> None:
    ends = np.cumsum([num for num, _ in sizes])
    groups = [(np.arange(end - num, end), weight) for end, (num, weight) in zip(ends, sizes, strict=True)]
    visited = epoch_rows(groups, seed, epoch)
    assert len(visited) == sum(num_visits(len(rows), weight) for rows, weight in groups)
    for rows, weight in groups:
        counts = [int((visited == row).sum()) for row in rows]
        assert set(counts) <= {int(weight), int(weight) + 1}
        assert sum(counts) == int(weight) * len(rows) + round((weight - int(weight)) * len(rows))


def test_the_share_is_drawn_anew_each_epoch_from_the_seed_alone() -> None:
    quarter = [(np.arange(40), 0.25)]
    drawn = {
        (seed, epoch): tuple(epoch_rows(quarter, seed, epoch)) for seed in range(3) for epoch in range(9)
    }
    assert len(set(drawn.values())) == 27
    assert all(tuple(epoch_rows(quarter, *key)) == rows for key, rows in drawn.items())
    often = np.bincount(np.concatenate([epoch_rows(quarter, 0, epoch) for epoch in range(2000)]))
    assert abs(often / 2000 - 0.25).max() < 0.05


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_visits_of_one(world: int) -> None:
    groups = [(np.arange(10), 2.5), (np.arange(10, 35), 0.4)]
    order = epoch_order(epoch_rows(groups, 1, 4), 1, 4)
    shares = np.concatenate(
        [share for rank in range(world) for _, share in split_batches(order, 8, rank, world)]
    )
    assert sorted(shares[shares >= 0]) == sorted(order)


def test_an_order_names_rows_of_the_dataset_and_not_places() -> None:
    rows = np.array([40, 7, 11])
    assert sorted(epoch_order(rows, 0, 0)) == [7, 11, 40]


@pytest.mark.parametrize("skip", [0, 1, 3, 7, 99])
def test_skipping_gives_what_is_left_after_dropping_the_first(skip: int) -> None:
    loader, order = make_loader(29), epoch_order(np.arange(29), 0, 0)
    straight = list(loader.batches(order, 4))[skip:]
    skipped = list(loader.batches(order, 4, skip=skip))
    assert [batch.rows.tolist() for batch in skipped] == [batch.rows.tolist() for batch in straight]
    assert all(
        torch.equal(ours, theirs) for ours, theirs in zip(*map(all_images, (skipped, straight)), strict=True)
    )


def all_images(batches: list[Batch]) -> list[torch.Tensor]:
    return [batch.images for batch in batches]


def test_a_fault_while_copying_is_raised_where_batches_are_taken() -> None:
    loader = make_loader(20)
    order: Rows = np.array([*range(12), 999, *range(12, 16)])
    taken: list[Batch] = []
    with pytest.raises(IndexError, match="999"):
        taken.extend(loader.batches(order, 4))
    assert not loader_threads()


@pytest.mark.parametrize("num_taken", [1, 2, 9])
def test_leaving_early_ends_the_thread(num_taken: int) -> None:
    batches = make_loader(50).batches(np.arange(50), 5)
    taken = list(itertools.islice(batches, num_taken))
    assert len(taken) == num_taken
    batches.close()  # type: ignore[attr-defined]
    assert not loader_threads()


def test_a_fault_of_the_taker_ends_the_thread() -> None:
    def take() -> None:
        for _ in make_loader(50).batches(np.arange(50), 2):
            raise RuntimeError("taker")

    with pytest.raises(RuntimeError, match="taker"):
        take()
    assert not loader_threads()


def test_a_finished_epoch_leaves_no_thread() -> None:
    assert len(list(make_loader(50).batches(np.arange(50), 3))) == 17
    assert not loader_threads()


def test_no_rows_give_no_batches() -> None:
    assert list(make_loader(5).batches(np.array([], np.int64), 4)) == []


def test_copying_rows_equals_indexing_for_arrays_and_tensors() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    rows = np.array([3, 3, 29, 0])
    for source in (pixels, torch.from_numpy(pixels), JoinedPixels([pixels[:3], pixels[3:4], pixels[4:]])):
        np.testing.assert_array_equal(gather(source, rows).numpy(), pixels[rows])


def test_a_batch_is_a_copy() -> None:
    loader = make_loader(6)
    (batch,) = loader.batches(np.arange(6), 6)
    batch.images.zero_()
    batch.mask.zero_()
    (again,) = loader.batches(np.arange(6), 6)
    assert [place_of(image) for image in again.images] == [7 * row + 3 for row in range(6)]
    assert int(again.mask.sum()) == again.num_valid


@pytest.mark.cuda
def test_batches_on_the_gpu_equal_those_on_the_cpu(gpu: torch.device) -> None:
    on_cpu = make_loader(40)
    on_gpu = make_loader(40, gpu)
    resident = make_loader(40, gpu)
    resident.pixels = torch.from_numpy(np.asarray(resident.pixels)).to(gpu)
    order = epoch_order(np.arange(40), 0, 0)
    for expected, copied, stayed in zip(
        *(one.batches(order, 7) for one in (on_cpu, on_gpu, resident)), strict=True
    ):
        assert copied.images.device.type == stayed.images.device.type == "cuda"
        assert torch.equal(copied.images.cpu(), expected.images)
        assert torch.equal(stayed.images.cpu(), expected.images)
        assert torch.equal(copied.mask.cpu(), expected.mask)
