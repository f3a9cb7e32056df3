"""What a run was made with, for its record."""

import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from class_sensitivity.training.device import Execution


def describe_environment(execution: Execution) -> dict[str, Any]:
    """Device, processor, precision, threads, package versions, git commit; for the record of a run."""
    return {
        "device": execution.device.type,
        "processor": execution.name,
        "precision": execution.precision,
        "threads": execution.threads,
        "versions": _versions(),
        **_git_state(),
    }


@lru_cache
def _versions() -> dict[str, str]:
    packages = ("class-sensitivity", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "numpy")
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@lru_cache
def _git_state() -> dict[str, Any]:
    """Commit of the source tree this package is used from; None where it is not a git checkout."""

    def git(*arguments: str) -> str | None:
        try:
            return subprocess.run(
                ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None

    changes = git("status", "--porcelain", "--untracked-files=no")
    return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": None if changes is None else bool(changes)}
