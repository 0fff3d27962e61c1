from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cxr.explain.attacks import STEP_SHARE, STEPS, Attack, Attacker
from cxr.explain.sample import Sample
from cxr.model.classifier import Classifier
from tests.helpers.behaviour import CORNER, MIDDLE, SIZE, Reader

ROWS = np.array([3, 8, 21])
LABELS = np.array([[1, 0], [0, np.nan], [np.nan, np.nan]])


def images(size: int = SIZE, low: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(low, 256, (3, size, size), dtype=torch.uint8, generator=generator)


def attack(kind: Attack, radius: float, seed: int = 0, model: Classifier | None = None) -> Tensor:
    attacker = Attacker((model or Reader()).eval(), SIZE, LABELS, ROWS, seed)
    return attacker.attack(images(), ROWS, kind, radius)


def by_hand(radius: float) -> Tensor:
    """Of a model that reads means: darker where the label is 1, brighter where it is 0, else unchanged."""
    expected = images().float()
    expected[(0, *CORNER)] -= radius
    expected[(0, *MIDDLE)] += radius
    expected[(1, *CORNER)] += radius
    return expected.clamp(0, 255)


@pytest.mark.parametrize("radius", [0.5, 8])
def test_fgsm_of_a_linear_model_is_the_step_by_hand(radius: float) -> None:
    torch.testing.assert_close(attack("fgsm", radius), by_hand(radius))


def test_pgd_of_a_linear_model_ends_where_fgsm_does_and_leaves_unknown_labels_at_their_random_start() -> None:
    found, expected = attack("pgd", 4), by_hand(4)
    for image, place in ((0, CORNER), (0, MIDDLE), (1, CORNER)):
        torch.testing.assert_close(found[(image, *place)], expected[(image, *place)])
    start = np.random.default_rng((0, 21)).uniform(-1, 1, (1, SIZE, SIZE))[0]
    clean = images()[2].float()
    torch.testing.assert_close(found[2], (clean + 4 * torch.from_numpy(start).float()).clamp(0, 255))
    assert STEPS * STEP_SHARE > 2  # from any start to the far side of the ball


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
@pytest.mark.parametrize("radius", [0.5, 8.0])
def test_attacks_stay_in_the_ball_and_the_range_and_raise_the_loss(kind: Attack, radius: float) -> None:
    torch.manual_seed(0)
    network = Classifier("resnet18", 2).eval()
    found = attack(kind, radius, model=network)
    clean = images().float()
    assert (found - clean).abs().max() <= radius + 1e-4 and found.min() >= 0 and found.max() <= 255
    assert (found != clean).any(dim=(1, 2))[:2].all()

    def loss(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            logits = network(pixels[:, None])
        known = torch.from_numpy(~np.isnan(LABELS))
        each = functional.binary_cross_entropy_with_logits(
            logits, torch.from_numpy(np.nan_to_num(LABELS)).float(), reduction="none"
        )
        return (each * known).sum(dim=1)

    assert (loss(found)[:2] > loss(clean)[:2]).all()


def test_an_attack_is_a_function_of_seed_and_row_not_of_the_batch() -> None:
    whole = attack("pgd", 2)
    attacker = Attacker(Reader().eval(), SIZE, LABELS, ROWS, 0)
    torch.testing.assert_close(attacker.attack(images()[1:2], ROWS[1:2], "pgd", 2), whole[1:2])
    assert not torch.equal(attack("pgd", 2, seed=1), whole)


def test_a_model_that_reads_means_is_fooled_by_a_radius_as_large_as_they_differ(
    make_sample: Callable[..., Sample],
) -> None:
    sample = make_sample()
    attacker = Attacker(Reader().eval(), SIZE, sample.predictions.y, sample.rows, 0)
    loader = sample.open_loader(sample.rows)
    (batch,) = loader.batches(sample.rows, len(sample.rows))
    attacked = attacker.attack(batch.images, batch.rows, "fgsm", 100)
    p = torch.sigmoid(sample.compute(attacked)).numpy()
    for c in range(2):
        known = ~np.isnan(sample.predictions.y[:, c])
        positive = sample.predictions.y[known, c] == 1
        assert p[known, c][positive].mean() < p[known, c][~positive].mean()
