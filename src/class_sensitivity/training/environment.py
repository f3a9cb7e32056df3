"""What a run was made with, for its record."""

import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from class_sensitivity.runs.record import EnvironmentRecord
from class_sensitivity.training.device import Execution

_PACKAGES = ("class-sensitivity", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "numpy")


def describe_environment(execution: Execution, *, stacked: int = 1) -> EnvironmentRecord:
    """The machine, the packages and the state of the source tree.

    Args:
        execution: Device, precision and threads of the run.
        stacked: How many runs were trained side by side.
    """
    return EnvironmentRecord(
        device=execution.device.type,
        processor=execution.processor,
        precision=execution.precision,
        threads=execution.threads,
        stacked=stacked,
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
    """What git says of the source tree this package is used from; None where that is no git checkout."""
    try:
        return subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _is_dirty() -> bool | None:
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return None if changes is None else bool(changes)
