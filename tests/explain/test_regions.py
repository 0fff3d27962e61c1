from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cxr.errors import CxrError
from cxr.explain.lungs import TEMPLATE_SIZE, describe, draw_template, enclose, open_segmentation
from cxr.explain.regions import BORDER, CORNER, REGIONS, Regions, fill, locate
from cxr.explain.shortcuts import share_on
from cxr.phantom.anatomy import Canvas
from cxr.phantom.exams import plan

CPU = torch.device("cpu")
ROWS = np.arange(2)


def noise(size: int = 100) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (2, size, size), dtype=torch.uint8, generator=generator)


def test_hidden_pixels_have_the_mean_of_the_visible_ones_and_these_stay() -> None:
    images = noise()
    for region in REGIONS:
        regions = Regions(None, CPU)
        mask = regions.find(images, ROWS)[region].numpy()
        hidden = regions.hide(images, ROWS, region).numpy()
        for image, part, changed in zip(images.numpy(), mask, hidden, strict=True):
            assert 0 < part.mean() < 1
            assert (changed[~part] == image[~part]).all()
            assert set(changed[part]) == {round(float(image[~part].mean()))}


def test_the_fill_says_nothing_of_what_is_hidden() -> None:
    images = noise()
    mask = torch.zeros(2, 100, 100, dtype=torch.bool)
    mask[:, 30:60] = True
    other = images.clone()
    other[mask] = 255
    assert torch.equal(fill(images, mask), fill(other, mask))


def test_border_and_corners_have_their_area() -> None:
    found = Regions(None, CPU).find(noise(), ROWS)
    assert found["border"].float().mean().item() == pytest.approx(1 - (1 - 2 * BORDER) ** 2, abs=1e-6)
    assert found["corners"].float().mean().item() == pytest.approx(4 * CORNER**2, abs=1e-6)
    assert torch.equal(found["outside"], ~found["lungs"])
    assert (found["chest"] | ~found["lungs"]).all()  # the lungs are in the chest
    assert not (found["chest"] & found["corners"])[:, :10, :10].any()  # a marker in a corner stays visible


def test_places_are_those_of_the_image_without_its_padding() -> None:
    images = noise()
    padded = torch.zeros(2, 100, 200, dtype=torch.uint8)
    padded[:, :, 50:150] = images
    across, down = locate(padded)
    alone, _ = locate(images)
    assert (
        torch.equal(across[..., 50:150], alone)
        and (across[..., :50] < 0).all()
        and (across[..., 150:] > 1).all()
    )
    assert down.min() > 0 and down.max() < 1
    both = Regions(None, CPU).find(images, ROWS)
    found = Regions(None, CPU).find(padded, ROWS)
    for region in REGIONS:
        assert torch.equal(found[region][:, :, 50:150], both[region])
    assert found["border"][:, :, :50].all() and found["outside"][:, :, :50].all()
    assert not found["chest"][:, :, :50].any()


def test_a_black_image_is_no_error() -> None:
    black = torch.zeros(2, 20, 20, dtype=torch.uint8)
    assert torch.equal(Regions(None, CPU).hide(black, ROWS, "lungs"), black)


def test_the_template_covers_the_lungs_of_the_phantom() -> None:
    template, shares = draw_template(), []
    hull = enclose(template)
    for exam in plan(20, 0):
        lungs = Canvas(exam.chest, TEMPLATE_SIZE, np.random.default_rng(0)).both > 0.5
        shares.append((template[lungs].mean(), hull[lungs].mean()))
    assert np.mean(shares, axis=0)[0] > 0.95 and np.min(shares, axis=0)[1] > 0.99


def test_the_hull_is_convex_and_holds_both_lungs() -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[40:60, 20:30] = mask[40:60, 70:80] = True
    hull = enclose(mask)
    assert hull[mask].all() and hull[50, 50] and not hull[20].any() and not hull[:, 10].any()
    assert not enclose(np.zeros((10, 10), np.bool_)).any()


def test_a_segmentation_is_used_and_an_empty_one_replaced() -> None:
    found = torch.zeros(2, 100, 100, dtype=torch.bool)
    found[0, 20:80, 10:40] = found[0, 20:80, 60:90] = True
    regions = Regions(lambda images: found, CPU)
    masks = regions.find(noise(), ROWS)
    template = Regions(None, CPU).find(noise(), ROWS)
    assert torch.equal(masks["lungs"][0], found[0]) and masks["chest"][0, 50, 50]
    assert torch.equal(masks["lungs"][1], template["lungs"][1])
    assert torch.equal(masks["chest"][1], template["chest"][1])
    assert regions.num_failed == 1


def test_without_weights_the_template_stands_in_and_asking_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_segmentation("auto", CPU) is None and open_segmentation("template", CPU) is None
    assert describe(None).startswith("a fixed template: two ellipses")
    with pytest.raises(CxrError, match="no weights of the segmentation"):
        open_segmentation("segmentation", CPU)


def test_a_constant_map_has_the_share_of_the_area_on_the_border() -> None:
    mask = Regions(None, CPU).find(noise(), ROWS)["border"]
    maps = torch.ones(2, 3, 7, 7)
    np.testing.assert_allclose(share_on(mask, maps), mask.float().mean().item(), rtol=1e-5)
    middle = torch.full((2, 1, 5, 5), -1.0)
    middle[:, :, 2, 2] = 1
    assert (share_on(mask, middle) == 0).all()
    assert np.isnan(share_on(mask, -maps)).all()
