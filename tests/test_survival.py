"""Sweeps that are killed, starved of space, shut out, interrupted or started twice end as if nothing had happened."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.commands import Finished, ForkedCommand
from support.disks import fill, remount, small_disk
from support.same_bits import assert_same_runs

from class_sensitivity.runs.directory import find_run_directories, is_complete, read_failure

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks, sends signals and mounts a tmpfs"),
]

#: A run that takes a moment and still has checkpoints to go on from.
SMALL = ("data=digits", "training.epochs=3", "training.batch_size=128", "training.threads=1", "reduction.frac=0.5")
GRID = ("-m", *SMALL, "noise.frac=0,0.2", "seed=1,2")

#: A kill at some operation on a file is to fall into the training; workers are killed at any time, below.
ONE_PROCESS = "hydra/launcher=basic"

#: All that a complete run may leave.
LASTING = {"arrays.npz", "result.json"}


Make = Callable[..., ForkedCommand]


@pytest.fixture(scope="module")
def make_command(fork_server, tmp_path_factory) -> Make:
    """Makes commands with a directory of runs of their own, unless it is given."""

    def make(runs: Path | None = None) -> ForkedCommand:
        scratch = tmp_path_factory.mktemp("command")
        return ForkedCommand(fork_server, runs or scratch / "runs", scratch)

    return make


@pytest.fixture(scope="module")
def whole(make_command) -> ForkedCommand:
    """The sweep that nothing happened to."""
    command = make_command()
    done = command(*GRID)
    assert (done.rc, done.stderr) == (0, "")
    assert len(done.results()) == 4
    return command


def times(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("result.json") if is_complete(path.parent)}


def assert_as_if_nothing_happened(root: Path, whole: Path, *, all_of_it: bool = True) -> None:
    """The same runs, equal to the last bit in all that is computed, and nothing lying about."""
    assert_same_runs(root, whole, all_of_them=all_of_it)
    left = {path for path in root.rglob("*") if path.is_file() and not path.name.startswith("events.out.")}
    assert {path.name for path in left} == LASTING
    assert len(left) == 2 * len(list(find_run_directories(root)))


def assert_sentences(done: Finished, *words: str) -> None:
    """It failed, and said so in sentences that hold the words."""
    assert done.rc == 1
    assert "Traceback" not in done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith("error: ") for line in lines), done.stderr
    for word in words:
        assert word in lines[0], done.stderr


# Killed


def complete_in_spite_of(command: ForkedCommand, kill: Callable[[], Finished], most: int) -> int:
    """Kills the sweep again and again until it is complete; returns how often it took."""
    kills = 0
    while True:
        before = times(command.runs)
        done = kill() if kills < most else command(*GRID)
        after = times(command.runs)
        assert {path: after[path] for path in before} == before, "a complete run was done again"
        assert "Traceback" not in done.stderr
        if done.rc == 0:
            break
        assert done.rc == -signal.SIGKILL, done.stderr
        kills += 1
    assert done.stderr == ""
    # Whatever the last kill left lying about is cleared at the latest by the next command.
    assert command(*GRID).stdout.splitlines() == ["4 runs: 4 complete, running 0"]
    return kills


def test_a_sweep_killed_at_any_operation_on_a_file_ends_as_if_nothing_had_happened(make_command, whole):
    # Kills all over what is done to files, in sweeps that were killed at other places before.
    places = random.Random(20).sample(range(1, 46, 3), 15)
    while places:
        command = make_command()
        complete_in_spite_of(
            command, lambda command=command: command(*GRID, ONE_PROCESS, die_at=places.pop()), min(5, len(places))
        )
        assert set(command.done().values()) == {1}
        assert_as_if_nothing_happened(command.runs, whole.runs)


def test_a_sweep_killed_at_any_time_ends_as_if_nothing_had_happened(make_command, whole):
    rng = random.Random(5)
    command = make_command()

    def kill() -> Finished:
        process = command.start(*GRID)
        time.sleep(rng.uniform(0.1, 2))
        os.kill(process, signal.SIGKILL)
        return command.finish(process)

    complete_in_spite_of(command, kill, 6)
    assert_as_if_nothing_happened(command.runs, whole.runs)


ONE = (*SMALL, "noise.frac=0.2", "seed=1")


def test_a_run_killed_while_it_writes_its_record(make_command, whole):
    # Every operation from the last checkpoint on: the arrays, the result, the checkpoint's end, the marker's.
    counted = make_command()
    assert counted("-m", *ONE).rc == 0
    operations = int(counted.log.read_text().split()[-1])
    littered = 0
    for operation in range(operations - 12, operations + 1, 2):
        command = make_command()
        killed = command("-m", *ONE, die_at=operation)
        if killed.rc == 0:
            break
        assert killed.rc == -signal.SIGKILL
        complete = times(command.runs)
        littered += bool(complete) and any(command.runs.rglob("running.lock"))
        again = command("-m", *ONE)
        assert (again.rc, again.stderr) == (0, "")
        assert f"1 run: {len(complete)} complete" in again.stdout
        assert_as_if_nothing_happened(command.runs, whole.runs, all_of_it=False)
    assert littered, "no kill fell between the result and the end of the lease"


# No space, no permission


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A disk of 16 MB."""
    with small_disk(tmp_path / "disk") as disk:
        yield disk


# Bytes that are free: for nothing, for the marker, for a start but no checkpoint, for some runs but not for all.
@pytest.mark.parametrize("free", [0, 20_000, 1_500_000])
def test_a_sweep_on_a_full_disk_fails_in_sentences_and_goes_on_when_there_is_space(make_command, whole, disk, free):
    command = make_command(disk / "runs")
    fill(disk, free)
    full = command(*GRID)
    assert_sentences(full, "No space left on device", "runs=", "(run: ")
    assert "failed" in full.stdout
    before = times(command.runs)
    (disk / "ballast").unlink()
    again = command(*GRID)
    assert (again.rc, again.stderr) == (0, "")
    after = times(command.runs)
    assert {path: after[path] for path in before} == before
    assert_as_if_nothing_happened(command.runs, whole.runs)


def test_a_sweep_that_may_not_write_fails_in_sentences_and_goes_on_when_it_may(make_command, whole, disk):
    command = make_command(disk / "runs")
    assert command("-m", *ONE).rc == 0
    remount(disk, "ro")
    try:
        before = times(command.runs)
        shut_out = command(*GRID)
        assert shut_out.stdout.startswith("4 runs: 1 complete, running 3")
        assert_sentences(shut_out, "Read-only file system", "runs=")
        assert "3 of 3" in shut_out.stderr.splitlines()[-1]
        status = command(*GRID, "status=true")
        assert (status.rc, status.stderr) == (0, "")
        assert "4 runs: 1 complete, 3 missing" in status.stdout
    finally:
        remount(disk, "rw")
    again = command(*GRID)
    assert (again.rc, again.stderr) == (0, "")
    assert times(command.runs).items() >= before.items()
    assert_as_if_nothing_happened(command.runs, whole.runs)


# Two at once, and one that is stopped


def test_two_sweeps_that_overlap_share_the_work(make_command, whole):
    command = make_command()
    started = [command.start(*GRID), command.start("-m", *SMALL, "noise.frac=0.2,0", "seed=2,1")]
    for process in started:
        done = command.finish(process)
        assert (done.rc, done.stderr) == (0, "")
        # Each tells of all its runs, whoever did them.
        assert "[4/4]" in done.stdout or "complete, running" in done.stdout.splitlines()[0]
    assert sorted(command.done().values()) == [1, 1, 1, 1]
    assert_as_if_nothing_happened(command.runs, whole.runs)


def test_a_sweep_takes_over_what_another_leaves_when_it_is_killed(make_command, whole):
    command = make_command()
    first = command.start(*GRID)
    deadline = time.monotonic() + 60
    while not any(command.runs.rglob("running.lock")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    second = command.start(*GRID)
    time.sleep(0.5)
    os.kill(first, signal.SIGKILL)
    assert command.finish(first).rc == -signal.SIGKILL
    done = command.finish(second)
    assert (done.rc, done.stderr) == (0, "")
    assert set(command.done().values()) == {1}
    assert_as_if_nothing_happened(command.runs, whole.runs)


def test_ctrl_c_in_a_sweep_is_one_sentence_and_the_same_command_goes_on(make_command, whole):
    command = make_command()
    process = command.start(*GRID)
    deadline = time.monotonic() + 60
    while not any(command.runs.rglob("last.ckpt")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process, signal.SIGINT)
    done = command.finish(process)
    assert done.rc == 130
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Interrupted")
    assert "same command" in line
    assert not any(command.runs.rglob("running.lock"))
    assert not any(command.runs.rglob("failed.json"))
    again = command(*GRID)
    assert (again.rc, again.stderr) == (0, "")
    assert_as_if_nothing_happened(command.runs, whole.runs)


# Failures


def test_a_failure_is_kept_until_the_run_is_done(make_command, whole):
    command = make_command()
    failed = command(*GRID, "training.accelerator=gpu")  # which is not part of what the run is
    assert_sentences(failed, "training.accelerator=gpu")
    assert failed.stderr.splitlines()[-1] == (
        "error: 4 of 4 runs failed; the same command goes on with what is not complete."
    )
    reasons = [read_failure(path.parent) for path in command.runs.rglob("failed.json")]
    assert len(reasons) == 4
    assert all("training.accelerator=gpu" in reason for reason in reasons)
    table = failed.stdout[failed.stdout.index("failed run") :]
    assert "noise-shuffle-0.2_reduction-0.5 seed 2" in table
    status = command(*GRID, "status=true")
    assert "4 runs: 4 failed" in status.stdout
    assert "training.accelerator=gpu" in status.stdout
    again = command(*GRID)
    assert (again.rc, again.stderr) == (0, "")
    assert_as_if_nothing_happened(command.runs, whole.runs)


def test_a_run_that_diverges_has_failed(make_command):
    command = make_command()
    done = command("-m", *SMALL, "training.lr=0.1,1e30", "seed=1")
    assert_sentences(done, "training.lr=1e+30", "diverged")
    assert "1 of 2 runs failed" in done.stderr
    assert len(done.results()) == 1
    (failure,) = command.runs.rglob("failed.json")
    assert "diverged" in read_failure(failure.parent)
    assert [path.name for path in failure.parent.iterdir() if not path.name.startswith("events.")] == ["failed.json"]
