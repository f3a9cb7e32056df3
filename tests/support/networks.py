"""Networks that are small, and networks that go wrong."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.models import build_model
from class_sensitivity.settings import ModelSettings
from class_sensitivity.training import setup

#: Every network with a file of its own -> settings with which it takes moments.
SMALL_NETWORKS: dict[str, dict[str, Any]] = {
    "cnn6": {"widths": [4, 4, 6, 6, 8, 8]},
    "googlenet": {"width": 8},
    "lenet": {},
    "plain18": {"width": 4},
    "resnet18": {"width": 4},
    "vit_tiny": {"patch": 4, "width": 8, "depth": 2, "heads": 2},
}


def small_network(
    name: str,
    in_channels: int = 3,
    image_size: tuple[int, int] = (16, 16),
    num_classes: int = 10,
    *,
    seed: int = 0,
    **options: Any,
) -> nn.Module:
    """A small network of a name; further options replace those of `SMALL_NETWORKS`."""
    settings = ModelSettings(name, options=SMALL_NETWORKS[name] | options)
    torch.manual_seed(seed)
    return build_model(settings, in_channels=in_channels, image_size=image_size, num_classes=num_classes)


class Tiny(nn.Module):
    """A network of a user's own, as `model.module=support.networks:Tiny`."""

    def __init__(self, in_channels: int, image_size: tuple[int, int], num_classes: int) -> None:
        super().__init__()
        height, width = image_size
        self.linear = nn.Linear(in_channels * height * width, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(images.flatten(1))
        return logits


class Forgetful(Tiny):
    """The same with dropout."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.dropout(images, 0.5, self.training))


def put_nan_into_networks(patch: pytest.MonkeyPatch, *, seed: int | None = None) -> None:
    """Every network begins with a weight that is NaN; with a seed, only the networks of its runs."""
    usual = setup.initial_network

    def with_a_nan(settings: ModelSettings, arrays: ImageArrays, seeds: Mapping[str, int]) -> nn.Module:
        network = usual(settings, arrays, seeds)
        if seed is None or seeds["init"] == seed:
            next(network.parameters()).data[0] = float("nan")
        return network

    patch.setattr(setup, "initial_network", with_a_nan)
