"""What the terminal shows of a sweep, read from the run directories, so that no launcher has to report it."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from class_sensitivity.runs.directory import FAILURE, RESULT, read_failure
from class_sensitivity.runs.identity import distinctions
from class_sensitivity.runs.lease import MARKER
from class_sensitivity.runs.run import Run
from class_sensitivity.runs.status import RunStatus, State, read_status

Thing = TypeVar("Thing")

_POLL_S = 0.5
_STYLES = {"complete": "green", "running": "cyan", "stale": "yellow", "failed": "red", "damaged": "red"}


@dataclass(frozen=True, eq=False)  # a job is equal to itself alone, so that it can be a key
class Job:
    """One run of a sweep.

    Attributes:
        run: The run.
        overrides: The words of the command line that make it this run.
    """

    run: Run
    overrides: tuple[str, ...]

    @property
    def directory(self) -> Path:
        """Its run directory."""
        return self.run.directory

    @property
    def rerun(self) -> bool:
        """Whether it is done although it is complete."""
        return self.run.settings.rerun


def counted_runs(number: int) -> str:
    """Such as `1 run` or `2 runs`."""
    return f"{number} run{'s' * (number != 1)}"


def counted(things: Sequence[Thing], words: str) -> Iterator[Thing]:
    """The things, with a line on the terminal that says how far one is, while it takes time."""
    columns = TextColumn("{task.description}"), MofNCompleteColumn()
    with Progress(*columns, transient=True, disable=not Console().is_terminal) as progress:
        yield from progress.track(things, description=f"{words} ...")


def titles(runs: Sequence[Run]) -> list[str]:
    """What each run is, in a few words: with data set, model and settings, where these are not the same for all."""
    identities = [run.identity for run in runs]
    names = [(identity.data.name, identity.model.name) for identity in identities]
    differing = [part for part in (0, 1) if len({name[part] for name in names}) > 1]
    return [
        " ".join([*(name[part] for part in differing), *([f"{settings}:"] if settings else []), identity.title])
        for name, settings, identity in zip(names, distinctions(identities), identities, strict=True)
    ]


def print_status(runs: Sequence[Run], console: Console | None = None) -> None:
    """Prints a table of the state of every run, and how many are in each."""
    console = console or Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("state", "run", "detail"):
        table.add_column(heading, overflow="fold")
    statuses = [read_status(run.directory) for run in runs]
    for title, status in zip(titles(runs), statuses, strict=True):
        state = Text(status.state, style=_STYLES.get(status.state, ""))
        table.add_row(state, Text(title), Text(status.detail))
    console.print(table)
    counts = Counter(status.state for status in statuses)
    console.print(
        f"{counted_runs(len(runs))}: " + ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    )


class SweepProgress:
    """Prints a line for each run of a sweep when it ends, with the time left; a context manager.

    A thread polls the run directories, because the processes that do the runs may be anywhere.

    Args:
        jobs: The runs that were started.

    Attributes:
        titles: Job -> what it is, in a few words.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.titles = dict(zip(jobs, titles([job.run for job in jobs]), strict=True))
        self.console = Console()
        self.ended: dict[Path, RunStatus] = {}
        self._before = {job.directory: _signature(job.directory) for job in jobs}
        self._begun: dict[Path, float] = {}
        self._seconds: list[float] = []
        self._at_once = 1
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._reporting = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="sweep-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self.report()

    def _watch(self) -> None:
        while not self._stop.wait(_POLL_S):
            self.report()

    def _outcome(self, job: Job) -> RunStatus | None:
        """How a run ended since the sweep began: complete or failed; None if it did not."""
        (result, failure), (result_before, failure_before) = _signature(job.directory), self._before[job.directory]
        done = result is not None and not (job.rerun and result == result_before)
        failed = failure is not None and failure != failure_before
        if not (done or failed):
            return None
        # The lease is released last; until then the run has not ended.
        status = read_status(job.directory)
        if status.state == State.RUNNING:
            return None
        if failed and not done:
            # The record of an earlier time may still be there.
            return RunStatus(State.FAILED, read_failure(job.directory) or "")
        return status if status.state in (State.COMPLETE, State.FAILED) else None

    def report(self) -> None:
        """Prints a line for each run that ended since the last call."""
        with self._reporting:
            for job in self.jobs:
                if job.directory in self.ended:
                    continue
                if job.directory not in self._begun and (job.directory / MARKER).exists():
                    self._begun[job.directory] = time.monotonic()
                if (status := self._outcome(job)) is not None:
                    self._end(job, status)
            self._at_once = max(self._at_once, len(self._running()))

    def failed(self, job: Job, reason: str) -> None:
        """Reports a failure that left nothing in the run directory."""
        with self._reporting:
            self._end(job, RunStatus(State.FAILED, reason))

    def print_failures(self) -> int:
        """Prints a table of the runs that failed; returns their number."""
        table = Table("failed run", "reason", box=None, pad_edge=False, header_style="bold")
        reason = ""
        for job in self.jobs:
            status = self.ended.get(job.directory)
            if status is not None and status.state == State.FAILED:
                table.add_row(
                    Text(self.titles[job]),
                    Text("the same" if status.detail == reason else status.detail, overflow="fold"),
                )
                reason = status.detail
        if table.row_count:
            self.console.print(table)
        return table.row_count

    def _running(self) -> list[float]:
        """When each of the runs began that are being done."""
        return [begun for directory, begun in self._begun.items() if directory not in self.ended]

    def _left(self) -> float:
        """Seconds until the last run ends, if the others take as long as those that have ended.

        Runs that are being done have done a part already; and none ends before it has done the rest.
        """
        now, mean = time.monotonic(), fmean(self._seconds)
        running = [max(0.0, mean - (now - begun)) for begun in self._running()]
        waiting = len(self.jobs) - len(self.ended) - len(running)
        return max([(waiting * mean + sum(running)) / self._at_once, *running])

    def _end(self, job: Job, status: RunStatus) -> None:
        self._seconds.append(time.monotonic() - self._begun.get(job.directory, self._started))
        self.ended[job.directory] = status
        done, total = len(self.ended), len(self.jobs)
        text = f"[{done:>{len(str(total))}}/{total}] {self.titles[job]:<32} "
        if status.state == State.FAILED:
            text += "failed"
            print(f"error: {status.detail} (run: {' '.join(job.overrides)})", file=sys.stderr, flush=True)
        else:
            text += status.detail
        if done < total:
            text += f"  {_duration(self._left())} left"
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

    return modified(RESULT), modified(FAILURE)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
