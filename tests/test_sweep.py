"""What the terminal shows of a sweep while its runs are done elsewhere."""

import re
import time

import pytest
from support.records import at, finish
from support.sweeps import make_job, printed, progress_of

from class_sensitivity.errors import RunError
from class_sensitivity.runs import directory as runs
from class_sensitivity.runs import lease
from class_sensitivity.runs.status import State
from class_sensitivity.settings import TrainSettings
from class_sensitivity.sweep import titles


@pytest.fixture(scope="module")
def settings(compose_settings) -> TrainSettings:
    return compose_settings()


def test_each_end_is_reported_once_with_the_time_left(settings, tmp_path, capsys):
    jobs = [make_job(settings, tmp_path, seed) for seed in (1, 2, 3)]
    with progress_of(*jobs) as progress:
        progress.report()
        assert printed(progress) == []
        finish(jobs[1].run)
        progress.report()
        progress.report()
        runs.write_failure(jobs[0].directory, RunError("It [is] full."))
        progress.report()
        finish(jobs[2].run)
    first, second, third = printed(progress)
    assert re.fullmatch(r"\[1/3\] baseline seed 2 +accuracy \d+\.\d+%  1\.2 s  \d+ s left", first)
    assert re.fullmatch(r"\[2/3\] baseline seed 1 +failed  \d+ s left", second)
    assert re.fullmatch(r"\[3/3\] baseline seed 3 +accuracy \d+\.\d+%  1\.2 s", third)
    assert capsys.readouterr().err == "error: It [is] full. (run: seed=1)\n"
    assert progress.print_failures() == 1
    assert printed(progress)[-1].split("seed 1")[1].strip() == "It [is] full."


def test_ends_are_reported_while_the_other_runs_go_on(settings, tmp_path):
    job = make_job(settings, tmp_path, 1)
    with progress_of(job) as progress:
        finish(job.run)
        deadline = time.monotonic() + 20
        while not printed(progress):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert len(printed(progress)) == 1


def test_a_run_has_not_ended_before_its_lease(settings, tmp_path):
    job = make_job(settings, tmp_path, 1)
    progress = progress_of(job)
    with lease.acquire(job.directory):
        finish(job.run)
        progress.report()
        assert progress.ended == {}
    progress.report()
    assert progress.ended[job.directory].state == State.COMPLETE


def test_what_was_there_before_is_no_end(settings, tmp_path):
    again, failed = make_job(settings, tmp_path, 1, rerun=True), make_job(settings, tmp_path, 2)
    finish(again.run)
    runs.write_failure(failed.directory, RunError("of before"))
    progress = progress_of(again, failed)
    progress.report()
    assert progress.ended == {}
    time.sleep(0.02)  # file systems have clocks of few ticks
    finish(again.run)
    runs.write_failure(failed.directory, RunError("of now"))
    progress.report()
    assert [progress.ended[job.directory].state for job in (again, failed)] == [State.COMPLETE, State.FAILED]


def test_a_rerun_that_fails_is_not_taken_for_the_record_of_before(settings, tmp_path):
    again = make_job(settings, tmp_path, 1, rerun=True)
    finish(again.run)
    progress = progress_of(again)
    runs.write_failure(again.directory, RunError("no data there"))
    progress.report()
    ended = progress.ended[again.directory]
    assert (ended.state, ended.detail) == (State.FAILED, "no data there")


def test_reasons_that_repeat_are_written_once(settings, tmp_path, capsys):
    jobs = [make_job(settings, tmp_path, seed) for seed in (1, 2)]
    progress = progress_of(*jobs)
    for job in jobs:
        progress.failed(job, "No space left")
    assert progress.print_failures() == 2
    assert [line.split("seed ")[1].split(maxsplit=1)[1].strip() for line in printed(progress)[-2:]] == [
        "No space left",
        "the same",
    ]
    assert capsys.readouterr().err.count("No space left") == 2


def test_without_failures_there_is_no_table_of_them(settings, tmp_path):
    job = make_job(settings, tmp_path, 1)
    progress = progress_of(job)
    finish(job.run)
    progress.report()
    before = printed(progress)
    assert progress.print_failures() == 0
    assert printed(progress) == before


def test_a_title_says_of_data_set_and_model_only_what_is_not_the_same_for_all(settings, tmp_path):
    def titles_of(*differences: dict[str, str]) -> list[str]:
        return titles([at(settings, tmp_path, **each) for each in differences])

    assert titles([]) == []
    assert titles_of({}) == titles_of({}, {}, {})[:1] == ["baseline seed 1"]
    lenet, other = {"model__name": "lenet"}, {"data__name": "other", "data__source": "digits"}
    assert titles_of({}, lenet) == ["cnn6 baseline seed 1", "lenet baseline seed 1"]
    assert titles_of({}, other) == ["digits baseline seed 1", "other baseline seed 1"]
    assert titles_of({}, lenet, lenet | other) == [
        "digits cnn6 baseline seed 1",
        "digits lenet baseline seed 1",
        "other lenet baseline seed 1",
    ]
