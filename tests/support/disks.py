"""Disks that are small enough to fill."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A disk of 16 MB mounted at a place; skips the test where none can be mounted."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def remount(disk: Path, how: str) -> None:
    """Mounts it again, as `ro` or `rw`."""
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def fill(disk: Path, free: int = 0) -> None:
    """Fills it with a file `ballast`, leaving so many bytes free."""
    state = os.statvfs(disk)
    size = state.f_bavail * state.f_bsize - free
    with (disk / "ballast").open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        for _ in range(size // 4096):
            stream.write(bytes(4096))
