"""What a sweep makes of a run that ends with a damaged record, and of a rerun whose process was killed."""

import os
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from support.leases import left_by_killed_process, posix
from support.records import finish
from support.sweeps import make_job, printed, progress_of

from class_sensitivity.runs.status import State
from class_sensitivity.settings import TrainSettings
from class_sensitivity.sweep import SweepProgress
from hydra_plugins.class_sensitivity_sweeper import study_sweeper
from hydra_plugins.class_sensitivity_sweeper.study_sweeper import StudySweeper


@pytest.fixture(scope="module")
def settings(compose_settings) -> TrainSettings:
    return compose_settings()


def launched(progress: SweepProgress, *attempts: Callable[[], None]) -> list[list[str]]:
    """Sweeps with a launcher that does one attempt after the other; returns the words that it was given."""
    remaining, words = list(attempts), list[list[str]]()

    def launch(overrides: list[list[str]], initial_job_idx: int) -> list[Any]:
        words.append([job[0] for job in overrides])
        remaining.pop(0)()
        return [SimpleNamespace(_return_value=None) for _ in overrides]

    sweeper = StudySweeper({})
    sweeper.launcher = SimpleNamespace(launch=launch)
    sweeper._launch_until_ended(progress.jobs, progress)
    assert remaining == []
    return words


def test_a_run_that_ends_with_a_damaged_record_is_done_again_at_once(settings, tmp_path):
    jobs = [make_job(settings, tmp_path, seed) for seed in (1, 2)]
    progress = progress_of(*jobs)

    def damage() -> None:
        for job in jobs:
            finish(job.run)
        os.truncate(jobs[0].directory / "arrays.npz", 100)

    started = time.monotonic()
    words = launched(progress, damage, lambda: finish(jobs[0].run))
    assert time.monotonic() - started < 20
    assert words == [["seed=1", "seed=2"], ["seed=1"]]
    assert {status.state for status in progress.ended.values()} == {State.COMPLETE}
    assert any("its record is damaged; doing it again" in line for line in printed(progress))


def test_a_run_that_ends_damaged_twice_has_failed(settings, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study_sweeper, "_VISIBLE_S", 0.1)
    job = make_job(settings, tmp_path, 1)
    progress = progress_of(job)
    words = launched(progress, *[lambda: os.truncate(finish(job.run) / "arrays.npz", 100)] * 2)
    assert words == [["seed=1"]] * 2
    assert progress.ended[job.directory].state == State.FAILED
    assert "its digest does not match" in capsys.readouterr().err


@posix
def test_of_reruns_the_one_whose_process_was_killed_is_the_one_that_was_lost(settings, tmp_path):
    jobs = [make_job(settings, tmp_path, seed, rerun=True) for seed in (1, 2)]
    for job in jobs:
        finish(job.run)
    left_by_killed_process(jobs[1].directory)
    assert StudySweeper({})._lost(jobs) == [jobs[1]]
