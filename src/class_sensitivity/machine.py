"""How much this machine does at once."""

from pathlib import Path

#: What a run may add to the memory in use. A run of CIFAR-10 in a worker adds a third of it; the rest is for larger
#: networks and images.
_RUN_BYTES = 1 << 30

#: How much a container may use, and how much it does: cgroup of version 2 and of version 1.
_CGROUPS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def parallel_runs(threads: int) -> int:
    """How many runs of so many threads fill this machine; at least one.

    Cores that this process may use and free memory limit them; affinity and the limits of containers count.
    """
    return at_once(threads, _RUN_BYTES)


def at_once(threads: int, memory: int) -> int:
    """How many processes of so many threads, each of which adds so many bytes to the memory in use; at least one."""
    import joblib  # late: it takes a while, and few commands ask

    cores = int(joblib.cpu_count(only_physical_cores=True))
    free = free_memory()
    fitting = cores if free is None else int(free // memory)
    return max(1, min(cores // threads, fitting))


def free_memory(system: Path = Path("/")) -> int | None:
    """Bytes that may still be used here, where the system says so; the limits of containers count.

    Args:
        system: The root of the file system.
    """
    known = [_available(system), *(_left_in_cgroup(system, *files) for files in _CGROUPS)]
    return min((number for number in known if number is not None), default=None)


def _available(system: Path) -> int | None:
    try:
        lines = (system / "proc" / "meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kilobytes[0]) * 1024 if kilobytes else None


def _left_in_cgroup(system: Path, limit: str, used: str) -> int | None:
    place = system / "sys" / "fs" / "cgroup"
    try:
        return max(0, int((place / limit).read_text()) - int((place / used).read_text()))
    except (OSError, ValueError):  # no such cgroup, or "max", which is no limit
        return None
