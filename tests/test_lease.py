"""A lease on a run directory: one owner at a time, taken over from a killed process and never from a running one."""

import errno
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from filelock import SoftFileLease
from support.leases import left_by_killed_process, posix, write_marker
from support.records import at, finish

from class_sensitivity.errors import BusyError, RunError
from class_sensitivity.runs import lease


@pytest.fixture
def directory(tmp_path) -> Path:
    return tmp_path / "recipe" / "baseline" / "seed-1"


@pytest.fixture
def short(monkeypatch) -> None:
    """Leases that are silent after half a second."""
    monkeypatch.setattr(lease, "LEASE_S", 0.5)
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.1)


def test_without_a_marker_there_is_no_owner(directory):
    assert lease.owner(directory) is None
    directory.mkdir(parents=True)
    assert lease.owner(directory) is None


def test_a_lease_names_its_owner_and_ends_with_the_block(directory):
    with lease.acquire(directory) as own:
        present = lease.owner(directory)
        assert present is not None
        assert present.alive
        assert present.pid == os.getpid()
        assert str(present) == f"process {os.getpid()} on {socket.gethostname()}"
        assert own.compromise is None
        assert [path.name for path in directory.iterdir()] == [lease.MARKER]
    assert list(directory.iterdir()) == []
    assert lease.owner(directory) is None


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_lease_ends_whatever_is_raised(directory, error):
    with pytest.raises(error), lease.acquire(directory):
        raise error
    assert list(directory.iterdir()) == []


def test_an_owner_that_is_running_is_named_and_not_waited_for(directory):
    with lease.acquire(directory):
        started = time.monotonic()
        sentence = rf"{directory}.*process {os.getpid()} on .*wait"
        with pytest.raises(BusyError, match=sentence) as refused, lease.acquire(directory):
            pytest.fail("two owners")
        assert time.monotonic() - started < 10
        assert socket.gethostname() in str(refused.value)
        assert lease.owner(directory).alive, "asking took it away"


def test_an_owner_on_another_machine_is_named_and_not_waited_for(directory):
    write_marker(directory)
    with pytest.raises(BusyError, match="process 4321 on far-away"), lease.acquire(directory):
        pytest.fail("two owners")
    assert lease.owner(directory) == lease.Owner("far-away", 4321, pytest.approx(0, abs=60), alive=True)


@posix
def test_the_lease_of_a_killed_process_on_this_machine_is_taken_over_at_once(directory):
    pid = left_by_killed_process(directory)
    killed = lease.owner(directory)
    assert (killed.pid, killed.alive) == (pid, False)
    started = time.monotonic()
    with lease.acquire(directory):
        assert lease.owner(directory).pid == os.getpid()
    assert time.monotonic() - started < 10, "waited for a process that was killed"


@posix
def test_a_process_number_that_was_given_out_again_is_no_sign_of_life(directory):
    # As when a container was restarted: the number is in use, and nobody has renewed the lease.
    write_marker(directory, pid=os.getpid(), host=lease._own_name(), start=1, silent_s=lease.LEASE_S + 1)
    assert not lease.owner(directory).alive
    with lease.acquire(directory):
        pass


def test_a_silent_lease_is_taken_over_and_its_owner_notices(directory, short):
    with lease.acquire(directory) as first:
        # It sleeps: no heartbeat. Its process is there all the same.
        os.utime(directory / lease.MARKER, (time.time() - 10,) * 2)
        first._stop_heartbeat()
        assert not lease.owner(directory).alive
        with lease.acquire(directory) as second:
            assert second.compromise is None
            token = second.token
            # It wakes up.
            stat = os.fstat(first._context.lock_file_fd)
            first._start_heartbeat(
                first._claim, first._context.lock_file_fd, (stat.st_dev, stat.st_ino), first._claim.token
            )
            deadline = time.monotonic() + 20
            while first.compromise is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert first.compromise.reason == "owner-changed"
            first.release()
            assert lease.owner(directory).alive, "the old owner removed the lease of the new one"
            assert second.owner.token == token


def test_a_heartbeat_keeps_a_lease(directory, short):
    with lease.acquire(directory) as own:
        time.sleep(1.5)
        assert lease.owner(directory).alive
        assert own.compromise is None
        with pytest.raises(BusyError), lease.acquire(directory):
            pytest.fail("two owners")


def test_a_silent_lease_of_another_machine_is_taken_over(directory, short):
    write_marker(directory, silent_s=10)
    assert not lease.owner(directory).alive
    with lease.acquire(directory):
        assert lease.owner(directory).pid == os.getpid()


DAMAGE = {
    "empty": lambda marker: marker.write_bytes(b""),
    "binary": lambda marker: marker.write_bytes(bytes(range(256))),
    "half": lambda marker: marker.write_text("filelock/2\npid=43"),
    "a directory": lambda marker: marker.mkdir(),
    "a link to nowhere": lambda marker: marker.symlink_to("nowhere"),
    "a link to itself": lambda marker: marker.symlink_to(marker.name),
    "another duration": lambda marker: write_marker(marker.parent, duration=7.0, silent_s=10),
    "another mode": lambda marker: write_marker(marker.parent, mode="lfase", silent_s=10),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_marker_is_overcome_or_named(directory, short, damage):
    directory.mkdir(parents=True)
    marker = directory / lease.MARKER
    damage(marker)
    if not marker.is_symlink():
        os.utime(marker, (time.time() - 100,) * 2)
    else:
        os.utime(marker, (time.time() - 100,) * 2, follow_symlinks=False)
    assert not lease.owner(directory).alive
    refusal = None
    try:
        with lease.acquire(directory):
            assert lease.owner(directory).pid == os.getpid()
    except RunError as error:
        refusal = error
    if refusal is not None:
        assert not isinstance(refusal, BusyError), "nobody is busy here"
        assert str(directory) in str(refusal)
        assert "running.lock cannot be taken over" in str(refusal) or "Is a directory" in str(refusal)
        if marker.is_dir() and not marker.is_symlink():
            marker.rmdir()
        else:
            marker.unlink()
        with lease.acquire(directory):
            pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_place_that_cannot_be_written_is_a_sentence(directory, monkeypatch, number):
    def refuse(self: SoftFileLease) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(SoftFileLease, "_acquire", refuse)
    with pytest.raises(RunError, match=rf"{directory}.*{os.strerror(number)}.*runs="), lease.acquire(directory):
        pytest.fail("acquired")


def test_a_file_in_the_place_of_the_directory_is_a_sentence(directory):
    directory.parent.mkdir(parents=True)
    directory.write_text("in the way")
    assert lease.owner(directory) is None
    with pytest.raises(RunError, match=r"seed-1.*runs="), lease.acquire(directory):
        pytest.fail("acquired")
    assert directory.read_text() == "in the way"


def _work(root: Path, log: Path) -> None:
    """Does what nobody has done, as a sweep does it."""
    for number in range(50):
        directory = root / str(number)
        while not (directory / "done").exists():
            try:
                with lease.acquire(directory):
                    if not (directory / "done").exists():
                        with log.open("a") as stream:
                            stream.write(f"{number}\n")
                        (directory / "done").touch()
            except BusyError:
                continue


def assert_each_was_done_once(root: Path, log: Path) -> None:
    assert Counter(log.read_text().split()) == Counter(str(number) for number in range(50))
    assert not list(root.rglob(lease.MARKER))


@posix
def test_processes_that_race_do_everything_once(tmp_path):
    # Not forked: this process has threads.
    context = multiprocessing.get_context("spawn")
    racers = [context.Process(target=_work, args=(tmp_path / "runs", tmp_path / "log")) for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0, 0]
    assert_each_was_done_once(tmp_path / "runs", tmp_path / "log")


def test_threads_that_race_do_everything_once(tmp_path):
    racers = [threading.Thread(target=_work, args=(tmp_path / "runs", tmp_path / "log")) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
        assert not racer.is_alive()
    assert_each_was_done_once(tmp_path / "runs", tmp_path / "log")


# What a killed process leaves beside a complete record


@posix
def test_what_a_process_left_that_was_killed_after_its_record_is_cleaned_up(compose_settings, tmp_path):
    settings = compose_settings()
    directory = finish(at(settings, tmp_path))
    (directory / "last.ckpt").touch()
    lease.clean_up(directory)
    assert (directory / "last.ckpt").exists(), "nobody was killed here"
    left_by_killed_process(directory)
    lease.clean_up(directory)
    assert {path.name for path in directory.iterdir()} == {"result.json", "arrays.npz"}
    unfinished = at(settings, tmp_path, seed=2).directory
    left_by_killed_process(unfinished)
    (unfinished / "last.ckpt").touch()
    lease.clean_up(unfinished)
    assert (unfinished / "last.ckpt").exists(), "an unfinished run goes on from it"


@posix
def test_a_checkpoint_that_was_asked_for_is_not_cleaned_up(compose_settings, tmp_path):
    directory = finish(at(compose_settings("training.keep_checkpoint=true"), tmp_path))
    (directory / "last.ckpt").touch()
    left_by_killed_process(directory)
    lease.clean_up(directory)
    assert {path.name for path in directory.iterdir()} == {"result.json", "arrays.npz", "last.ckpt"}


def test_a_lease_that_was_lost_is_one_sentence(directory, short):
    with lease.acquire(directory) as own:
        lease.refuse_if_lost(own)
        (directory / lease.MARKER).unlink()
        write_marker(directory)
        deadline = time.monotonic() + 20
        while own.compromise is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with pytest.raises(BusyError, match=rf"{directory} was taken over by another process"):
            lease.refuse_if_lost(own)


# An interrupt


def interrupted_at(directory: Path, step: int) -> int:
    """Owns the lease for a moment and sends this process Ctrl+C at a step of it.

    A step is an event of Python's tracing, in whatever file: a call, a line or a return. The lease is kept until
    tracing has ended: what is raised in a finalizer is lost.

    Returns:
        How many steps on the next one is worth trying: one; several where interrupts wait, as they all do the same;
        0 if there were not so many steps.
    """
    steps = stride = 0

    def trace(*_: object) -> object:
        nonlocal steps, stride
        steps += 1
        if steps == step:
            stride = 1 if signal.getsignal(signal.SIGINT) is signal.default_int_handler else 37
            signal.raise_signal(signal.SIGINT)
        return trace

    usual = sys.gettrace()
    try:
        sys.settrace(trace)
        with lease.acquire(directory) as _own:
            pass
    except KeyboardInterrupt:
        pass
    else:
        assert not stride, "the interrupt was lost"
    finally:
        sys.settrace(usual)
    return stride


def _interrupted_at_every_step(directory: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tried, step = 0, 1
    while stride := interrupted_at(directory, step):
        assert not (directory / lease.MARKER).exists(), step
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        tried, step = tried + 1, step + stride
    assert step > 1000
    assert tried > 100


def test_an_interrupt_at_any_step_ends_the_lease(directory):
    # A process of its own: interrupts fall into finalizers, too.
    interrupted = multiprocessing.get_context("spawn").Process(target=_interrupted_at_every_step, args=(directory,))
    interrupted.start()
    interrupted.join(120)
    assert interrupted.exitcode == 0


def test_waiting_for_a_lease_ends_with_an_interrupt(directory):
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    # It has been silent for a while, and so it is waited for until it may be taken over.
    write_marker(directory, silent_s=lease.LEASE_S / 2)
    started = time.monotonic()
    try:
        interrupt.start()
        with pytest.raises(KeyboardInterrupt), lease.acquire(directory):
            pytest.fail("two owners")
    finally:
        interrupt.join()
        signal.signal(signal.SIGINT, usual)
    assert time.monotonic() - started < 20
    assert lease.owner(directory).pid == 4321
