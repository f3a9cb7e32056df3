"""Small copies of run directories, to be published: all that statistics need, without what is large."""

import os
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np

from class_sensitivity.errors import RunError
from class_sensitivity.runs.directory import find_run_directories, read_record, write_record
from class_sensitivity.runs.record import RunRecord

#: The arrays that are kept: matrices, intervals, claims and exchange rates rest on them.
_KEPT = ("test_labels", "test_preds")


def pack_runs(root: Path, out: Path) -> int:
    """Copies every complete run without probabilities, training labels, TensorBoard, checkpoint and where files were.

    A report on the copies has all but what needs probabilities: calibration, suspects, and how sure a mistake was.

    Args:
        root: The directory that `train.py` wrote runs to.
        out: Where the copies go, below the same names; those that are there are replaced.

    Returns:
        How many runs were copied.

    Raises:
        RunError: A run cannot be copied.

    Examples:
        >>> pack_runs(Path("no-such-directory"), Path("copies"))
        0
    """
    copied = 0
    for directory in find_run_directories(root):
        try:
            record = read_record(directory, arrays=_KEPT)
        except RunError:
            continue  # not complete; a report on the runs names it
        # One byte a class where that is enough.
        smallest = np.min_scalar_type(-len(record.class_names))
        small = {name: array.astype(smallest) for name, array in record.arrays.items()}
        place = out / record.identity.path
        try:
            os.makedirs(place, exist_ok=True)
            write_record(replace(_without_places(record), arrays=small), place)
        except OSError as error:
            raise RunError(f"{place} cannot be written ({error.strerror or error}).") from None
        copied += 1
    return copied


def _without_places(record: RunRecord) -> RunRecord:
    """With the usual places of runs and data, and the bare names of a noise kind's files and directories."""
    condition, values = record.identity.condition, dict(record.config)
    given = condition.noise_given.items()
    names = {name: PurePath(value).name if isinstance(value, str) else value for name, value in given}
    values |= {"runs": "runs", "data": {**values["data"], "dir": "data"}}
    if names:
        values["noise"] = {**values["noise"], "kind": values["noise"]["kind"] | names}
    identity = replace(record.identity, condition=replace(condition, noise_given=names))
    return replace(record, identity=identity, config=values)
