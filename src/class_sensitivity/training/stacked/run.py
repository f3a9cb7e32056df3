"""Many runs of one recipe, as few fits as memory allows: each fit trains a stack of members."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from class_sensitivity.errors import TrainingError, UserError
from class_sensitivity.runs.directory import CHECKPOINT, is_complete, prepare_directory, refuse_foreign_link
from class_sensitivity.runs.lease import MARKER, acquire
from class_sensitivity.runs.run import Run
from class_sensitivity.training.run import failure_kept, train_job
from class_sensitivity.training.setup import TrainingSetup, set_up
from class_sensitivity.training.stacked.fit import Member, fit_members
from class_sensitivity.training.stacked.memory import members_that_fit
from class_sensitivity.training.stacked.model import why_not_stacked
from class_sensitivity.training.trainer import epochs_done, silence_lightning

#: Members of a stack at most: each keeps files open, and the system limits how many a process may have.
_MAX_MEMBERS = 128

#: None for a run that is complete, or why it is not.
Outcome = Exception | None


def train_jobs(runs: Sequence[Run], max_members: int | None = None) -> list[Outcome]:
    """Does runs, those that can be trained side by side in stacks.

    Members of a stack share data, model, recipe and the number of examples they visit, so that none waits
    for another; they differ in seed and stress.

    Args:
        runs: The runs.
        max_members: Members of a stack at most; None for as many as fit into memory.

    Returns:
        For each run, in order, None if it is complete now, or why it is not.
    """
    silence_lightning()
    outcomes: dict[Path, Outcome] = dict.fromkeys(run.directory for run in runs)
    groups = _groups(runs, outcomes)
    if any(len(group) > 1 and group[0].execution.device.type == "cpu" for group in groups):
        print(
            "Stacks pay on a GPU; on a CPU the runs are faster one after the other (hydra/launcher=basic).", flush=True
        )
    while groups:
        # Taken out of the list, so that what a group keeps in memory goes when it is done.
        for stack in _stacks(groups.pop(0), max_members):
            outcomes |= _train_stack(stack)
    return [outcomes[run.directory] for run in runs]


# Which runs form a stack


def _groups(runs: Sequence[Run], outcomes: dict[Path, Outcome]) -> list[list[TrainingSetup]]:
    """The runs that are not complete, set up, in groups of those that can be trained side by side.

    Args:
        runs: All runs.
        outcomes: Where the reason goes for which a run cannot begin.
    """
    groups: dict[object, list[TrainingSetup]] = {}
    # One data set after the other: only the latest is kept in memory.
    for run in sorted(runs, key=lambda run: str(run.settings.data)):
        if not run.settings.rerun and is_complete(run.directory):
            continue
        try:
            refuse_foreign_link(run.directory, run.identity)
            with acquire(run.directory), failure_kept(run.directory):
                setup = set_up(run)
        except Exception as error:
            outcomes[run.directory] = error
            continue
        groups.setdefault(_group_key(setup), []).append(setup)
    return list(groups.values())


def _group_key(setup: TrainingSetup) -> object:
    """Equal for two runs that can be members of one stack."""
    settings = setup.run.settings
    recipe = setup.run.identity.recipe_name
    return recipe, settings.training, settings.data.dir, setup.data.visits, setup.total_steps, settings.rerun


def _stacks(group: Sequence[TrainingSetup], max_members: int | None) -> Iterator[Sequence[TrainingSetup]]:
    """Stacks of nearly equal size, none larger than allowed."""
    size = 1
    if len(group) > 1:
        reason = why_not_stacked([setup.network for setup in group], _image_shape(group[0]))
        if reason is None:
            size = min(members_that_fit(group[0]), max_members or _MAX_MEMBERS, _MAX_MEMBERS)
        else:
            name = group[0].run.identity.model.name
            print(f"model={name} cannot be stacked ({reason}); its runs are done one after the other.", flush=True)
    number = -(-len(group) // size)
    for part in range(number):
        yield group[part * len(group) // number : (part + 1) * len(group) // number]


def _image_shape(setup: TrainingSetup) -> tuple[int, int, int]:
    """(C, H, W)."""
    _, height, width, channels = setup.data.arrays.train_images.shape
    return channels, height, width


# Training a stack


def _train_stack(stack: Sequence[TrainingSetup]) -> dict[Path, Outcome]:
    """Acquires the leases of a stack and trains it; a run alone is trained as `train.py` trains it."""
    if len(stack) == 1:
        return {stack[0].run.directory: _train_alone(stack[0].run)}
    outcomes: dict[Path, Outcome] = dict.fromkeys(setup.run.directory for setup in stack)
    rerun = stack[0].run.settings.rerun
    with ExitStack() as leases:
        members: list[Member] = []
        for setup in stack:
            directory = setup.run.directory
            try:
                lease = leases.enter_context(acquire(directory))
            except UserError as error:
                outcomes[directory] = error
                continue
            if not rerun and is_complete(directory):
                lease.release()  # another process did it in the meantime
            else:
                members.append(Member(setup, lease))
        _train_members(members, rerun=rerun)
    return outcomes | {member.directory: member.failure for member in members}


def _train_alone(run: Run) -> Outcome:
    try:
        train_job(run, show_progress=False)
    except Exception as error:
        return error
    return None


def _train_members(members: Sequence[Member], *, rerun: bool) -> None:
    """Prepares the run directories, and trains together the members that have done equally many epochs.

    Args:
        members: Runs with their leases.
        rerun: Begin again, even where there is a checkpoint.
    """
    by_epochs: dict[int, list[Member]] = {}
    for member in members:
        done = 0 if rerun else epochs_done(member.checkpoint)
        keep = {MARKER, CHECKPOINT} if done else {MARKER}
        try:
            prepare_directory(member.directory, member.setup.run.identity, keep=keep)
        except UserError as error:
            member.fail(error)
        else:
            by_epochs.setdefault(done, []).append(member)
    for done, together in by_epochs.items():
        _fit_or_halve(together, resumes=done > 0)


def _fit_or_halve(members: Sequence[Member], *, resumes: bool) -> None:
    """Fits members together; if they do not fit into memory, one half after the other."""
    try:
        fit_members(members, resumes=resumes)
        return
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0]
    except Exception as error:
        _fail_incomplete(members, error)
        return
    # Outside of the handler: until it ends, the error keeps everything alive that filled the memory.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(members) == 1:
        sentence = f"The run does not fit into memory ({reason}); use a smaller batch."
        _fail_incomplete(members, TrainingError(sentence))
        return
    left = [member for member in members if member.failure is None]
    half = -(-len(left) // 2)
    for part in (left[:half], left[half:]):
        # What was trained before memory ran out is in the checkpoints, also in a rerun.
        _train_members(part, rerun=False)


def _fail_incomplete(members: Sequence[Member], error: Exception) -> None:
    """What stops a stack stops every member that has neither failed nor been completed."""
    for member in members:
        if member.failure is None and not member.complete:
            member.fail(error)
