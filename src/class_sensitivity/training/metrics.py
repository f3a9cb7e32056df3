"""What is counted while one run trains and is evaluated: loss, accuracy, recall, confusion, epoch by epoch."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassRecall

from class_sensitivity.errors import TrainingError

#: The sets a run is evaluated on.
SPLITS = ("val", "test")


class EpochSums:
    """Loss and right predictions summed over an epoch, of one run or of several side by side.

    Summed on the device and read once an epoch: reading each step would make a GPU wait.

    Args:
        device: Where the losses are.
        shape: () for one run, (M,) for M.
    """

    def __init__(self, device: torch.device, shape: tuple[int, ...] = ()) -> None:
        self.loss = torch.zeros(shape, device=device)
        self.right = torch.zeros(shape, device=device, dtype=torch.int64)
        self.seen = 0

    @torch.no_grad()
    def count(self, loss: torch.Tensor, logits: torch.Tensor, target: torch.Tensor) -> None:
        """Counts a batch: its mean loss of this shape, (*shape, B, K) logits, (*shape, B) labels as given."""
        size = target.shape[-1]
        self.loss += loss.detach() * size
        self.right += (logits.argmax(-1) == target).sum(-1)
        self.seen += size

    def read(self, weights: Iterable[torch.Tensor]) -> list[tuple[float, int]]:
        """(summed loss, right predictions) of each run.

        Args:
            weights: Parameters and buffers; of M runs side by side, with a first dimension of M. The loss of a run
                with one that is not finite is NaN, whatever was summed: some ReLUs turn NaN into 0.
        """
        loss = self.loss.reshape(-1)
        for weight in weights:
            if weight.is_floating_point():
                loss = loss.where(weight.detach().reshape(len(loss), -1).isfinite().all(1), math.nan)
        return list(zip(loss.tolist(), self.right.reshape(-1).tolist(), strict=True))


class Ledger(nn.Module):
    """The counts of one run; a module, so that they live where the network does.

    Args:
        class_names: The K names, for the log keys.
        lr: The peak learning rate, for the sentence that says that training diverged.

    Attributes:
        history: Metrics of every finished epoch, oldest first.
        confusion: Split -> (K, K) counts of the latest evaluation, [true, predicted].
        latest: Loss and accuracy of the latest evaluation, by log key.
        test_logits: (n_test, K) float32 of the latest test, on the CPU.
    """

    def __init__(self, class_names: tuple[str, ...], lr: float) -> None:
        super().__init__()
        self.class_names, self.lr = class_names, lr
        # validate_args would look at every value, and make a GPU wait for it.
        settings: dict[str, Any] = {"num_classes": len(class_names), "validate_args": False}
        self.metrics = MetricCollection(
            {
                "acc": MulticlassAccuracy(average="micro", **settings),
                "recall": MulticlassRecall(average="none", **settings),
                "confusion": MulticlassConfusionMatrix(**settings),
            }
        )
        self.history: list[dict[str, float]] = []
        self.confusion: dict[str, torch.Tensor] = {}
        self.latest: dict[str, float] = {}
        self.test_logits: torch.Tensor | None = None

    # Training

    def begin_epoch(self) -> None:
        """What was evaluated before an epoch does not belong to it."""
        self.latest = {}

    def end_epoch(self, epoch: int, loss_sum: float, right: int, seen: int) -> dict[str, float]:
        """Closes an epoch in the history.

        Args:
            epoch: Its number, from 0.
            loss_sum: The losses of all visits, summed.
            right: Visits predicted as labelled. The labels are those given: with noise, a high share means that
                lies are learnt by heart.
            seen: Visits.

        Returns:
            Training loss and accuracy by log key.

        Raises:
            TrainingError: The loss is not finite.
        """
        loss = loss_sum / seen
        if not math.isfinite(loss_sum):
            raise TrainingError(
                f"Training diverged in epoch {epoch + 1}: the loss is {loss}; lower training.lr={self.lr}."
            )
        values = {"train/loss": loss, "train/acc": right / seen}
        self.history.append({"epoch": epoch + 1, **self.latest, **values})
        return values

    # Evaluation

    def begin_evaluation(self) -> None:
        """Forgets the latest evaluation, which must not pass for this one."""
        self.latest = {}
        self._evaluated: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def evaluate(self, split: str, logits: torch.Tensor, target: torch.Tensor) -> None:
        """Keeps a batch of an evaluation: (B, K) float32 logits and (B,) labels."""
        self._evaluated.setdefault(split, []).append((logits, target))

    def end_evaluation(self) -> dict[str, float]:
        """Closes the evaluation of every split that had batches; its metrics by log key.

        Counted here and not batch by batch: one update of the metrics instead of dozens, for each run of a stack.
        """
        logged: dict[str, float] = {}
        for split in SPLITS:
            if split not in self._evaluated:
                continue
            logits, target = (torch.cat(parts) for parts in zip(*self._evaluated[split], strict=True))
            self.metrics.update(logits, target)
            values = self.metrics.compute()
            self.metrics.reset()
            # A matrix is no scalar: it is kept here and drawn by whoever holds the logger.
            self.confusion[split] = values["confusion"].cpu()
            loss = functional.cross_entropy(logits, target).item()
            self.latest |= {f"{split}/loss": loss, f"{split}/acc": values["acc"].item()}
            tested = self.confusion[split].sum(dim=1) > 0
            recalls = zip(self.class_names, values["recall"].tolist(), tested.tolist(), strict=True)
            # torchmetrics gives 0 to a class without images, which was never tested.
            logged |= {f"{split}/recall/{name}": recall for name, recall, seen in recalls if seen}
            if split == "test":
                self.test_logits = logits.cpu()
        self._evaluated = {}
        return self.latest | logged
