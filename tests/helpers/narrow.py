"""A ResNet-18 with an eighth of the channels, for stories in which the width plays no part: a quarter of the time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from torch import nn
from torchvision.models import get_model
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from cxr.cli import main


class Narrow(ResNet):  # type: ignore[misc]  # torchvision states no types
    """Layers as in ResNet-18, their channels 8, 16, 32 and 64, behind its own stem."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes)
        self.fc = nn.Linear(64, num_classes)

    def _make_layer(
        self,
        block: type[BasicBlock | Bottleneck],
        planes: int,
        *options: Any,  # noqa: ANN401  as torchvision takes them
        **further: Any,  # noqa: ANN401  the same
    ) -> nn.Sequential:
        layer: nn.Sequential = super()._make_layer(block, planes // 8, *options, **further)
        return layer


@contextmanager
def narrow_backbones() -> Iterator[None]:
    """While the body runs, a classifier's `resnet18` is the narrow one."""

    def build(name: str, **options: Any) -> nn.Module:  # noqa: ANN401  as get_model takes them
        return Narrow() if name == "resnet18" else get_model(name, **options)

    with mock.patch("cxr.model.classifier.get_model", build):
        yield


if __name__ == "__main__":
    with narrow_backbones():
        main()
