"""The folder that keeps what was imported, so that it is read once: indexes of what is known, and arrays.

    <key>.json            all that is known of the files of one place; the key follows from the place
    <key>-broken.txt      its broken files, one a line
    <digest>/train.npy    (N, H, W, C) uint8; the digest follows from the content
    <digest>/test.npy     (n, H, W, C) uint8
    importing-*/          an import that is not complete

Everything is written beside its place and moved there when it is whole, so that processes that import at the same time
do not meet. Nothing that is complete is ever removed: an import of before may be that of runs that are still to be
reported on. All of it can be removed at any time, and is made anew.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import __version__ as pillow_version

from class_sensitivity.data.importing.decoding import FileFacts
from class_sensitivity.data.importing.listing import Listing, shown
from class_sensitivity.data.importing.selection import FORMAT
from class_sensitivity.data.importing.settings import ImportSettings, absolute
from class_sensitivity.errors import DataError

#: What can be read may change with the library that reads it.
_VERSION = f"{FORMAT}, Pillow {pillow_version}"

#: An import writes at least every few seconds; one that did not for so long was killed.
_ABANDONED_S = 3600


@dataclass(frozen=True)
class Index:
    """What is known of the files of one place.

    Attributes:
        listing: The files when they were looked at last.
        facts: Of each of these files, in their order.
        version: Of this layout, and of what read the files.
    """

    listing: Listing
    facts: tuple[FileFacts, ...]
    version: str = _VERSION


class Cache:
    """What is kept of one place of images.

    The key of its index follows from the place alone. Which files are read again follows from their sizes and times of
    change, so that a file that changed and kept both is taken for the one that it was, until the index is removed.

    Args:
        settings: Where the images and the cache are.
    """

    def __init__(self, settings: ImportSettings) -> None:
        self.folder = absolute(settings.cache_dir)
        places = [settings.train_dir, settings.test_dir, settings.csv, settings.dir]
        names = repr([None if place is None else str(absolute(place)) for place in places])
        self.key = hashlib.sha256(names.encode()).hexdigest()[:16]
        self.index_path = self.folder / f"{self.key}.json"

    # Indexes

    def read_index(self) -> Index | None:
        """What was known when the files were looked at last; None where that is nothing, or of another version."""
        try:
            index = msgspec.json.decode(self.index_path.read_bytes(), type=Index)
        except (OSError, msgspec.MsgspecError):
            return None
        fits = index.version == _VERSION and len(index.facts) == len(index.listing.files)
        return index if fits else None

    def write_index(self, index: Index) -> None:
        """Keeps what is known.

        Raises:
            DataError: The cache cannot be written.
        """
        with self._errors_in_a_sentence():
            self._replace(self.index_path, msgspec.json.encode(index))

    def write_broken(self, lines: Sequence[str]) -> Path:
        """Writes the list of broken files; returns its path.

        Raises:
            DataError: The cache cannot be written.
        """
        path = self.folder / f"{self.key}-broken.txt"
        with self._errors_in_a_sentence():
            self._replace(path, "".join(f"{line}\n" for line in lines).encode())
        return path

    def _replace(self, path: Path, content: bytes) -> None:
        with self._scratch() as scratch:
            (scratch / "file").write_bytes(content)
            os.replace(scratch / "file", path)

    # Arrays

    def open_arrays(
        self, digest: str, image_shape: tuple[int, int, int], numbers: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
        """Training and test images as memory maps; None where they are not there whole.

        Args:
            digest: Of the data set.
            image_shape: (H, W, C).
            numbers: How many images to train and to test on.
        """
        arrays = []
        for split, number in zip(("train", "test"), numbers, strict=True):
            try:
                # Copy on write: what is written into it, which nothing does, would stay in memory. PyTorch warns of a
                # map that is read-only.
                array = np.load(self.folder / digest / f"{split}.npy", mmap_mode="c", allow_pickle=False)
            except (OSError, ValueError):
                return None
            if array.dtype != np.uint8 or array.shape != (number, *image_shape):
                return None
            arrays.append(array)
        return arrays[0], arrays[1]

    @contextmanager
    def writing(self, image_shape: tuple[int, int, int], number: int) -> Iterator["ArrayWriter"]:
        """Takes the pixels of an import; what is not put in place is removed in the end.

        Args:
            image_shape: (H, W, C).
            number: Images that come at most.

        Raises:
            DataError: The cache cannot be written, or has no space.
        """
        with self._errors_in_a_sentence():
            self.folder.mkdir(parents=True, exist_ok=True)
            needed, free = 2 * number * int(np.prod(image_shape)), shutil.disk_usage(self.folder).free
            if needed > free:
                raise DataError(
                    f"{number:,} images take {needed / 1e6:,.0f} MB in {shown(str(self.folder))} while they are "
                    f"imported, and {free / 1e6:,.0f} MB are free there; free space (imports of before, which lie "
                    "there, can be removed), choose a smaller data.image_size, or another place with "
                    "data.cache_dir=FOLDER."
                )
            with self._scratch() as scratch, (scratch / "pixels").open("w+b") as stream:
                yield ArrayWriter(self, scratch, stream, image_shape)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A folder of this process alone, removed in the end; those of killed processes are removed, too."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob("importing-*"):
            with suppress(OSError):  # another process may remove it at the same time
                if time.time() - left.stat().st_mtime > _ABANDONED_S:
                    shutil.rmtree(left)
        scratch = Path(tempfile.mkdtemp(dir=self.folder, prefix="importing-"))
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    @contextmanager
    def _errors_in_a_sentence(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"The cache of imported images, {shown(str(self.folder))}, cannot be written ({error.strerror}); "
                "free space there, or choose another place with data.cache_dir=FOLDER."
            ) from None


class ArrayWriter:
    """Takes the images of an import one after the other, then puts them into the order of the data set.

    Args:
        cache: Where they go.
        scratch: A folder for what is not complete.
        stream: Takes the pixels in the order in which they come.
        image_shape: (H, W, C).
    """

    def __init__(self, cache: Cache, scratch: Path, stream: BinaryIO, image_shape: tuple[int, int, int]) -> None:
        self.cache, self.scratch, self.stream, self.image_shape = cache, scratch, stream, image_shape

    def write(self, images: Iterable[NDArray[np.uint8] | None]) -> None:
        """Adds (H, W, C) images; None takes the place of a file that is broken.

        Written and not mapped: a map would end the process where the disk is full.
        """
        blank = bytes(int(np.prod(self.image_shape)))
        for image in images:
            self.stream.write(blank if image is None else image.tobytes())
        os.utime(self.scratch)  # says that this import goes on

    def put_in_place(self, digest: str, train: NDArray[np.int64], test: NDArray[np.int64]) -> None:
        """Writes the arrays of a data set, and moves them to their place.

        Args:
            digest: Of the data set.
            train: (N,) which of the images that came are the training images.
            test: (n,) and the test images.
        """
        made, place = self.scratch / "arrays", self.cache.folder / digest
        made.mkdir()
        for split, positions in (("train", train), ("test", test)):
            self._write_array(made / f"{split}.npy", positions)
        try:
            made.rename(place)
        except OSError:
            if self.cache.open_arrays(digest, self.image_shape, (len(train), len(test))) is not None:
                return  # another process was first
            place.rename(self.scratch / "damaged")
            made.rename(place)

    def _write_array(self, path: Path, positions: NDArray[np.int64]) -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(positions), *self.image_shape)}
        row = int(np.prod(self.image_shape))
        with path.open("wb") as array:
            np.lib.format.write_array_header_1_0(array, header)
            for position in positions.tolist():
                self.stream.seek(position * row)
                array.write(self.stream.read(row))
            array.flush()
            os.fsync(array.fileno())
