"""Fixtures of several test files: settings, the real command line, the real CIFAR-10."""

import atexit
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from hypothesis import settings
from support.commands import ROOT, Command, ForkedCommand, ForkServer
from support.explorer import digits, subject_of, write_digits_study
from support.plans import Files, load_one, read_files, write_plan

from class_sensitivity import config as configuration
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.study import Study
from class_sensitivity.report.explorer.payload import Subject
from class_sensitivity.runs.run import Run
from class_sensitivity.settings import DataSettings, TrainSettings

# Before PyTorch is loaded: several test processes with several threads each wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the commands set it

# Shared machines stall, so an example that is slow once is no failure.
settings.register_profile("suite", deadline=None, max_examples=60, print_blob=True)
settings.load_profile("suite")
configuration.register()

# Imports make hundreds of thousands of objects that stay. Looking through them again and again takes a quarter of the
# time in which tests are collected, and seconds at the end.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    atexit.register(gc.unfreeze)  # else libraries complain of what was not given back
    gc.enable()


MakeSettings = Callable[..., TrainSettings]
MakeRun = Callable[..., Run]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def compose_settings() -> MakeSettings:
    """Composes `conf/train.yaml` with overrides as on the command line: `compose_settings("noise.frac=0.1")`.

    Small enough to train in a moment: the bundled digits, two epochs of few steps, one thread. As the jobs of one sweep
    are composed, of which each after the first takes a moment.
    """
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        sweep = hydra.compose_config("train", [], RunMode.MULTIRUN, with_log_configuration=False)
        composer = configuration.JobComposer(GlobalHydra.instance().config_loader(), sweep)
    small = ("data=digits", "training.epochs=2", "training.batch_size=128", "training.threads=1")
    return lambda *overrides: composer.settings([*small, *overrides])


@pytest.fixture
def make_settings(compose_settings: MakeSettings, tmp_path: Path) -> MakeSettings:
    """As `compose_settings`, with the runs of this test in a directory of their own."""
    return lambda *overrides: compose_settings(f"runs={tmp_path / 'runs'}", *overrides)


@pytest.fixture
def make_run(make_settings: MakeSettings) -> MakeRun:
    """The run that such settings ask for."""
    return lambda *overrides: Run.of(make_settings(*overrides))


@pytest.fixture
def commands() -> Iterator[Callable[[Path], Command]]:
    """Makes commands with a directory of runs of their own; what still runs after the test is killed."""
    made: list[Command] = []

    def make(runs: Path) -> Command:
        made.append(Command(runs))
        return made[-1]

    yield make
    for process in (process for command in made for process in command.started):
        process.kill()
        process.communicate()


@pytest.fixture
def command(commands: Callable[[Path], Command], tmp_path: Path) -> Command:
    """A command whose runs go to `runs` in the directory of the test."""
    return commands(tmp_path / "runs")


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Forks commands, once it has imported everything."""
    if not hasattr(os, "fork"):
        pytest.skip("no process can be forked here")
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def forked(fork_server: ForkServer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> ForkedCommand:
    """As `command`, in a process that is forked."""
    return ForkedCommand(fork_server, tmp_path / "runs", tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="session")
def cifar10_dir() -> str:
    """The folder that holds the real `cifar-10-batches-py`."""
    folder = os.environ.get("CLASS_SENSITIVITY_DATA")
    if not folder:
        pytest.skip("CLASS_SENSITIVITY_DATA is not set: no real CIFAR-10 to test with")
    if not (Path(folder) / "cifar-10-batches-py").is_dir():
        pytest.skip(f"CLASS_SENSITIVITY_DATA={folder} holds no cifar-10-batches-py")
    return folder


@pytest.fixture(scope="session")
def cifar10(cifar10_dir: str) -> Any:
    """The real CIFAR-10 as the package loads it."""
    from class_sensitivity.data.sources import load_arrays

    return load_arrays(DataSettings("cifar10", cifar10_dir, download=False, flip=True, crop_padding=2))


# The study of `support.plans`, written and read once: no test changes it.


@pytest.fixture(scope="session")
def plan_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its runs."""
    return write_plan(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="session")
def loaded(plan_root: Path) -> Study:
    """The study as the analysis reads it."""
    return load_one(plan_root)


@pytest.fixture(scope="session")
def results(loaded: Study) -> Results:
    """What the analysis makes of it."""
    return analyse(loaded, resamples=200)


@pytest.fixture(scope="session")
def files(plan_root: Path) -> Files:
    """What stands in its files, read without the analysis."""
    return read_files(plan_root)


# A study of the bundled digits, as the explorer is handed it.


@pytest.fixture(scope="session")
def explored_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its runs."""
    return write_digits_study(tmp_path_factory.mktemp("explored") / "runs")


@pytest.fixture(scope="session")
def explored(explored_runs: Path) -> Subject:
    """What is known of it, with its images."""
    return subject_of(explored_runs, digits())
