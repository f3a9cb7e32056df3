"""A data set of a user's own: a source file, a YAML file, and folders with images."""

from pathlib import Path

import numpy as np

#: `data/sources/mine.py`, as a user would write it; it has a setting of its own.
SOURCE = """
from pathlib import Path

import numpy as np

from class_sensitivity.data.arrays import ImageArrays


def load(directory=None, download=False, shift=0):
    stored = np.load(Path(directory) / "images.npy") + np.uint8(shift)
    labels = np.arange(len(stored)) % 2
    return ImageArrays(stored[8:], labels[8:], stored[:8], labels[:8], ("even", "odd"))
"""

#: `conf/data/mine.yaml`.
YAML = """
name: mine
dir: null
download: false
flip: false
crop_padding: 0
shift: 0
"""


def write_source(folder: Path) -> Path:
    """Writes the source file and `conf/data/mine.yaml` below a folder; returns the folder of the source."""
    (folder / "conf" / "data").mkdir(parents=True)
    (folder / "conf" / "data" / "mine.yaml").write_text(YAML)
    (folder / "sources").mkdir()
    (folder / "sources" / "mine.py").write_text(SOURCE)
    return folder / "sources"


def write_images(folder: Path, seed: int = 0) -> Path:
    """Writes 40 images of 8 x 8 into a folder, the same for the same seed; returns the folder."""
    folder.mkdir(exist_ok=True)
    images = np.random.default_rng(seed).integers(0, 200, (40, 8, 8, 1), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    return folder
