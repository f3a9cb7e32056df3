"""The runs of a sweep seen from outside: in which state each is, and what the terminal shows of them.

Everything is read from the run directories, so it is the same whatever process, machine or launcher does
the runs.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.table import Table
from rich.text import Text

from class_sensitivity import lease, runs
from class_sensitivity.errors import RunError
from class_sensitivity.identity import condition_name, directory_of, identity

_POLL_S = 0.5
_STYLES = {"complete": "green", "running": "cyan", "stale": "yellow", "failed": "red", "damaged": "red"}


class State(StrEnum):
    """What a run directory says of its run."""

    COMPLETE = "complete"
    RUNNING = "running"
    STALE = "stale"  # whoever ran it is gone without a word
    FAILED = "failed"
    DAMAGED = "damaged"  # there is a result that cannot be trusted
    MISSING = "missing"  # never begun, or stopped in order


@dataclass(frozen=True)
class Found:
    """The state of a run, and one more thing to know about it: accuracy, holder or reason."""

    state: State
    detail: str = ""


def look(directory: Path) -> Found:
    """Reads the state of a run from its directory; changes nothing."""
    holder = lease.holder(directory)
    if holder is not None and holder.alive:
        return Found(State.RUNNING, f"{holder}, last heard of {holder.silent_s:.0f} s ago")
    try:
        record = runs.complete(directory)
    except RunError as error:
        return Found(State.DAMAGED, str(error))
    if record is not None:
        return Found(State.COMPLETE, f"accuracy {record.metrics['accuracy']:.2%}  {record.seconds['total']:.1f} s")
    if holder is not None:
        return Found(State.STALE, f"{holder} is gone; the same command goes on")
    reason = runs.read_failure(directory)
    return Found(State.MISSING) if reason is None else Found(State.FAILED, reason)


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        title: What it is, in a few words.
        directory: Its run directory.
        rerun: Do it although it is complete.
        overrides: The words of the command line that make it this run.
    """

    title: str
    directory: Path
    rerun: bool
    overrides: tuple[str, ...]


def job_of(config: dict[str, Any], overrides: Sequence[str] = ()) -> Job:
    """The run that a checked configuration asks for."""
    own = identity(config)
    return Job(f"{condition_name(own)} seed {own['seed']}", directory_of(config), config["rerun"], tuple(overrides))


def print_status(jobs: Sequence[Job], console: Console | None = None) -> None:
    """Prints a table of the state of every run, and how many are in each."""
    console = console or Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("state", "run", "seen"):
        table.add_column(heading, overflow="fold")
    found = [look(job.directory) for job in jobs]
    for job, one in zip(jobs, found, strict=True):
        table.add_row(Text(one.state, style=_STYLES.get(one.state, "")), job.title, Text(one.detail))
    console.print(table)
    counts = Counter(one.state for one in found)
    console.print(f"{len(jobs)} runs: " + ", ".join(f"{counts[state]} {state}" for state in State if counts[state]))


class SweepScreen:
    """Tells of each run of a sweep when it ends, with the time left; a context manager.

    A thread looks at the run directories, because the processes that do the runs may be anywhere.

    Args:
        jobs: The runs that were started.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.console = Console()
        self.ended: dict[Path, Found] = {}
        self._before = {job.directory: _signature(job.directory) for job in jobs}
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._telling = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="sweep-screen", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self.tell()

    def _watch(self) -> None:
        while not self._stop.wait(_POLL_S):
            self.tell()

    def _outcome(self, job: Job) -> Found | None:
        """How a run ended since the sweep began: complete or failed; None if it did not."""
        (result, failure), (result_before, failure_before) = _signature(job.directory), self._before[job.directory]
        done = result is not None and not (job.rerun and result == result_before)
        failed = failure is not None and failure != failure_before
        if not (done or failed):
            return None
        # A directory is let go of last; until then the run has not ended.
        found = look(job.directory)
        if found.state == State.RUNNING:
            return None
        if failed and not done:
            # The record of an earlier time may still be there.
            return Found(State.FAILED, runs.read_failure(job.directory) or "")
        return found if found.state in (State.COMPLETE, State.FAILED) else None

    def tell(self) -> None:
        """Tells of the runs that ended since it was last called."""
        with self._telling:
            for job in self.jobs:
                if job.directory not in self.ended and (found := self._outcome(job)) is not None:
                    self._end(job, found)

    def failed(self, job: Job, reason: str) -> None:
        """Tells of a failure that could leave nothing in the run directory."""
        with self._telling:
            self._end(job, Found(State.FAILED, reason))

    def print_failures(self) -> int:
        """Prints a table of the runs that failed; returns their number."""
        table = Table("failed run", "reason", box=None, pad_edge=False, header_style="bold")
        reason = ""
        for job in self.jobs:
            found = self.ended.get(job.directory)
            if found is not None and found.state == State.FAILED:
                table.add_row(job.title, Text("the same" if found.detail == reason else found.detail, overflow="fold"))
                reason = found.detail
        if table.row_count:
            self.console.print(table)
        return table.row_count

    def _end(self, job: Job, found: Found) -> None:
        self.ended[job.directory] = found
        done, total = len(self.ended), len(self.jobs)
        text = f"[{done:>{len(str(total))}}/{total}] {job.title:<32} "
        if found.state == State.FAILED:
            text += "failed"
            print(f"error: {found.detail} (run: {' '.join(job.overrides)})", file=sys.stderr, flush=True)
        else:
            text += found.detail
        if done < total:
            text += f"  {_duration((time.monotonic() - self._started) / done * (total - done))} left"
        self.say(text)

    def say(self, text: str) -> None:
        """Prints a line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _signature(directory: Path) -> tuple[int | None, int | None]:
    """Changes when a run ends, well or badly."""

    def modified(name: str) -> int | None:
        try:
            return (directory / name).stat().st_mtime_ns
        except OSError:
            return None

    return modified(runs.RESULT), modified(runs.FAILURE)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
