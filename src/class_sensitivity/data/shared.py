"""A data set that the processes of a sweep hold in memory once between them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.reduction import DupFd
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.data.arrays import ImageArrays

_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class SharedArrays:
    """The arrays of a data set in a file without a name, which every process maps into its memory.

    The system removes the file with the last process that has it open, whatever ends that process. It can be sent
    to a process that multiprocessing starts, as an argument of its start.

    Attributes:
        stream: The file.
        class_names: As of `ImageArrays`.
        layout: Array -> (dtype, shape, offset in the file).
    """

    stream: IO[bytes]
    class_names: tuple[str, ...]
    layout: dict[str, tuple[str, tuple[int, ...], int]]

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (DupFd(self.stream.fileno()), self.class_names, self.layout)

    def arrays(self) -> ImageArrays:
        """The data set, mapped: what is read is in memory once, whatever the number of processes."""

        def mapped(name: str) -> NDArray[Any]:
            dtype, shape, offset = self.layout[name]
            # Copy on write: PyTorch warns of a map that is read-only, and nothing writes into it.
            return np.memmap(self.stream, dtype, mode="c", offset=offset, shape=shape)

        train_images, train_labels, test_images, test_labels = map(mapped, _ARRAYS)
        return ImageArrays(train_images, train_labels, test_images, test_labels, self.class_names)


def _opened(descriptor: Any, *values: Any) -> SharedArrays:
    return SharedArrays(open(descriptor.detach(), "rb"), *values)


@contextmanager
def shared(arrays: ImageArrays) -> Iterator[SharedArrays]:
    """Writes a data set to where processes that are started within the `with` block can map it.

    Raises:
        OSError: There is no space for temporary files.
    """
    with tempfile.TemporaryFile() as stream:
        layout = {}
        for name in _ARRAYS:
            array = getattr(arrays, name)
            layout[name] = array.dtype.str, array.shape, stream.tell()
            stream.write(array.data)
        stream.flush()
        yield SharedArrays(stream, arrays.class_names, layout)
