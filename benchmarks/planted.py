"""A folder of CIFAR-10 images with faults that are known, and how many of them an inspection and a report find.

    python benchmarks/planted.py make pictures
    python train.py inspect=true data=image_folder data.train_dir=pictures/train data.test_dir=pictures/test \
        data.skip_broken=true
    python train.py -m data=image_folder data.train_dir=pictures/train data.test_dir=pictures/test \
        data.skip_broken=true training.epochs=10 noise.frac=0,0.1,0.2 seed=1,2,3
    python benchmarks/planted.py check pictures

1,000 training and 200 test images of a class, as PNG. CIFAR-10 comes from $CLASS_SENSITIVITY_DATA, else from data/.
docs/own-data.md has what was found.
"""

import argparse
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.analysis.suspects import suspect_images
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.inspection import Inspection, read_inspection
from class_sensitivity.data.sources.cifar10 import load
from class_sensitivity.runs.condition import BASELINE
from class_sensitivity.runs.directory import read_record

#: Classes with names that a path or a page could stumble over.
RENAMED = {"airplane": "avion à réaction", "frog": "grenouille <verte>", "ship": "ship & boat"}
TRAIN_SIZE, TEST_SIZE = 1000, 200
#: The class of which most training images are missing.
THIN, THIN_SIZE = "truck", 50
#: How many of each fault.
EXACT_LEAKS, NEAR_LEAKS, SWAPPED = 30, 20, 40

#: What files that are no images hold.
BROKEN = {
    "empty.png": b"",
    "text.png": b"this is no image",
    "cut.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "half.png": None,
}


def make(folder: Path) -> None:
    """Writes the folder, and beside it what was done to it."""
    arrays = load(os.environ.get("CLASS_SENSITIVITY_DATA", "data"))
    rng = np.random.default_rng(0)
    names = [RENAMED.get(name, name) for name in arrays.class_names]
    truth: dict[str, list[str]] = {
        "exact leaks": [],
        "near leaks": [],
        "label conflicts": [],
        "swapped": [],
        "broken": [],
    }
    chosen = {part: _chosen(arrays, part, rng) for part in ("train", "test")}
    for part, images in chosen.items():
        for label, numbers in enumerate(images):
            (folder / part / names[label]).mkdir(parents=True)
            for number in numbers:
                _save(arrays, part, number, folder / part / names[label] / f"{number:05}.png")
    tested = [(label, number) for label, numbers in enumerate(chosen["test"]) for number in numbers]
    picked = [tested[i] for i in rng.permutation(len(tested))[: EXACT_LEAKS + NEAR_LEAKS + SWAPPED]]
    for label, number in picked[:EXACT_LEAKS]:
        _save(arrays, "test", number, folder / "train" / names[label] / f"copy-{number:05}.png")
        truth["exact leaks"].append(str(folder / "test" / names[label] / f"{number:05}.png"))
    for label, number in picked[EXACT_LEAKS : EXACT_LEAKS + NEAR_LEAKS]:
        _save(arrays, "test", number, folder / "train" / names[label] / f"again-{number:05}.jpg", quality=60)
        truth["near leaks"].append(str(folder / "test" / names[label] / f"{number:05}.png"))
    for label, number in picked[EXACT_LEAKS + NEAR_LEAKS :]:
        wrong = names[(label + int(rng.integers(1, len(names)))) % len(names)]
        place = folder / "test" / wrong / f"{number:05}.png"
        (folder / "test" / names[label] / f"{number:05}.png").rename(place)
        truth["swapped"].append(str(place))
    for label, numbers in enumerate(chosen["train"]):
        number = numbers[0]
        place = folder / "train" / names[(label + 1) % len(names)] / f"other-{number:05}.png"
        _save(arrays, "train", number, place)
        truth["label conflicts"].append(str(place))
    for name, content in BROKEN.items():
        place = folder / "train" / names[0] / name
        whole = (folder / "train" / names[1] / f"{chosen['train'][1][0]:05}.png").read_bytes()
        place.write_bytes(whole[: len(whole) // 2] if content is None else content)
        truth["broken"].append(str(place))
    folder.with_suffix(".json").write_text(json.dumps(truth, indent=1))


def _chosen(arrays: ImageArrays, part: str, rng: np.random.Generator) -> list[list[int]]:
    """The images of each class that are taken, by number."""
    labels = getattr(arrays, f"{part}_labels")
    sizes = [TEST_SIZE if part == "test" else THIN_SIZE if name == THIN else TRAIN_SIZE for name in arrays.class_names]
    return [rng.choice(np.flatnonzero(labels == c), size, replace=False).tolist() for c, size in enumerate(sizes)]


def _save(arrays: ImageArrays, part: str, number: int, path: Path, **options: int) -> None:
    Image.fromarray(getattr(arrays, f"{part}_images")[number]).save(path, **options)


def check(folder: Path, runs: Path) -> None:
    """Prints, for each kind of fault, how many were planted, found, and named without having been planted."""
    truth = {
        what: set(map(_absolute, files)) for what, files in json.loads(folder.with_suffix(".json").read_text()).items()
    }
    (study,) = load_runs(runs, data="image_folder")
    record = read_record(next(iter(study.directories.values())), arrays=())
    inspection = read_inspection(runs, record.identity.data.name, record.identity.data.digest)
    assert inspection is not None, "inspect=true comes first"
    print("| | planted | found | named beside them |\n|---|---|---|---|")
    for what, found in _found(inspection, truth["label conflicts"]).items():
        print(f"| {what} | {len(truth[what])} | {len(truth[what] & found)} | {len(found - truth[what])} |")
    networks = [
        read_record(study.directories[BASELINE, seed], arrays=("test_probabilities",)).arrays["test_probabilities"]
        for seed in study.common_seeds(BASELINE)
    ]
    suspects = [_absolute(inspection.test_files[each.index]) for each in suspect_images(study.labels, networks)]
    swapped = truth["swapped"]
    for number in (10, 20, len(suspects)):
        found = swapped & set(suspects[:number])
        what = f"swapped test images among the first {number} of {len(suspects)} suspects"
        print(f"| {what} | {len(swapped)} | {len(found)} | {min(number, len(suspects)) - len(found)} |")


def _found(inspection: Inspection, planted: set[str]) -> dict[str, set[str]]:
    """Kind of fault -> the files that an inspection names; of two pictures that are one, the planted one."""
    health = inspection.health
    pairs = [
        [_absolute(inspection.name_of(image)) for image in pair]
        for pair in (*health.exact_conflicts, *health.near_conflicts)
    ]
    return {
        "exact leaks": _files(inspection, (test for _, test in health.exact_leaks)),
        "near leaks": _files(inspection, (test for _, test in health.near_leaks)),
        "label conflicts": {next((file for file in pair if file in planted), pair[0]) for pair in pairs},
    }


def _files(inspection: Inspection, tests: Iterable[int]) -> set[str]:
    return {_absolute(inspection.test_files[test]) for test in tests}


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def main() -> None:
    """Makes the folder, or checks what was found of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "check"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    if arguments.what == "make":
        make(arguments.folder)
    else:
        check(arguments.folder, arguments.runs)


if __name__ == "__main__":
    main()
