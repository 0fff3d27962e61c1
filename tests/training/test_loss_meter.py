import pytest
import torch

from cxr.training.kernels import training_kernels
from cxr.training.loss_meter import Pace, describe_pace, format_duration
from cxr.training.profile import describe_shares, measure_union


def test_the_time_left_is_that_of_images_and_validations() -> None:
    assert Pace().seconds_left(100, 1) is None
    pace = Pace(seconds=10, num_images=200, validation_seconds=7)
    assert (pace.images_per_second, pace.seconds_left(400, 3)) == (20, 20 + 21)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3570, "1 h 0 min"), (4320, "1 h 12 min")]
)
def test_times_are_said_in_words(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


@pytest.mark.parametrize(("waited", "words"), [(0.4, "20 images/s"), (2, "20 images/s (20% waiting)")])
def test_waiting_for_images_is_said_where_it_matters(waited: float, words: str) -> None:
    assert describe_pace(Pace(10, 200, waited)) == words


def test_the_shares_of_a_gpu_add_up() -> None:
    assert describe_shares(10, 1, 7) == "GPU computing 70%, waiting for images 10%, for the host 20%"
    assert (
        describe_shares(10, 5, 9) == "GPU computing 90%, waiting for images 10%, for the host 0%"
    )  # overlapped
    assert describe_shares(10, 1, None) == "computing 90%, waiting for images 10%"


def test_kernels_of_several_streams_are_counted_once() -> None:
    assert measure_union([(5, 6), (0, 2), (1, 3), (1, 2)]) == 4
    assert measure_union([]) == 0


def test_deterministic_training_leaves_pytorch_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def flags() -> tuple[bool, bool, bool]:
        cudnn = torch.backends.cudnn
        return cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled()

    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = flags()
    with training_kernels(deterministic=True):
        assert flags() == (False, True, True)
    with training_kernels(deterministic=False):
        assert flags() == (True, False, False)
    assert flags() == before
