"""An inspection of a data set in words, for the terminal and the page."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from class_sensitivity.analysis.advice import IMAGES, Advice
from class_sensitivity.analysis.suspects import Suspect
from class_sensitivity.data.health import ImageRef
from class_sensitivity.data.inspection import Inspection, inspect_data, write_inspection
from class_sensitivity.errors import RunError
from class_sensitivity.report.console import print_lines
from class_sensitivity.report.parts import Line
from class_sensitivity.runs.run import Run

#: Examples of a finding that are named.
_NAMED = 3

#: Pairs of classes that are named.
_CLOSEST = 5


def inspect(run: Run, console: Console | None = None) -> None:
    """Looks at the data set of a run, says what is seen, and keeps it for the report.

    Raises:
        UserError: The data set cannot be read, or what was seen cannot be kept.
    """
    console = console or Console()
    data, digest = run.settings.data, run.identity.data.digest
    with console.status(f"Looking through {data.name} ..."):
        inspection = inspect_data(data, digest)
    print_lines(console, describe(inspection))
    try:
        path = write_inspection(inspection, Path(run.settings.runs).expanduser())
    except OSError as error:
        raise RunError(
            f"The inspection cannot be kept in {run.settings.runs} ({error.strerror}); choose another runs=DIRECTORY."
        ) from None
    console.print(f"Kept for the report: {path}", highlight=False, markup=False, soft_wrap=True)


def advise_on_images(
    suspects: Sequence[Suspect], inspection: Inspection | None, class_names: Sequence[str]
) -> Iterator[Advice]:
    """What to do about single images: labels to look at, copies to remove."""
    if number := len(suspects):
        ((label, predicted), _) = Counter((each.label, each.predicted) for each in suspects).most_common(1)[0]
        yield Advice(
            IMAGES,
            f"look at {_counted(number, 'test label')}",
            f"Look at the labels of {_counted(number, 'test image')}: every network of the baseline is sure that "
            f"{'it is' if number == 1 else 'they are'} of one other class. The figure shows the first, "
            "tables/suspects.csv lists all.",
            (class_names[label], class_names[predicted]),
        )
    if inspection is None:
        return
    health = inspection.health
    if number := len(health.exact_leaks):
        yield Advice(
            IMAGES,
            f"remove {_counted(number, 'leak')}",
            f"Take {_counted(number, 'test image')} out of the training set, or out of the test set: "
            + ("it is in both, and makes" if number == 1 else "they are in both, and make")
            + " the model look better than it is.",
        )
    if number := len(health.near_leaks):
        yield Advice(
            IMAGES,
            f"look at {_counted(number, 'likely leak')}",
            f"Look at {_counted(number, 'test image')} that "
            + ("looks like a training image" if number == 1 else "look like training images")
            + ": what is one picture stored twice makes the model look better than it is.",
        )
    if number := len(health.exact_conflicts) + len(health.near_conflicts):
        yield Advice(
            IMAGES,
            f"decide {_counted(number, 'double label')}",
            f"Decide on one label for {_counted(number, 'picture')} that "
            f"{'is' if number == 1 else 'are'} there under two.",
        )


def describe(inspection: Inspection) -> Iterator[Line]:
    """What was seen, one line a matter; what is in order is said in a word."""
    yield from _sizes(inspection)
    if inspection.imported:
        yield Line("import", " ".join(inspection.imported[1:]))  # the first says what `images` does
    yield from _copies(inspection)
    yield from _odd(inspection)
    yield from _closest(inspection)


def _sizes(inspection: Inspection) -> Iterator[Line]:
    names, train = inspection.class_names, np.array(inspection.train_counts)
    least, most = int(train.argmin()), int(train.argmax())
    uneven = f"; {names[least]} has {train[least]:,} to train on, {names[most]} {train[most]:,}"
    yield Line(
        IMAGES,
        f"{train.sum():,} to train on and {sum(inspection.test_counts):,} to test on, of {len(names)} classes"
        + (uneven if train[least] < train[most] else f", {train[least]:,} of each to train on"),
    )


def _copies(inspection: Inspection) -> Iterator[Line]:
    health = inspection.health
    leaks = [
        [(ImageRef("train", i, -1), ImageRef("test", j, -1)) for i, j in found]
        for found in (health.exact_leaks, health.near_leaks)
    ]
    yield Line("leaks", "; ".join(_leaks(inspection, *leaks)) or "no test image is a training image")
    equal, alike = health.exact_conflicts, health.near_conflicts
    if number := len(equal) + len(alike):
        names = inspection.class_names
        pairs = Counter(" and ".join(sorted((names[a.label], names[b.label]))) for a, b in (*equal, *alike))
        often = ", ".join(f"{pair} ({count})" for pair, count in pairs.most_common(_NAMED))
        examples = [*_examples(inspection, equal, "="), *_examples(inspection, alike, "≈")][:_NAMED]
        yield Line(
            "labels",
            f"{_counted(number, 'picture')} {'carries' if number == 1 else 'carry'} two labels: {often}; such as "
            + "; ".join(examples),
        )
    copies = []
    for split, noun in (("train", "training image"), ("test", "test image")):
        if number := health.copies(split):
            copies.append(f"{_counted(number, noun)} {'is' if number == 1 else 'are'} equal to another {noun}")
        if number := health.near_copies(split):
            copies.append(f"{_counted(number, noun)} {'looks' if number == 1 else 'look'} like another {noun}")
    if copies:
        yield Line("copies", "; ".join(copies))


def _leaks(
    inspection: Inspection, equal: list[tuple[ImageRef, ImageRef]], alike: list[tuple[ImageRef, ImageRef]]
) -> Iterator[str]:
    """What is the same to the pixel, and then what only looks the same."""
    if number := len(equal):
        yield (
            f"{_counted(number, 'test image')} "
            + ("is a training image, too" if number == 1 else "are training images, too")
            + " (equal to the pixel): accuracy is better than it would be on new images; such as "
            + "; ".join(_examples(inspection, equal, "="))
        )
    if number := len(alike):
        yield (
            f"{_counted(number, 'other test image' if equal else 'test image')} "
            f"{'looks' if number == 1 else 'look'} like a training image; look at these first: "
            + "; ".join(_examples(inspection, alike, "≈"))
        )


def _odd(inspection: Inspection) -> Iterator[Line]:
    odd = {issue.replace("_", " "): images for issue, images in vars(inspection.health.odd).items() if images}
    if odd:
        counts = ", ".join(f"{len(images):,} {issue}" for issue, images in odd.items())
        first = next(iter(odd.values()))[0]
        yield Line("odd", f"{counts}; such as {inspection.short_name_of(first)}")
    if inspection.health.left_out:
        yield Line("not done", inspection.health.left_out)


def _closest(inspection: Inspection) -> Iterator[Line]:
    names, distances = inspection.class_names, inspection.distances
    upper = np.triu_indices(len(names), 1)
    order = [int(p) for p in np.argsort(distances[upper], kind="stable") if not np.isnan(distances[upper][p])]
    pairs = [f"{names[upper[0][p]]} and {names[upper[1][p]]}" for p in order[:_CLOSEST]]
    if pairs and len(names) > 2:
        yield Line("look-alikes", f"closest by their pixels alone: {', '.join(pairs)}")


def _examples(inspection: Inspection, pairs: Sequence[tuple[ImageRef, ImageRef]], sign: str) -> list[str]:
    """The first pairs by their names; the sign says whether they are equal or look alike."""
    return [f"{inspection.short_name_of(a)} {sign} {inspection.short_name_of(b)}" for a, b in pairs[:_NAMED]]


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
