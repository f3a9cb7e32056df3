"""What is measured while one run trains and is evaluated: loss, accuracy, recall, confusion, epoch by epoch."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassRecall

from class_sensitivity.errors import TrainingError

#: The sets a run is evaluated on.
SPLITS = ("val", "test")


class EpochSums:
    """Loss and right predictions summed over an epoch.

    Summed on the device and read once an epoch: reading each step would make a GPU wait.

    Args:
        device: Where the losses are.

    Examples:
        >>> sums = EpochSums(torch.device("cpu"))
        >>> logits, target = torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 1])
        >>> sums.count(torch.tensor(0.5), logits, target)
        >>> sums.read(weights=[]), sums.seen
        ((1.0, 1), 2)
    """

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), device=device)
        self.right = torch.zeros((), device=device, dtype=torch.int64)
        self.seen = 0

    @torch.no_grad()
    def count(self, loss: torch.Tensor, logits: torch.Tensor, target: torch.Tensor) -> None:
        """Adds a batch of B examples.

        Args:
            loss: () mean loss.
            logits: (B, K).
            target: (B,) labels as given.
        """
        self.loss += loss.detach() * len(target)
        self.right += (logits.argmax(1) == target).sum()
        self.seen += len(target)

    def read(self, weights: Iterable[torch.Tensor]) -> tuple[float, int]:
        """(summed loss, right predictions).

        Args:
            weights: Parameters and buffers. Where one is not finite the loss is NaN, whatever was summed: some ReLUs
                turn NaN into 0.
        """
        loss = self.loss
        for weight in weights:
            if weight.is_floating_point():
                loss = loss.where(weight.detach().isfinite().all(), math.nan)
        return loss.item(), int(self.right.item())


class RunMetrics(nn.Module):
    """The metrics of one run; a module, so that they live on the network's device.

    Args:
        class_names: The K names, for the log keys.
        lr: The peak learning rate, for the message when training diverges.

    Attributes:
        history: Metrics of every finished epoch, oldest first.
        confusion: Split -> (K, K) counts of the latest evaluation, [true, predicted].
        latest: Loss and accuracy of the latest evaluation, by log key.
        test_logits: (n_test, K) float32 of the latest test, on the CPU.
        mislabelled_preds: (w,) predicted classes of the training examples with a wrong label, after the last epoch, on
            the CPU; None before, and where there are none.
    """

    def __init__(self, class_names: tuple[str, ...], lr: float) -> None:
        super().__init__()
        self.class_names, self.lr = class_names, lr
        num_classes = len(class_names)
        # validate_args would read every value, and make a GPU wait for it.
        self.collection = MetricCollection(
            {
                "acc": MulticlassAccuracy(num_classes, average="micro", validate_args=False),
                "recall": MulticlassRecall(num_classes, average="none", validate_args=False),
                "confusion": MulticlassConfusionMatrix(num_classes, validate_args=False),
            }
        )
        self.history: list[dict[str, float]] = []
        self.confusion: dict[str, torch.Tensor] = {}
        self.latest: dict[str, float] = {}
        self.test_logits: torch.Tensor | None = None
        self.mislabelled_preds: torch.Tensor | None = None

    # Training

    def begin_epoch(self) -> None:
        """Forgets what was evaluated before this epoch."""
        self.latest = {}

    def end_epoch(self, epoch: int, loss_sum: float, right: int, seen: int) -> dict[str, float]:
        """Adds an epoch to the history.

        Args:
            epoch: Its number, from 0.
            loss_sum: The losses of all visits, summed.
            right: Visits predicted as labelled. The labels are those given: with noise, a high share means that
                the network has memorised noisy labels.
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
        """Forgets the evaluation before this one."""
        self.latest = {}
        self._evaluated: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def evaluate(self, split: str, logits: torch.Tensor, target: torch.Tensor) -> None:
        """Keeps a batch of an evaluation: (B, K) float32 logits and (B,) labels."""
        self._evaluated.setdefault(split, []).append((logits, target))

    def end_evaluation(self) -> dict[str, float]:
        """Loss, accuracy and recall of every split that had batches, by log key.

        Computed here and not batch by batch: one update of the metrics instead of dozens.
        """
        logged: dict[str, float] = {}
        for split in SPLITS:
            if split not in self._evaluated:
                continue
            logits, target = (torch.cat(parts) for parts in zip(*self._evaluated[split], strict=True))
            with _counted_in_any_order():
                self.collection.update(logits, target)
                values = self.collection.compute()
            self.collection.reset()
            # A matrix cannot be logged as a scalar; `recording.complete_run` draws it.
            self.confusion[split] = values["confusion"].cpu()
            loss = functional.cross_entropy(logits, target).item()
            self.latest |= {f"{split}/loss": loss, f"{split}/acc": values["acc"].item()}
            # torchmetrics gives 0 to a class without images, which was never tested.
            tested = self.confusion[split].sum(dim=1) > 0
            recalls = zip(self.class_names, values["recall"].tolist(), tested.tolist(), strict=True)
            logged |= {f"{split}/recall/{name}": recall for name, recall, seen in recalls if seen}
            if split == "test":
                self.test_logits = logits.cpu()
        self._evaluated = {}
        return self.latest | logged


@contextmanager
def _counted_in_any_order() -> Iterator[None]:
    """Within it torchmetrics counts with `bincount`, whose counts do not depend on the order.

    Where deterministic algorithms are asked for, it would compare every example with all K x K pairs of classes: 80 GB
    for 10,000 images of 1,000 classes.
    """
    asked, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(asked, warn_only=warns)
