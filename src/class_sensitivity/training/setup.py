"""From a run to everything that its training needs, before its directory is touched."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.datamodule import StressedDataModule
from class_sensitivity.data.sources import load_arrays
from class_sensitivity.models import build_model
from class_sensitivity.runs.run import Run
from class_sensitivity.seeding import torch_seed
from class_sensitivity.settings import ModelSettings, TrainSettings
from class_sensitivity.stress import refuse_idle_noise, stressed_train_set
from class_sensitivity.training.device import Execution, choose_execution, execution_of
from class_sensitivity.training.weights import load_weights


@dataclass(frozen=True)
class TrainingSetup:
    """A run that can begin.

    Attributes:
        run: What was asked for.
        execution: Device, precision and threads.
        data: The stressed data.
        network: The network with its initial weights.
    """

    run: Run
    execution: Execution
    data: StressedDataModule
    network: nn.Module

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.run.settings.training.epochs * self.data.steps_per_epoch


def set_up(run: Run) -> TrainingSetup:
    """Loads the data, applies the stress and builds the network; finds everything that can be wrong with the settings.

    Raises:
        UserError: The data or the settings do not allow the run.
    """
    settings, seeds = run.settings, run.identity.streams
    training = settings.training
    execution = choose_execution(training.accelerator, training.precision, training.threads)
    arrays = load_arrays(settings.data)
    data = _stressed_data(settings, arrays, seeds, execution.device)
    network = initial_network(settings.model, arrays, seeds)
    if training.precision == "auto":
        execution = execution_of(network, execution)
    return TrainingSetup(run, execution, data, network)


def initial_network(settings: ModelSettings, arrays: ImageArrays, seeds: Mapping[str, int]) -> nn.Module:
    """The network that fits a data set, in channels_last layout.

    Its initial weights are drawn from the stream `init`, or come from a file.

    Raises:
        ConfigError: It cannot be built with these settings, or the file does not fit it.
    """
    _, height, width, channels = arrays.train_images.shape
    # Layers draw their initial weights from the global generator; it is set here and put back after.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seeds["init"], "init"))
        network = build_model(
            settings, in_channels=channels, image_size=(height, width), num_classes=arrays.num_classes
        )
    if settings.weights is not None:
        load_weights(network, settings.weights)
    return network.to(memory_format=torch.channels_last)


def _stressed_data(
    settings: TrainSettings, arrays: ImageArrays, seeds: Mapping[str, int], device: torch.device
) -> StressedDataModule:
    training = settings.training
    train_set = stressed_train_set(
        arrays.train_labels,
        arrays.class_names,
        settings.stress,
        seeds=seeds,
        validation_frac=training.validation_frac,
        images=arrays.train_images,
    )
    refuse_idle_noise(train_set, settings.stress)
    return StressedDataModule(
        arrays,
        train_set,
        batch_size=training.batch_size,
        seeds=seeds,
        device=device,
        test_every_epoch=training.test_every_epoch,
        flip=settings.data.flip,
        crop_padding=settings.data.crop_padding,
    )
