"""Which of the files make up the data set, in which order, and the digest that follows from them."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from class_sensitivity.data.importing.decoding import FileFacts
from class_sensitivity.data.importing.listing import ImageFile, Listing, shown
from class_sensitivity.data.importing.settings import ImportSettings
from class_sensitivity.errors import DataError

#: Raised whenever the same files would give other pixels or another order.
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Selection:
    """The files of a data set in the order of its arrays.

    Attributes:
        files: All files that were found.
        facts: Of each of them, in their order.
        class_names: The K classes, sorted.
        train: (N,) int64 positions in `files` ...
        test: ... and (n,) of those to test on.
    """

    files: tuple[ImageFile, ...]
    facts: tuple[FileFacts, ...]
    class_names: tuple[str, ...]
    train: NDArray[np.int64]
    test: NDArray[np.int64]

    def labels(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The classes of some files, as positions in `class_names`."""
        number = {name: k for k, name in enumerate(self.class_names)}
        return np.array([number[self.files[i].label] for i in positions], np.int64)

    def digest(self, settings: ImportSettings) -> str:
        """Sixteen hexadecimal digits that follow from classes, split, labels, file contents and what changes pixels.

        Where the files lie and what they are called does not count.
        """
        used = [self.facts[i] for i in (*self.train, *self.test)]
        shows = settings.fit == "pad" or any(fact.transparent for fact in used)
        background = ImageColor.getrgb(settings.background) if shows else None
        pixels = [settings.image_size, settings.fit, settings.channels, background]
        total = hashlib.sha256(json.dumps([FORMAT, self.class_names, pixels]).encode())
        for positions in (self.train, self.test):
            total.update(self.labels(positions).tobytes())
            total.update("".join(self.facts[i].sha256 for i in positions).encode())
        return total.hexdigest()[:16]


def select(listing: Listing, facts: tuple[FileFacts, ...], settings: ImportSettings) -> Selection:
    """Leaves out what is broken, and splits what has no split yet.

    The split takes `test_frac` of every class, rounded, but leaves one image at least on either side.

    Args:
        listing: What was found.
        facts: Of each of its files.
        settings: How it is split.

    Raises:
        DataError: A class has no image left, or a single one where it is to be split.
    """
    files = listing.files
    usable = [i for i, fact in enumerate(facts) if fact.defect is None]
    splits: dict[int, str | None] = {i: files[i].split for i in usable}
    if any(files[i].split is None for i in range(len(files))):
        splits = _split(files, usable, settings)
    train, test = ([i for i in usable if splits[i] == split] for split in ("train", "test"))
    for split, positions in (("train", train), ("test", test)):
        found, left = {file.label for file in files if file.split == split}, {files[i].label for i in positions}
        if gone := sorted(found - left):
            raise DataError(
                f"No image of the class {shown(gone[0])} can be read ({split}): every file of it is broken."
            )
    return Selection(files, facts, listing.class_names, np.array(train, np.int64), np.array(test, np.int64))


def _split(files: tuple[ImageFile, ...], usable: list[int], settings: ImportSettings) -> dict[int, str | None]:
    """The split of every usable file, by position."""
    members: dict[str, list[int]] = {file.label: [] for file in files}
    for i in usable:
        members[files[i].label].append(i)
    rng = np.random.default_rng(settings.split_seed)
    splits: dict[int, str | None] = dict.fromkeys(usable, "train")
    for label, positions in sorted(members.items()):
        size = len(positions)
        if size < 2:
            raise DataError(
                f"The class {shown(label)} has {size} usable image{'s' * (size != 1)}: a split needs 2 at least, one "
                "to train on and one to test on."
            )
        number = min(max(round(settings.test_frac * size), 1), size - 1)
        splits |= dict.fromkeys(rng.permutation(positions)[:number].tolist(), "test")
    return splits
