"""The LightningModule of M runs at once, and checkpoints from which each of them can also go on alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn
from torch.nn import functional

from class_sensitivity.errors import UserError
from class_sensitivity.settings import Recipe
from class_sensitivity.training.classifier import Trainable
from class_sensitivity.training.metrics import EpochSums, RunMetrics
from class_sensitivity.training.stacked.model import StackedNetwork, flat_name, stack_optimizers, unstack_optimizer


class StackedClassifier(Trainable):
    """Trains M networks as `Classifier` trains one.

    A member that fails (its loss is not finite) leaves the run: its weights are still computed, because they are
    part of the stack, but nothing is measured, logged or saved of it any more.

    Args:
        networks: M networks of one architecture, each with its own initial weights.
        metrics: What is measured of each.
        loggers: The TensorBoard of each.
        recipe: As of `Trainable`.
        total_steps: As of `Trainable`.
        refuse_if_lost: Raises a UserError for a member that another process took over; called after every epoch.
        on_failure: Called with a member that failed, and why.

    Attributes:
        present: Numbers of the members that have not failed.
    """

    network: StackedNetwork

    def __init__(
        self,
        networks: Sequence[nn.Module],
        metrics: Sequence[RunMetrics],
        loggers: Sequence[TensorBoardLogger],
        recipe: Recipe,
        total_steps: int,
        *,
        refuse_if_lost: Callable[[int], None],
        on_failure: Callable[[int, UserError], None],
    ) -> None:
        super().__init__(StackedNetwork(networks), recipe, total_steps)
        self.metrics = nn.ModuleList(metrics)
        self.member_loggers, self.refuse_if_lost, self.on_failure = loggers, refuse_if_lost, on_failure
        self.present = list(range(len(networks)))

    def metrics_of(self, member: int) -> RunMetrics:
        """What is measured of one member."""
        metrics = self.metrics[member]
        assert isinstance(metrics, RunMetrics)
        return metrics

    # Training

    def on_train_epoch_start(self) -> None:
        self.sums = EpochSums(self.device, (self.network.members,))
        for member in self.present:
            self.metrics_of(member).begin_epoch()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        images, target = batch  # (M, B, C, H, W), (M, B)
        logits = self(images)
        losses = functional.cross_entropy(
            logits.float().flatten(0, 1),
            target.flatten(),
            reduction="none",
            label_smoothing=self.recipe.label_smoothing,
        )
        loss = losses.view(target.shape).mean(1)
        self.sums.count(loss, logits, target)
        # The loss of a member depends on its own weights alone, so the gradient of the sum is the gradient of each.
        return loss.sum()

    def on_train_epoch_end(self) -> None:
        for member, (loss, right) in enumerate(self.sums.read(self.weights())):
            if member not in self.present:
                continue
            try:
                self.refuse_if_lost(member)
                values = self.metrics_of(member).end_epoch(self.current_epoch, loss, right, self.sums.seen)
            except UserError as error:
                self.present.remove(member)
                self.on_failure(member, error)
            else:
                self._log(member, values, self.trainer.global_step - 1)
        self.trainer.should_stop = not self.present

    # Evaluation

    def on_validation_epoch_start(self) -> None:
        self._begin_evaluation()

    def on_validation_epoch_end(self) -> None:
        self._end_evaluation(self.trainer.global_step - 1)

    def on_test_epoch_start(self) -> None:
        self._begin_evaluation()

    def on_test_epoch_end(self) -> None:
        self._end_evaluation(self.trainer.global_step)

    def _begin_evaluation(self) -> None:
        for member in self.present:
            self.metrics_of(member).begin_evaluation()

    def _evaluate(self, split: str, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        images, target = batch
        logits = self(images).float()
        for member in self.present:
            # Test labels are the same for all members, held-out labels are not.
            self.metrics_of(member).evaluate(split, logits[member], target if target.dim() == 1 else target[member])

    def _end_evaluation(self, step: int) -> None:
        for member in self.present:
            self._log(member, self.metrics_of(member).end_evaluation(), step)

    def _log(self, member: int, values: dict[str, float], step: int) -> None:
        self.member_loggers[member].log_metrics(values | {"epoch": self.current_epoch}, step)

    # Resuming

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for member, history in enumerate(checkpoint["histories"]):
            self.metrics_of(member).history = history


class MemberCheckpoints(TorchCheckpointIO):
    """Splits the checkpoint of a stack into one for each member, as the member would write alone, and joins them.

    Args:
        classifier: The stack.
        paths: Where the checkpoint of each member is.
    """

    def __init__(self, classifier: StackedClassifier, paths: Sequence[Path]) -> None:
        self.classifier, self.paths = classifier, paths

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        for member in self.classifier.present:
            weights = self.classifier.network.member_state(member)
            member_checkpoint = {
                **checkpoint,
                "state_dict": {f"network.{name}": value for name, value in weights.items()},
                "optimizer_states": [unstack_optimizer(state, member) for state in checkpoint["optimizer_states"]],
                "callbacks": {},  # they hold the path of the stack's first member
                "history": self.classifier.metrics_of(member).history,
            }
            super().save_checkpoint(member_checkpoint, self.paths[member])

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        load = super().load_checkpoint
        members = [load(member_path, *args, **kwargs) for member_path in self.paths]
        return {
            **members[0],
            "state_dict": {
                f"network.{flat_name(name.removeprefix('network.'))}": torch.stack(
                    [member["state_dict"][name] for member in members]
                )
                for name in members[0]["state_dict"]
            },
            "optimizer_states": [stack_optimizers([member["optimizer_states"][0] for member in members])],
            "histories": [member["history"] for member in members],
        }

    def remove_checkpoint(self, path: Any) -> None:
        """Does nothing: the checkpoint of a member is removed when its run is complete."""
