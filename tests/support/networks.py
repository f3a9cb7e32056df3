"""Networks that go wrong."""

from collections.abc import Mapping

import pytest
from torch import nn

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.settings import ModelSettings
from class_sensitivity.training import setup


def put_nan_into_networks(patch: pytest.MonkeyPatch, *, seed: int | None = None) -> None:
    """Every network begins with a weight that is NaN; with a seed, only the networks of its runs."""
    usual = setup.initial_network

    def with_a_nan(settings: ModelSettings, arrays: ImageArrays, seeds: Mapping[str, int]) -> nn.Module:
        network = usual(settings, arrays, seeds)
        if seed is None or seeds["init"] == seed:
            next(network.parameters()).data[0] = float("nan")
        return network

    patch.setattr(setup, "initial_network", with_a_nan)
