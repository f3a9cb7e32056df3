"""Files that settings of a noise kind name: read without executing anything, refused in a sentence."""

import csv
import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.errors import ConfigError, require


def require_file(kind: str, setting: str, path: str | None, suffixes: tuple[str, ...]) -> None:
    """Raises a ConfigError unless a setting names a file of one of these kinds; whether it exists is not looked at."""
    what = " or ".join(suffixes)
    if not path:
        raise ConfigError(f"noise.kind={kind} needs a {what} file: name it with {setting}=PATH.")
    require(Path(path).suffix in suffixes, setting, path, f"a {what} file")


def digest_of(array: NDArray[Any]) -> str:
    """Sixteen hexadecimal digits that follow from the shape and values of an array."""
    return hashlib.sha256(repr(array.shape).encode() + array.tobytes()).hexdigest()[:16]


def content_digest(setting: str, path: str) -> str:
    """Sixteen hexadecimal digits that follow from what a file holds.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise unreadable(setting, path, error) from None


def read_array(setting: str, path: str) -> tuple[tuple[str, ...], NDArray[Any]]:
    """The numbers in a .npy or .csv file.

    Returns:
        The header of a .csv file that has one, without it empty; and the array, which is 2-D if from a .csv file.

    Raises:
        ConfigError: It cannot be read, or holds no numbers.
    """
    file = Path(path).expanduser()
    try:
        if file.suffix == ".npy":
            with file.open("rb") as stream:  # an archive of arrays would stay open
                array = np.load(stream, allow_pickle=False)
            header: list[str] = []
        else:
            with file.open(newline="", encoding="utf-8-sig") as lines:
                rows = [[cell.strip() for cell in row] for row in csv.reader(lines) if row]
            # Classes may be called 0 and 1: then a square matrix has one row too many.
            wide = bool(rows) and len(rows[0]) > 1
            header = rows.pop(0) if rows and (not _numeric(rows[0]) or (wide and len(rows) == len(rows[0]) + 1)) else []
            array = np.array(rows, np.float64)
    except OSError as error:
        raise unreadable(setting, path, error) from None
    except (ValueError, EOFError, zipfile.BadZipFile, csv.Error) as error:
        raise ConfigError(f"{setting}={path} holds no array of numbers ({_first_line(error)}).") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf" or array.size == 0:
        raise ConfigError(f"{setting}={path} holds no array of numbers.")
    return tuple(header), array


def _numeric(row: list[str]) -> bool:
    try:
        return bool(np.array(row, np.float64).size)
    except ValueError:
        return False


def unreadable(setting: str, path: str, error: OSError) -> ConfigError:
    """The sentence for a file that cannot be read."""
    return ConfigError(f"{setting}={path} cannot be read ({error.strerror or error}): name a file that is there.")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
