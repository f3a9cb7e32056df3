"""In which state a run is, read from its directory: the same whatever process, machine or launcher does it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from class_sensitivity.errors import RunError
from class_sensitivity.runs.directory import completed_record, read_failure
from class_sensitivity.runs.lease import owner


class State(StrEnum):
    """What a run directory says of its run."""

    COMPLETE = "complete"
    RUNNING = "running"
    STALE = "stale"  # its process was killed
    FAILED = "failed"
    DAMAGED = "damaged"  # there is a record that cannot be trusted
    MISSING = "missing"  # never begun, or stopped in order


@dataclass(frozen=True)
class RunStatus:
    """The state of a run.

    Attributes:
        state: The state.
        detail: One more thing to know: the accuracy, the owner of the lease, or the reason.
    """

    state: State
    detail: str = ""


def read_status(directory: Path) -> RunStatus:
    """Reads the state of a run from its directory; changes nothing."""
    process = owner(directory)
    if process is not None and process.alive:
        return RunStatus(State.RUNNING, f"{process}, last heard of {process.silent_s:.0f} s ago")
    try:
        record = completed_record(directory)
    except RunError as error:
        return RunStatus(State.DAMAGED, str(error))
    if record is not None:
        detail = f"accuracy {record.metrics.accuracy:.2%}  {record.durations.total_s:.1f} s"
        return RunStatus(State.COMPLETE, detail)
    if process is not None:
        return RunStatus(State.STALE, f"{process} is gone; the same command goes on")
    reason = read_failure(directory)
    return RunStatus(State.MISSING) if reason is None else RunStatus(State.FAILED, reason)
