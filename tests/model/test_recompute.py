import copy

import pytest
import torch
from torch import Tensor

from cxr.model.classifier import Classifier
from cxr.model.recompute import recompute_blocks

IMAGES = torch.randint(0, 256, (4, 1, 64, 64), generator=torch.Generator().manual_seed(0)).float()


def take_step(model: Classifier) -> tuple[Tensor, int]:
    """(the loss of a step, bytes that autograd kept for it)."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = model.train()(IMAGES).square().mean()
    weights = {part.untyped_storage().data_ptr() for part in model.parameters()}
    loss.backward()
    optimizer.step()
    return loss.detach(), sum(size for place, size in kept.items() if place not in weights)


@pytest.mark.parametrize(("backbone", "share"), [("densenet121", 0.4), ("resnet18", 0.6), ("resnet50", 0.4)])
def test_steps_are_the_same_in_less_memory(backbone: str, share: float) -> None:
    torch.manual_seed(0)
    plain = Classifier(backbone, 3)
    sparing = copy.deepcopy(plain)
    recompute_blocks(sparing)
    (loss, usual), (same, less) = take_step(plain), take_step(sparing)
    print(backbone, less / usual)
    assert less < share * usual
    assert torch.equal(loss, same)
    for (name, value), (other, wanted) in zip(
        sparing.state_dict().items(), plain.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(value, wanted), name  # running statistics and their counts too
    (loss, _), (same, _) = take_step(plain), take_step(copy.deepcopy(sparing))
    assert torch.equal(loss, same)


def test_an_evaluation_is_as_without_it() -> None:
    model = Classifier("densenet121", 3).eval()
    with torch.inference_mode():
        before = model(IMAGES)
        recompute_blocks(model)
        assert torch.equal(model(IMAGES), before)
