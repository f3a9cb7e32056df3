"""Which runs docs/replication.md rests on, and what they are called there."""

from pathlib import Path

from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.directory import find_run_directories, read_record
from class_sensitivity.runs.record import RunRecord

FOLDER = Path(__file__).parent

#: What is replicated, the same again on another machine, and what stands beside published numbers.
RECORDS, SECOND, CHECKS = FOLDER / "records", FOLDER / "records-again", FOLDER / "records-checks"

#: The recipe of the article's study: cnn6, 3 epochs.
MAIN = "cifar10-cnn6-d17b80e6"

#: Recipe -> its name in the tables.
STUDIES = {
    MAIN: "cnn6",
    "cifar10-lenet-23773a33": "lenet",
    "cifar10-resnet18-1d957db7": "resnet18",
    "cifar10-vit_tiny-0e47ec9e": "vit_tiny",
    "cifar10-cnn6-d33f17ea": "cnn6, 1 epoch",
    "cifar10-cnn6-349d5cec": "cnn6, 10 epochs",
    "cifar10-cnn6-4b84d8d7": "cnn6, 30 epochs",
    "cifar10-cnn6-bf001f18": "cnn6, memorising",
}

#: Those that are compared, the default one first.
MODELS = ("cnn6", "resnet18", "lenet", "vit_tiny")

#: Added to the name of a recipe whose runs are from the second study, or stand beside published numbers.
AGAIN, CHECKED_TOO = ", again", ", cross-checks"
CHECKED = f"cnn6{CHECKED_TOO}"

#: Shorter and longer than MAIN.
SHORTER, LONGER = ("cnn6, 1 epoch",), ("cnn6, 10 epochs", "cnn6, 30 epochs")


def studies_of(root: Path) -> dict[str, Study]:
    """The studies below one root, by their name in the tables and in the order of STUDIES."""
    found = {study.recipe: study for study in load_runs(root)}
    return {f"{name}{_added(root)}": found[recipe] for recipe, name in STUDIES.items() if recipe in found}


def _added(root: Path) -> str:
    """What the names of the studies below this root end in."""
    return {SECOND.name: AGAIN, CHECKS.name: CHECKED_TOO}.get(root.name, "")


def records_of(root: Path) -> list[tuple[str, RunRecord]]:
    """Every record below one root without its arrays, with the name of its study in the tables."""
    records = (read_record(directory, arrays=()) for directory in find_run_directories(root))
    return [(f"{STUDIES[record.identity.recipe_name]}{_added(root)}", record) for record in records]
