"""Folders of image files, small enough to be imported and trained on in a moment."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int = 0, height: int = 12, width: int = 10, base: int = 0) -> Image.Image:
    """An RGB image of noise, the same for the same seed; a base of up to 155 makes it brighter."""
    pixels = np.random.default_rng(seed).integers(0, 100, (height, width, 3)) + base
    return Image.fromarray(pixels.astype(np.uint8))


def write_pictures(
    folder: Path, counts: Mapping[str, int] = {"cat": 10, "dog": 10, "emu": 10}, seed: int = 0, base: int = 40
) -> Path:
    """Writes a folder of PNG files for each class, whose brightness differs by `base`; returns the folder.

    Args:
        folder: Where the class folders go.
        counts: Class -> number of images.
        seed: Of the pixels; every image has others.
        base: Steps of brightness between classes.
    """
    for k, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            picture(seed * 1_000_000 + k * 10_000 + i, base=k * base % 156).save(folder / name / f"{i:03}.png")
    return folder


def write_split(root: Path, counts: Mapping[str, int] = {"cat": 8, "dog": 8, "emu": 8}) -> tuple[Path, Path]:
    """A folder to train on and one to test on, which holds half as many other images; returns both."""
    tested = {name: max(1, count // 2) for name, count in counts.items()}
    return write_pictures(root / "train", counts), write_pictures(root / "test", tested, seed=1)
