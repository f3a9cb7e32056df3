"""The LightningModule: training and test steps, optimiser and schedule."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.nn import functional

from class_sensitivity.settings import Recipe
from class_sensitivity.training.metrics import EpochSums, RunMetrics


class Classifier(pl.LightningModule):
    """Trains any network from images to logits with cross entropy.

    Args:
        network: Maps (B, C, H, W) images to (B, K) logits.
        class_names: The K names, for the log keys.
        recipe: How the weights are changed.
        total_steps: Optimiser steps of the whole run; the schedule of the learning rate ends there.

    Attributes:
        metrics: What is measured: the history of epochs, confusion counts, test logits.
    """

    def __init__(self, network: nn.Module, class_names: tuple[str, ...], recipe: Recipe, total_steps: int) -> None:
        super().__init__()
        self.network, self.recipe, self.total_steps = network, recipe, total_steps
        self.metrics = RunMetrics(class_names, recipe.lr)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)
        return logits

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        return optimizer_and_schedule(self.parameters(), self.recipe, self.total_steps)

    # Training

    def on_train_epoch_start(self) -> None:
        self.sums = EpochSums(self.device)
        self.metrics.begin_epoch()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        images, target = batch
        logits = self(images)
        loss = functional.cross_entropy(logits.float(), target, label_smoothing=self.recipe.label_smoothing)
        self.sums.count(loss, logits, target)
        return loss

    def on_train_epoch_end(self) -> None:
        loss, right = self.sums.read([*self.network.parameters(), *self.network.buffers()])
        self.log_dict(self.metrics.end_epoch(self.current_epoch, loss, right, self.sums.seen))

    # Evaluation

    def validation_step(
        self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        loaders = self.trainer.val_dataloaders
        assert loaders is not None
        self._evaluate(loaders[dataloader_idx].split, batch)

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        self._evaluate("test", batch)

    def predict_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """The predicted classes of a batch."""
        images, _ = batch
        return torch.argmax(self(images), dim=1)

    def on_validation_epoch_start(self) -> None:
        self.metrics.begin_evaluation()

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.metrics.end_evaluation())

    def on_test_epoch_start(self) -> None:
        self.metrics.begin_evaluation()

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.metrics.end_evaluation())

    def _evaluate(self, split: str, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        images, target = batch
        self.metrics.evaluate(split, self(images).float(), target)

    # Resuming

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.metrics.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.metrics.history = checkpoint["history"]


def optimizer_and_schedule(
    parameters: Iterable[nn.Parameter], recipe: Recipe, total_steps: int
) -> OptimizerLRSchedulerConfig:
    """The recipe's optimiser with the learning rate of `share_of_peak`, step by step.

    SGD has Nesterov momentum; of AdamW the momentum is the first beta, and the second has PyTorch's default. Either is
    fused into one kernel, for which a parameter must have a gradient from the first step on or in none.
    """
    optimizer: torch.optim.Optimizer
    lr, momentum, weight_decay = recipe.lr, recipe.momentum, recipe.weight_decay
    if recipe.optimizer == "adamw":
        optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(momentum, 0.999), weight_decay=weight_decay, fused=True)
    else:
        optimizer = torch.optim.SGD(
            parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0, fused=True
        )
    share = partial(share_of_peak, warmup_steps=round(recipe.warmup_frac * total_steps), total_steps=total_steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def share_of_peak(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """The learning rate of a step as a share of its peak: a linear rise to 1, then a linear fall to 0.

    Args:
        step: Its number, from 0.
        warmup_steps: Steps in which the rate rises.
        total_steps: Steps in all; the rate would be 0 in the one after the last.

    Examples:
        >>> [share_of_peak(step, warmup_steps=2, total_steps=6) for step in range(6)]
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))
