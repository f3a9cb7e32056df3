"""What can be known of a data set before anything is trained on it: sizes, copies, odd images, look-alikes."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_sensitivity.data.health import HealthReport, ImageRef, check_health
from class_sensitivity.data.lookalikes import image_separation
from class_sensitivity.data.sources import import_report, load_arrays
from class_sensitivity.settings import DataSettings

#: Where inspections are kept below the directory of all runs.
_FOLDER = "inspections"


@dataclass(frozen=True)
class Inspection:
    """A look at a data set.

    Attributes:
        data: What the data set is called.
        digest: Of its content, as in the identity of its runs.
        class_names: The K names.
        train_counts: (K,) training images of each class.
        test_counts: (K,) test images of each class.
        imported: What an import of files did, in sentences; empty for data sets that are no files of the user.
        health: What may be wrong with its images.
        separation: (K, K) distances between classes by their pixels alone (`lookalikes.image_separation`); None stands
            for NaN.
        train_files: The file of each training image; empty without files.
        test_files: The file of each test image; empty without files.
    """

    data: str
    digest: str
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    imported: tuple[str, ...]
    health: HealthReport
    separation: list[list[float | None]]
    train_files: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()

    @property
    def distances(self) -> NDArray[np.float64]:
        """(K, K) distances between classes by their pixels alone."""
        return np.array(self.separation, np.float64)

    def name_of(self, image: ImageRef) -> str:
        """What a person can find an image by: its file, or its place."""
        files = self.train_files if image.split == "train" else self.test_files
        return files[image.index] if files else f"{image.split} image {image.index}"

    def short_name_of(self, image: ImageRef) -> str:
        """The same without the folders that all files have in common."""
        name = self.name_of(image)
        return os.path.relpath(name, self._common) if self._common else name

    @cached_property
    def _common(self) -> str:
        files = (*self.train_files, *self.test_files)
        return os.path.commonpath(map(os.path.dirname, files)) if files else ""


def inspect_data(settings: DataSettings, digest: str) -> Inspection:
    """Looks through a data set; takes about a millisecond an image.

    Args:
        settings: Which data set.
        digest: Of its content.

    Raises:
        UserError: It cannot be read.
    """
    arrays, report = load_arrays(settings), import_report(settings)
    train_files, test_files = (report.train_files, report.test_files) if report else ((), ())
    distances = image_separation(arrays.train_images, arrays.train_labels, arrays.num_classes)
    counts = [
        tuple(np.bincount(labels, minlength=arrays.num_classes).tolist())
        for labels in (arrays.train_labels, arrays.test_labels)
    ]
    return Inspection(
        data=settings.name,
        digest=digest,
        class_names=arrays.class_names,
        train_counts=counts[0],
        test_counts=counts[1],
        imported=tuple(report.sentences()) if report else (),
        health=check_health(arrays, train_files, test_files),
        separation=[[None if np.isnan(each) else float(each) for each in row] for row in distances],
        train_files=train_files,
        test_files=test_files,
    )


class _Kept(msgspec.Struct):
    """What a file holds: an inspection, and the SHA-256 of its JSON, so that a bit that flips later is seen."""

    sha256: str
    inspection: msgspec.Raw


def _place(root: Path, data: str, digest: str) -> Path:
    return root / _FOLDER / f"{data}-{digest}.json"


def write_inspection(inspection: Inspection, root: Path) -> Path:
    """Keeps an inspection below the directory of all runs, for the report on them; returns its file.

    Raises:
        OSError: It cannot be written.
    """
    path = _place(root, inspection.data, inspection.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{os.getpid()}")
    text = msgspec.json.encode(inspection)
    try:
        half.write_bytes(msgspec.json.encode(_Kept(hashlib.sha256(text).hexdigest(), msgspec.Raw(text))))
        half.replace(path)
    except OSError:
        half.unlink(missing_ok=True)
        raise
    return path


def read_inspection(root: Path, data: str, digest: str) -> Inspection | None:
    """The inspection of a data set; None where there is none, or where it is damaged."""
    try:
        kept = msgspec.json.decode(_place(root, data, digest).read_bytes(), type=_Kept)
        if hashlib.sha256(kept.inspection).hexdigest() != kept.sha256:
            return None
        return msgspec.json.decode(kept.inspection, type=Inspection)
    except (OSError, RecursionError, UnicodeDecodeError, msgspec.MsgspecError):
        return None
