"""The pieces of a report are made in several processes, and whatever becomes of these, the report is the same."""

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from support.reports import files, settings, write_digits

from class_sensitivity.errors import ConfigError
from class_sensitivity.report import build
from class_sensitivity.report.build import write_report
from class_sensitivity.report.processes import done_side_by_side

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")


def outcomes(jobs: list[Callable[[], object]], processes: int) -> dict[int, object]:
    """What each job returned or raised."""
    return {
        place: outcome.exception() or outcome.result()
        for place, outcome in done_side_by_side(jobs, processes=processes)
    }


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_job_is_done_once_by_as_many_processes_as_are_asked_for(processes, tmp_path):
    big = {"images": bytes(1000)}

    def job(number: int) -> tuple[int, int, int]:
        (tmp_path / str(number)).touch(exist_ok=False)
        return number, os.getpid(), id(big)

    found = outcomes([partial(job, number) for number in range(9)], processes)
    assert sorted(found) == list(range(9))
    numbers, pids, places = zip(*(found[number] for number in range(9)), strict=True)
    assert numbers == tuple(range(9))
    assert len(set(pids)) <= processes
    assert (os.getpid() in pids) == (processes == 1)
    assert set(places) == {id(big)}, "what the jobs know was copied"


@pytest.mark.parametrize("started", [0, 1])
def test_where_no_further_process_can_be_started_the_jobs_are_done_here(monkeypatch, started):
    fork, left = os.fork, iter([True] * started)

    def some() -> int:
        if next(left, False):
            return fork()
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", some)
    assert outcomes([os.getpid, os.getpid, os.getpid], 2) == dict.fromkeys(range(3), os.getpid())


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_job_raises_comes_back_and_the_others_are_done(processes):
    def fail(error: Exception) -> None:
        raise error

    errors = [OSError(errno.ENOSPC, "No space left on device"), ConfigError("no such class"), TypeError("a defect")]
    found = outcomes([*(partial(fail, error) for error in errors), lambda: "done"], processes)
    for place, error in enumerate(errors):
        assert type(found[place]) is type(error)
        assert str(found[place]) == str(error)
    assert found[0].errno == errno.ENOSPC
    assert found[3] == "done"


def test_jobs_of_a_process_that_is_killed_are_done_here(tmp_path):
    here = os.getpid()

    def job(number: int) -> int:
        if number == 1 and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        (tmp_path / str(number)).touch()
        return number

    assert outcomes([partial(job, number) for number in range(6)], 2) == {number: number for number in range(6)}
    assert len(files(tmp_path)) == 6


def test_whoever_stops_listening_ends_the_processes(tmp_path):
    def job(number: int) -> None:
        if number > 0:
            (tmp_path / str(os.getpid())).touch()
            time.sleep(100)

    begun = time.monotonic()
    with closing(done_side_by_side([partial(job, number) for number in range(5)], processes=2)) as running:
        next(running)
        while not files(tmp_path):
            time.sleep(0.01)
    assert time.monotonic() - begun < 50
    assert list(tmp_path.iterdir())
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


def test_an_interrupt_of_the_terminal_is_for_this_process_alone(tmp_path):
    def job(number: int) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return number

    assert outcomes([partial(job, number) for number in range(4)], 2) == {number: number for number in range(4)}


@pytest.mark.slow
def test_a_report_of_several_processes_is_that_of_one_to_the_byte(tmp_path, monkeypatch):
    root = write_digits(tmp_path / "runs")
    for processes in (1, 2):
        monkeypatch.setattr(build, "done_side_by_side", partial(done_side_by_side, processes=processes))
        write_report(settings(root, tmp_path / str(processes)))
    one, several = files(tmp_path / "1"), files(tmp_path / "2")
    assert {Path(name).suffix for name in one} == {".html", ".md", ".png", ".svg", ".csv", ".parquet", ".nc"}
    assert one.keys() == several.keys()
    pages = {name for name in one if name in ("index.html", "summary.md")}  # which say when they were made
    assert {name for name in one if one[name] != several[name]} <= pages
    assert one["index.html"].count(b"data:image/png") == several["index.html"].count(b"data:image/png")
