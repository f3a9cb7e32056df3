"""The LightningModule of M runs at once, and checkpoints from which each of them can also go on alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn
from torch.nn import functional

from class_sensitivity.training.classifier import Trainable
from class_sensitivity.errors import UserError
from class_sensitivity.training.metrics import EpochSums, Ledger
from class_sensitivity.training.stacked.model import StackedNetwork, flat_name, stack_optimizers, unstack_optimizer


class StackedClassifier(Trainable):
    """Trains M networks as `Classifier` trains one.

    A member that fails (its loss is no number) is dropped: its weights go on being computed, because they are part
    of the stack, but nobody looks at them.

    Args:
        networks: M networks of one architecture, each with its own first weights.
        ledgers: The counts of each.
        loggers: The TensorBoard of each.
        still_ours: Raises a UserError for a member that another process took over; asked after every epoch.
        dropped: Told of a member that failed, and why.
        recipe: As of `Trainable`.
    """

    network: StackedNetwork

    def __init__(
        self,
        networks: Sequence[nn.Module],
        ledgers: Sequence[Ledger],
        loggers: Sequence[TensorBoardLogger],
        *,
        still_ours: Callable[[int], None],
        dropped: Callable[[int, UserError], None],
        **recipe: Any,
    ) -> None:
        super().__init__(StackedNetwork(networks), **recipe)
        self.ledgers = nn.ModuleList(ledgers)
        self.member_loggers, self.still_ours, self.dropped = loggers, still_ours, dropped
        self.present = list(range(len(networks)))

    def ledger(self, member: int) -> Ledger:
        """The counts of one member."""
        ledger = self.ledgers[member]
        assert isinstance(ledger, Ledger)
        return ledger

    # Training

    def on_train_epoch_start(self) -> None:
        self.sums = EpochSums(self.device, (self.network.members,))
        for member in self.present:
            self.ledger(member).begin_epoch()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        images, target = batch  # (M, B, C, H, W), (M, B)
        logits = self(images)
        losses = functional.cross_entropy(
            logits.float().flatten(0, 1), target.flatten(), reduction="none", label_smoothing=self.label_smoothing
        )
        loss = losses.view(target.shape).mean(1)
        self.sums.count(loss, logits, target)
        # No weight has a part in two members' losses, so the gradient of the sum is each member's own.
        return loss.sum()

    def on_train_epoch_end(self) -> None:
        for member, (loss, right) in enumerate(self.sums.read(self.weights())):
            if member not in self.present:
                continue
            try:
                self.still_ours(member)
                values = self.ledger(member).end_epoch(self.current_epoch, loss, right, self.sums.seen)
            except UserError as error:
                self.present.remove(member)
                self.dropped(member, error)
            else:
                self._log(member, values, self.trainer.global_step - 1)
        self.trainer.should_stop = not self.present

    # Evaluation

    def on_validation_epoch_start(self) -> None:
        for member in self.present:
            self.ledger(member).begin_evaluation()

    def on_validation_epoch_end(self) -> None:
        self._end_evaluation(self.trainer.global_step - 1)

    def on_test_epoch_start(self) -> None:
        self.on_validation_epoch_start()

    def on_test_epoch_end(self) -> None:
        self._end_evaluation(self.trainer.global_step)

    def _evaluate(self, split: str, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        images, target = batch
        logits = self(images).float()
        for member in self.present:
            self.ledger(member).evaluate(split, logits[member], target if target.dim() == 1 else target[member])

    def _end_evaluation(self, step: int) -> None:
        for member in self.present:
            self._log(member, self.ledger(member).end_evaluation(), step)

    def _log(self, member: int, values: dict[str, float], step: int) -> None:
        self.member_loggers[member].log_metrics(values | {"epoch": self.current_epoch}, step)

    # Resuming

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for member, history in enumerate(checkpoint["histories"]):
            self.ledger(member).history = history


class MemberCheckpoints(TorchCheckpointIO):
    """Takes the checkpoint of a stack apart into one for each member, as the member would write alone, and back.

    Args:
        classifier: The stack.
        paths: Where each member's checkpoint lies.
    """

    def __init__(self, classifier: StackedClassifier, paths: Sequence[Path]) -> None:
        self.classifier, self.paths = classifier, paths

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        for member in self.classifier.present:
            own = {
                **checkpoint,
                "state_dict": {f"network.{k}": v for k, v in self.classifier.network.member_state(member).items()},
                "optimizer_states": [unstack_optimizer(state, member) for state in checkpoint["optimizer_states"]],
                "callbacks": {},  # they hold the path of the stack's first member
                "history": self.classifier.ledger(member).history,
            }
            super().save_checkpoint(own, self.paths[member])

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        members = [super(MemberCheckpoints, self).load_checkpoint(own, *args, **kwargs) for own in self.paths]
        return {
            **members[0],
            "state_dict": {
                f"network.{flat_name(key.removeprefix('network.'))}": torch.stack(
                    [m["state_dict"][key] for m in members]
                )
                for key in members[0]["state_dict"]
            },
            "optimizer_states": [stack_optimizers([member["optimizer_states"][0] for member in members])],
            "histories": [member["history"] for member in members],
        }

    def remove_checkpoint(self, path: Any) -> None:
        """Members' checkpoints go when their runs are complete."""
