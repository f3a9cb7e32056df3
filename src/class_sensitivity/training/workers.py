"""Many runs side by side on this machine, each in a worker process that is kept for the runs to come.

Every worker is a pool of one process (`concurrent.futures.ProcessPoolExecutor`): a process that is lost breaks its
pool, and so costs the one run that it was doing. On Linux, workers are forked from a server that imported PyTorch once;
elsewhere each imports it for itself. The process of the sweep imports none; it loads each data set into a file that all
workers map.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from types import FrameType
from typing import Any

import numpy as np

from class_sensitivity.data.shared import SharedArrays, shared
from class_sensitivity.data.sources import data_digest, give_arrays, load_arrays
from class_sensitivity.errors import RunError, UserError
from class_sensitivity.machine import parallel_runs
from class_sensitivity.models import model_digest
from class_sensitivity.runs.lease import acquire, owner
from class_sensitivity.runs.run import Run
from class_sensitivity.settings import DataSettings

#: None for a run that is complete, or why it is not; a `BrokenProcessPool` if its process was killed.
Outcome = BaseException | None

#: What the server of workers imports: all that a run would.
_PRELOADED = [
    "__main__",
    *(f"class_sensitivity.training.{module}" for module in ("libraries", "run")),
    "torch.utils.tensorboard",
]

#: Seconds that interrupted runs have to leave their directories in order.
_ORDERLY_S = 20.0

_DataSets = Sequence[tuple[DataSettings, SharedArrays]]


def train_side_by_side(runs: Sequence[Run], at_once: int | None, *, start_method: str | None = None) -> list[Outcome]:
    """Does runs, several at once.

    A process that is killed costs the run that it was doing. An interrupt reaches all runs that are being done, and
    this process waits until they have left their directories in order. Should it be killed, they end with it.

    Args:
        runs: The runs.
        at_once: How many at once; None for as many as this machine and the GPU that they train on take. A single one
            is done in this process.
        start_method: How processes are started, as `multiprocessing.get_context` knows it; None: as suits the system.

    Returns:
        For each run, in order, None if it is complete now, or why it is not.
    """
    number = min(at_once or parallel_runs(max(run.settings.training.threads for run in runs)), len(runs))
    if number == 1:
        return [_outcome_here(run) for run in runs]
    context = _context(start_method)
    with _no_lease_left(runs), ExitStack() as stack:
        stopped = context.RawValue(ctypes.c_bool, False)
        start = context, (stopped, _shared_data(runs, stack))
        workers = [stack.enter_context(_Worker(*start))]
        if at_once is None:
            number = min(number, *(workers[0].submit(_most_at_once, each).result() for each in _accelerators(runs)))
        workers += [stack.enter_context(_Worker(*start)) for _ in range(number - 1)]
        try:
            return _do_all(runs, workers)
        except BaseException:
            stopped.value = True  # for those that are about to begin
            _interrupt(workers)
            raise


def _outcome_here(run: Run) -> Outcome:
    try:
        _do(run)
    except Exception as error:
        return error
    return None


def _accelerators(runs: Sequence[Run]) -> set[str]:
    return {run.settings.training.accelerator for run in runs}


def _do_all(runs: Sequence[Run], workers: Sequence["_Worker"]) -> list[Outcome]:
    waiting, idle = deque(enumerate(runs)), deque(workers)
    doing: dict[Future[None], tuple[int, _Worker]] = {}
    outcomes: dict[int, Outcome] = {}
    while waiting or doing:
        while waiting and idle:
            number, run = waiting.popleft()
            worker = idle.popleft()
            doing[worker.submit(_do_in_worker, run)] = number, worker
        for ended in wait(doing, return_when=FIRST_COMPLETED).done:
            number, worker = doing.pop(ended)
            outcomes[number] = ended.exception()
            idle.append(worker)
    return [outcomes[number] for number in range(len(runs))]


def _interrupt(workers: Sequence["_Worker"]) -> None:
    """Ends what workers do: in order if they manage to."""
    for worker in workers:
        worker.signal(signal.SIGINT)
    wait([worker.doing for worker in workers], timeout=_ORDERLY_S)
    for worker in workers:
        if not worker.doing.done():
            worker.signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)


@contextmanager
def _no_lease_left(runs: Sequence[Run]) -> Iterator[None]:
    """Gives back the leases that workers could not; around all of their life, as they must have ended by then."""
    try:
        yield
    except BaseException:
        for run in runs:
            left = owner(run.directory)
            if left is not None and not left.alive:
                with suppress(UserError), acquire(run.directory):
                    pass
        raise


class _Worker:
    """A process that does one thing after the other, with another one in its place when it is lost.

    Args:
        context: How processes are started.
        arguments: Of `_begin`, with which they start.
    """

    def __init__(self, context: BaseContext, arguments: tuple[Any, ...]) -> None:
        self._context, self._arguments = context, arguments
        self._start()

    def _start(self) -> None:
        self._pool = ProcessPoolExecutor(1, self._context, initializer=_begin, initargs=self._arguments)
        with _interrupts_ignored():  # as a process is from its first moment, if it is when it is started
            self._pid = self._pool.submit(os.getpid)
        self.doing: Future[Any] = self._pid

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Has something done, when all that was submitted before is done."""
        try:
            self.doing = self._pool.submit(function, *arguments)
        except BrokenProcessPool:
            self._start()
            self.doing = self._pool.submit(function, *arguments)
        return self.doing

    def signal(self, number: signal.Signals) -> None:
        """Sends its process a signal, if it is known and there."""
        with suppress(OSError, BrokenProcessPool):
            if self._pid.done():
                os.kill(self._pid.result(), number)


def _context(start_method: str | None) -> BaseContext:
    """How processes are started; begins to import what they need."""
    method = start_method or ("forkserver" if sys.platform == "linux" else "spawn")
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(_PRELOADED)
        with _interrupts_ignored():
            forkserver.ensure_running()
    return context


def _shared_data(runs: Sequence[Run], stack: ExitStack) -> _DataSets:
    """The data sets of runs, loaded once; but for those that cannot be, of which the runs will tell, or are mapped."""
    found: dict[str, tuple[DataSettings, SharedArrays]] = {}
    for settings in (run.settings.data for run in runs):
        if os.name != "posix" or str(settings) in found:
            continue
        with suppress(UserError, OSError):
            arrays = load_arrays(settings)
            if not isinstance(arrays.train_images, np.memmap):
                found[str(settings)] = settings, stack.enter_context(shared(arrays))
                give_arrays(settings, found[str(settings)][1].arrays())  # what was loaded is not kept beside it
    return list(found.values())


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ctrl+C has no effect here, nor in processes that are started here until they ask for it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


# In the process of a worker

#: Whether no run is to be begun any more; the sweep's process sets it.
_STOPPED: Any = None


def _begin(stopped: Any, data_sets: _DataSets) -> None:
    global _STOPPED
    _STOPPED = stopped
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    for settings, arrays in data_sets:
        give_arrays(settings, arrays.arrays())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _most_at_once(accelerator: str) -> int:
    from class_sensitivity.training.device import choose_execution, most_at_once

    try:
        return most_at_once(choose_execution(accelerator, "32-true", threads=1).device)
    except UserError:  # of which the run will tell
        return sys.maxsize


def _do_in_worker(run: Run) -> None:
    signal.signal(signal.SIGINT, _interrupt_once)
    try:
        if not _STOPPED.value:
            _do(run)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    """A terminal interrupts every process, and then the sweep's does; the second must not disturb the order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _do(run: Run) -> None:
    from class_sensitivity.training.run import train_job

    identity, settings = run.identity, run.settings
    now = data_digest(settings.data), model_digest(settings.model)
    if now != (identity.data.digest, identity.model.digest):
        raise RunError(
            f"The files that data={identity.data.name} or model={identity.model.name} is made of have changed since "
            "the sweep began; give the same command again."
        )
    train_job(run, show_progress=False)
