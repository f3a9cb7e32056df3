"""Whether two runs computed the same, to the last bit."""

from pathlib import Path

import numpy as np

from class_sensitivity.runs.directory import find_run_directories, read_record
from class_sensitivity.runs.record import RunRecord


def assert_same_result(one: RunRecord, other: RunRecord) -> None:
    """All that is computed is equal to the last bit; durations and the like may differ."""
    assert one.confusion == other.confusion
    assert one.metrics == other.metrics
    assert (one.train_size, one.steps, one.noise) == (other.train_size, other.steps, other.noise)
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name], strict=True)


def assert_same_runs(root: Path, reference: Path, *, all_of_them: bool = True) -> None:
    """The runs below a directory are those below another.

    Args:
        root: The directory.
        reference: The other.
        all_of_them: None may be missing.
    """
    found = {path.relative_to(root): path for path in find_run_directories(root)}
    if all_of_them:
        assert set(found) == {path.relative_to(reference) for path in find_run_directories(reference)}
    assert found
    for place, directory in found.items():
        assert_same_result(read_record(directory), read_record(reference / place))
