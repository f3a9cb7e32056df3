"""A lease on a run directory: whoever holds it may train there, and shows with a heartbeat that it lives.

The marker is a file in the run directory, made with exclusive creation, so it works on a file system that
several machines share. A process that is gone on this machine is found out at once; one on another machine
after `LEASE_S` seconds without a heartbeat.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from class_sensitivity import runs
from class_sensitivity.errors import BusyError, RunError

MARKER = "running.lock"

#: Seconds without a heartbeat after which a lease may be taken over. Network file systems show a change up to
#: a minute late, so less would take runs from processes that live.
LEASE_S = 120.0
HEARTBEAT_S = 15.0


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
        host: Its machine.
        pid: Its process there.
        silent_s: Seconds since its last heartbeat, by the clock of this machine.
        alive: Whether it is there, as far as can be seen from here.
    """

    host: str
    pid: int
    silent_s: float
    alive: bool

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def holder(directory: Path) -> Holder | None:
    """Who holds the lease on a run directory, or held it until it was killed; None if nobody does."""
    try:
        silent_s = max(0.0, time.time() - os.lstat(directory / MARKER).st_mtime)
    except OSError:
        return None
    owner = _lease(directory).owner
    if owner is None:  # damaged, or being written this very moment
        return Holder("an unknown machine", 0, silent_s, alive=silent_s < 2 * HEARTBEAT_S)
    # Windows has no signal that only asks.
    here = os.name == "posix" and owner.hostname == _own_name()
    # A number of a process may be given out again, as after a restart of a container; silence shows that.
    alive = silent_s < LEASE_S and (not here or _exists(owner.pid))
    # What follows a question mark tells the containers of one machine apart.
    return Holder(owner.hostname.split("?")[0], owner.pid, silent_s, alive)


@contextmanager
def held(directory: Path) -> Iterator[SoftFileLease]:
    """Holds the lease on a run directory; the directory is made if it does not exist.

    A lease of a process that is gone is taken over: at once if it was on this machine, else after it was
    watched for `LEASE_S` seconds. A living holder is not waited for.

    Yields:
        The lease. Its `compromise` is not None once another process took it over, as happens to a machine
        that was asleep.

    Raises:
        BusyError: A living process holds it.
        RunError: The directory cannot be made or written, or the marker is damaged so that it never ends.
    """
    lease = _lease(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            lease.acquire(timeout=0.5, poll_interval=0.05)
        except Timeout:
            present = holder(directory)
            if present is not None and present.silent_s < 2 * HEARTBEAT_S:
                raise BusyError(
                    f"{directory} is being done by {present}, last heard of {present.silent_s:.0f} s ago; "
                    "wait for it or stop it."
                ) from None
            lease.acquire(timeout=LEASE_S + HEARTBEAT_S, poll_interval=1.0)
    except (Timeout, LeaseSettingsMismatch):
        present = holder(directory)
        if present is not None and not present.alive:
            raise RunError(
                f"{directory / MARKER} cannot be taken over, although {present} is gone; remove it."
            ) from None
        raise BusyError(f"{directory} is being done by {present}; wait for it or stop it.") from None
    except OSError as error:
        raise RunError(
            f"The run directory {directory} cannot be written ({error.strerror}); "
            "free the path or choose another with runs=DIRECTORY."
        ) from None
    try:
        yield lease
    finally:
        lease.release()


def tidy(directory: Path) -> None:
    """Clears what a process left that was killed between the last word of its record and its own end."""
    if holder(directory) is None:
        return
    try:
        with held(directory):
            record = runs.complete(directory)
            if record is not None and not record.config["training"]["keep_checkpoint"]:
                (directory / runs.CHECKPOINT).unlink(missing_ok=True)
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
        thread_local=False,  # whoever holds it here may let it go
        mode=0o644,
    )


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is there and somebody else's
    try:
        # A process that was killed keeps its number until its parent has asked after it.
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
