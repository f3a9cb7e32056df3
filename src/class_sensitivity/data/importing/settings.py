"""What can be asked for when image files are imported, and its bounds."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from PIL import ImageColor

from class_sensitivity.errors import ConfigError, require

FITS = ("crop", "pad", "stretch")

#: Pixels of a side that images are brought to, at most: a data set of larger ones would not fit into memory.
_LARGEST_SIDE = 1024

_WHERE = "data.train_dir=FOLDER data.test_dir=FOLDER, or data.dir=FOLDER, or data.csv=FILE"


@dataclass(frozen=True)
class ImportSettings:
    """Where images are, and how they become arrays of one size; the settings of `conf/data/image_folder.yaml`.

    Attributes:
        dir: A folder with a folder for each class, which is split; beside `csv`, what its paths are relative to.
        train_dir: A folder with a folder for each class, to train on ...
        test_dir: ... and one to test on.
        csv: A table `file,label` or `file,label,split`.
        test_frac: Share of each class to test on, where the split is made here.
        split_seed: Of that split.
        image_size: (height, width) in pixels.
        fit: One of `FITS`: crop to the middle, pad with the background, or stretch.
        channels: 3 for RGB, 1 for grey.
        background: The colour behind transparent pixels, and of padding.
        skip_broken: Leave out files that cannot be read, instead of stopping.
        cache_dir: Where imported images are kept.
    """

    dir: str | None = None
    train_dir: str | None = None
    test_dir: str | None = None
    csv: str | None = None
    test_frac: float = 0.2
    split_seed: int = 0
    image_size: tuple[int, int] = (32, 32)
    fit: str = "crop"
    channels: int = 3
    background: str = "white"
    skip_broken: bool = False
    cache_dir: str = "data/cache"

    @classmethod
    def of(cls, directory: str | None, options: Mapping[str, object]) -> "ImportSettings":
        """The settings as they come from the command line, checked.

        Args:
            directory: `data.dir`.
            options: The other settings by name; `image_size` may be one integer.

        Raises:
            ConfigError: A setting is not known, out of bounds, or does not go with another.
        """
        own = [field.name for field in fields(cls) if field.name != "dir"]
        if unknown := sorted(set(options) - set(own)):
            raise ConfigError(
                f"data.{unknown[0]} is not a setting of image_folder: it must be one of {', '.join(own)}."
            )
        values = {"dir": directory, **options}
        if (sides := values.get("image_size")) is not None:
            sides = sides if isinstance(sides, list | tuple) else [sides, sides]
            pixels = all(type(side) is int and 1 <= side <= _LARGEST_SIDE for side in sides)
            expected = f"a number of pixels from 1 to {_LARGEST_SIDE}, or [height, width]"
            require(len(sides) == 2 and pixels, "data.image_size", values["image_size"], expected)
            values["image_size"] = tuple(sides)
        settings = cls(**values)  # type: ignore[arg-type]
        settings._check()
        return settings

    def _check(self) -> None:
        for name in ("dir", "train_dir", "test_dir", "csv", "cache_dir"):
            place = getattr(self, name)
            allowed = isinstance(place, str) or (place is None and name != "cache_dir")
            require(allowed, f"data.{name}", place, "a path; ./7 is one, 7 is a number")
        frac, seed = self.test_frac, self.split_seed
        inside = isinstance(frac, int | float) and math.isfinite(frac) and 0 < frac < 1
        require(inside, "data.test_frac", frac, "a share between 0 and 1")
        require(type(seed) is int and seed >= 0, "data.split_seed", seed, "an integer of 0 or more")
        require(self.fit in FITS, "data.fit", self.fit, f"one of {', '.join(FITS)}")
        require(self.channels in (1, 3), "data.channels", self.channels, "3 (RGB) or 1 (grey)")
        require(isinstance(self.skip_broken, bool), "data.skip_broken", self.skip_broken, "true or false")
        try:
            ImageColor.getrgb(self.background)
        except (ValueError, AttributeError, TypeError):
            expected = "a colour such as white, gray or '#102030'"
            require(False, "data.background", self.background, expected)
        self._check_place()

    def _check_place(self) -> None:
        """Exactly one of the three ways to say where the images are must be chosen."""
        ways = {
            "data.train_dir with data.test_dir": self.train_dir is not None or self.test_dir is not None,
            "data.csv": self.csv is not None,
            "data.dir": self.dir is not None and self.csv is None,
        }
        chosen = [way for way, given in ways.items() if given]
        if not chosen:
            raise ConfigError(f"data=image_folder needs to know where the images are: {_WHERE}.")
        if len(chosen) > 1:
            raise ConfigError(f"{', '.join(chosen)} do not go together: choose one way, {_WHERE}.")
        if (self.train_dir is None) != (self.test_dir is None):
            given, missing = ("test_dir", "train_dir") if self.train_dir is None else ("train_dir", "test_dir")
            raise ConfigError(
                f"data.{given} is set and data.{missing} is not: set both, or data.dir=FOLDER to have one folder split."
            )

    @property
    def roots(self) -> dict[str | None, Path]:
        """The folders of class folders, by the split that their images belong to; None where the split is made here."""
        if self.train_dir is not None and self.test_dir is not None:
            return {"train": absolute(self.train_dir), "test": absolute(self.test_dir)}
        return {} if self.dir is None or self.csv is not None else {None: absolute(self.dir)}


def absolute(place: str) -> Path:
    """A path as a user writes it, from the root of the file system, with every link followed."""
    # Unlike Path.resolve, it accepts a link to itself.
    return Path(os.path.realpath(os.path.expanduser(place)))
