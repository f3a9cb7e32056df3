"""Many runs of one recipe, as few fits as memory allows: each fit trains a stack of members."""

import gc
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from filelock import SoftFileLease
from torch import nn

from class_sensitivity import runs
from class_sensitivity.errors import BusyError, UserError
from class_sensitivity.fitting import (
    CHECKPOINT,
    disk_trouble_in_a_sentence,
    epochs_done,
    interrupts_and_writers_in_one_place,
    make_trainer,
    quieten,
)
from class_sensitivity.identity import recipe_name
from class_sensitivity.lease import MARKER, held, refuse_if_lost
from class_sensitivity.ledger import Ledger
from class_sensitivity.preparation import Prepared, directory_of, prepare
from class_sensitivity.recording import log_summary, make_record, run_logger
from class_sensitivity.screen import RunScreen
from class_sensitivity.stacked.classifier import MemberCheckpoints, StackedClassifier
from class_sensitivity.stacked.loader import StackedDataModule
from class_sensitivity.stacked.model import StackedNetwork
from class_sensitivity.training import failure_kept, train_job

#: Shares of the free memory that a stack may fill; a CPU's is everybody's.
_SHARE_OF_GPU, _SHARE_OF_RAM = 0.8, 0.4

Outcome = Exception | None


def train_jobs(configs: Sequence[dict[str, Any]], most: int | None = None) -> list[Outcome]:
    """Does the runs that configurations ask for, those that can be side by side in stacks.

    Members of a stack share data, model, recipe and the number of records they visit, so that none waits
    for another; they differ in seed and stress.

    Args:
        configs: Checked configurations.
        most: Members of a stack at most; None for as many as fit into memory.

    Returns:
        For each, in order, None if its run is complete now, or why it is not.
    """
    quieten()
    outcomes: dict[Path, Outcome] = {}
    groups: dict[object, list[Prepared]] = {}
    for config in configs:
        directory = directory_of(config)
        outcomes[directory] = None
        if not config["rerun"] and runs.is_complete(directory):
            continue
        try:
            with failure_kept(directory):
                run = prepare(config)
        except Exception as error:
            outcomes[directory] = error
            continue
        groups.setdefault(_stacks_with(run), []).append(run)
    for group in groups.values():
        for stack in _cut(group, most):
            outcomes |= _train_stack(stack)
    return [outcomes[directory_of(config)] for config in configs]


def _stacks_with(run: Prepared) -> object:
    """Equal for two runs that can be members of one stack."""
    training, data = run.config["training"], run.config["data"]
    return (
        recipe_name(run.own),
        *(training[name] for name in ("threads", "accelerator", "test_every_epoch", "keep_checkpoint")),
        data["dir"],
        run.data.visits,
        run.config["rerun"],
    )


def _cut(group: list[Prepared], most: int | None) -> Iterator[list[Prepared]]:
    """Stacks of nearly equal size, none larger than allowed."""
    fitting = _members_that_fit(group[0]) if len(group) > 1 and _can_be_stacked(group) else 1
    size = min(fitting, most or fitting)
    number = -(-len(group) // size)
    for part in range(number):
        yield group[part * len(group) // number : (part + 1) * len(group) // number]


def _can_be_stacked(group: Sequence[Prepared]) -> bool:
    """Whether the architecture survives batching: control flow that depends on values does not."""
    _, height, width, channels = group[0].data.arrays.train_images.shape
    try:
        with torch.no_grad():
            StackedNetwork([run.network for run in group[:2]])(torch.zeros(2, 2, channels, height, width))
    except RuntimeError:
        return False
    return True


def _members_that_fit(run: Prepared) -> int:
    """From the activations of one member, which the backward pass needs, with room for as many copies of them."""
    device = run.execution.device
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] * _SHARE_OF_GPU
    elif hasattr(os, "sysconf"):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _SHARE_OF_RAM
    else:
        free = 2e9
    numbers = 0

    def count(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal numbers
        numbers += output.numel()

    _, height, width, channels = run.data.arrays.train_images.shape
    leaves = [module for module in run.network.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(count) for module in leaves]
    was_training = run.network.training
    with torch.no_grad():
        run.network.eval()(torch.zeros(1, channels, height, width))
    run.network.train(was_training)
    for hook in hooks:
        hook.remove()
    weights = sum(parameter.numel() for parameter in run.network.parameters())
    member = 4 * (2 * numbers * run.config["training"]["batch_size"] + 4 * weights)
    return max(1, int(free / member))


def _train_stack(stack: Sequence[Prepared]) -> dict[Path, Outcome]:
    """Takes the leases, and trains together what has come equally far."""
    if len(stack) == 1:
        return {stack[0].directory: _alone(stack[0])}
    outcomes: dict[Path, Outcome] = {}
    with ExitStack() as leases:
        taken: dict[int, list[tuple[Prepared, SoftFileLease]]] = {}
        for run in stack:
            directory = run.directory
            outcomes[directory] = None
            try:
                runs.refuse_foreign_link(directory, run.own)
                with failure_kept(directory):
                    lease = leases.enter_context(held(directory))
                    if not run.config["rerun"] and runs.is_complete(directory):
                        lease.release()
                        continue
                    done = 0 if run.config["rerun"] else epochs_done(directory / CHECKPOINT)
                    runs.prepare(directory, run.own, keep={MARKER, CHECKPOINT} if done else {MARKER})
            except UserError as error:
                outcomes[directory] = error
                continue
            taken.setdefault(done, []).append((run, lease))
        for done, members in taken.items():
            outcomes |= _fit(members, resumes=done > 0)
    return outcomes


def _alone(run: Prepared) -> Outcome:
    try:
        train_job(run.config, alone=False)
    except Exception as error:
        return error
    return None


def _fit(members: Sequence[tuple[Prepared, SoftFileLease]], *, resumes: bool) -> dict[Path, Outcome]:
    """Trains, tests and writes members that begin together; halves of them if they do not fit into memory."""
    outcomes: dict[Path, Outcome] = {run.directory: None for run, _ in members}
    try:
        _Fit(members, outcomes).train(resumes=resumes)
    except torch.OutOfMemoryError:
        if len(members) > 1:
            _forget_what_was_computed()
            half = len(members) // 2
            return _fit(members[:half], resumes=resumes) | _fit(members[half:], resumes=resumes)
        raise
    except Exception as error:
        # Whatever stops the stack stops every member that is still in it.
        for run, _ in members:
            if outcomes[run.directory] is None and not runs.is_complete(run.directory):
                outcomes[run.directory] = error
                runs.write_failure(run.directory, error)
    return outcomes


def _forget_what_was_computed() -> None:
    gc.collect()
    torch.cuda.empty_cache()


class _Fit:
    """One fit of a stack.

    Args:
        members: Runs and their leases, with prepared directories.
        outcomes: Where the reason goes for which a member failed.
    """

    def __init__(self, members: Sequence[tuple[Prepared, SoftFileLease]], outcomes: dict[Path, Outcome]) -> None:
        self.members, self.outcomes = members, outcomes
        self.runs = [run for run, _ in members]
        self.directories = [run.directory for run in self.runs]
        self.loggers = [run_logger(directory) for directory in self.directories]
        self.first = self.runs[0]

    def train(self, *, resumes: bool) -> None:
        """Trains and tests all members, then writes their records."""
        started = time.perf_counter()
        first, names = self.first, self.first.data.arrays.class_names
        classifier = StackedClassifier(
            [run.network for run in self.runs],
            [Ledger(names, run.recipe["lr"]) for run in self.runs],
            self.loggers,
            still_ours=lambda member: refuse_if_lost(self.members[member][1]),
            dropped=self._dropped,
            **first.recipe,
        )
        checkpoints = [directory / CHECKPOINT for directory in self.directories]
        data = StackedDataModule([run.data for run in self.runs])
        # One directory stands for all: a disk that is full is full for every member.
        with (
            disk_trouble_in_a_sentence(self.directories[0]),
            RunScreen(f"{len(self.runs)} runs side by side", shown=True) as screen,
        ):
            trainer = self._trainer(MemberCheckpoints(classifier, checkpoints), screen.callbacks)
            seconds = {"setup": time.perf_counter() - started}
            begun = time.perf_counter()
            with interrupts_and_writers_in_one_place():
                ckpt_path = checkpoints[0] if resumes else None
                trainer.fit(classifier, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
                seconds["fit"] = time.perf_counter() - begun
                begun = time.perf_counter()
                if classifier.present:
                    trainer.test(classifier, datamodule=data, verbose=False)
            seconds["test"] = time.perf_counter() - begun
            share = {name: value / len(self.runs) for name, value in seconds.items()}
            for member in classifier.present:
                self._write(member, classifier.ledger(member), trainer.global_step, share)

    def _trainer(self, checkpoints: MemberCheckpoints, callbacks: Iterable[pl.Callback]) -> pl.Trainer:
        epochs = self.first.config["training"]["epochs"]
        return make_trainer(
            self.directories[0],
            self.first.execution,
            epochs,
            logger=None,
            callbacks=list(callbacks),
            plugins=[checkpoints],
        )

    def _dropped(self, member: int, error: UserError) -> None:
        run, lease = self.members[member]
        self.outcomes[run.directory] = error
        if not isinstance(error, BusyError):
            runs.write_failure(run.directory, error)
        lease.release()

    def _write(self, member: int, ledger: Ledger, steps: int, share: dict[str, float]) -> None:
        """Completes one member; one that cannot be written does not cost the others theirs."""
        run, lease = self.members[member]
        try:
            with disk_trouble_in_a_sentence(run.directory):
                begun = time.perf_counter()
                seconds = dict(share)
                record = make_record(run, ledger, steps, seconds, stacked=len(self.runs))
                log_summary(self.loggers[member], record)
                seconds["tensorboard"] = time.perf_counter() - begun
                seconds["total"] = sum(seconds.values())
                runs.write(record, run.directory)
                if not run.config["training"]["keep_checkpoint"]:
                    (run.directory / CHECKPOINT).unlink(missing_ok=True)
        except UserError as error:
            self._dropped(member, error)
        else:
            lease.release()
