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

from class_sensitivity.runs import directory as runs
from class_sensitivity.data.datamodule import EVALUATION_BATCH
from class_sensitivity.errors import BusyError, TrainingError, UserError
from class_sensitivity.training.trainer import (
    disk_trouble_in_a_sentence,
    epochs_done,
    interrupts_and_writers_in_one_place,
    make_trainer,
    quieten,
)
from class_sensitivity.runs.identity import directory_of, identity, recipe_name
from class_sensitivity.runs.lease import MARKER, held, refuse_if_lost
from class_sensitivity.training.metrics import Ledger
from class_sensitivity.training.setup import Prepared, prepare
from class_sensitivity.training.recording import log_summary, make_record, run_logger
from class_sensitivity.training.progress import RunScreen
from class_sensitivity.training.stacked.classifier import MemberCheckpoints, StackedClassifier
from class_sensitivity.training.stacked.loader import StackedDataModule
from class_sensitivity.training.stacked.model import StackedNetwork
from class_sensitivity.training.run import failure_kept, train_job

#: Shares of the free memory that a stack may fill; a CPU's is everybody's.
_SHARE_OF_GPU, _SHARE_OF_RAM = 0.8, 0.4

#: Members of a stack at most: each holds files open, and a process may not hold many.
_MOST_MEMBERS = 128

Outcome = Exception | None
Member = tuple[Prepared, SoftFileLease]


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
    # Data sets one after the other: only the latest is kept in memory.
    for config in sorted(configs, key=lambda config: str(config["data"])):
        directory = directory_of(config)
        outcomes[directory] = None
        if not config["rerun"] and runs.is_complete(directory):
            continue
        try:
            runs.refuse_foreign_link(directory, identity(config))
            with held(directory), failure_kept(directory):
                run = prepare(config)
        except Exception as error:
            outcomes[directory] = error
            continue
        groups.setdefault(_stacks_with(run), []).append(run)
    if any(len(group) > 1 and group[0].execution.device.type == "cpu" for group in groups.values()):
        print(
            "Stacks pay on a GPU; on a CPU the runs are faster one after the other (hydra/launcher=basic).", flush=True
        )
    while groups:
        group = groups.pop(next(iter(groups)))
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
    size = min(fitting, most or fitting, _MOST_MEMBERS)
    number = -(-len(group) // size)
    for part in range(number):
        yield group[part * len(group) // number : (part + 1) * len(group) // number]


def _can_be_stacked(group: Sequence[Prepared]) -> bool:
    """Whether the architecture survives batching: control flow that depends on values does not."""
    _, height, width, channels = group[0].data.arrays.train_images.shape
    try:
        with torch.no_grad():
            StackedNetwork([run.network for run in group[:2]])(torch.zeros(2, 2, channels, height, width))
    except Exception:  # whatever the reason, the runs can be done one by one
        return False
    return True


def _members_that_fit(run: Prepared) -> int:
    """From one member's activations: all of them for a training batch, twice; the two widest for an evaluation."""
    outputs: list[int] = []

    def measure(module: nn.Module, _: Any, output: Any) -> None:
        if torch.is_tensor(output):
            outputs.append(output.numel())

    _, height, width, channels = run.data.arrays.train_images.shape
    leaves = [module for module in run.network.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(measure) for module in leaves]
    was_training = run.network.training
    with torch.no_grad():
        run.network.eval()(torch.zeros(1, channels, height, width))
    run.network.train(was_training)
    for hook in hooks:
        hook.remove()
    training = 2 * sum(outputs) * run.config["training"]["batch_size"]
    evaluation = 2 * max(outputs, default=0) * EVALUATION_BATCH
    weights = 4 * sum(parameter.numel() for parameter in run.network.parameters())
    held_out = len(run.data.validation_indices) * channels * height * width
    return max(1, int(_free_memory(run) / (4 * (max(training, evaluation) + weights) + held_out)))


def _free_memory(run: Prepared) -> float:
    """Bytes that a stack may fill."""
    if run.execution.device.type == "cuda":
        return torch.cuda.mem_get_info(run.execution.device)[0] * _SHARE_OF_GPU
    if "SC_AVPHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return 2e9  # not every system tells
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, limit - used)
    except (OSError, ValueError):
        pass  # no container, or one without a limit
    return free * _SHARE_OF_RAM


def _train_stack(stack: Sequence[Prepared]) -> dict[Path, Outcome]:
    """Takes the leases of a stack and trains it."""
    if len(stack) == 1:
        return {stack[0].directory: _alone(stack[0])}
    outcomes: dict[Path, Outcome] = {}
    with ExitStack() as leases:
        taken: list[Member] = []
        for run in stack:
            outcomes[run.directory] = None
            try:
                lease = leases.enter_context(held(run.directory))
            except UserError as error:
                outcomes[run.directory] = error
                continue
            if not run.config["rerun"] and runs.is_complete(run.directory):
                lease.release()
            else:
                taken.append((run, lease))
        outcomes |= _train_members(taken, afresh=stack[0].config["rerun"])
    return outcomes


def _alone(run: Prepared) -> Outcome:
    try:
        train_job(run.config, alone=False)
    except Exception as error:
        return error
    return None


def _train_members(members: Sequence[Member], *, afresh: bool = False) -> dict[Path, Outcome]:
    """Trains together what has come equally far."""
    outcomes: dict[Path, Outcome] = {}
    equal: dict[int, list[Member]] = {}
    for run, lease in members:
        directory = run.directory
        try:
            with failure_kept(directory):
                done = 0 if afresh else epochs_done(directory / runs.CHECKPOINT)
                runs.prepare(directory, run.own, keep={MARKER, runs.CHECKPOINT} if done else {MARKER})
        except UserError as error:
            outcomes[directory] = error
            continue
        equal.setdefault(done, []).append((run, lease))
    for done, together in equal.items():
        outcomes |= _fit(together, resumes=done > 0)
    return outcomes


def _fit(members: Sequence[Member], *, resumes: bool) -> dict[Path, Outcome]:
    """Trains, tests and writes members that begin together; halves of them if they do not fit into memory."""
    outcomes: dict[Path, Outcome] = {run.directory: None for run, _ in members}
    try:
        _Fit(members, outcomes).train(resumes=resumes)
        return outcomes
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0]
    except Exception as error:
        _fail_all(members, outcomes, error)
        return outcomes
    # Outside of the handler, whose error keeps everything alive that filled the memory.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    left = [(run, lease) for run, lease in members if outcomes[run.directory] is None]
    if len(members) == 1:
        _fail_all(left, outcomes, TrainingError(f"The run does not fit into memory ({reason}); use a smaller batch."))
        return outcomes
    half = -(-len(left) // 2)
    return outcomes | _train_members(left[:half]) | _train_members(left[half:])


def _fail_all(members: Sequence[Member], outcomes: dict[Path, Outcome], error: Exception) -> None:
    """What stops a stack stops every member that is still in it and not complete."""
    for run, _ in members:
        if outcomes[run.directory] is None and not runs.is_complete(run.directory):
            outcomes[run.directory] = error
            runs.write_failure(run.directory, error)


class _Fit:
    """One fit of a stack.

    Args:
        members: Runs and their leases, with prepared directories.
        outcomes: Where the reason goes for which a member failed.
    """

    def __init__(self, members: Sequence[Member], outcomes: dict[Path, Outcome]) -> None:
        self.members, self.outcomes = members, outcomes
        self.runs = [run for run, _ in members]
        self.directories = [run.directory for run in self.runs]
        self.first = self.runs[0]

    def train(self, *, resumes: bool) -> None:
        """Trains and tests all members, then writes their records."""
        # One directory stands for all: a disk that is full is full for every member.
        with disk_trouble_in_a_sentence(self.directories[0]), ExitStack() as open_loggers:
            self.loggers = [open_loggers.enter_context(run_logger(directory)) for directory in self.directories]
            open_loggers.callback(self._let_go_of_the_trainer)
            self._train(resumes=resumes)

    def _train(self, *, resumes: bool) -> None:
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
        checkpoints = [directory / runs.CHECKPOINT for directory in self.directories]
        data = StackedDataModule([run.data for run in self.runs])
        with RunScreen(f"{len(self.runs)} runs side by side", shown=True) as screen:
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

    def _let_go_of_the_trainer(self) -> None:
        """The data outlives the fit, and through its trainer the weights of the whole stack would."""
        for run in self.runs:
            run.data.trainer = None

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

    def _dropped(self, member: int, error: Exception) -> None:
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
                    (run.directory / runs.CHECKPOINT).unlink(missing_ok=True)
        except Exception as error:
            self._dropped(member, error)
        else:
            lease.release()
