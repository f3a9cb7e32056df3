"""Run directories: writing a record so that it is whole or absent, reading it without trusting it."""

import hashlib
import io
import json
import os
import secrets
import shutil
import tempfile
import time
import traceback
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.confusion import confusion_counts
from class_sensitivity.errors import RunError, UserError
from class_sensitivity.runs.identity import RunIdentity
from class_sensitivity.runs.record import READ_SCHEMAS, SCHEMA, RunRecord

RESULT = "result.json"
ARRAYS = "arrays.npz"
FAILURE = "failed.json"
CHECKPOINT = "last.ckpt"

#: Bytes that must be free before a run starts; a record and its event file take a part of it.
_LEAST_SPACE = 2**20

#: What is to be done about a damaged run; nobody need remove it.
_AGAIN = "the command that made it does it again"

#: The arrays of a record: name -> number of dimensions and kind of dtype.
_ARRAYS = {
    "test_probabilities": (2, "f"),
    "test_preds": (1, "i"),
    "test_labels": (1, "i"),
    "train_indices": (1, "i"),
    "train_labels": (1, "i"),
    "train_touched": (1, "b"),
}


@contextmanager
def _written(path: Path, content: bytes | memoryview) -> Iterator[str]:
    """Writes a file beside its place, to be moved there: then it is there whole or not at all, also after a power cut.

    Yields:
        Where it was written; an error removes it.
    """
    # Made as any file of the user's is, so that the umask says who may read it.
    temporary = str(path.with_name(f".{path.name}.{secrets.token_hex(8)}"))
    try:
        with open(temporary, "xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        yield temporary
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_record(record: RunRecord, directory: Path) -> None:
    """Writes the arrays and `result.json`, whose presence makes the run complete.

    Both files carry a SHA-256 digest in `result.json`, so that a bit that flips later is seen. Both are written beside
    their places before the first is moved, so that a disk that is full leaves the record of before, if there is one.

    Raises:
        OSError: The directory cannot be written; no new `result.json` is left behind.
    """
    values = record.to_json()
    stream = io.BytesIO()
    np.savez_compressed(stream, **record.arrays)  # type: ignore[arg-type]
    values["arrays_sha256"] = hashlib.sha256(stream.getbuffer()).hexdigest()
    values["sha256"] = _digest(values)
    text = json.dumps(values, indent=1, allow_nan=False).encode()
    with (
        _written(directory / ARRAYS, stream.getbuffer()) as arrays,
        _written(directory / RESULT, text) as result,
    ):
        os.replace(arrays, directory / ARRAYS)
        os.replace(result, directory / RESULT)


def _digest(values: dict[str, Any]) -> str:
    """Of the values, not of their layout: a file that was only laid out anew is still whole."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_record(directory: Path, *, arrays: Collection[str] = tuple(_ARRAYS)) -> RunRecord:
    """Reads and checks a run directory; executes nothing from it.

    Args:
        directory: The run directory.
        arrays: Which arrays to read from `arrays.npz`. Its digest is checked in any case.

    Raises:
        RunError: Something is missing, damaged, of another schema, or contradicts itself.
    """
    path = directory / RESULT
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RunError(f"{directory} is not a complete run: it has no {RESULT}") from None
    except OSError as error:  # such as a file of somebody else's
        raise RunError(f"{path} cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({error}); {_AGAIN}") from None
    found = values.get("schema") if isinstance(values, dict) else None
    if found not in READ_SCHEMAS:
        raise RunError(f"{path} has schema {found!r}; this version reads schema {' and '.join(map(str, READ_SCHEMAS))}")
    try:
        if values.pop("sha256") != _digest(values):
            raise ValueError("its digest does not match")
        arrays_digest = values.pop("arrays_sha256")
        record = RunRecord.from_json(values)
    except (TypeError, KeyError, ValueError, OverflowError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({error}); {_AGAIN}") from None
    _refuse_foreign_place(record.identity, directory)
    if record.schema < SCHEMA and record.identity.condition.is_reduced:
        raise RunError(f"{path} is of a version that visited a reduced set in another order; run it again")
    return replace(record, arrays=_read_arrays(directory / ARRAYS, record, arrays_digest, arrays))


def _refuse_foreign_place(identity: RunIdentity, directory: Path) -> None:
    expected = identity.path.parts
    # Where a link leads may be called otherwise, and so may a link.
    if all(place.parts[-len(expected) :] != expected for place in (directory.absolute(), directory.resolve())):
        raise RunError(f"{directory} holds a run that belongs in {identity.path}; give its folders their names back")


def _read_arrays(path: Path, record: RunRecord, digest: str, names: Collection[str]) -> dict[str, NDArray[Any]]:
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError("its digest does not match")
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in names}
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        RuntimeError,
        TypeError,
        zlib.error,
    ) as error:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise RunError(f"{path} cannot be read ({error.strerror or error})") from None
        raise RunError(f"{path} cannot be read ({error}); {_AGAIN}") from None
    foreign = RunError(f"{path} does not belong to the {RESULT} beside it; {_AGAIN}")
    for name, array in arrays.items():
        ndim, kind = _ARRAYS[name]
        length = record.metrics.test_size if name.startswith("test_") else record.train_size
        if array.ndim != ndim or array.dtype.kind != kind or len(array) != length:
            raise foreign
    if "test_probabilities" in arrays and arrays["test_probabilities"].shape[1] != len(record.class_names):
        raise foreign
    if {"test_labels", "test_preds"} <= arrays.keys():
        try:
            counts = confusion_counts(arrays["test_labels"], arrays["test_preds"], len(record.class_names))
        except ValueError:
            raise foreign from None
        if not np.array_equal(counts, record.counts):
            raise foreign
    return arrays


def completed_record(directory: Path) -> RunRecord | None:
    """The record without its arrays, or None where there is none yet.

    Raises:
        RunError: There is a record, and it cannot be trusted.
    """
    # A link that leads nowhere is something, too: whoever made it is to be told.
    if not os.path.lexists(directory / RESULT):
        return None
    return read_record(directory, arrays=())


def is_complete(directory: Path) -> bool:
    """Whether the directory holds a record that reads back whole."""
    try:
        return completed_record(directory) is not None
    except RunError:
        return False


def find_run_directories(root: Path) -> Iterator[Path]:
    """Everything under `root` that stands where a run directory would, complete or not, in sorted order."""
    if root.is_dir():
        yield from sorted(root.glob("*/*/seed-*"))


def other_layouts(root: Path) -> Iterator[tuple[Path, str]]:
    """Runs that lie deeper or higher than those of `root` do: what was given for `runs` is not their directory.

    Yields:
        A directory, and in a sentence what it holds and what to give instead.
    """
    deeper = {run.parents[2] for run in root.glob("*/*/*/seed-*")}
    higher = {run.parents[0] for run in root.glob("seed-*")} | {run.parents[1] for run in root.glob("*/seed-*")}
    for place in sorted(deeper):
        yield (
            place,
            f"{place} holds runs of its own, as a directory RECIPE/CONDITION/seed-1; report on it with runs={place}",
        )
    for place in sorted(higher):
        holder = place.absolute().parent.parent if any(root.glob("seed-*")) else place.absolute().parent
        yield (
            place,
            f"{place} is a part of a directory of runs, RECIPE/CONDITION/seed-1; report on it with runs={holder}",
        )


def refuse_foreign_link(directory: Path, identity: RunIdentity) -> None:
    """Raises a RunError if the directory is a link to where another run belongs, which must not be touched."""
    expected = identity.path.parts
    there = Path(os.path.realpath(directory))  # unlike resolve(), it accepts a link to itself
    if there.parts[-len(expected) :] != expected:
        raise RunError(
            f"The run directory {directory} is a link to {there}, where another run belongs; replace the link."
        )


def prepare_directory(directory: Path, identity: RunIdentity, *, keep: Collection[str]) -> None:
    """Makes an empty run directory, or clears what an unfinished run left.

    A complete record, which is there when the run is done again, stays until another takes its place.

    Args:
        directory: The run directory.
        identity: Of the run.
        keep: Names of files that stay. With a checkpoint among them the curves logged so far stay, too.

    Raises:
        RunError: The directory cannot be made or written, or is a link to another run's.
    """
    refuse_foreign_link(directory, identity)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        resumes = any(name.endswith(".ckpt") for name in keep)
        keep = {*keep, RESULT, ARRAYS} if is_complete(directory) else keep
        for path in directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name not in keep and not (resumes and path.name.startswith("events.")):
                path.unlink()
        with tempfile.TemporaryFile(dir=directory, buffering=0) as stream:
            stream.write(bytes(_LEAST_SPACE))
    except OSError as error:
        raise RunError(
            f"The run directory {directory} cannot be written ({error.strerror}); "
            "free the path or choose another with runs=DIRECTORY."
        ) from None


def write_failure(directory: Path, error: Exception) -> bool:
    """Keeps what made a run fail in its directory, until it is tried again.

    Returns:
        Whether it could be written; a full disk may be the very reason.
    """
    foreseen = isinstance(error, UserError)
    values = {
        "reason": str(error) if foreseen else "".join(traceback.format_exception_only(error)).strip(),
        "kind": type(error).__name__,
        "traceback": None if foreseen else "".join(traceback.format_exception(error)),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _written(directory / FAILURE, json.dumps(values, indent=1).encode()) as written:
            os.replace(written, directory / FAILURE)
    except OSError:
        return False
    return True


def read_failure(directory: Path) -> str | None:
    """Why the last attempt at a run failed, in a sentence; None if it did not."""
    try:
        values = json.loads((directory / FAILURE).read_bytes())
        return str(values["reason"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return f"{directory / FAILURE} cannot be read"
