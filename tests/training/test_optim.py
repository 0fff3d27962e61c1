import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cxr.config.schema import Train
from cxr.model.classifier import Classifier
from cxr.model.history import count_plateaus, epochs_since_best
from cxr.training.optim import build_optimizer, learning_rate

CPU = torch.device("cpu")
HISTORIES = st.lists(st.sampled_from([0.5, 0.6, 0.7, 0.8, -math.inf]), max_size=14)


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_weight_decay_falls_on_kernels_and_matrices_only(
    name: str, kind: type[torch.optim.Optimizer]
) -> None:
    model = Classifier("resnet18", 3)
    optimizer = build_optimizer(model, Train.model_validate({"optimizer": name, "weight_decay": 0.01}), CPU)
    assert type(optimizer) is kind
    decay = {id(one): group["weight_decay"] for group in optimizer.param_groups for one in group["params"]}
    kernels = {id(m.weight) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert decay == {id(one): 0.01 if id(one) in kernels else 0.0 for one in model.parameters()}


def test_frozen_parameters_are_not_optimised() -> None:
    model = Classifier("resnet18", 3)
    model.set_trainable("head")
    groups = build_optimizer(model, Train(), CPU).param_groups
    assert [id(one) for group in groups for one in group["params"]] == [
        id(model.head.weight),
        id(model.head.bias),
    ]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_steps_are_those_of_torchs_optimiser(name: str) -> None:
    config = Train.model_validate({"optimizer": name, "weight_decay": 0.1, "lr": 0.01})
    ours, theirs = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)
    theirs.load_state_dict(ours.state_dict())
    references: dict[str, torch.optim.Optimizer] = {
        "adamw": torch.optim.AdamW(theirs.parameters(), 0.01, weight_decay=0.1),
        "adam": torch.optim.Adam(theirs.parameters(), 0.01, weight_decay=0.1),
        "sgd": torch.optim.SGD(theirs.parameters(), 0.01, 0.9, weight_decay=0.1, nesterov=True),
    }
    for model, optimizer in ((ours, build_optimizer(ours, config, CPU)), (theirs, references[name])):
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.ones(2, 4)).square().sum().backward()
            optimizer.step()
    assert torch.equal(ours.weight, theirs.weight)


@pytest.mark.parametrize(
    ("warmup", "epochs", "per_epoch"), [(0.5, 3, 10), (0, 4, 5), (2, 2, 7), (1.3, 5, 3), (9, 2, 4)]
)
def test_warm_up_and_cosine_are_those_of_torchs_schedulers(
    warmup: float, epochs: int, per_epoch: int
) -> None:
    config = Train(lr=0.1, warmup_epochs=warmup, epochs=epochs, schedule="cosine")
    first, total = warmup * per_epoch, epochs * per_epoch
    for step in range(total):
        done = (step - first) / (total - first) if step >= first else 0
        expected = (
            0.1 * min(1, (step + 1) / first) if step < first else 0.1 / 2 * (1 + math.cos(math.pi * done))
        )
        assert learning_rate(step, per_epoch, (), config) == pytest.approx(expected)


def test_cosine_without_warm_up_is_torchs() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        rate = learning_rate(step, 5, (), Train(lr=0.3, warmup_epochs=0, epochs=4))
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


@given(history=HISTORIES, patience=st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_plateaus_are_those_of_torch(history: list[float], patience: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", factor=0.1, patience=patience - 1, threshold=0, eps=0
    )
    for figure in history:
        scheduler.step(figure)
    config = Train(lr=1.0, warmup_epochs=0, schedule="plateau", patience=patience)
    assert learning_rate(99, 5, history, config) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_a_constant_rate_is_constant_after_warm_up() -> None:
    config = Train(lr=0.2, warmup_epochs=0.5, schedule="constant")
    rates = [learning_rate(step, 4, (0.9, 0.1), config) for step in range(8)]
    assert rates == [pytest.approx(0.1), *[pytest.approx(0.2)] * 7]


@given(history=HISTORIES)
def test_epochs_since_best_counts_from_the_first_best(history: Sequence[float]) -> None:
    bests = list(itertools.accumulate(history, max))
    expected = len(history) - 1 - bests.index(bests[-1]) if history else 0
    assert epochs_since_best(history) == expected


def test_a_rising_figure_has_no_plateau() -> None:
    assert count_plateaus([0.1, 0.2, 0.3], patience=1) == 0
    assert count_plateaus([0.3, 0.3, 0.3], patience=1) == 2
