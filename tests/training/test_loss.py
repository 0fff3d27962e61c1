import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cxr.labels.targets import Targets
from cxr.training.loss import ClassWeights, Weighting, class_weights, logit_shift, masked_bce

WEIGHTINGS: list[Weighting] = ["chexnet", "pos_weight", "none"]


def draw(num: int = 60, findings: int = 4, seed: int = 0) -> tuple[Targets, Tensor]:
    """Targets with positive, negative, soft and masked cells, and logits for them."""
    rng = np.random.default_rng(seed)
    y = (rng.random((num, findings)) < [0.02, 0.2, 0.5, 0.9][:findings]).astype(np.float32)
    y = np.where(rng.random(y.shape) < 0.1, rng.random(y.shape), y).astype(np.float32)
    targets = Targets(tuple(f"finding {c}" for c in range(findings)), y, rng.random(y.shape) < 0.8)
    return targets, torch.from_numpy(rng.normal(size=y.shape) * 3).float()


def by_hand(targets: Targets, weighting: Weighting, cap: float) -> tuple[Tensor, Tensor]:
    """The weights of positive and negative cells, cell by cell."""
    plus, minus = [], []
    for y, mask in zip(targets.y.T, targets.mask.T, strict=True):
        positive = sum(float(cell) for cell, counts in zip(y, mask, strict=True) if counts)
        negative = sum(1 - float(cell) for cell, counts in zip(y, mask, strict=True) if counts)
        share = positive / (positive + negative)
        plus.append(
            {"chexnet": 1 - share, "pos_weight": min(negative / positive, cap), "none": 1.0}[weighting]
        )
        minus.append({"chexnet": share, "pos_weight": 1.0, "none": 1.0}[weighting])
    return torch.tensor(plus), torch.tensor(minus)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("cap", [3.0, 1000.0])
def test_the_loss_is_torchs_with_weights_made_by_hand(weighting: Weighting, cap: float) -> None:
    targets, logits = draw()
    y, mask = torch.from_numpy(targets.y), torch.from_numpy(targets.mask)
    plus, minus = by_hand(targets, weighting, cap)
    ones = F.binary_cross_entropy_with_logits(logits, torch.ones_like(y), reduction="none")
    zeros = F.binary_cross_entropy_with_logits(logits, torch.zeros_like(y), reduction="none")
    expected = ((plus * y * ones + minus * (1 - y) * zeros) * mask).sum()
    torch.testing.assert_close(masked_bce(logits, y, mask, class_weights(targets, weighting, cap)), expected)


def test_pos_weight_is_torchs_pos_weight() -> None:
    targets, logits = draw()
    weights = class_weights(targets, "pos_weight", cap=5)
    y, mask = torch.from_numpy(targets.y), torch.from_numpy(targets.mask)
    expected = F.binary_cross_entropy_with_logits(
        logits, y, mask.float(), reduction="sum", pos_weight=weights.positive
    )
    torch.testing.assert_close(masked_bce(logits, y, mask, weights), expected)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_masked_cells_change_neither_weights_nor_loss_nor_gradients(weighting: Weighting) -> None:
    targets, logits = draw()
    other = Targets(targets.findings, np.where(targets.mask, targets.y, 1 - targets.y), targets.mask)
    results = []
    for one in (targets, other):
        z = logits.clone().requires_grad_()
        loss = masked_bce(
            z, torch.from_numpy(one.y), torch.from_numpy(one.mask), class_weights(one, weighting)
        )
        results.append((loss, *torch.autograd.grad(loss, z)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert (results[0][1][~torch.from_numpy(targets.mask)] == 0).all()


def test_logits_beyond_floats_of_exp_give_finite_losses_and_gradients() -> None:
    z = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    loss = masked_bce(z, torch.tensor([[0.0], [1.0]]), torch.ones(2, 1, dtype=torch.bool), ones(1))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 2e4 and z.grad is not None and z.grad.flatten().tolist() == [1, -1]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("cell", [0.0, 1.0])
def test_a_finding_of_one_class_is_named_and_weighs_one(weighting: Weighting, cell: float) -> None:
    y = np.array([[cell, 1], [cell, 0], [1 - cell, 0]], np.float32)
    mask = np.array([[True, True], [True, True], [False, True]])
    weights = class_weights(Targets(("Hernia", "Mass"), y, mask), weighting)
    assert weights.one_class == ("Hernia",)
    assert weights.positive[0] == weights.negative[0] == 1
    assert masked_bce(torch.zeros(3, 2), torch.from_numpy(y), torch.from_numpy(mask), weights).isfinite()
    assert logit_shift(weights).isfinite().all()


def test_a_finding_without_a_single_cell_is_named_too() -> None:
    targets = Targets(("Hernia",), np.zeros((3, 1), np.float32), np.zeros((3, 1), np.bool_))
    assert class_weights(targets, "chexnet").one_class == ("Hernia",)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_shift_undoes_the_weights_exactly_and_keeps_the_ranking(weighting: Weighting) -> None:
    targets, logits = draw()
    weights = class_weights(targets, weighting)
    weighted = torch.sigmoid(logits.double())
    plus, minus = weights.positive.double(), weights.negative.double()
    undone = torch.sigmoid(logits.double() + logit_shift(weights).double())
    torch.testing.assert_close(
        undone, weighted * minus / (weighted * minus + (1 - weighted) * plus), rtol=1e-6, atol=0
    )
    assert torch.equal(undone.argsort(dim=0), weighted.argsort(dim=0))


def test_undone_probabilities_are_better_calibrated_than_weighted_ones() -> None:
    x = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)).double()
    draws = torch.rand(4000, 1, generator=torch.Generator().manual_seed(1)).double()
    y = (draws < torch.sigmoid(x @ torch.tensor([[2.0], [-1.0], [0.5]]).double() - 3)).double()
    mask = torch.ones_like(y, dtype=torch.bool)
    weights = class_weights(Targets(("Mass",), y.float().numpy(), mask.numpy()), "chexnet")
    head = torch.nn.Linear(3, 1, dtype=torch.float64)
    fit(head, x, y, weights)
    logits = head(x).detach()
    raw, undone = torch.sigmoid(logits), torch.sigmoid(logits + logit_shift(weights))
    assert abs(undone.mean() - y.mean()) < 0.01 < 0.1 < raw.mean() - y.mean()
    assert ((undone - y) ** 2).mean() < 0.8 * ((raw - y) ** 2).mean()


def fit(head: torch.nn.Linear, x: Tensor, y: Tensor, weights: ClassWeights) -> None:
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = masked_bce(head(x), y, torch.ones_like(y, dtype=torch.bool), weights) / len(y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    optimizer.step(closure)  # type: ignore[no-untyped-call]


def ones(findings: int) -> ClassWeights:
    return ClassWeights(torch.ones(findings), torch.ones(findings), ())


def test_weights_count_rows_as_often_as_they_are_visited() -> None:
    y, mask = np.array([[1, 0], [0, 0], [0, 1]], np.float32), np.ones((3, 2), np.bool_)
    rows = np.array([0, 0, 1, 2, 2, 2])
    visited = class_weights(Targets(("a", "b"), y, mask), "chexnet", visits=np.array([2.0, 1, 3]))
    repeated = class_weights(Targets(("a", "b"), y[rows], mask[rows]), "chexnet")
    torch.testing.assert_close(visited.positive, repeated.positive, rtol=0, atol=0)
    torch.testing.assert_close(visited.negative, repeated.negative, rtol=0, atol=0)
