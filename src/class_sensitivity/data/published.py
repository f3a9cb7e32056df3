"""Data sets that are published with checksums: fetched where they are absent, and read only if every file is right."""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from class_sensitivity.errors import DataError

Content = TypeVar("Content")

#: Files that are read at once.
_AT_ONCE = 2


def read_verified(
    title: str,
    root: Path,
    folder: str,
    checksums: Mapping[str, str],
    read: Callable[[bytes], Content],
    *,
    download: bool,
    fetch: Callable[[], object],
) -> list[Content]:
    """What is in the files of a data set, after each was found to be as it was published; several are read at once.

    Args:
        title: What the data set is called.
        root: `data.dir`.
        folder: Of its files, below the root.
        checksums: File -> MD5 sum.
        read: From the bytes of a file that is as it was published to what is in it.
        download: Whether it may be fetched where the folder is absent or empty.
        fetch: Fetches it.

    Returns:
        What is in each file, in their order.

    Raises:
        DataError: It is absent and cannot be fetched, or a file of it is missing, damaged or cannot be read.
    """
    place = root / folder
    # Nobody is told to remove what was not looked at: it may be the only copy of something else.
    again = f"rename {place} to have {title} fetched again, or set data.dir"

    def content(name: str) -> Content:
        path = place / name
        if not path.is_file():
            raise DataError(f"{path} is missing; {again}.")
        written = path.read_bytes()
        if _md5(written) != checksums[name]:
            raise DataError(f"{path} is damaged (its MD5 sum is not {checksums[name]}); {again}.")
        return read(written)

    try:
        if not place.is_dir() or not any(place.iterdir()):
            _fetch(title, root, folder, download, fetch)
        # Reading and checksums leave the interpreter to other threads.
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(content, checksums))
    except OSError as error:
        raise DataError(f"{title} in {root} cannot be read ({error}); set data.dir to a readable folder.") from None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()  # finds damage; some systems refuse it for more


def _fetch(title: str, root: Path, folder: str, download: bool, fetch: Callable[[], object]) -> None:
    offline = (
        f"set data.dir (or CLASS_SENSITIVITY_DATA) to a folder that holds {folder}, "
        "or use data=digits, which works offline"
    )
    if not download:
        raise DataError(f"{title} is not in {root} and data.download is false; {offline}.")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"{title} cannot be stored in {root} ({error.strerror})"
        raise DataError(f"{why}; set data.dir to a writable folder, or use data=digits.") from None
    try:
        fetch()
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{title} is not in {root} and cannot be downloaded ({reason}); {offline}.") from None
