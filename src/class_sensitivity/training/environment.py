"""What a run was made with, for its record."""

import os
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from class_sensitivity.runs.record import EnvironmentRecord
from class_sensitivity.training.device import Execution

_PACKAGES = ("class-sensitivity", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "numpy")


def describe_environment(execution: Execution) -> EnvironmentRecord:
    """The machine, the packages and the state of the source tree.

    Args:
        execution: Device, precision and threads of the run.
    """
    return EnvironmentRecord(
        device=execution.device.type,
        processor=execution.processor,
        precision=execution.precision,
        threads=execution.threads,
        versions=_versions(),
        git_commit=_git("rev-parse", "HEAD"),
        git_dirty=_is_dirty(),
    )


@lru_cache
def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@lru_cache
def _git(*arguments: str) -> str | None:
    """What git says of the source tree this package is used from; None where that is no git checkout of it."""
    # A hook of another repository exports where that one is.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    here = Path(__file__)

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=here.parent, env=environment, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        ask(
            "ls-files", "--error-unmatch", here.name
        )  # fails where it is installed inside of a repository of the user's
        return ask(*arguments)
    except (OSError, subprocess.SubprocessError):
        return None


def _is_dirty() -> bool | None:
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return None if changes is None else bool(changes)
