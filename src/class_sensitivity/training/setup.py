"""From a configuration to everything that a run needs before its directory is touched."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.datamodule import StressedDataModule
from class_sensitivity.data.sources import load_arrays
from class_sensitivity.training.device import Execution, choose_execution
from class_sensitivity.runs.identity import directory_of, identity, stream_seeds
from class_sensitivity.models import build_model
from class_sensitivity.seeding import torch_seed


@dataclass(frozen=True)
class Prepared:
    """A run that can begin.

    Attributes:
        config: The checked configuration as plain containers.
        own: Its identity.
        execution: Device, precision and threads.
        data: The stressed data.
        network: The network with its first weights.
    """

    config: dict[str, Any]
    own: dict[str, Any]
    execution: Execution
    data: StressedDataModule
    network: nn.Module

    @property
    def directory(self) -> Path:
        """Where the run belongs."""
        return directory_of(self.config)

    @property
    def recipe(self) -> dict[str, Any]:
        """How the weights are changed, as keyword arguments of a classifier."""
        training = self.config["training"]
        names = ("lr", "momentum", "weight_decay", "label_smoothing", "warmup_frac")
        total_steps = training["epochs"] * self.data.steps_per_epoch
        return {"total_steps": total_steps, **{name: training[name] for name in names}}


def prepare(config: dict[str, Any]) -> Prepared:
    """Finds everything that can be wrong with the settings.

    Raises:
        UserError: The data or the settings do not allow the run.
    """
    own, training = identity(config), config["training"]
    seeds = stream_seeds(own)
    execution = choose_execution(training["accelerator"], training["precision"], training["threads"])
    arrays = load_arrays(config["data"]["name"], config["data"]["dir"], config["data"]["download"])
    data = _data_module(config, arrays, seeds, execution)
    return Prepared(config, own, execution, data, _network(config, arrays, seeds))


def _data_module(
    config: dict[str, Any], arrays: ImageArrays, seeds: dict[str, int], execution: Execution
) -> StressedDataModule:
    noise, reduction, training = config["noise"], config["reduction"], config["training"]
    return StressedDataModule(
        arrays,
        batch_size=training["batch_size"],
        seeds=seeds,
        device=execution.device,
        noise_kind=noise["kind"],
        noise_frac=noise["frac"],
        noise_classes=noise["classes"],
        noise_partner=noise["partner"],
        reduction_frac=reduction["frac"],
        match_steps=reduction["match_steps"],
        stratified=config["selection"]["stratified"],
        validation_frac=training["validation_frac"],
        test_every_epoch=training["test_every_epoch"],
        flip=config["data"]["flip"],
        crop_padding=config["data"]["crop_padding"],
    )


def _network(config: dict[str, Any], arrays: ImageArrays, seeds: dict[str, int]) -> nn.Module:
    _, height, width, channels = arrays.train_images.shape
    # Layers draw their first weights from the global generator; it is set here and put back after.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seeds["init"], "init"))
        network = build_model(
            **config["model"], in_channels=channels, image_size=(height, width), num_classes=arrays.num_classes
        )
    return network.to(memory_format=torch.channels_last)
