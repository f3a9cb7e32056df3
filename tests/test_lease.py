"""A lease on a run directory: one holder at a time, taken over from the dead and never from the living."""

import errno
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from filelock import SoftFileLease

from class_sensitivity import lease
from class_sensitivity.errors import BusyError, RunError

posix = pytest.mark.skipif(os.name != "posix", reason="asks whether a process is there")


@pytest.fixture
def directory(tmp_path) -> Path:
    return tmp_path / "recipe" / "baseline" / "seed-1"


@pytest.fixture
def short(monkeypatch) -> None:
    """Leases that are silent after half a second."""
    monkeypatch.setattr(lease, "LEASE_S", 0.5)
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.1)


def left_by_the_dead(directory: Path) -> int:
    """A lease whose process on this machine was killed; returns the process."""
    script = """
import os, sys
from pathlib import Path
from class_sensitivity import lease
with lease.held(Path(sys.argv[1])):
    print(os.getpid(), flush=True)
    os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", script, directory], capture_output=True, text=True)
    assert (directory / lease.MARKER).exists(), done.stderr
    return int(done.stdout)


def sign(directory: Path, *, silent_s: float = 0, **fields: object) -> None:
    """Writes a marker as another process would."""
    values = {"pid": 4321, "host": "far-away", "mode": "lease", "token": "t", "duration": lease.LEASE_S, **fields}
    directory.mkdir(parents=True, exist_ok=True)
    marker = directory / lease.MARKER
    marker.write_text("filelock/2\n" + "".join(f"{key}={value}\n" for key, value in values.items()))
    os.utime(marker, (time.time() - silent_s,) * 2)


def test_nobody_holds_what_has_no_marker(directory):
    assert lease.holder(directory) is None
    directory.mkdir(parents=True)
    assert lease.holder(directory) is None


def test_a_lease_names_its_holder_and_ends_with_the_block(directory):
    with lease.held(directory) as held:
        present = lease.holder(directory)
        assert present is not None
        assert present.alive
        assert present.pid == os.getpid()
        assert str(present) == f"process {os.getpid()} on {socket.gethostname()}"
        assert held.compromise is None
        assert [path.name for path in directory.iterdir()] == [lease.MARKER]
    assert list(directory.iterdir()) == []
    assert lease.holder(directory) is None


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_lease_ends_whatever_is_raised(directory, error):
    with pytest.raises(error), lease.held(directory):
        raise error
    assert list(directory.iterdir()) == []


def test_a_living_holder_is_named_and_not_waited_for(directory):
    with lease.held(directory):
        started = time.monotonic()
        sentence = rf"{directory}.*process {os.getpid()} on .*wait"
        with pytest.raises(BusyError, match=sentence) as refused, lease.held(directory):
            pytest.fail("held twice")
        assert time.monotonic() - started < 10
        assert socket.gethostname() in str(refused.value)
        assert lease.holder(directory).alive, "who asks must not take it away"


def test_a_living_holder_elsewhere_is_named_and_not_waited_for(directory):
    sign(directory)
    with pytest.raises(BusyError, match="process 4321 on far-away"), lease.held(directory):
        pytest.fail("held twice")
    assert lease.holder(directory) == lease.Holder("far-away", 4321, pytest.approx(0, abs=60), alive=True)


@posix
def test_the_dead_on_this_machine_are_found_out_at_once(directory):
    pid = left_by_the_dead(directory)
    dead = lease.holder(directory)
    assert (dead.pid, dead.alive) == (pid, False)
    started = time.monotonic()
    with lease.held(directory):
        assert lease.holder(directory).pid == os.getpid()
    assert time.monotonic() - started < 10, "waited for the dead"


@posix
def test_a_number_that_was_given_to_another_process_is_no_sign_of_life(directory):
    # As when a container was restarted: the number is in use, and nobody has renewed the lease.
    sign(directory, pid=os.getpid(), host=lease._own_name(), start=1, silent_s=lease.LEASE_S + 1)
    assert not lease.holder(directory).alive
    with lease.held(directory):
        pass


def test_silence_is_taken_over_and_the_silent_one_learns_of_it(directory, short):
    with lease.held(directory) as first:
        # It sleeps: no heartbeat. Its process is there all the same.
        os.utime(directory / lease.MARKER, (time.time() - 10,) * 2)
        first._stop_heartbeat()
        assert not lease.holder(directory).alive
        with lease.held(directory) as second:
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
            assert lease.holder(directory).alive, "who lost a lease took it from its new holder"
            assert second.owner.token == token


def test_a_heartbeat_keeps_a_lease(directory, short):
    with lease.held(directory) as held:
        time.sleep(1.5)
        assert lease.holder(directory).alive
        assert held.compromise is None
        with pytest.raises(BusyError), lease.held(directory):
            pytest.fail("held twice")


def test_the_silent_elsewhere_are_taken_over_after_they_were_watched(directory, short):
    sign(directory, silent_s=10)
    assert not lease.holder(directory).alive
    with lease.held(directory):
        assert lease.holder(directory).pid == os.getpid()


DAMAGE = {
    "empty": lambda marker: marker.write_bytes(b""),
    "binary": lambda marker: marker.write_bytes(bytes(range(256))),
    "half": lambda marker: marker.write_text("filelock/2\npid=43"),
    "a directory": lambda marker: marker.mkdir(),
    "a link to nowhere": lambda marker: marker.symlink_to("nowhere"),
    "a link to itself": lambda marker: marker.symlink_to(marker.name),
    "another duration": lambda marker: sign(marker.parent, duration=7.0, silent_s=10),
    "another mode": lambda marker: sign(marker.parent, mode="lfase", silent_s=10),
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
    assert not lease.holder(directory).alive
    refusal = None
    try:
        with lease.held(directory):
            assert lease.holder(directory).pid == os.getpid()
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
        with lease.held(directory):
            pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_place_that_cannot_be_written_is_a_sentence(directory, monkeypatch, number):
    def refuse(self: SoftFileLease) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(SoftFileLease, "_acquire", refuse)
    with pytest.raises(RunError, match=rf"{directory}.*{os.strerror(number)}.*runs="), lease.held(directory):
        pytest.fail("held")


def test_a_file_in_the_place_of_the_directory_is_a_sentence(directory):
    directory.parent.mkdir(parents=True)
    directory.write_text("in the way")
    assert lease.holder(directory) is None
    with pytest.raises(RunError, match=r"seed-1.*runs="), lease.held(directory):
        pytest.fail("held")
    assert directory.read_text() == "in the way"


def _work(root: Path, log: Path) -> None:
    """Does what nobody has done, as a sweep does it."""
    for number in range(50):
        directory = root / str(number)
        while not (directory / "done").exists():
            try:
                with lease.held(directory):
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
