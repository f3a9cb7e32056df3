"""The LightningModule: training and test steps, optimiser and schedule."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.nn import functional

from class_sensitivity.training.metrics import EpochSums, Ledger


class Trainable(pl.LightningModule):
    """What one run and a stack of runs have in common: SGD with a triangular schedule, and splits to evaluate.

    Args:
        network: From images to logits.
        total_steps: Optimiser steps of the whole run; the schedule ends there.
        lr: Peak learning rate.
        momentum: Nesterov momentum.
        weight_decay: L2 penalty on all parameters.
        label_smoothing: Share of the target spread over all classes.
        warmup_frac: Share of the steps in which the rate rises linearly to `lr`; it then falls
            linearly to 0.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        total_steps: int,
        lr: float,
        momentum: float,
        weight_decay: float,
        label_smoothing: float,
        warmup_frac: float,
    ) -> None:
        super().__init__()
        self.network, self.label_smoothing = network, label_smoothing
        self.optimisation = partial(
            optimisation,
            total_steps=total_steps,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            warmup_frac=warmup_frac,
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)
        return logits

    def weights(self) -> list[torch.Tensor]:
        """Parameters and buffers of the network."""
        return [*self.network.parameters(), *self.network.buffers()]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        return self.optimisation(self.parameters())

    def validation_step(
        self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        loaders = self.trainer.val_dataloaders
        assert loaders is not None
        self._evaluate(loaders[dataloader_idx].split, batch)

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        self._evaluate("test", batch)

    def _evaluate(self, split: str, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        raise NotImplementedError


class Classifier(Trainable):
    """Trains any network from images to logits with cross entropy.

    Args:
        network: Maps (B, C, H, W) images to (B, K) logits.
        class_names: The K names, for the log keys.
        recipe: As of `Trainable`.

    Attributes:
        ledger: What was counted: the history of epochs, confusion counts, test logits.
    """

    def __init__(self, network: nn.Module, class_names: tuple[str, ...], **recipe: Any) -> None:
        super().__init__(network, **recipe)
        self.ledger = Ledger(class_names, recipe["lr"])

    # Training

    def on_train_epoch_start(self) -> None:
        self.sums = EpochSums(self.device)
        self.ledger.begin_epoch()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        images, target = batch
        logits = self(images)
        loss = functional.cross_entropy(logits.float(), target, label_smoothing=self.label_smoothing)
        self.sums.count(loss, logits, target)
        return loss

    def on_train_epoch_end(self) -> None:
        ((loss, right),) = self.sums.read(self.weights())
        self.log_dict(self.ledger.end_epoch(self.current_epoch, loss, right, self.sums.seen))

    # Evaluation

    def on_validation_epoch_start(self) -> None:
        self.ledger.begin_evaluation()

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.ledger.end_evaluation())

    def on_test_epoch_start(self) -> None:
        self.ledger.begin_evaluation()

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.ledger.end_evaluation())

    def _evaluate(self, split: str, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        images, target = batch
        self.ledger.evaluate(split, self(images).float(), target)

    # Resuming

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.ledger.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.ledger.history = checkpoint["history"]


def optimisation(
    parameters: Iterable[nn.Parameter],
    *,
    total_steps: int,
    lr: float,
    momentum: float,
    weight_decay: float,
    warmup_frac: float,
) -> OptimizerLRSchedulerConfig:
    """SGD with Nesterov momentum, and a rate that rises linearly to `lr` and falls linearly to 0, step by step.

    Fused into one kernel, it asks that every parameter gets a gradient from the first step on.
    """
    warmup_steps = round(warmup_frac * total_steps)

    def share_of_peak(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))

    optimizer = torch.optim.SGD(
        parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_peak)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
