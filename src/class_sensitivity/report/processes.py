"""Pieces of a report, each made in one of several processes that are forked when all that they need is known.

A forked process has the results, the images and the settings without a copy of them; what comes back is small.
"""

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from class_sensitivity.machine import at_once

T = TypeVar("T")

#: What a process may add to the memory in use while it draws.
_PROCESS_BYTES = 1 << 28

#: What the processes that are forked are to do.
_JOBS: Sequence[Callable[[], Any]] = ()


def done_side_by_side(
    jobs: Sequence[Callable[[], T]], processes: int | None = None
) -> Generator[tuple[int, Future[T]], None, None]:
    """Does jobs in several processes, and yields the number of each and its outcome as soon as it is done.

    A job changes nothing but files, and can be done again: those of a process that was killed are done here. Whoever
    stops listening ends the processes at once; so does the end of this process, however it comes.

    Args:
        jobs: What to do, those that take longest first; what they return or raise must be able to be pickled.
        processes: How many; None for as many as fill this machine. One, and every number where Python cannot safely
            fork, does the jobs here, in their order.
    """
    number = min(processes or at_once(1, _PROCESS_BYTES), len(jobs))
    waiting = dict(enumerate(jobs))
    if number > 1 and sys.platform == "linux":
        with closing(_forked(jobs, number)) as outcomes:
            for place, outcome in outcomes:
                if not isinstance(outcome.exception(), BrokenProcessPool):
                    del waiting[place]
                    yield place, outcome
    for place, job in waiting.items():
        yield place, _done_here(job)


def _done_here(job: Callable[[], T]) -> Future[T]:
    outcome: Future[T] = Future()
    try:
        outcome.set_result(job())
    except Exception as error:
        outcome.set_exception(error)
    return outcome


def _forked(jobs: Sequence[Callable[[], T]], number: int) -> Generator[tuple[int, Future[T]], None, None]:
    """The outcomes of jobs; none where no process can be started."""
    global _JOBS
    _JOBS = jobs
    context = multiprocessing.get_context("fork")
    # Nothing is ever sent: the processes see when nobody can send any more.
    alive, parent = context.Pipe(duplex=False)
    try:
        with ProcessPoolExecutor(number, context, initializer=_begin, initargs=(alive, parent)) as pool:
            try:
                try:
                    with _quietly_forking():
                        numbers = {pool.submit(_do, place): place for place in range(len(jobs))}
                except (OSError, BrokenProcessPool):  # no memory, or too many processes
                    parent.close()
                    return
                yield from ((numbers[outcome], outcome) for outcome in as_completed(numbers))
            except BaseException:
                parent.close()
                raise
    finally:
        _JOBS = ()
        alive.close()
        parent.close()


@contextmanager
def _quietly_forking() -> Iterator[None]:
    """Processes that are forked here never see Ctrl+C, which a terminal sends to all; this one does."""
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with warnings.catch_warnings():
            # Python warns of forks where there are threads. These are those of NumPy's OpenBLAS, which is made for it;
            # Python's own are not started before all processes are forked.
            warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)


# In the forked processes


def _begin(alive: Connection, parent: Connection) -> None:
    parent.close()
    threading.Thread(target=_end_with_parent, args=(alive,), name="end-with-parent", daemon=True).start()


def _end_with_parent(alive: Connection) -> None:
    with suppress(EOFError):
        alive.recv_bytes()
    os._exit(1)


def _do(place: int) -> Any:
    return _JOBS[place]()
