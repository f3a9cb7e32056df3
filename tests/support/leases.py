"""Leases as other processes leave them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from class_sensitivity.runs import lease

posix = pytest.mark.skipif(os.name != "posix", reason="asks whether a process exists")


def left_by_killed_process(directory: Path) -> int:
    """Leaves the lease of a process on this machine that was killed; returns the number of the process."""
    script = """
import os, sys
from pathlib import Path
from class_sensitivity.runs import lease
with lease.acquire(Path(sys.argv[1])):
    print(os.getpid(), flush=True)
    os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", script, directory], capture_output=True, text=True)
    assert (directory / lease.MARKER).exists(), done.stderr
    return int(done.stdout)


def write_marker(directory: Path, *, silent_s: float = 0, **fields: object) -> None:
    """Writes the marker of another process, by default one on another machine.

    Args:
        directory: The run directory.
        silent_s: Seconds since its last heartbeat.
        fields: Of the marker, instead of the usual ones.
    """
    values = {"pid": 4321, "host": "far-away", "mode": "lease", "token": "t", "duration": lease.LEASE_S, **fields}
    directory.mkdir(parents=True, exist_ok=True)
    marker = directory / lease.MARKER
    marker.write_text("filelock/2\n" + "".join(f"{key}={value}\n" for key, value in values.items()))
    os.utime(marker, (time.time() - silent_s,) * 2)
