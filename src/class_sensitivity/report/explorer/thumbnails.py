"""Images as one JPEG: which of them, how large, and where each one is in it."""

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Pixels of the longer side of a thumbnail, at most.
MOST_PIXELS = 48

#: Pixels of all thumbnails together: about 7 MB of JPEG as base64, a second to decode.
_MOST_PIXELS_IN_ALL = 12_000_000

#: Images times runs: two bytes each.
_MOST_PREDICTIONS = 4_000_000

#: Images that are kept of every cell, whether any run got them wrong or not.
_SAMPLE_OF_A_CELL = 12

#: Training images of each class, and of all classes together.
_TRAIN_OF_A_CLASS = 24
_TRAIN_IN_ALL = 1200

#: The first quality of JPEG that is tried, and those for images that are noise: a page must not grow without end.
_QUALITIES = (88, 80, 65, 50)
_MOST_BYTES = 8_500_000

#: JPEG works on blocks of so many pixels on a side: an image that fills whole blocks does not bleed into the next.
_BLOCK = 8


@dataclass(frozen=True)
class Sprite:
    """Many small images in one.

    Attributes:
        images: (m,) which images of the data set, in their order in the sprite, row by row.
        width: Pixels of each thumbnail.
        height: Pixels of each thumbnail.
        pitch_x: Pixels from one to the next in a row.
        pitch_y: Pixels from one row to the next.
        columns: Thumbnails in a row.
        jpeg: The file.
    """

    images: NDArray[np.int64]
    width: int
    height: int
    pitch_x: int
    pitch_y: int
    columns: int
    jpeg: bytes

    @property
    def base64(self) -> str:
        """The file as text."""
        return base64.b64encode(self.jpeg).decode()

    def to_json(self) -> dict[str, object]:
        """Where each thumbnail is."""
        place = {name: getattr(self, name) for name in ("width", "height", "pitch_x", "pitch_y", "columns")}
        return place | {"rows": math.ceil(len(self.images) / self.columns)}


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of a thumbnail: that of the image, or smaller in proportion.

    Examples:
        >>> thumbnail_size(32, 32), thumbnail_size(224, 112)
        ((32, 32), (48, 24))
    """
    shrink = min(1.0, MOST_PIXELS / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _pitch(side: int) -> int:
    """Pixels of the whole blocks that an image takes."""
    return -(-side // _BLOCK) * _BLOCK


def make_sprite(images: NDArray[np.uint8], chosen: NDArray[np.integer]) -> Sprite:
    """Lays thumbnails into one JPEG without chroma subsampling.

    Args:
        images: (n, H, W, C) uint8, C 1 or 3; of any other number of channels the first is shown.
        chosen: (m,) which of them; at least one.
    """
    from PIL import Image

    height, width = thumbnail_size(*images.shape[1:3])
    pitch_y, pitch_x = _pitch(height), _pitch(width)
    columns = max(1, math.ceil(math.sqrt(len(chosen) * pitch_y / pitch_x)))
    rows = math.ceil(len(chosen) / columns)
    channels = 3 if images.shape[3] == 3 else 1
    sheet = np.zeros((rows * pitch_y, columns * pitch_x, channels), np.uint8)
    for place, index in enumerate(chosen):
        image = images[index][:, :, :channels]
        if image.shape[:2] != (height, width):
            shown = Image.fromarray(image if channels == 3 else image[:, :, 0])
            resized = np.asarray(shown.resize((width, height), Image.Resampling.LANCZOS))
            image = resized.reshape(height, width, channels)
        # The edge goes on to the end of the block, which a sharp one would blur.
        image = np.pad(image, ((0, pitch_y - height), (0, pitch_x - width), (0, 0)), mode="edge")
        y, x = pitch_y * (place // columns), pitch_x * (place % columns)
        sheet[y : y + pitch_y, x : x + pitch_x] = image
    whole = Image.fromarray(sheet if channels == 3 else sheet[:, :, 0])
    for quality in _QUALITIES:
        stream = io.BytesIO()
        whole.save(stream, "JPEG", quality=quality, subsampling=0)
        if stream.tell() <= _MOST_BYTES:
            break
    return Sprite(np.asarray(chosen, np.int64), width, height, pitch_x, pitch_y, columns, stream.getvalue())


@dataclass(frozen=True)
class Choice:
    """Which test images the page holds.

    Attributes:
        images: (m,) in rising order.
        why: What a reader should know, as a sentence; empty where all are there.
    """

    images: NDArray[np.int64]
    why: str


def choose_test_images(labels: NDArray[np.integer], preds: NDArray[np.integer], shape: tuple[int, ...]) -> Choice:
    """All test images where they are small and few; or those that any run got wrong and a sample of each cell.

    Args:
        labels: (n,) true classes.
        preds: (runs, n) predicted classes.
        shape: Of one image, height and width first.
    """
    number = len(labels)
    height, width = thumbnail_size(*shape[:2])
    most = min(_MOST_PIXELS_IN_ALL // (_pitch(height) * _pitch(width)), _MOST_PREDICTIONS // max(1, len(preds)))
    if (height, width) == tuple(shape[:2]) and number <= most:
        return Choice(np.arange(number), "")
    wrong = (preds != labels).sum(axis=0)
    # A cell's sample first, then what most runs got wrong; ties as in the data set.
    priority = np.where(wrong > 0, wrong, -1).astype(np.int64)
    first = _samples(labels, preds)
    priority[first] = np.maximum(priority[first], 0) + len(preds) + 1
    order = np.argsort(-priority, kind="stable")
    order = order[priority[order] >= 0]
    chosen = np.sort(order[:most])
    what = f"{len(chosen):,} of {number:,} test images are shown: a sample of each cell, and "
    if len(order) > most:
        what += "of those that some run got wrong the ones that most runs did"
    else:
        what += "every one that some run got wrong"
    shrunk = (
        f", as thumbnails of {width} x {height} pixels (of {shape[1]} x {shape[0]})"
        if (height, width) != tuple(shape[:2])
        else ""
    )
    return Choice(chosen, f"{what}{shrunk}. Counts and rates are of all test images.")


def _samples(labels: NDArray[np.integer], preds: NDArray[np.integer]) -> NDArray[np.int64]:
    """The first images of each cell (true, predicted) of each run's matrix."""
    classes = int(max(labels.max(), preds.max())) + 1
    kept: set[int] = set()
    for run in preds:
        cells = labels.astype(np.int64) * classes + run
        order = np.argsort(cells, kind="stable")
        _, starts, counts = np.unique(cells[order], return_index=True, return_counts=True)
        for start, count in zip(starts, counts, strict=True):
            kept.update(order[start : start + min(count, _SAMPLE_OF_A_CELL)].tolist())
    return np.array(sorted(kept), np.int64)


def choose_train_images(labels: NDArray[np.integer], num_classes: int) -> NDArray[np.int64]:
    """(m,) the first training images of each class, as many of each; in the order of the classes."""
    of_each = max(1, min(_TRAIN_OF_A_CLASS, _TRAIN_IN_ALL // num_classes))
    return np.concatenate([np.flatnonzero(labels == c)[:of_each] for c in range(num_classes)])
