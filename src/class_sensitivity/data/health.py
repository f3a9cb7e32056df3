"""What may be wrong with the images of a data set: copies across the split or under two labels, and odd images.

Copies are found here, and odd images by `cleanvision`, the optional extra `images`.
"""

import contextlib
import hashlib
import io
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.errors import DataError

#: Near duplicates agree at least so much, by `_looks`. In CIFAR-10, 125 of the 10,000 test images agree so with a
#: training image, and 124 of these have its label; by chance one in ten would. An image is recognised after JPEG of
#: quality 30, made brighter or grey; cropped by one of 32 pixels on every side, in two cases of five.
_LEAST_AGREEMENT = 0.9

#: Images are compared by so many pixels on a side; of smaller ones, such as digits of 8 x 8, different ones look alike.
_SIDE = 16

#: Agreements that are held in memory at once.
_BLOCK = 2**24

#: An issue of a larger share of the images says what the data set is like, not which images are odd.
_TYPICAL_FRAC = 0.5

#: cleanvision looks for edges in 64 x 64 pixels. It leaves out the outermost ones, and in smaller images these decide.
_LEAST_SIDE_FOR_BLUR = 64

#: What cleanvision is asked for, in its words -> in ours.
_OF_PIXELS = {"low_information": "blank", "dark": "dark", "light": "light", "grayscale": "grey"}
_OF_LARGE_IMAGES = {"blurry": "blurry"}
_OF_FILES = {"odd_size": "odd_size", "odd_aspect_ratio": "odd_aspect_ratio"}


@dataclass(frozen=True)
class ImageRef:
    """One image of a data set.

    Attributes:
        split: `train` or `test`.
        index: Its position in the arrays of that split.
        label: Its class, in [0, K).
    """

    split: str
    index: int
    label: int


@dataclass(frozen=True)
class OddImages:
    """Images that stand out, by issue; an image may have several.

    Attributes:
        blank: Next to nothing on them: less than 3 bits of entropy a pixel.
        dark: Even their bright pixels are dark.
        light: Even their dark pixels are bright.
        blurry: Hardly an edge; only strong blur is found, and none in images smaller than 64 x 64.
        grey: Without colour, among images with colour.
        odd_size: The file is far larger or smaller than the others; unknown without files.
        odd_aspect_ratio: The file is about three times as long as wide, or more; unknown without files.
    """

    blank: tuple[ImageRef, ...] = ()
    dark: tuple[ImageRef, ...] = ()
    light: tuple[ImageRef, ...] = ()
    blurry: tuple[ImageRef, ...] = ()
    grey: tuple[ImageRef, ...] = ()
    odd_size: tuple[ImageRef, ...] = ()
    odd_aspect_ratio: tuple[ImageRef, ...] = ()


@dataclass(frozen=True)
class HealthReport:
    """What was found in the images of a data set, training and test images together; of plain values, for JSON.

    Attributes:
        train_size: N.
        test_size: n.
        exact_duplicates: Sets of images that are equal to the pixel, training images first.
        near_leaks: (train index, test index) for every test image that looks like a training image, such as one picture
            stored twice with other compression or brightness; the one that it is most like. Equal images are left out.
        near_conflicts: Pairs of images that look alike under two labels: for the later one, the earlier one that it is
            most like. Equal images are left out.
        near_train_copies: How many training images look like an earlier one; equal ones are left out.
        near_test_copies: The same of the test images.
        odd: Images that stand out.
        typical: Issues that more than half of the images have; `odd` holds none of these.
        left_out: What was not looked for, why, and what to do, in sentences; empty if nothing was left out.
        versions: Package -> version, of what looked for odd images.
    """

    train_size: int
    test_size: int
    exact_duplicates: tuple[tuple[ImageRef, ...], ...]
    near_leaks: tuple[tuple[int, int], ...] = ()
    near_conflicts: tuple[tuple[ImageRef, ImageRef], ...] = ()
    near_train_copies: int = 0
    near_test_copies: int = 0
    odd: OddImages = OddImages()
    typical: tuple[str, ...] = ()
    left_out: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def exact_leaks(self) -> list[tuple[int, int]]:
        """(train index, test index) for every test image that equals a training image; the first one of them."""
        pairs = []
        for images in self.exact_duplicates:
            train = [image.index for image in images if image.split == "train"]
            pairs += [(train[0], image.index) for image in images if train and image.split == "test"]
        return pairs

    @property
    def exact_conflicts(self) -> list[tuple[ImageRef, ImageRef]]:
        """Pairs of equal images under two labels: the first of a set, with each one of another label."""
        sets = self.exact_duplicates
        return [(images[0], image) for images in sets for image in images if image.label != images[0].label]

    def copies(self, split: str) -> int:
        """Images of a split, `train` or `test`, that equal an earlier image of it."""
        within = [sum(image.split == split for image in images) for images in self.exact_duplicates]
        return sum(number - 1 for number in within if number > 1)

    def near_copies(self, split: str) -> int:
        """Images of a split that look like an earlier image of it; equal ones are left out."""
        return self.near_train_copies if split == "train" else self.near_test_copies


def check_health(arrays: ImageArrays, train_files: Sequence[str] = (), test_files: Sequence[str] = ()) -> HealthReport:
    """Looks through the images of a data set, as networks are shown them.

    It takes about 1 ms an image, and for near duplicates a time that grows with the square of their number: half a
    minute for 60,000 on one core.

    Args:
        arrays: The data set.
        train_files: The file of each training image, for what is known of files alone; or none.
        test_files: The file of each test image, or none.

    Raises:
        DataError: A file is gone or cannot be opened.

    Examples:
        >>> images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
        >>> arrays = ImageArrays(images, np.array([0, 1, 1, 0]), images[2:3], np.array([0]), ("ant", "bee"))
        >>> report = check_health(arrays)
        >>> report.exact_leaks
        [(2, 0)]
        >>> report.exact_conflicts
        [(ImageRef(split='train', index=2, label=1), ImageRef(split='test', index=0, label=0))]
    """
    images, files = _Images(arrays), [*train_files, *test_files]
    if files and len(files) != len(images):
        raise ValueError(f"there are {len(images)} images and {len(files)} files")
    equal = _equal(images)
    sets = tuple(tuple(map(images.ref, numbers)) for numbers in equal if len(numbers) > 1)
    report = HealthReport(len(arrays.train_labels), len(arrays.test_labels), sets)
    _, height, width, channels = arrays.train_images.shape
    left_out = []
    if min(height, width) >= _SIDE:
        report = _with_near_duplicates(report, images, equal)
    else:
        left_out.append(f"Near duplicates were not looked for: of {height} x {width} pixels, many images look alike.")
    reason = f"the images have {channels} channels." if channels not in (1, 3) else None
    if find_spec("cleanvision") is None:
        reason = 'pip install "class-sensitivity[images]" installs what finds them.'
    sharp = min(height, width) >= _LEAST_SIDE_FOR_BLUR
    if reason is not None:
        left_out.append(f"Blank, dark, light, blurry, grey and oddly sized images were not looked for: {reason}")
    else:
        report = _with_odd_images(report, images, files, _OF_PIXELS | (_OF_LARGE_IMAGES if sharp else {}))
        if not sharp:
            left_out.append(f"Blurry images were not looked for: {height} x {width} pixels do not show it.")
    return replace(report, left_out=" ".join(left_out))


class _Images:
    """All images of a data set by one number, training images first; to cleanvision, a data set of torchvision."""

    def __init__(self, arrays: ImageArrays) -> None:
        self.arrays = arrays
        self.train_size = len(arrays.train_labels)
        self.labels = np.concatenate([arrays.train_labels, arrays.test_labels])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[Image.Image]:
        pixels = self.pixels(number)
        if (pixels == pixels[..., :1]).all():  # mode L is what cleanvision takes for grey
            pixels = pixels[..., 0]
        return (Image.fromarray(np.ascontiguousarray(pixels)),)

    def pixels(self, number: int) -> NDArray[np.uint8]:
        """(H, W, C) of one image."""
        if number < self.train_size:
            image: NDArray[np.uint8] = self.arrays.train_images[number]
        else:
            image = self.arrays.test_images[number - self.train_size]
        return image

    def ref(self, number: int) -> ImageRef:
        """What one image is called."""
        train = number < self.train_size
        index = number if train else number - self.train_size
        return ImageRef("train" if train else "test", index, int(self.labels[number]))


class _Files:
    """Image files of which size alone is known; to cleanvision, a data set of torchvision."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Image.Image]:
        path = self.paths[number]
        try:
            with Image.open(path) as image:  # reads the size, and no pixel
                return (image,)
        except OSError as error:
            raise DataError(f"{path} cannot be opened any more ({error}); import the images again.") from None


def _equal(images: _Images) -> list[list[int]]:
    """The numbers of the images with each content, in the order of their first."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for number in range(len(images)):
        groups[hashlib.sha256(images.pixels(number).tobytes()).digest()].append(number)
    return list(groups.values())


def _with_near_duplicates(report: HealthReport, images: _Images, equal: Sequence[Sequence[int]]) -> HealthReport:
    """Of images that are equal, the first stands for all."""
    first = np.array([numbers[0] for numbers in equal])
    earlier, later, agreement = _pairs_that_agree(_looks(images.pixels(number) for number in first))
    one, other = first[earlier], first[later]
    is_test = first >= images.train_size
    across = is_test[later] & ~is_test[earlier]
    leaks = []
    for pair in _best(later, agreement, across):
        # A test image that stands for equal ones stands for test images alone.
        leaks += [(int(one[pair]), number - images.train_size) for number in equal[later[pair]]]
    conflicts = _best(later, agreement, images.labels[one] != images.labels[other])
    return replace(
        report,
        near_leaks=tuple(leaks),
        near_conflicts=tuple((images.ref(int(one[pair])), images.ref(int(other[pair]))) for pair in conflicts),
        near_train_copies=len(np.unique(later[~is_test[later]])),
        near_test_copies=len(np.unique(later[is_test[earlier]])),
    )


def _looks(pictures: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(n, 512) what each (H, W, C) image looks like: the product of two rows is their agreement, from -1 to 1.

    Of 16 x 16 grey values, one half of a row holds these, and the other what sets each apart from its neighbours;
    both with mean 0 and length 1, so that brightness and contrast do not count. Skies correlate by their values, and by
    their details they do not. An even image agrees with none.
    """
    box = Image.Resampling.BOX
    grey = np.stack(
        [np.asarray(Image.fromarray(_luminance(pixels)).resize((_SIDE, _SIDE), box), np.float32) for pixels in pictures]
    )
    details = grey - uniform_filter(grey, (0, 3, 3))
    halves: list[NDArray[np.float32]] = []
    for values in (grey.reshape(len(grey), -1), details.reshape(len(grey), -1)):
        centred = values - values.mean(axis=1, keepdims=True)
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        halves.append(np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-3))
    return np.concatenate(halves, axis=1) * np.float32(np.sqrt(0.5))


def _luminance(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W) grey values; of colours as ITU-R BT.601 has it, which JPEG and most programs keep."""
    channels = pixels.shape[-1]
    weights = np.array([0.299, 0.587, 0.114] if channels == 3 else [1 / channels] * channels, np.float32)
    grey: NDArray[np.float32] = pixels @ weights
    return grey


def _pairs_that_agree(
    looks: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """(earlier, later, agreement) of every pair of rows that agree at least as near duplicates do."""
    step = max(1, _BLOCK // len(looks))
    found = []
    for start in range(0, len(looks), step):
        agreement = looks[start : start + step] @ looks[start:].T
        row, column = np.nonzero(agreement >= _LEAST_AGREEMENT)
        row, column = row[column > row], column[column > row]
        found.append((row + start, column + start, agreement[row, column]))
    earlier, later, agreement = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return earlier, later, agreement


def _best(later: NDArray[np.int64], agreement: NDArray[np.float32], chosen: NDArray[np.bool_]) -> list[int]:
    """For each later image of some pairs, the pair that agrees most; in the order of these images."""
    pairs = np.flatnonzero(chosen)
    pairs = pairs[np.lexsort((-agreement[pairs], later[pairs]))]
    _, positions = np.unique(later[pairs], return_index=True)
    best: list[int] = pairs[positions].tolist()
    return best


def _with_odd_images(
    report: HealthReport, images: _Images, files: Sequence[str], of_pixels: Mapping[str, str]
) -> HealthReport:
    flagged = _flagged(images, of_pixels)
    if files:
        flagged |= _flagged(_Files(files), _OF_FILES)
    typical = tuple(issue for issue, numbers in flagged.items() if len(numbers) > _TYPICAL_FRAC * len(images))
    odd = {issue: tuple(map(images.ref, numbers)) for issue, numbers in flagged.items() if issue not in typical}
    versions = {package: version(package) for package in ("cleanvision", "pillow")}
    return replace(report, odd=OddImages(**odd), typical=typical, versions=versions)


def _flagged(images: _Images | _Files, asked: Mapping[str, str]) -> dict[str, list[int]]:
    """Issue, in our words -> the numbers of the images that have it, by cleanvision."""
    # It prints, and draws bars of progress, whatever it is told.
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cleanvision import Imagelab

        laboratory = Imagelab(torchvision_dataset=images, verbose=False)
        # Its processes would be handed all images thousands of times.
        laboratory.find_issues({issue: {} for issue in asked}, n_jobs=1, verbose=False)
    table = laboratory.issues
    return {ours: table.index[table[f"is_{theirs}_issue"]].tolist() for theirs, ours in asked.items()}
