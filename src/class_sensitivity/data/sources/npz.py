"""Arrays from a notebook, stored with `numpy.savez`: `data=npz data.file=arrays.npz`."""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.data.arrays import ArraysError, ImageArrays
from class_sensitivity.errors import DataError, require

_NEEDED = ("train_images", "train_labels", "test_images", "test_labels")


def load(directory: str | None = None, download: bool = False, file: str = "") -> ImageArrays:
    """Reads a data set from an `.npz` file; nothing in it is executed.

    It holds

    - `train_images` and `test_images`: (N, H, W) or (N, H, W, C), from 0 to 255,
    - `train_labels` and `test_labels`: (N,) whole numbers from 0 to K - 1,
    - `class_names`, if wanted: (K,) text; without it, the classes are called `0` to `K - 1`.

    Other arrays in it are not looked at.

    Args:
        directory: What the path of the file is relative to; None for the current directory.
        download: Without effect: nothing is fetched.
        file: The path of the file.

    Raises:
        ConfigError: No path is given.
        DataError: The file is absent, damaged or incomplete.
        ArraysError: What it holds does not make a data set.
    """
    path = _path(directory, file)
    try:
        with path.open("rb") as stream:
            stored = _read(stream, path)
    except OSError as error:
        raise _cannot_be_read(path, error) from None
    return ImageArrays(
        train_images=_images(stored["train_images"]),
        train_labels=stored["train_labels"],  # type: ignore[arg-type]
        test_images=_images(stored["test_images"]),
        test_labels=stored["test_labels"],  # type: ignore[arg-type]
        class_names=tuple(_names(stored.get("class_names"), stored["train_labels"])),
    )


def _path(directory: str | None, file: str) -> Path:
    require(isinstance(file, str) and file != "", "data.file", file, "the path of an .npz file")
    return (Path(directory or ".").expanduser() / Path(file).expanduser()).absolute()


def _cannot_be_read(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read ({error.strerror}); set data.file to a file that numpy.savez has written.")


def _read(stream: BinaryIO, path: Path) -> dict[str, NDArray[np.generic]]:
    key = None
    try:
        stored = np.load(stream, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            raise DataError(f"{path} holds one array; store all with numpy.savez, by the names {', '.join(_NEEDED)}.")
        if missing := [name for name in _NEEDED if name not in stored.files]:
            raise DataError(
                f"{path} holds no {' and no '.join(missing)}; it must hold {', '.join(_NEEDED)}, and may hold "
                f"class_names; found: {', '.join(sorted(stored.files)) or 'nothing'}."
            )
        arrays: dict[str, NDArray[np.generic]] = {}
        for key in (*_NEEDED, *({"class_names"} & set(stored.files))):
            value = stored[key]
            if not isinstance(value, np.ndarray):  # NumPy gives the bytes of what is no array
                raise TypeError("it is no array")
            arrays[key] = value
        return arrays
    except (DataError, OSError):
        raise
    except Exception as error:  # damaged bytes make NumPy and zipfile raise nearly anything
        if key is None:
            raise DataError(f"{path} is no .npz file, or damaged; write it with numpy.savez.") from None
        if "allow_pickle" in str(error):
            raise DataError(f"{path}: {key} holds Python objects, which are not read: use {_plain(key)}.") from None
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200].rstrip('.')}"
        raise DataError(f"{path}: {key} cannot be read ({reason}); write the file again with numpy.savez.") from None


def _plain(key: str) -> str:
    """What makes an array of objects one of values."""
    if key == "class_names":
        return "numpy.array(class_names, dtype=str)"
    if key.endswith("_labels"):
        return f"{key}.astype('int64')"
    return f"numpy.stack({key}), which wants images of one size"


def _images(stored: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Images with the axis of channels that grey ones lack; a wrong type is refused by `ImageArrays`."""
    return stored[..., np.newaxis] if stored.ndim == 3 else stored  # type: ignore[return-value]


def _names(stored: NDArray[np.generic] | None, train_labels: NDArray[Any]) -> list[str]:
    """The names of the classes, as stored or made of their numbers."""
    if stored is not None:
        if stored.ndim != 1 or stored.dtype.kind != "U":
            raise ArraysError(
                f"class_names must be a list of text, got {stored.dtype} {stored.shape}: use "
                "numpy.array(class_names, dtype=str)"
            )
        return [str(name) for name in stored]
    present = np.unique(train_labels)
    # What is no number of a class at all, `ImageArrays` refuses.
    numbers = train_labels.dtype.kind in "biuf" and train_labels.min(initial=0) >= 0
    if numbers and not np.array_equal(present, np.arange(len(present))):
        gap = np.setdiff1d(np.arange(len(present)), present)[0]
        raise ArraysError(
            f"train_labels must number the classes from 0 without a gap, and holds no {gap}: use "
            "numpy.unique(labels, return_inverse=True) on the labels of both splits, or store class_names"
        )
    return [str(number) for number in range(len(present))]
