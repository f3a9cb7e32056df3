"""A stack's members are the runs they would be alone: same streams, same weights, same directories, same fate."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional

from class_sensitivity import preparation, runs
from class_sensitivity.errors import BusyError, ConfigError, TrainingError
from class_sensitivity.identity import directory_of
from class_sensitivity.lease import MARKER, held, holder
from class_sensitivity.models import build_model
from class_sensitivity.preparation import prepare
from class_sensitivity.runs import RunRecord
from class_sensitivity.stacked import training as stacked_training
from class_sensitivity.stacked.classifier import StackedClassifier
from class_sensitivity.stacked.loader import StackedLoader
from class_sensitivity.stacked.model import StackedNetwork
from class_sensitivity.stacked.training import train_jobs
from class_sensitivity.training import train_job

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
    usual = preparation.choose_execution
    monkeypatch.setattr(preparation, "choose_execution", lambda *asked: replace(usual(*asked), precision="64-true"))


def networks(number: int) -> list[nn.Module]:
    made = []
    for seed in range(number):
        torch.manual_seed(seed)
        made.append(
            build_model("cnn6", in_channels=3, image_size=(8, 8), num_classes=4, widths=[4, 4, 6, 6, 8, 8]).double()
        )
    return made


def stacked(make_config: MakeConfig, tmp_path: Path, *settings: str, members: Any = MEMBERS) -> list[dict[str, Any]]:
    return [make_config(*settings, *own, f"runs={tmp_path / 'stacked'}") for own in members]


def alone(make_config: MakeConfig, tmp_path: Path, *settings: str, members: Any = MEMBERS) -> list[Path]:
    return [train_job(make_config(*settings, *own, f"runs={tmp_path / 'alone'}"), alone=False) for own in members]


def weights(directory: Path) -> dict[str, torch.Tensor]:
    stored = torch.load(directory / "last.ckpt", weights_only=True)
    return stored["state_dict"]


def assert_same_bits(one: RunRecord, other: RunRecord) -> None:
    assert one.confusion == other.confusion
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name])


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


def test_batches_are_to_the_bit_what_each_member_sees_alone(make_config, tmp_path):
    prepared = [prepare(config) for config in stacked(make_config, tmp_path, *FEW_STEPS)]

    class Epoch:
        current_epoch, max_epochs = 3, 5

    loaders = []
    for run in prepared:
        run.data.trainer = Epoch()
        run.data.setup()
        loaders.append(run.data.train_dataloader())
    together = StackedLoader(loaders)
    assert len(together) == len(loaders[0]) == 5
    batches = list(together)
    assert len(batches) == 5
    for number, loader in enumerate(loaders):
        for (images, labels), (own_images, own_labels) in zip(batches, loader, strict=True):
            assert torch.equal(images[number], own_images)
            assert torch.equal(labels[number], own_labels)


# Whole runs


def test_each_member_is_the_run_that_it_would_be_alone(make_config, tmp_path, double):
    configs = stacked(make_config, tmp_path, *FEW_STEPS)
    assert train_jobs(configs) == [None] * 3
    for config, single in zip(configs, alone(make_config, tmp_path, *FEW_STEPS), strict=True):
        directory = directory_of(config)
        assert directory.relative_to(tmp_path / "stacked") == single.relative_to(tmp_path / "alone")
        torch.testing.assert_close(weights(directory), weights(single), **CLOSE)
        one, other = runs.read(directory), runs.read(single)
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
        assert [list(epoch) for epoch in one.metrics["epochs"]] == [list(epoch) for epoch in other.metrics["epochs"]]
        assert one.environment | {"stacked": 1} == other.environment
        assert one.environment["stacked"] == 3
        assert one.seconds.keys() == other.seconds.keys()
        assert {path.name.split(".")[0] for path in directory.iterdir()} == {
            path.name.split(".")[0] for path in single.iterdir()
        }


def scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    (path,) = directory.glob("events.*")
    events = EventAccumulator(str(path))
    events.Reload()
    found = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return found | {tag: [] for tag in events.Tags()["images"]}


def test_tensorboard_shows_of_a_member_what_it_shows_of_a_run(make_config, tmp_path):
    settings = ("training.precision=32-true", "training.epochs=2", "training.lr=0.01", "training.validation_frac=0.2")
    configs = stacked(make_config, tmp_path, *settings)
    assert train_jobs(configs) == [None] * 3
    for config, single in zip(configs, alone(make_config, tmp_path, *settings), strict=True):
        one, other = scalars(directory_of(config)), scalars(single)
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


TWO_EPOCHS = ("training.precision=32-true", "training.epochs=2", "training.lr=0.01")


def test_an_interrupted_stack_goes_on_stacked_or_alone(make_config, tmp_path, interrupted_in_epoch_2, monkeypatch):
    whole = [make_config(*TWO_EPOCHS, *own, f"runs={tmp_path / 'whole'}") for own in MEMBERS]
    configs = stacked(make_config, tmp_path, *TWO_EPOCHS)
    for batch in (configs, whole):
        with pytest.raises(KeyboardInterrupt):
            train_jobs(batch)
    for config in configs:
        assert (directory_of(config) / "last.ckpt").is_file()
        assert holder(directory_of(config)) is None, "the lease was not released"
    monkeypatch.undo()
    # One goes on alone, the others in a stack of two; the epoch that was done is not done again.
    train_job(configs[0], alone=False)
    assert train_jobs(configs) == [None] * 3
    assert train_jobs(whole) == [None] * 3
    for config, other in zip(configs, whole, strict=True):
        one, two = runs.read(directory_of(config)), runs.read(directory_of(other))
        assert [epoch["epoch"] for epoch in one.metrics["epochs"]] == [1, 2]
        np.testing.assert_allclose(
            one.arrays["test_probabilities"].astype(float), two.arrays["test_probabilities"].astype(float), atol=0.02
        )
        assert not (directory_of(config) / "last.ckpt").exists()


def test_a_stack_that_was_interrupted_ends_as_one_that_was_not(
    make_config, tmp_path, interrupted_in_epoch_2, monkeypatch
):
    configs = stacked(make_config, tmp_path, *TWO_EPOCHS)
    with pytest.raises(KeyboardInterrupt):
        train_jobs(configs)
    monkeypatch.undo()
    assert train_jobs(configs) == [None] * 3
    whole = [make_config(*TWO_EPOCHS, *own, f"runs={tmp_path / 'whole'}") for own in MEMBERS]
    assert train_jobs(whole) == [None] * 3
    for config, other in zip(configs, whole, strict=True):
        assert_same_bits(runs.read(directory_of(config)), runs.read(directory_of(other)))


# One member's fate is not the others'


def test_a_member_that_diverges_fails_alone(make_config, tmp_path, monkeypatch):
    healthy = stacked(make_config, tmp_path, *TWO_EPOCHS)
    assert train_jobs(healthy) == [None] * 3
    usual = preparation._network

    def with_a_nan(config: dict[str, Any], *rest: Any) -> nn.Module:
        network = usual(config, *rest)
        if config["seed"] == 1:
            next(network.parameters()).data[0] = float("nan")
        return network

    monkeypatch.setattr(preparation, "_network", with_a_nan)
    sick = [make_config(*TWO_EPOCHS, *own, f"runs={tmp_path / 'sick'}") for own in MEMBERS]
    first, second, third = train_jobs(sick)
    assert (first, third) == (None, None)
    assert isinstance(second, TrainingError)
    failed = directory_of(sick[1])
    assert not runs.is_complete(failed)
    assert "diverged" in (runs.read_failure(failed) or "")
    assert not (failed / MARKER).exists()
    for number in (0, 2):
        assert_same_bits(runs.read(directory_of(sick[number])), runs.read(directory_of(healthy[number])))


def test_members_that_are_complete_busy_or_mistaken_are_left_out(make_config, tmp_path):
    settings = ("training.epochs=1", "training.precision=32-true")
    members = (("seed=0",), ("seed=1",), ("seed=2",), ("seed=3",), ("noise.frac=0.1", "noise.classes=[cat]"))
    configs = stacked(make_config, tmp_path, *settings, members=members)
    train_job(configs[0], alone=False)
    before = (directory_of(configs[0]) / "result.json").stat().st_mtime_ns
    with held(directory_of(configs[1])):
        outcomes = train_jobs(configs)
    assert [type(outcome) for outcome in outcomes] == [type(None), BusyError, type(None), type(None), ConfigError]
    assert (directory_of(configs[0]) / "result.json").stat().st_mtime_ns == before
    assert [runs.is_complete(directory_of(config)) for config in configs] == [True, False, True, True, False]
    assert "cat" in (runs.read_failure(directory_of(configs[4])) or "")
    assert [runs.read(directory_of(config)).environment["stacked"] for config in configs[2:4]] == [2, 2]


def test_runs_of_other_sizes_and_recipes_are_other_stacks(make_config, tmp_path):
    members = (
        *(("reduction.frac=0.5", f"seed={seed}") for seed in range(2)),
        *((f"seed={seed}",) for seed in range(3)),
        ("training.lr=0.05", "seed=0"),
    )
    configs = stacked(make_config, tmp_path, "training.epochs=1", members=members)
    assert train_jobs(configs, most=2) == [None] * 6
    sizes = [runs.read(directory_of(config)).environment["stacked"] for config in configs]
    assert sizes == [2, 2, 1, 2, 2, 1]


def test_what_does_not_fit_into_memory_is_halved(make_config, tmp_path, monkeypatch):
    usual, tried = stacked_training._Fit.train, []

    def train(self: Any, *, resumes: bool) -> None:
        tried.append(len(self.runs))
        if len(self.runs) > 2:
            raise torch.OutOfMemoryError("out of memory")
        usual(self, resumes=resumes)

    monkeypatch.setattr(stacked_training._Fit, "train", train)
    configs = stacked(make_config, tmp_path, "training.epochs=1")
    assert train_jobs(configs) == [None] * 3
    assert tried == [3, 2, 1]


def test_a_member_that_never_fits_fails_and_the_others_go_on(make_config, tmp_path, monkeypatch):
    usual = stacked_training._Fit.train

    def train(self: Any, *, resumes: bool) -> None:
        if any(run.config["seed"] == 1 for run in self.runs):
            raise torch.OutOfMemoryError("out of memory")
        usual(self, resumes=resumes)

    monkeypatch.setattr(stacked_training._Fit, "train", train)
    configs = stacked(make_config, tmp_path, "training.epochs=1")
    first, second, third = train_jobs(configs)
    assert (first, third) == (None, None)
    assert isinstance(second, TrainingError)
    assert "memory" in (runs.read_failure(directory_of(configs[1])) or "")
    assert holder(directory_of(configs[1])) is None


class Undecided(nn.Module):
    """Looks at a value before it knows what to do, which cannot be batched."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.linear(images.flatten(1))
        return -logits if logits.sum().item() > 1e9 else logits


def test_a_network_that_cannot_be_batched_is_trained_alone(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "build_model", lambda **_: Undecided())
    configs = stacked(make_config, tmp_path, "training.epochs=1")
    assert train_jobs(configs) == [None] * 3
    assert [runs.read(directory_of(config)).environment["stacked"] for config in configs] == [1, 1, 1]


# The launcher


def test_the_launcher_does_a_sweep_and_then_only_what_is_missing(command):
    small = ("data=digits", "training.epochs=1", "training.batch_size=128", "training.threads=1")
    sweep = ("-m", "hydra/launcher=stacked", *small, "noise.frac=0,0.1", "seed=0,1", "noise.classes=[],[cat]")
    done = command(*sweep)
    assert done.rc == 1
    assert "Traceback" not in done.stderr
    assert "6 runs: 0 complete, running 6" in done.stdout
    assert len(done.results()) == 4
    assert done.stderr.count("noise.classes=cat") == 2
    again = command("-m", *small, "noise.frac=0,0.1", "seed=0,1,2")
    assert (again.rc, again.stderr) == (0, "")
    assert "6 runs: 4 complete, running 2" in again.stdout


def test_a_bad_number_of_members_is_one_sentence(command):
    done = command("-m", "hydra/launcher=stacked", "hydra.launcher.members=0", "data=digits", "seed=0,1")
    assert done.rc == 1
    assert done.stderr.splitlines() == [
        "error: hydra.launcher.members=0 is not allowed: it must be an integer of 1 or more, or null."
    ]
