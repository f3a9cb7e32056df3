"""Seconds and memory of importing image folders, by number of images.

python benchmarks/importing.py
python benchmarks/importing.py --images 10000 100000 --json importing.json

Makes folders of ten classes with small images (half PNG of 32 x 32, half JPEG of 64 x 64) in a temporary folder, then
times the first import, a second start (nothing has changed), a start after every file was touched (contents are read,
nothing is decoded) and loading all pixels, each in a process of its own, so that one stage's memory is not counted for
another. Nothing is kept.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import analysis

# Nothing large is imported here: on Linux a child's peak memory is never less than its parent's.

CLASSES = 10


def stage_make(root: Path, number: int) -> dict[str, float]:
    """Writes the images: one in five to test on."""
    import numpy as np
    from PIL import Image

    begun = time.perf_counter()
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in range(CLASSES):
            (root / split / f"class {label}").mkdir(parents=True)
    for i in range(number):
        folder = root / ("test" if i % 5 == 0 else "train") / f"class {i // 5 % CLASSES}"
        side, suffix = ((32, "png"), (64, "jpg"))[i % 2]
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{i}.{suffix}")
    return {"make_s": time.perf_counter() - begun}


def _options(root: Path) -> dict[str, str]:
    return {"train_dir": str(root / "train"), "test_dir": str(root / "test"), "cache_dir": str(root / "cache")}


def _digest(root: Path) -> float:
    from class_sensitivity.data.sources.image_folder import digest

    begun = time.perf_counter()
    digest(**_options(root))
    return time.perf_counter() - begun


def stage_first(root: Path, number: int) -> dict[str, float]:
    """Imports everything; the seconds of processors count on a busy machine, too."""
    return {"first_s": _digest(root), "first_cpu_s": time.process_time()}


def stage_second(root: Path, number: int) -> dict[str, float]:
    """Finds that nothing has changed."""
    return {"second_s": _digest(root)}


def stage_touched(root: Path, number: int) -> dict[str, float]:
    """Finds that every file bears another date and has the content that it had."""
    for path in root.glob("*/class*/*"):
        os.utime(path)
    return {"touched_s": _digest(root)}


def stage_load(root: Path, number: int) -> dict[str, float]:
    """Opens the arrays and reads every pixel once."""
    from class_sensitivity.data.sources.image_folder import load

    begun = time.perf_counter()
    arrays = load(**_options(root))
    opened = time.perf_counter()
    for images in (arrays.train_images, arrays.test_images):
        for start in range(0, len(images), 1000):
            images[start : start + 1000].max()
    return {"open_s": opened - begun, "pixels_s": time.perf_counter() - opened}


STAGES: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "make": stage_make,
    "first": stage_first,
    "second": stage_second,
    "touched": stage_touched,
    "load": stage_load,
}


def measure(number: int) -> dict[str, Any]:
    """Everything about one number of images."""
    row: dict[str, Any] = {"images": number}
    with tempfile.TemporaryDirectory() as scratch:
        for stage in STAGES:
            arguments = [__file__, "--stage", stage, scratch, str(number)]
            _, row[f"{stage}_peak_mb"], output = analysis.in_a_process_of_its_own(arguments)
            row |= json.loads(output.splitlines()[-1])
        row["cache_mb"] = sum(path.stat().st_size for path in (Path(scratch) / "cache").rglob("*.*")) / 1e6
    row["images_per_s"] = number / row["first_s"]
    return row


COLUMNS = {
    "images": "{:,.0f}",
    "first_s": "{:.1f}",
    "first_cpu_s": "{:.1f}",
    "images_per_s": "{:,.0f}",
    "first_peak_mb": "{:.0f}",
    "second_s": "{:.2f}",
    "second_peak_mb": "{:.0f}",
    "touched_s": "{:.2f}",
    "open_s": "{:.2f}",
    "pixels_s": "{:.2f}",
    "load_peak_mb": "{:.0f}",
    "cache_mb": "{:.0f}",
}


def main() -> None:
    """Measures, prints a table, and writes it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000], metavar="N")
    parser.add_argument("--json", type=Path, metavar="PATH")
    parser.add_argument("--stage", nargs=3, metavar=("STAGE", "FOLDER", "NUMBER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        stage, folder, number = arguments.stage
        print(json.dumps(STAGES[stage](Path(folder), int(number))))
        return
    described = analysis.machine()
    print(described)
    print("  ".join(COLUMNS))
    rows = []
    for number in arguments.images:
        rows.append(measure(number))
        cells = (text.format(rows[-1][name]).rjust(len(name)) for name, text in COLUMNS.items())
        print("  ".join(cells), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": described, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
