"""The LightningModule: training and test steps, torchmetrics, optimiser and schedule."""

from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.nn import functional
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassRecall

from class_sensitivity.errors import TrainingError

#: The sets a classifier is evaluated on.
SPLITS = ("val", "test")


class Classifier(pl.LightningModule):
    """Trains any network from images to logits with cross entropy, SGD and a triangular schedule.

    Args:
        network: Maps (B, C, H, W) images to (B, K) logits.
        class_names: The K names, for the log keys.
        total_steps: Optimiser steps of the whole run; the schedule ends there.
        lr: Peak learning rate.
        momentum: Nesterov momentum.
        weight_decay: L2 penalty on all parameters.
        label_smoothing: Share of the target spread over all classes.
        warmup_frac: Share of the steps in which the rate rises linearly to `lr`; it then falls
            linearly to 0.

    Attributes:
        history: Metrics of every finished epoch, oldest first.
        confusion: Split -> (K, K) counts of the latest evaluation, [true, predicted].
        test_logits: (n_test, K) float32 of the latest test, on the CPU.
    """

    def __init__(
        self,
        network: nn.Module,
        class_names: tuple[str, ...],
        *,
        total_steps: int,
        lr: float,
        momentum: float,
        weight_decay: float,
        label_smoothing: float,
        warmup_frac: float,
    ) -> None:
        super().__init__()
        self.network, self.class_names = network, class_names
        self.total_steps, self.warmup_steps = total_steps, round(warmup_frac * total_steps)
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.label_smoothing = label_smoothing
        self.evaluations = nn.ModuleDict({split: _Evaluation(len(class_names)) for split in SPLITS})
        self.history: list[dict[str, float]] = []
        self.confusion: dict[str, torch.Tensor] = {}
        self.test_logits: torch.Tensor | None = None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)
        return logits

    # Training

    def on_train_epoch_start(self) -> None:
        # Summed on the device and read once an epoch: reading each step would make a GPU wait.
        self._loss_sum = torch.zeros((), device=self.device)
        self._right = torch.zeros((), device=self.device, dtype=torch.int64)
        self._seen = 0

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        images, target = batch
        logits = self(images)
        loss = functional.cross_entropy(logits.float(), target, label_smoothing=self.label_smoothing)
        with torch.no_grad():
            self._loss_sum += loss.detach() * len(target)
            self._right += (logits.argmax(1) == target).sum()
        self._seen += len(target)
        return loss

    def on_train_epoch_end(self) -> None:
        loss = self._loss_sum.item() / self._seen
        if not torch.isfinite(self._loss_sum):
            raise TrainingError(
                f"Training diverged in epoch {self.current_epoch + 1}: the loss is {loss}; lower training.lr={self.lr}."
            )
        # Against the labels as given: with noise, a high value means that lies are learnt by heart.
        values = {"train/loss": loss, "train/acc": self._right.item() / self._seen}
        self.log_dict(values)
        evaluated = {key: value.item() for key, value in self.trainer.callback_metrics.items() if "recall" not in key}
        self.history.append({"epoch": self.current_epoch + 1, **evaluated, **values})

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = torch.optim.SGD(
            self.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.momentum > 0,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._share_of_peak)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _share_of_peak(self, step: int) -> float:
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return max(0.0, (self.total_steps - step) / max(1, self.total_steps - self.warmup_steps))

    # Evaluation

    def on_validation_epoch_start(self) -> None:
        # The metrics of the epoch before must not pass for this one's in the history.
        for key in [key for key in self.trainer.callback_metrics if not key.startswith("train/")]:
            del self.trainer.callback_metrics[key]

    def validation_step(
        self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        loaders = self.trainer.val_dataloaders
        assert loaders is not None
        self._evaluate(loaders[dataloader_idx].split, batch)

    def on_validation_epoch_end(self) -> None:
        self._summarise()

    def on_test_epoch_start(self) -> None:
        self._test_batches: list[torch.Tensor] = []

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        self._test_batches.append(self._evaluate("test", batch))

    def on_test_epoch_end(self) -> None:
        self._summarise()
        self.test_logits = torch.cat(self._test_batches).cpu()

    def _evaluate(self, split: str, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        images, target = batch
        logits: torch.Tensor = self(images).float()
        metrics = self._metrics(split)
        metrics.classes.update(logits, target)
        metrics.loss.update(functional.cross_entropy(logits, target), len(target))
        return logits

    def _summarise(self) -> None:
        """Logs what was evaluated and keeps its confusion counts."""
        for split in SPLITS:
            metrics = self._metrics(split)
            if metrics.loss.update_count == 0:
                continue
            values = metrics.classes.compute()
            # A matrix is no scalar: it is kept here and drawn by whoever holds the logger.
            self.confusion[split] = values["confusion"].cpu()
            self.log(f"{split}/loss", metrics.loss.compute())
            self.log(f"{split}/acc", values["acc"])
            tested = self.confusion[split].sum(dim=1) > 0
            for index, name in enumerate(self.class_names):
                # torchmetrics gives 0 to a class without images, which was never tested.
                if tested[index]:
                    self.log(f"{split}/recall/{name}", values["recall"][index])
            metrics.reset()

    def _metrics(self, split: str) -> "_Evaluation":
        return cast(_Evaluation, self.evaluations[split])

    # Resuming

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]


class _Evaluation(nn.Module):
    """The metrics of one split."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        # validate_args would look at every value of every batch, and make a GPU wait for it.
        settings: dict[str, Any] = {"num_classes": num_classes, "validate_args": False}
        self.classes = MetricCollection(
            {
                "acc": MulticlassAccuracy(average="micro", **settings),
                "recall": MulticlassRecall(average="none", **settings),
                "confusion": MulticlassConfusionMatrix(**settings),
            }
        )
        # A loss that is not a number is to be seen, not left out with a warning.
        self.loss = MeanMetric(nan_strategy="disable")

    def reset(self) -> None:
        self.classes.reset()
        self.loss.reset()
