"""How many CPU threads a run gets when nobody says."""

import os

import joblib

#: More help a small network little, and with a limit the result of a run does not depend on how many cores
#: beyond it a machine has.
MOST = 4


def default_threads() -> int:
    """Threads of a run whose `training.threads` is null; OMP_NUM_THREADS limits them."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(MOST, int(told) if told.isdigit() and int(told) > 0 else _physical_cores())


def parallel_runs(threads: int | None) -> int:
    """How many runs of so many threads fill this machine; at least one."""
    return max(1, _physical_cores() // (threads or default_threads()))


def _physical_cores() -> int:
    """The cores that this process may use: affinity and the limits of containers count."""
    return int(joblib.cpu_count(only_physical_cores=True))
