"""A lease on a run directory: its owner alone trains there, and shows by a heartbeat that it is running.

The marker is a file in the run directory, made with exclusive creation, so it works on a file system that
several machines share. That an owner was killed is noticed at once on the same machine, and after `LEASE_S`
seconds without a heartbeat on another.
"""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from class_sensitivity.errors import BusyError, RunError
from class_sensitivity.runs.directory import CHECKPOINT, completed_record

MARKER = "running.lock"

#: Seconds without a heartbeat after which a lease may be taken over. Network file systems show a change up to
#: a minute late, so less would take runs from processes that live.
LEASE_S = 120.0
HEARTBEAT_S = 15.0


@dataclass(frozen=True)
class Owner:
    """The process that has a lease.

    Attributes:
        host: Its machine.
        pid: Its process there.
        silent_s: Seconds since its last heartbeat, by the clock of this machine.
        alive: Whether it is still running, as far as can be seen from here.
    """

    host: str
    pid: int
    silent_s: float
    alive: bool

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def owner(directory: Path) -> Owner | None:
    """The owner of the lease on a run directory, also one that was killed; None if there is no lease."""
    try:
        silent_s = max(0.0, time.time() - os.lstat(directory / MARKER).st_mtime)
    except OSError:
        return None
    stored = _lease(directory).owner
    if stored is None:  # damaged, or being written this very moment
        return Owner("an unknown machine", 0, silent_s, alive=silent_s < 2 * HEARTBEAT_S)
    # Windows has no signal that only asks.
    here = os.name == "posix" and stored.hostname == _own_name()
    # A number of a process may be given out again, as after a restart of a container; silence shows that.
    alive = silent_s < LEASE_S and (not here or _exists(stored.pid))
    # What follows a question mark tells the containers of one machine apart.
    return Owner(stored.hostname.split("?")[0], stored.pid, silent_s, alive)


@contextmanager
def acquire(directory: Path) -> Iterator[SoftFileLease]:
    """Owns the lease on a run directory within a `with` block; the directory is made if it does not exist.

    A lease whose owner was killed is taken over: at once if that was on this machine, else after `LEASE_S` seconds
    without a heartbeat. An owner that is running is not waited for.

    Yields:
        The lease. Its `compromise` is not None once another process took it over, as happens to a machine
        that was asleep.

    Raises:
        BusyError: Another process has it.
        RunError: The directory cannot be made or written, or the marker is damaged so that it never ends.
    """
    with _interrupts_wait():
        lease = _lease(directory)
    try:
        with _interrupts_wait() as interrupted:
            _take(lease, directory, interrupted)
        yield lease
    finally:
        try:
            with _interrupts_wait():
                lease.release()
        finally:
            lease.release()  # of no effect, unless an interrupt came just before they waited


@contextmanager
def _interrupts_wait() -> Iterator[Callable[[], bool]]:
    """Ctrl+C has its effect at the end of the block, for what must not be done by halves.

    Between the system call that makes a marker and the line that notes that it is there, an exception would leave a
    marker of which nobody knows; and elsewhere filelock's account of what a fork must wait for.

    Yields:
        Tells whether one came.
    """
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or usual in (None, signal.SIG_IGN):
        # Python's handlers run in the main thread; None is one that it does not know, and what is ignored ends no wait.
        yield lambda: False
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, usual)
        if came:
            signal.raise_signal(signal.SIGINT)


def _take(lease: SoftFileLease, directory: Path, cancelled: Callable[[], bool]) -> None:
    """Gets a lease as `acquire` does, with its errors; waits for none once it is cancelled."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            lease.acquire(timeout=0.5, poll_interval=0.05, cancel_check=cancelled)
        except Timeout:
            other = owner(directory)
            if other is not None and other.silent_s < 2 * HEARTBEAT_S:
                raise BusyError(
                    f"{directory} is being done by {other}, last heard of {other.silent_s:.0f} s ago; "
                    "wait for it or stop it."
                ) from None
            lease.acquire(timeout=LEASE_S + HEARTBEAT_S, poll_interval=1.0, cancel_check=cancelled)
    except (Timeout, LeaseSettingsMismatch):
        other = owner(directory)
        if other is not None and not other.alive:
            raise RunError(f"{directory / MARKER} cannot be taken over, although {other} is gone; remove it.") from None
        raise BusyError(f"{directory} is being done by {other}; wait for it or stop it.") from None
    except OSError as error:
        raise RunError(
            f"The run directory {directory} cannot be written ({error.strerror}); "
            "free the path or choose another with runs=DIRECTORY."
        ) from None


def clean_up(directory: Path) -> None:
    """Removes the lease and checkpoint of a complete run whose process was killed after it wrote the record."""
    if owner(directory) is None:
        return
    try:
        with acquire(directory):
            record = completed_record(directory)
            if record is not None and not record.keeps_checkpoint:
                (directory / CHECKPOINT).unlink(missing_ok=True)
    except (RunError, OSError):
        pass  # the record counts all the same


def refuse_if_lost(lease: SoftFileLease) -> None:
    """Raises a BusyError if another process took the lease over, as happens when this machine was asleep."""
    if lease.compromise is not None:
        raise BusyError(
            f"{Path(lease.lock_file).parent} was taken over by another process, because this one gave no sign of "
            "life; the other one finishes it."
        )


def _lease(directory: Path) -> SoftFileLease:
    return SoftFileLease(
        directory / MARKER,
        lease_duration=LEASE_S,
        heartbeat_interval=HEARTBEAT_S,
        thread_local=False,  # any thread of the owner may release it
        mode=0o644,
    )


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it exists and belongs to another user
    try:
        # A killed process stays in the process table, as a zombie, until its parent has waited for it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True


@lru_cache
def _own_name() -> str:
    """What leases of this machine, or of this container, are signed with."""
    with tempfile.TemporaryDirectory() as scratch, _lease(Path(scratch)):
        owner = _lease(Path(scratch)).owner
    assert owner is not None
    return owner.hostname
