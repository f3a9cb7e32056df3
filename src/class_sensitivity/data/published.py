"""Data sets that are published with checksums: fetched where they are absent, and read only if every file is right."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from class_sensitivity.errors import DataError


def verified_files(
    title: str,
    root: Path,
    folder: str,
    checksums: Mapping[str, str],
    *,
    download: bool,
    fetch: Callable[[], object],
) -> dict[str, Path]:
    """Where the files of a data set are, after each was found to be as it was published.

    Args:
        title: What the data set is called.
        root: `data.dir`.
        folder: Of its files, below the root.
        checksums: File -> MD5 sum.
        download: Whether it may be fetched where the folder is absent or empty.
        fetch: Fetches it.

    Returns:
        File -> its path.

    Raises:
        DataError: It is absent and cannot be fetched, or a file of it is missing, damaged or cannot be read.
    """
    place = root / folder
    # Nobody is told to remove what was not looked at: it may be the only copy of something else.
    again = f"rename {place} to have {title} fetched again, or set data.dir"
    try:
        if not place.is_dir() or not any(place.iterdir()):
            _fetch(title, root, folder, download, fetch)
        paths = {name: place / name for name in checksums}
        for name, path in paths.items():
            if not path.is_file():
                raise DataError(f"{path} is missing; {again}.")
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, _md5).hexdigest()
            if found != checksums[name]:
                raise DataError(f"{path} is damaged (its MD5 sum is not {checksums[name]}); {again}.")
    except OSError as error:
        raise DataError(f"{title} in {root} cannot be read ({error}); set data.dir to a readable folder.") from None
    return paths


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)  # finds damage; some systems refuse it for more than that


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
