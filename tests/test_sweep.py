"""The runs of a sweep seen from outside: every state, the table of them, and what the screen tells."""

import io
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from synthetic import World, configuration, shares, write_run
from test_command_line import IMPORTS_TORCH, SMALL
from test_lease import left_by_the_dead, sign

from class_sensitivity import lease, runs
from class_sensitivity.errors import BusyError, RunError
from class_sensitivity.sweep import Job, State, SweepScreen, job_of, look, print_status
from hydra_plugins.class_sensitivity_sweeper import study_sweeper
from hydra_plugins.class_sensitivity_sweeper.study_sweeper import StudySweeper

posix = pytest.mark.skipif(os.name != "posix", reason="asks whether a process is there")


def job(root: Path, seed: int, *, rerun: bool = False) -> Job:
    config = configuration({"seed": seed, "rerun": rerun, "runs": str(root)})
    return job_of(config, [f"seed={seed}"])


def finish(root: Path, seed: int) -> Path:
    return write_run(root, World(), shares((0.9, 0.8, 0.7)), seed=seed)


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in root.rglob("*")
    }


def screen_of(*jobs: Job) -> SweepScreen:
    screen = SweepScreen(jobs)
    screen.console = Console(file=io.StringIO(), width=200)
    return screen


def said(screen: SweepScreen) -> list[str]:
    return screen.console.file.getvalue().splitlines()


# States


def test_what_was_never_begun_is_missing(tmp_path):
    one = job(tmp_path, 1)
    assert look(one.directory) == (look(one.directory.parent)) == type(look(tmp_path))(State.MISSING)
    one.directory.mkdir(parents=True)
    (one.directory / "last.ckpt").touch()  # stopped in order
    assert look(one.directory).state == State.MISSING


def test_a_record_is_complete(tmp_path):
    found = look(finish(tmp_path, 1))
    assert found.state == State.COMPLETE
    assert re.fullmatch(r"accuracy \d+\.\d\d%  1\.2 s", found.detail)


def test_a_holder_that_lives_is_running_whatever_else_is_there(tmp_path):
    directory = finish(tmp_path, 1)
    runs.write_failure(directory, RunError("of before"))
    with lease.held(directory):
        found = look(directory)
        assert found.state == State.RUNNING
        assert f"process {os.getpid()} on " in found.detail
    assert look(directory).state == State.COMPLETE


@posix
def test_a_holder_that_was_killed_leaves_a_stale_run(tmp_path):
    directory = job(tmp_path, 1).directory
    pid = left_by_the_dead(directory)
    found = look(directory)
    assert found.state == State.STALE
    assert f"process {pid} on " in found.detail
    finish(tmp_path, 1)  # killed after its last word
    assert look(directory).state == State.COMPLETE


def test_a_holder_elsewhere_is_stale_after_a_while(tmp_path):
    directory = job(tmp_path, 1).directory
    sign(directory, silent_s=lease.LEASE_S - 30)
    assert look(directory).state == State.RUNNING
    sign(directory, silent_s=lease.LEASE_S + 1)
    assert look(directory).state == State.STALE


@pytest.mark.parametrize("reason", [RunError("The disk, is [full]."), ValueError("a defect")])
def test_a_failure_is_failed_with_its_reason(tmp_path, reason):
    directory = job(tmp_path, 1).directory
    assert runs.write_failure(directory, reason)
    found = look(directory)
    assert found.state == State.FAILED
    assert str(reason) in found.detail
    values = json.loads((directory / "failed.json").read_text())
    assert values["kind"] == type(reason).__name__
    assert (values["traceback"] is None) == isinstance(reason, RunError)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_a_failure_that_cannot_be_read_is_a_failure(tmp_path, content):
    directory = job(tmp_path, 1).directory
    directory.mkdir(parents=True)
    (directory / "failed.json").write_bytes(content)
    found = look(directory)
    assert found.state == State.FAILED
    assert "failed.json cannot be read" in found.detail


DAMAGE: dict[str, Callable[[Path], object]] = {
    "result cut": lambda directory: os.truncate(directory / "result.json", 100),
    "arrays gone": lambda directory: (directory / "arrays.npz").unlink(),
    "arrays cut": lambda directory: os.truncate(directory / "arrays.npz", 100),
    "result a link to nowhere": lambda directory: (
        (directory / "result.json").unlink(),
        (directory / "result.json").symlink_to("nowhere"),
    ),
    "a digit changed": lambda directory: (directory / "result.json").write_text(
        (directory / "result.json").read_text().replace('"steps": 3', '"steps": 4')
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_record_that_cannot_be_trusted_is_damaged(tmp_path, damage):
    directory = finish(tmp_path, 1)
    damage(directory)
    found = look(directory)
    assert found.state == State.DAMAGED
    assert str(directory) in found.detail


# The table


@posix
def test_the_table_names_every_state_counts_them_and_changes_nothing(tmp_path):
    jobs = [job(tmp_path, seed) for seed in range(1, 8)]
    for seed in (1, 2):
        finish(tmp_path, seed)
    os.truncate(finish(tmp_path, 3) / "result.json", 10)
    left_by_the_dead(jobs[3].directory)
    runs.write_failure(jobs[4].directory, RunError("No [space] left"))
    console = Console(file=io.StringIO(), width=300)
    with lease.held(jobs[5].directory):
        before = snapshot(tmp_path)
        print_status(jobs, console)
        assert snapshot(tmp_path) == before
    lines = console.file.getvalue().splitlines()
    states = [line.split()[0] for line in lines[1:-1]]
    assert states == ["complete", "complete", "damaged", "stale", "failed", "running", "missing"]
    assert [f"baseline seed {seed} " in line + " " for seed, line in enumerate(lines[1:-1], 1)] == [True] * 7
    assert "No [space] left" in lines[5]
    assert lines[-1] == "7 runs: 2 complete, 1 running, 1 stale, 1 failed, 1 damaged, 1 missing"


@pytest.mark.parametrize(
    ("arguments", "count"),
    [((*SMALL, "seed=3"), 1), (("-m", *SMALL, "noise.frac=0,0.1", "seed=1,2"), 4), (("-m", "study=noise"), 35)],
    ids=["one", "grid", "study"],
)
def test_asking_for_the_status_runs_nothing_and_does_not_wait_for_torch(command, arguments, count):
    done = command(*arguments, "status=true", python=("-X", "importtime"))
    assert done.rc == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{count} runs: {count} missing"
    assert not IMPORTS_TORCH.search(done.stderr)
    assert not done.runs.exists()


# The screen


def test_the_screen_tells_of_each_end_once_with_the_time_left(tmp_path, capsys):
    jobs = [job(tmp_path, seed) for seed in (1, 2, 3)]
    with screen_of(*jobs) as screen:
        screen.tell()
        assert said(screen) == []
        finish(tmp_path, 2)
        screen.tell()
        screen.tell()
        runs.write_failure(jobs[0].directory, RunError("It [is] full."))
        screen.tell()
        finish(tmp_path, 3)
    first, second, third = said(screen)
    assert re.fullmatch(r"\[1/3\] baseline seed 2 +accuracy \d+\.\d+%  1\.2 s  \d+ s left", first)
    assert re.fullmatch(r"\[2/3\] baseline seed 1 +failed  \d+ s left", second)
    assert re.fullmatch(r"\[3/3\] baseline seed 3 +accuracy \d+\.\d+%  1\.2 s", third)
    assert capsys.readouterr().err == "error: It [is] full. (run: seed=1)\n"
    assert screen.print_failures() == 1
    assert said(screen)[-1].split("seed 1")[1].strip() == "It [is] full."


def test_the_screen_tells_by_itself_while_the_runs_go_on(tmp_path):
    one = job(tmp_path, 1)
    with screen_of(one) as screen:
        finish(tmp_path, 1)
        deadline = time.monotonic() + 20
        while not said(screen):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert len(said(screen)) == 1


def test_a_run_has_not_ended_while_it_is_held(tmp_path):
    one = job(tmp_path, 1)
    screen = screen_of(one)
    with lease.held(one.directory):
        finish(tmp_path, 1)
        screen.tell()
        assert screen.ended == {}
    screen.tell()
    assert screen.ended[one.directory].state == State.COMPLETE


def test_what_was_there_before_is_no_end(tmp_path):
    again, failed = job(tmp_path, 1, rerun=True), job(tmp_path, 2)
    finish(tmp_path, 1)
    runs.write_failure(failed.directory, RunError("of before"))
    screen = screen_of(again, failed)
    screen.tell()
    assert screen.ended == {}
    time.sleep(0.02)  # file systems have clocks of few ticks
    finish(tmp_path, 1)
    runs.write_failure(failed.directory, RunError("of now"))
    screen.tell()
    assert [screen.ended[one.directory].state for one in (again, failed)] == [State.COMPLETE, State.FAILED]


def test_a_rerun_that_fails_is_not_taken_for_the_record_of_before(tmp_path):
    again = job(tmp_path, 1, rerun=True)
    finish(tmp_path, 1)
    screen = screen_of(again)
    runs.write_failure(again.directory, RunError("no data there"))
    screen.tell()
    found = screen.ended[again.directory]
    assert (found.state, found.detail) == (State.FAILED, "no data there")


def test_reasons_that_repeat_are_written_once(tmp_path, capsys):
    jobs = [job(tmp_path, seed) for seed in (1, 2)]
    screen = screen_of(*jobs)
    for one in jobs:
        screen.failed(one, "No space left")
    assert screen.print_failures() == 2
    assert [line.split("seed ")[1].split(maxsplit=1)[1].strip() for line in said(screen)[-2:]] == [
        "No space left",
        "the same",
    ]
    assert capsys.readouterr().err.count("No space left") == 2


# What the sweeper makes of launchers that fail


class Launcher:
    """Does what it is told for each launch: a function of the words of its jobs."""

    def __init__(self, *behaviours: Callable[[list[str]], Any]) -> None:
        self.behaviours = list(behaviours)
        self.launched: list[list[str]] = []

    def launch(self, overrides: list[list[str]], initial_job_idx: int) -> list[Any]:
        words = [one[0] for one in overrides]
        assert initial_job_idx == sum(map(len, self.launched))
        self.launched.append(words)
        return [SimpleNamespace(_return_value=value) for value in self.behaviours.pop(0)(words)]


@pytest.fixture
def launch(monkeypatch) -> Callable[..., Launcher]:
    monkeypatch.setattr(study_sweeper, "_POLL_S", 0.05)

    def launch(screen: SweepScreen, *behaviours: Callable[[list[str]], Any]) -> Launcher:
        sweeper = StudySweeper({})
        sweeper.launcher = Launcher(*behaviours)
        sweeper._launch_until_ended(screen.jobs, screen)
        assert sweeper.launcher.behaviours == []
        return sweeper.launcher

    return launch


@posix
def test_what_a_killed_process_left_is_tried_once_more_and_then_given_up(tmp_path, launch, capsys):
    jobs = [job(tmp_path, seed) for seed in (1, 2, 3)]
    screen = screen_of(*jobs)

    def crash(words: list[str]) -> Any:
        finish(tmp_path, 1)
        left_by_the_dead(jobs[1].directory)
        raise RuntimeError("a worker died")

    def crash_again(words: list[str]) -> Any:
        finish(tmp_path, 3)
        raise RuntimeError("a worker died")

    launcher = launch(screen, crash, crash_again)
    assert launcher.launched == [["seed=1", "seed=2", "seed=3"], ["seed=2", "seed=3"]]
    assert [screen.ended[one.directory].state for one in jobs] == [State.COMPLETE, State.FAILED, State.COMPLETE]
    assert "lost twice (RuntimeError: a worker died)" in capsys.readouterr().err
    assert any("trying once more" in line for line in said(screen))


def test_a_launcher_that_does_not_work_is_not_tried_for_ever(tmp_path, launch, capsys):
    jobs = [job(tmp_path, seed) for seed in (1, 2)]
    screen = screen_of(*jobs)

    def refuse(words: list[str]) -> Any:
        raise OSError("no such queue")

    launch(screen, refuse, refuse)
    assert {found.state for found in screen.ended.values()} == {State.FAILED}
    assert capsys.readouterr().err.count("no such queue") == 2


def test_a_failure_that_could_leave_nothing_is_told_all_the_same(tmp_path, launch, capsys):
    jobs = [job(tmp_path, seed) for seed in (1, 2)]
    screen = screen_of(*jobs)
    launch(screen, lambda words: [RunError("Nothing can be written."), ValueError("a defect")])
    written = capsys.readouterr().err
    assert "error: Nothing can be written. (run: seed=1)" in written
    assert "error: a defect (run: seed=2)" in written
    assert "ValueError: a defect" in written
    assert screen.print_failures() == 2


def test_what_others_do_is_waited_for_and_taken_over_when_they_are_gone(tmp_path, launch):
    jobs = [job(tmp_path, seed) for seed in (1, 2)]
    screen = screen_of(*jobs)
    other = lease.held(jobs[0].directory)
    other.__enter__()

    def busy(words: list[str]) -> Any:
        finish(tmp_path, 2)
        import threading

        threading.Timer(0.5, lambda: other.__exit__(None, None, None)).start()
        return [None for _ in words]

    def last(words: list[str]) -> Any:
        finish(tmp_path, 1)
        return [None]

    launcher = launch(screen, busy, last)
    assert launcher.launched == [["seed=2"], ["seed=1"]]
    assert any(line.startswith("waiting for runs that other processes are doing: 1") for line in said(screen))


def test_a_busy_run_is_no_failure(tmp_path, launch):
    one = job(tmp_path, 1)
    screen = screen_of(one)

    def done_by_another(words: list[str]) -> Any:
        finish(tmp_path, 1)
        return [BusyError("by another")]

    launch(screen, lambda words: [BusyError("by another")], done_by_another)
    assert screen.ended[one.directory].state == State.COMPLETE


@posix
def test_what_a_process_left_behind_its_last_word_is_cleared(tmp_path):
    directory = finish(tmp_path, 1)
    (directory / "last.ckpt").touch()
    lease.tidy(directory)
    assert (directory / "last.ckpt").exists(), "nobody was killed here"
    left_by_the_dead(directory)
    lease.tidy(directory)
    assert {path.name for path in directory.iterdir()} == {"result.json", "arrays.npz"}
    unfinished = job(tmp_path, 2).directory
    left_by_the_dead(unfinished)
    (unfinished / "last.ckpt").touch()
    lease.tidy(unfinished)
    assert (unfinished / "last.ckpt").exists(), "an unfinished run goes on from it"
