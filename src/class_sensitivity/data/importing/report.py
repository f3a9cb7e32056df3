"""What an import did: how many images of what kind, what was left out and why, and which file each image came from."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from class_sensitivity.data.importing.listing import Listing, shown
from class_sensitivity.data.importing.selection import Selection
from class_sensitivity.data.importing.settings import ImportSettings

#: Upper bounds of the ranges of sizes, in pixels of the shorter side.
_SIZES = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


@dataclass(frozen=True)
class SkippedFile:
    """A file that was left out.

    Attributes:
        path: From the root of the file system.
        label: Its class.
        reason: Why, to follow "it".
    """

    path: str
    label: str
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """What was imported. Counts are of the images in use, training and test images together, unless they say another.

    Attributes:
        digest: Of the data set, as in the identity of its runs.
        class_names: The K classes.
        train_counts: (K,) training images of each class.
        test_counts: (K,) test images of each class.
        image_size: (height, width) that they were brought to.
        fit: How.
        channels: 3 or 1.
        modes: Pillow's name of the kind of pixels, such as `RGB` or `L` -> images stored so.
        sizes: Range of the shorter side, such as `33 to 64` -> images of that size; small ones first.
        smallest: (width, height) of the image with the fewest pixels.
        largest: (width, height) of the image with the most.
        turned: Turned or mirrored as their EXIF data say.
        on_background: With transparent pixels, which were laid on the background.
        converted: Whose pixels were not of 8 bits in the channels that are asked for.
        enlarged: Smaller than asked for in height or width.
        first_of_several: Of which the first of several images was taken, such as an animation.
        skipped: Files that are broken.
        ignored: Files that are no images by their name.
        train_files: (N,) path of each training image, in the order of the arrays.
        test_files: (n,) path of each test image.
    """

    digest: str
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    image_size: tuple[int, int]
    fit: str
    channels: int
    modes: Mapping[str, int]
    sizes: Mapping[str, int]
    smallest: tuple[int, int]
    largest: tuple[int, int]
    turned: int
    on_background: int
    converted: int
    enlarged: int
    first_of_several: int
    skipped: tuple[SkippedFile, ...]
    ignored: tuple[str, ...]
    train_files: tuple[str, ...]
    test_files: tuple[str, ...]

    @property
    def untested(self) -> tuple[str, ...]:
        """The classes without a test image, whose recall is NaN."""
        return tuple(name for name, count in zip(self.class_names, self.test_counts, strict=True) if count == 0)

    def sentences(self) -> Iterator[str]:
        """The report in words, without the lists of files; what did not occur is not said."""
        train, test, (height, width) = len(self.train_files), len(self.test_files), self.image_size
        yield (
            f"{train + test:,} images of {len(self.class_names)} classes: {train:,} to train on, {test:,} to test on, "
            f"brought to {height} x {width} pixels ({self.fit}), {'RGB' if self.channels == 3 else 'grey'}."
        )
        sizes = " x ".join(map(str, self.smallest)), " x ".join(map(str, self.largest))
        stored = " to ".join(dict.fromkeys(sizes))
        yield f"Stored with {stored} pixels, as " + _counted(self.modes) + "."
        done = {
            "converted": self.converted,
            "turned as EXIF says": self.turned,
            "transparent, laid on the background": self.on_background,
            "enlarged": self.enlarged,
            "first of several images": self.first_of_several,
        }
        if said := _counted({what: count for what, count in done.items() if count}):
            yield f"Of these: {said}."
        if self.skipped:
            first = self.skipped[0]
            files = "file was" if len(self.skipped) == 1 else "files were"
            yield f"{len(self.skipped):,} broken {files} left out, such as {shown(first.path)} (it {first.reason})."
        if self.ignored:
            files = "file is no image by its" if len(self.ignored) == 1 else "files are no images by their"
            yield f"{len(self.ignored):,} {files} name, such as {shown(self.ignored[0])}."
        if self.untested:
            yield f"No test image, so that their recall is unknown: {', '.join(map(shown, self.untested))}."


def describe(selection: Selection, listing: Listing, settings: ImportSettings) -> ImportReport:
    """The report on a data set."""
    files, facts = selection.files, selection.facts
    used = [facts[i] for i in (*selection.train, *selection.test)]
    plain = "RGB" if settings.channels == 3 else "L"
    height, width = settings.image_size
    by_size = sorted(used, key=lambda fact: (fact.width * fact.height, fact.width))
    counts = []
    for positions in (selection.train, selection.test):
        found = Counter(files[i].label for i in positions)
        counts.append(tuple(found[name] for name in selection.class_names))
    return ImportReport(
        digest=selection.digest(settings),
        class_names=selection.class_names,
        train_counts=counts[0],
        test_counts=counts[1],
        image_size=settings.image_size,
        fit=settings.fit,
        channels=settings.channels,
        modes=dict(Counter(fact.mode for fact in used).most_common()),
        sizes=_by_range([min(fact.width, fact.height) for fact in used]),
        smallest=(by_size[0].width, by_size[0].height),
        largest=(by_size[-1].width, by_size[-1].height),
        turned=sum(fact.turned for fact in used),
        on_background=sum(fact.transparent for fact in used),
        converted=sum(fact.mode != plain for fact in used),
        enlarged=sum(fact.width < width or fact.height < height for fact in used),
        first_of_several=sum(fact.first_of_several for fact in used),
        skipped=tuple(
            SkippedFile(file.path, file.label, fact.defect)
            for file, fact in zip(files, facts, strict=True)
            if fact.defect is not None
        ),
        ignored=listing.ignored,
        train_files=tuple(files[i].path for i in selection.train),
        test_files=tuple(files[i].path for i in selection.test),
    )


def _by_range(sides: list[int]) -> dict[str, int]:
    """How many lie in each range of `_SIZES`, without the ranges that hold none."""
    lowest = 1
    ranges = {}
    for bound in (*_SIZES, max(*sides, _SIZES[-1] + 1)):
        name = f"{lowest} to {bound}" if lowest < bound else str(bound)
        if count := sum(lowest <= side <= bound for side in sides):
            ranges[name] = count
        lowest = bound + 1
    return ranges


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())
