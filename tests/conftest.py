"""What several test files share: configurations, the real command line, the real CIFAR-10."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import settings

from class_sensitivity import config as configuration

ROOT = Path(__file__).resolve().parents[1]

# Before PyTorch is loaded: several test processes with several threads each wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Shared machines stall, so an example that is slow once is no failure.
settings.register_profile("suite", deadline=None, max_examples=60, print_blob=True)
settings.load_profile("suite")
configuration.register()

MakeConfig = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def compose_config() -> MakeConfig:
    """Composes `conf/train.yaml` with overrides as on the command line: `compose_config("noise.frac=0.1")`.

    Small enough to train in a moment: the bundled digits, two epochs of few steps, one thread.
    """

    def make(*overrides: str) -> dict[str, Any]:
        small = ("data=digits", "training.epochs=2", "training.batch_size=128", "training.threads=1")
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return configuration.checked(compose("train", overrides=[*small, *overrides]))

    return make


@pytest.fixture
def make_config(compose_config: MakeConfig, tmp_path: Path) -> MakeConfig:
    """As `compose_config`, with the runs of this test in a directory of their own."""
    return lambda *overrides: compose_config(f"runs={tmp_path / 'runs'}", *overrides)


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    rc: int
    stdout: str
    stderr: str
    runs: Path

    def results(self) -> list[Path]:
        """Every result.json under the directory of runs."""
        return sorted(self.runs.rglob("result.json"))


class Command:
    """`python train.py ...` from the root of the repository, as a user would type it.

    The environment is bare, so that nothing of the caller's (a data directory, Hydra's switches)
    decides what happens.

    Args:
        runs: Where the runs go, unless a test says `runs=` itself.
    """

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, python: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[str]:
        """Starts it and does not wait.

        Args:
            arguments: The words after the script.
            python: Options of the interpreter.
            environment: Variables beside PATH and HOME.
        """
        own = [] if any(word.startswith("runs=") for word in arguments) else [f"runs={self.runs}"]
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        process = subprocess.Popen(
            [sys.executable, *python, "train.py", *arguments, *own],
            cwd=ROOT,
            env=kept | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that starts tests in the background lets its children ignore Ctrl+C.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL) if os.name == "posix" else None,
        )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> Finished:
        """Waits for it."""
        stdout, stderr = process.communicate(timeout=600)
        return Finished(process.returncode, stdout, stderr, self.runs)

    def __call__(self, *arguments: str, **options: Any) -> Finished:
        return self.finish(self.start(*arguments, **options))


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
    return commands(tmp_path / "runs")


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

    return load_arrays("cifar10", cifar10_dir, False)
