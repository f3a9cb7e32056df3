"""Runs of a sweep that are done by hand, and what the terminal would show of them."""

import io
from pathlib import Path

from rich.console import Console

from class_sensitivity.settings import TrainSettings
from class_sensitivity.sweep import Job, SweepProgress
from support.records import at


def make_job(settings: TrainSettings, root: Path, seed: int, *, rerun: bool = False) -> Job:
    """The job of one seed, with its runs below a directory."""
    return Job(at(settings, root, seed=seed, rerun=rerun), (f"seed={seed}",))


def progress_of(*jobs: Job) -> SweepProgress:
    """A progress that prints to memory."""
    progress = SweepProgress(jobs)
    progress.console = Console(file=io.StringIO(), width=200)
    return progress


def printed(progress: SweepProgress) -> list[str]:
    """The lines that it printed."""
    return progress.console.file.getvalue().splitlines()
