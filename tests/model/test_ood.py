import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf

from benchmarks.ood import alarm_rates, rows_of, values_of
from benchmarks.ood_images import changed, invented
from cxr.config.load import override
from cxr.config.schema import Config, Phantom
from cxr.data.dataset import open_dataset
from cxr.data.placement import SharedPixels
from cxr.errors import CxrError
from cxr.model import appearance
from cxr.model import checkpoint as checkpoints
from cxr.model.candidate import Candidate, open_candidate
from cxr.model.ood import OODDetector, from_arrays, to_arrays
from cxr.model.ood_fit import MIN_PATIENTS, draw_patients, fit_detector, fit_gaussian
from cxr.phantom.dataset import generate
from cxr.training.train import train
from tests.helpers.models import ALONE
from tests.training.test_distributed import train_in_two

Make = Callable[..., Config]
LOOKS = appearance.count(64)


def rows(num: int, width: int, seed: int = 0) -> np.ndarray:
    """Values as of images: `width` features that depend on each other and LOOKS further numbers."""
    draws = np.random.default_rng(seed)
    mixed = draws.normal(size=(num, 12)) @ np.random.default_rng(7).normal(size=(12, width + LOOKS))
    return np.asarray(mixed + draws.normal(size=mixed.shape))


def detector_of(num: int, width: int = 40, images_each: int = 2) -> OODDetector:
    found = fit_detector(rows(num, width), width, [str(number // images_each) for number in range(num)])
    assert found
    return found


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes a Config of 500 generated images of 64 pixels, of which some 60 patients validate."""
    folder = tmp_path_factory.mktemp("ood")
    generate(folder / "data", Phantom(num_images=500, size=64))

    def config(out: Path, *overrides: str) -> Config:
        values = {
            "out": out,
            "data": {"source": "phantom", "root": folder / "data", "val_fraction": 0.35},
            "image": {"store_size": 64, "size": 64},
            "store": {"path": folder / "store", "where": "disk"},
            "model": {"backbone": "resnet18", "weights": "none"},
            "train": {"epochs": 1, "batch_size": 32, "lr": 1e-3, "ema": 0.9, "precision": "fp32"},
        }
        return override(Config.model_validate(values), overrides)

    return config


@pytest.fixture(scope="module")
def candidate(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """A model trained on them, with its data."""
    config = make(tmp_path_factory.mktemp("run") / "run")
    return open_candidate(train(config, open_dataset(config), ALONE), [], SharedPixels(ALONE.device))


@pytest.mark.parametrize(("num", "width"), [(60, 40), (2000, 12)])
def test_the_distance_is_that_of_scikit_learn_where_every_direction_is_kept(num: int, width: int) -> None:
    known, new = rows(num, width)[:, :width], rows(50, width, 1)[:, :width]
    scale = known.std(axis=0)
    reference = LedoitWolf().fit(known / scale)
    expected = 0.5 * np.log(reference.mahalanobis(new / scale) / width)
    np.testing.assert_allclose(fit_gaussian(known).log_distance(new), expected, rtol=1e-6, atol=1e-8)


def test_more_features_than_images_keep_the_widest_directions_of_scikit_learns_covariance() -> None:
    known = rows(100, 512)[:, :512]
    gaussian = fit_gaussian(known)
    expected = np.linalg.eigvalsh(LedoitWolf().fit(known / known.std(axis=0)).covariance_)
    np.testing.assert_allclose(gaussian.variances, expected[-64:], rtol=1e-8)
    np.testing.assert_allclose(gaussian.rest, expected[:-64].mean(), rtol=1e-8)
    np.testing.assert_allclose(gaussian.directions @ gaussian.directions.T, np.eye(64), atol=1e-9)


def test_dead_features_and_equal_rows_give_finite_distances() -> None:
    known = rows(80, 30)[:, :30]
    known[:, :20] = 0.0
    for values in (known, np.ones((80, 30))):
        assert np.isfinite(fit_gaussian(values).log_distance(rows(9, 30)[:, :30])).all()


@pytest.mark.parametrize("num", [300, 2000])
def test_about_one_new_image_in_a_hundred_raises_the_alarm(num: int) -> None:
    found = detector_of(num)
    new = (found.score(rows(20_000, 40, 1)) > found.measured.limit).mean()
    assert new < 0.02
    assert found.measured.alarms / num < 0.02
    assert (found.measured.num_images, found.measured.num_patients) == (num, num // 2)


def test_a_false_alarm_is_counted_on_patients_that_took_no_part() -> None:
    values, patients = rows(400, 40), [str(number // 4) for number in range(400)]
    values[:4] += 1000.0  # one patient unlike all others, whom no fit on other patients expects
    found = fit_detector(values, 40, patients)
    assert found
    assert found.measured.alarms >= 4


def test_few_patients_are_no_ground_for_a_limit_however_many_their_images() -> None:
    patients = [str(number % (MIN_PATIENTS - 1)) for number in range(500)]
    assert fit_detector(rows(500, 40), 40, patients) is None
    assert fit_detector(rows(500, 40), 40, [str(number % MIN_PATIENTS) for number in range(500)]) is not None


def test_all_images_of_the_patients_drawn_are_looked_at_and_no_more_than_asked_for() -> None:
    patients = np.random.default_rng(0).integers(0, 300, 1000).astype(str)
    places = np.arange(5000, 6000)
    some = draw_patients(places, patients, 400)
    assert 380 < len(some) <= 400
    assert set(patients[some - 5000]).isdisjoint(np.delete(patients, some - 5000))
    assert (np.diff(some) > 0).all()
    np.testing.assert_array_equal(draw_patients(places, patients, 1000), places)


def test_it_is_small_and_the_same_after_a_round_trip_through_float32() -> None:
    found = detector_of(300, 1024)
    arrays = to_arrays(found)
    assert sum(array.nbytes for array in arrays.values()) < 1e6
    again = from_arrays(found.measured, arrays, 1024)
    new = rows(100, 1024, 1)
    np.testing.assert_allclose(again.score(new), found.score(new), atol=1e-4)


def test_a_thumbnail_is_opencvs_reduction_and_knows_no_brightness_or_contrast() -> None:
    square = np.random.default_rng(0).integers(0, 200, (64, 64), dtype=np.uint8)
    small = cv2.resize(square.astype(np.float32) / 255, (8, 8), interpolation=cv2.INTER_AREA)
    expected = (small - small.mean()) / (small.std() + 0.02)
    found = appearance.describe(torch.from_numpy(np.stack([square, square // 2 * 2 + 40])))[:, :64].numpy()
    np.testing.assert_allclose(found[0], expected.ravel(), atol=1e-5)
    np.testing.assert_allclose(found[1], found[0], atol=0.1)


def test_texture_measures_brightness_extremes_and_detail() -> None:
    board = np.indices((16, 16)).sum(axis=0) % 2 * 255
    images = np.stack([np.zeros((16, 16)), np.full((16, 16), 255), board]).astype(np.uint8)
    dark, white, checked = appearance.describe(torch.from_numpy(images))[:, 64:].numpy()
    np.testing.assert_allclose(np.stack([dark, white])[:, :4], [[0, 0, 1, 0], [1, 0, 0, 1]])
    np.testing.assert_allclose(checked[:4], 0.5)
    quiet = np.log(0.003)
    np.testing.assert_allclose(checked[4:], [np.log(1.003), np.log(1.003), quiet, quiet], rtol=1e-5)
    np.testing.assert_allclose(dark[4:], quiet, rtol=1e-5)


def test_a_trained_model_flags_what_is_no_radiograph_and_leaves_held_out_ones_alone(
    candidate: Candidate,
) -> None:
    test = rows_of(candidate, "test")
    kinds = ("inverted", "upside down", "mirrored (should not alarm)")
    seen = {kind: squares for kind, squares in changed(test).items() if kind in kinds}
    rates = alarm_rates(candidate, {"test": test, **seen, **invented(64)})
    measured = candidate.checkpoint.ood
    assert measured
    assert rates["test"] < 0.08, "the limit is meant for 1 in 100, known from some 150 images"
    assert measured.measured.alarms / measured.measured.num_images < 0.06
    assert rates["mirrored (should not alarm)"] < 0.12
    assert rates["blank"] == rates["white noise"] == 1
    for kind in ("photographs", "drawn patterns and text", "weak noise on grey", "inverted", "upside down"):
        assert rates[kind] > 0.9, kind


def test_a_checkpoint_keeps_it(candidate: Candidate, tmp_path: Path) -> None:
    before = candidate.checkpoint
    checkpoints.save(tmp_path / "copy.safetensors", before)
    after = checkpoints.load(tmp_path / "copy.safetensors")
    values, _ = values_of(before, rows_of(candidate, "test"))
    assert before.ood and after.ood
    assert after.ood.measured == before.ood.measured
    np.testing.assert_array_equal(after.ood.score(values), before.ood.score(values))


def test_the_images_it_was_fitted_on_are_scored_as_predict_scores_them(candidate: Candidate) -> None:
    detector = candidate.checkpoint.ood
    assert detector
    val = rows_of(candidate, "val")
    ids = candidate.dataset.table.rows["patient_id"].iloc[candidate.dataset.rows("val")]
    values, _ = values_of(candidate.checkpoint, val)
    again = fit_detector(values, candidate.checkpoint.classifier.head.in_features, list(ids))
    assert again
    np.testing.assert_allclose(again.reach, detector.reach, rtol=1e-3)
    np.testing.assert_allclose(again.score(values), detector.score(values), atol=1e-2)


def test_bfloat16_raises_hardly_another_alarm(candidate: Candidate) -> None:
    classifier, detector = candidate.checkpoint.classifier, candidate.checkpoint.ood
    assert detector
    from cxr.model.predict import feature_map, ood_vectors

    squares = torch.from_numpy(rows_of(candidate, "test"))
    exact, half = (
        detector.score(ood_vectors(feature_map(classifier, squares, 64, dtype), squares).numpy())
        for dtype in (None, torch.bfloat16)
    )
    assert np.abs(half - exact).max() < 0.1


def without(file: Path, old: Path, fault: str) -> Path:
    """The checkpoint as older versions wrote it, or with a fault."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(old, "pt") as opened:
        header = json.loads(opened.metadata()["cxr"]) | {"format": 1}  # without a checksum
    tensors = load_file(old)
    if fault == "old":
        del header["familiarity"]
    if fault in ("old", "absent"):
        tensors = {name: value for name, value in tensors.items() if not name.startswith("familiarity.")}
    if fault == "shape":
        tensors["familiarity.features.mean"] = torch.zeros(3)
    if fault == "limit":
        header["familiarity"]["limit"] = "high"
    save_file(tensors, file, {"cxr": json.dumps(header)})
    return file


def test_an_older_checkpoint_loads_without_it(candidate: Candidate, tmp_path: Path) -> None:
    file = without(tmp_path / "old.safetensors", candidate.run / checkpoints.BEST, "old")
    assert checkpoints.load(file).ood is None


@pytest.mark.parametrize("fault", ["absent", "shape", "limit"])
def test_a_damaged_one_is_an_error(fault: str, candidate: Candidate, tmp_path: Path) -> None:
    file = without(tmp_path / "bad.safetensors", candidate.run / checkpoints.BEST, fault)
    with pytest.raises(CxrError, match="does not fit this version of cxr"):
        checkpoints.load(file)


def test_few_validation_patients_leave_nothing_in_the_checkpoint(trained: Path) -> None:
    assert checkpoints.load(trained).ood is None
    assert checkpoints.load(trained).metadata.familiarity is None


def test_two_processes_find_what_one_does(make: Make, tmp_path: Path) -> None:
    overrides = ("model.train_layers=head", "train.epochs=1", "image.size=32")
    one = make(tmp_path / "one", *overrides)
    train(one, open_dataset(one), ALONE)
    train_in_two(make(tmp_path / "two", *overrides))
    alone, both = (checkpoints.load(tmp_path / run).ood for run in ("one", "two"))
    assert alone and both
    np.testing.assert_allclose(both.reach, alone.reach, rtol=1e-2)
    np.testing.assert_allclose(both.middle, alone.middle, atol=1e-3)
    assert both.measured.alarms == alone.measured.alarms
