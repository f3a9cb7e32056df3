"""A stack's members are the runs they would be alone: same streams, same weights, same directories, same fate."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeRun
from support.networks import put_nan_into_networks
from support.records import finish
from support.same_bits import assert_same_result
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional

from class_sensitivity.data.loader import EVALUATION_BATCH
from class_sensitivity.errors import BusyError, ConfigError, TrainingError
from class_sensitivity.models import build_model
from class_sensitivity.runs.directory import is_complete, read_failure, read_record
from class_sensitivity.runs.lease import MARKER, acquire, owner
from class_sensitivity.runs.record import RunRecord
from class_sensitivity.runs.run import Run
from class_sensitivity.settings import ModelSettings
from class_sensitivity.training import setup as training_setup
from class_sensitivity.training.classifier import Classifier, Trainable
from class_sensitivity.training.run import train_job
from class_sensitivity.training.setup import set_up
from class_sensitivity.training.stacked import fit as stacked_fit
from class_sensitivity.training.stacked import memory
from class_sensitivity.training.stacked import run as stacked_run
from class_sensitivity.training.stacked.classifier import StackedClassifier
from class_sensitivity.training.stacked.fit import Member
from class_sensitivity.training.stacked.loader import StackedLoader
from class_sensitivity.training.stacked.memory import members_that_fit
from class_sensitivity.training.stacked.model import StackedNetwork
from class_sensitivity.training.stacked.run import train_jobs

#: The loss is a 32-bit number, and sums in another order differ in its last digit.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}

#: A few steps in full precision, with every source of chance in play.
FEW_STEPS = (
    "training.precision=32-true",
    "training.epochs=1",
    "training.batch_size=128",
    "training.lr=0.02",
    "training.keep_checkpoint=true",
    "reduction.frac=0.5",
    "data.crop_padding=1",
    "data.flip=true",
)
MEMBERS = (("seed=0",), ("seed=1", "noise.frac=0.3"), ("seed=2", "noise.frac=0.3", "noise.kind=symmetric"))


@pytest.fixture
def double(monkeypatch) -> None:
    """Networks compute with 64 bits: batch norm of a channel that is nearly constant, of which the digits
    have some, makes rounding hundreds of times as large.
    """
    usual = training_setup.choose_execution
    monkeypatch.setattr(training_setup, "choose_execution", lambda *asked: replace(usual(*asked), precision="64-true"))


def networks(number: int) -> list[nn.Module]:
    settings = ModelSettings("cnn6", options={"widths": [4, 4, 6, 6, 8, 8]})
    made = []
    for seed in range(number):
        torch.manual_seed(seed)
        made.append(build_model(settings, in_channels=3, image_size=(8, 8), num_classes=4).double())
    return made


def below(make_run: MakeRun, root: Path, *settings: str, members: Any = MEMBERS) -> list[Run]:
    """The members' runs, below a directory of their own."""
    return [make_run(*settings, *of_member, f"runs={root}") for of_member in members]


def train_alone(runs: Sequence[Run]) -> list[Path]:
    return [train_job(run, show_progress=False) for run in runs]


def weights(directory: Path) -> dict[str, torch.Tensor]:
    stored = torch.load(directory / "last.ckpt", weights_only=True)
    return stored["state_dict"]


# The batched network


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_logits_gradients_and_statistics_are_each_networks_own(training, shared):
    members = networks(3)
    stack = StackedNetwork(copy.deepcopy(members)).train(training)
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64) if shared else torch.randn(3, 5, 3, 8, 8, dtype=torch.float64)
    logits = stack(images)
    assert logits.shape == (3, 5, 4)
    logits.pow(2).sum().backward()
    gradients = {name: getattr(stack, name.replace(".", "__")).grad for name in stack.parameter_names}
    for number, member in enumerate(members):
        own = member.train(training)(images if shared else images[number])
        torch.testing.assert_close(logits[number], own)
        own.pow(2).sum().backward()
        for name, parameter in member.named_parameters():
            torch.testing.assert_close(gradients[name][number], parameter.grad)
        torch.testing.assert_close(stack.member_state(number), dict(member.state_dict()))


def test_many_steps_of_a_stack_are_many_steps_of_each_member():
    members = networks(2)
    stack = StackedNetwork(copy.deepcopy(members))
    images, target = torch.randn(2, 30, 6, 3, 8, 8, dtype=torch.float64), torch.randint(0, 4, (2, 30, 6))

    def train(network: nn.Module, losses: Any) -> None:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
        for step in range(30):
            optimizer.zero_grad()
            losses(step).backward()
            optimizer.step()

    train(
        stack,
        lambda step: sum(
            functional.cross_entropy(logits, own)
            for logits, own in zip(stack(images[:, step]), target[:, step], strict=True)
        ),
    )
    for number, member in enumerate(members):
        train(
            member,
            lambda step, member=member, number=number: functional.cross_entropy(
                member(images[number, step]), target[number, step]
            ),
        )
        torch.testing.assert_close(stack.member_state(number), dict(member.state_dict()), rtol=1e-7, atol=1e-9)


def test_batches_are_to_the_bit_what_each_member_sees_alone(make_run, tmp_path):
    setups = [set_up(run) for run in below(make_run, tmp_path / "stacked", *FEW_STEPS)]

    class Epoch:
        current_epoch, max_epochs = 3, 5

    loaders = []
    for setup in setups:
        setup.data.trainer = Epoch()
        setup.data.setup()
        loaders.append(setup.data.train_dataloader())
    together = StackedLoader(loaders)
    assert len(together) == len(loaders[0]) == 5
    batches = list(together)
    assert len(batches) == 5
    for number, loader in enumerate(loaders):
        for (images, labels), (own_images, own_labels) in zip(batches, loader, strict=True):
            assert torch.equal(images[number], own_images)
            assert torch.equal(labels[number], own_labels)


# Whole runs


def test_each_member_is_the_run_that_it_would_be_alone(make_run, tmp_path, double):
    runs = below(make_run, tmp_path / "stacked", *FEW_STEPS)
    assert train_jobs(runs) == [None] * 3
    for run, single in zip(runs, train_alone(below(make_run, tmp_path / "alone", *FEW_STEPS)), strict=True):
        directory = run.directory
        assert directory.relative_to(tmp_path / "stacked") == single.relative_to(tmp_path / "alone")
        torch.testing.assert_close(weights(directory), weights(single), **CLOSE)
        one, other = read_record(directory), read_record(single)
        for name in ("train_indices", "train_labels", "train_touched", "test_labels"):
            np.testing.assert_array_equal(one.arrays[name], other.arrays[name])
        np.testing.assert_allclose(
            one.arrays["test_probabilities"].astype(float), other.arrays["test_probabilities"].astype(float), atol=2e-3
        )
        assert (one.identity, one.noise, one.steps, one.train_size) == (
            other.identity,
            other.noise,
            other.steps,
            other.train_size,
        )
        assert [list(epoch) for epoch in one.metrics.epochs] == [list(epoch) for epoch in other.metrics.epochs]
        assert replace(one.environment, stacked=1) == other.environment
        assert one.environment.stacked == 3
        assert min(vars(one.durations).values()) > 0
        assert {path.name.split(".")[0] for path in directory.iterdir()} == {
            path.name.split(".")[0] for path in single.iterdir()
        }


def scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    (path,) = directory.glob("events.*")
    events = EventAccumulator(str(path))
    events.Reload()
    found = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return found | {tag: [] for tag in events.Tags()["images"]}


def test_tensorboard_shows_of_a_member_what_it_shows_of_a_run(make_run, tmp_path):
    settings = ("training.precision=32-true", "training.epochs=2", "training.lr=0.01", "training.validation_frac=0.2")
    runs = below(make_run, tmp_path / "stacked", *settings)
    assert train_jobs(runs) == [None] * 3
    for run, single in zip(runs, train_alone(below(make_run, tmp_path / "alone", *settings)), strict=True):
        one, other = scalars(run.directory), scalars(single)
        assert one.keys() == other.keys()
        for tag, values in one.items():
            assert [step for step, _ in values] == [step for step, _ in other[tag]], tag
            if tag.endswith("loss"):
                np.testing.assert_allclose([v for _, v in values], [v for _, v in other[tag]], rtol=0.02)


@pytest.fixture
def interrupted_in_epoch_2(monkeypatch) -> Iterator[None]:
    usual = StackedClassifier.on_train_epoch_start

    def strike(self: StackedClassifier) -> None:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        usual(self)

    monkeypatch.setattr(StackedClassifier, "on_train_epoch_start", strike)
    yield
    monkeypatch.undo()


def count_epochs(patch: pytest.MonkeyPatch) -> list[int]:
    """Fills the list with the number of every epoch that is begun from now on, stacked or alone."""
    begun: list[int] = []
    for kind in (Classifier, StackedClassifier):

        def start(self: Trainable, usual: Any = kind.on_train_epoch_start) -> None:
            begun.append(self.current_epoch)
            usual(self)

        patch.setattr(kind, "on_train_epoch_start", start)
    return begun


TWO_EPOCHS = ("training.precision=32-true", "training.epochs=2", "training.lr=0.01")


def test_an_interrupted_stack_goes_on_stacked_or_alone(make_run, tmp_path, interrupted_in_epoch_2, monkeypatch):
    whole = below(make_run, tmp_path / "whole", *TWO_EPOCHS)
    runs = below(make_run, tmp_path / "stacked", *TWO_EPOCHS)
    for batch in (runs, whole):
        with pytest.raises(KeyboardInterrupt):
            train_jobs(batch)
    for run in runs:
        assert (run.directory / "last.ckpt").is_file()
        assert owner(run.directory) is None, "the lease was not released"
    monkeypatch.undo()
    begun = count_epochs(monkeypatch)
    # One goes on alone, the others in a stack of two; the epoch that was done is not done again.
    train_job(runs[0], show_progress=False)
    assert train_jobs(runs) == [None] * 3
    assert train_jobs(whole) == [None] * 3
    assert begun == [1, 1, 1]
    for run, other in zip(runs, whole, strict=True):
        one, two = read_record(run.directory), read_record(other.directory)
        assert [epoch["epoch"] for epoch in one.metrics.epochs] == [1, 2]
        np.testing.assert_allclose(
            one.arrays["test_probabilities"].astype(float), two.arrays["test_probabilities"].astype(float), atol=0.02
        )
        assert not (run.directory / "last.ckpt").exists()


def test_a_stack_that_was_interrupted_ends_as_one_that_was_not(make_run, tmp_path, interrupted_in_epoch_2, monkeypatch):
    runs = below(make_run, tmp_path / "stacked", *TWO_EPOCHS)
    with pytest.raises(KeyboardInterrupt):
        train_jobs(runs)
    monkeypatch.undo()
    begun = count_epochs(monkeypatch)
    assert train_jobs(runs) == [None] * 3
    assert begun == [1]
    whole = below(make_run, tmp_path / "whole", *TWO_EPOCHS)
    assert train_jobs(whole) == [None] * 3
    for run, other in zip(runs, whole, strict=True):
        assert_same_result(read_record(run.directory), read_record(other.directory))


# One member's fate is not the others'


def test_a_member_that_diverges_fails_alone(make_run, tmp_path, monkeypatch):
    healthy = below(make_run, tmp_path / "stacked", *TWO_EPOCHS)
    assert train_jobs(healthy) == [None] * 3
    put_nan_into_networks(monkeypatch, seed=1)
    sick = below(make_run, tmp_path / "sick", *TWO_EPOCHS)
    first, second, third = train_jobs(sick)
    assert (first, third) == (None, None)
    assert isinstance(second, TrainingError)
    failed = sick[1].directory
    assert not is_complete(failed)
    assert "diverged" in (read_failure(failed) or "")
    assert not (failed / MARKER).exists()
    for number in (0, 2):
        assert_same_result(read_record(sick[number].directory), read_record(healthy[number].directory))


def test_a_rerun_that_fails_in_a_stack_is_said_to_fail_and_leaves_the_records_of_before(
    make_run, tmp_path, monkeypatch
):
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("a defect")

    runs = below(make_run, tmp_path, *FEW_STEPS, "rerun=true", members=MEMBERS[:2])
    for run in runs:
        finish(run)
    monkeypatch.setattr(stacked_run, "fit_members", fail)
    assert [str(outcome) for outcome in train_jobs(runs)] == ["a defect"] * 2
    assert all(is_complete(run.directory) for run in runs)


def test_a_member_is_released_when_it_is_complete_not_when_all_are(make_run, tmp_path, monkeypatch):
    runs = below(make_run, tmp_path / "stacked", "training.epochs=1")
    usual, released = stacked_fit.complete_run, []

    def complete(*arguments: Any, **options: Any) -> RunRecord:
        released.append([owner(run.directory) is None for run in runs])
        return usual(*arguments, **options)

    monkeypatch.setattr(stacked_fit, "complete_run", complete)
    assert train_jobs(runs) == [None] * 3
    assert released == [[False, False, False], [True, False, False], [True, True, False]]


def test_members_that_are_complete_busy_or_mistaken_are_left_out(make_run, tmp_path):
    settings = ("training.epochs=1", "training.precision=32-true")
    members = (("seed=0",), ("seed=1",), ("seed=2",), ("seed=3",), ("reduction.frac=0.999",))
    runs = below(make_run, tmp_path / "stacked", *settings, members=members)
    train_job(runs[0], show_progress=False)
    before = (runs[0].directory / "result.json").stat().st_mtime_ns
    with acquire(runs[1].directory):
        outcomes = train_jobs(runs)
    assert [type(outcome) for outcome in outcomes] == [type(None), BusyError, type(None), type(None), ConfigError]
    assert (runs[0].directory / "result.json").stat().st_mtime_ns == before
    assert [is_complete(run.directory) for run in runs] == [True, False, True, True, False]
    assert "reduction.frac=0.999" in (read_failure(runs[4].directory) or "")
    assert [read_record(run.directory).environment.stacked for run in runs[2:4]] == [2, 2]


def test_runs_of_other_sizes_and_recipes_are_other_stacks(make_run, tmp_path):
    members = (
        *(("reduction.frac=0.5", f"seed={seed}") for seed in range(2)),
        *((f"seed={seed}",) for seed in range(3)),
        ("training.lr=0.05", "seed=0"),
    )
    runs = below(make_run, tmp_path / "stacked", "training.epochs=1", members=members)
    assert train_jobs(runs, max_members=2) == [None] * 6
    sizes = [read_record(run.directory).environment.stacked for run in runs]
    assert sizes == [2, 2, 1, 2, 2, 1]


def test_a_stack_is_no_larger_than_memory_allows(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(stacked_run, "members_that_fit", lambda setup: 2)
    runs = below(make_run, tmp_path / "stacked", "training.epochs=1")
    assert train_jobs(runs) == [None] * 3
    assert [read_record(run.directory).environment.stacked for run in runs] == [1, 2, 2]


def test_how_many_members_fit_follows_from_memory_and_from_what_a_member_needs(make_run, monkeypatch):
    def fit(megabytes: float, *overrides: str) -> int:
        monkeypatch.setattr(memory, "_free_bytes", lambda device: megabytes * 1e6)
        return members_that_fit(set_up(make_run(*overrides)))

    assert fit(0) == 1
    some, many = fit(1000), fit(10_000)
    assert many == pytest.approx(10 * some, rel=0.1)
    assert some > 10
    # Both of the two largest outputs of an evaluation, on any batch size: those of the first layer.
    a_first_output = 32 * 8 * 8 * 4
    assert many <= 10_000e6 / (2 * EVALUATION_BATCH * a_first_output)
    assert fit(10_000, "training.batch_size=1024") < many / 2
    assert fit(10_000, "training.validation_frac=0.5") < many


def test_measuring_a_network_leaves_it_as_it_was(make_run):
    setup = set_up(make_run())
    before = copy.deepcopy(setup.network.state_dict())
    members_that_fit(setup)
    assert setup.network.training
    assert not any(module._forward_hooks for module in setup.network.modules())
    torch.testing.assert_close(setup.network.state_dict(), before, rtol=0, atol=0)


def test_what_does_not_fit_into_memory_is_halved(make_run, tmp_path, monkeypatch):
    usual, tried = stacked_run.fit_members, []

    def fit(members: Sequence[Member], *, resumes: bool) -> None:
        tried.append(len(members))
        if len(members) > 2:
            raise torch.OutOfMemoryError("out of memory")
        usual(members, resumes=resumes)

    monkeypatch.setattr(stacked_run, "fit_members", fit)
    assert train_jobs(below(make_run, tmp_path / "stacked", "training.epochs=1")) == [None] * 3
    assert tried == [3, 2, 1]


def test_a_member_that_never_fits_fails_and_the_others_go_on(make_run, tmp_path, monkeypatch):
    usual = stacked_run.fit_members

    def fit(members: Sequence[Member], *, resumes: bool) -> None:
        if any(member.setup.run.settings.seed == 1 for member in members):
            raise torch.OutOfMemoryError("out of memory")
        usual(members, resumes=resumes)

    monkeypatch.setattr(stacked_run, "fit_members", fit)
    runs = below(make_run, tmp_path / "stacked", "training.epochs=1")
    first, second, third = train_jobs(runs)
    assert (first, third) == (None, None)
    assert isinstance(second, TrainingError)
    assert "memory" in (read_failure(runs[1].directory) or "")
    assert owner(runs[1].directory) is None


class Undecided(nn.Module):
    """Looks at a value before it knows what to do, which cannot be batched."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.linear(images.flatten(1))
        return -logits if logits.sum().item() > 1e9 else logits


def test_a_network_that_cannot_be_batched_is_trained_alone(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(training_setup, "build_model", lambda *_, **__: Undecided())
    runs = below(make_run, tmp_path / "stacked", "training.epochs=1")
    assert train_jobs(runs) == [None] * 3
    assert [read_record(run.directory).environment.stacked for run in runs] == [1, 1, 1]


# The launcher


@pytest.mark.slow
def test_the_launcher_does_a_sweep_and_then_only_what_is_missing(command):
    small = ("data=digits", "training.epochs=1", "training.batch_size=128", "training.threads=1")
    sweep = ("-m", "hydra/launcher=stacked", *small, "noise.frac=0,0.1", "seed=0,1", "reduction.frac=0,0.999")
    done = command(*sweep)
    assert done.rc == 1
    assert "Traceback" not in done.stderr
    assert "8 runs: 0 complete, running 8" in done.stdout
    assert len(done.results()) == 4
    assert done.stderr.count("reduction.frac=0.999 is too high") == 4
    again = command("-m", *small, "noise.frac=0,0.1", "seed=0,1,2")
    assert (again.rc, again.stderr) == (0, "")
    assert "6 runs: 4 complete, running 2" in again.stdout


def test_a_bad_number_of_members_is_one_sentence(command):
    done = command("-m", "hydra/launcher=stacked", "hydra.launcher.members=0", "data=digits", "seed=0,1")
    assert done.rc == 1
    assert done.stderr.splitlines() == [
        "error: hydra.launcher.members=0 is not allowed: it must be an integer of 1 or more, or null."
    ]
