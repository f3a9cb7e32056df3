"""An inspection of a data set in words, for the terminal and the page."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from class_sensitivity.analysis.advice import Advice
from class_sensitivity.analysis.suspects import Suspect
from class_sensitivity.data.health import ImageRef
from class_sensitivity.data.inspection import Inspection, inspect_data, write_inspection
from class_sensitivity.errors import RunError
from class_sensitivity.report.console import print_lines
from class_sensitivity.report.findings import Line
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


def advise_on_images(suspects: Sequence[Suspect], inspection: Inspection | None) -> Iterator[Advice]:
    """What to do about single images: labels to look at, copies to remove."""
    if suspects:
        number = len(suspects)
        yield Advice(
            "images",
            f"look at {number} test labels",
            f"Look at the labels of {number:,} test images: every network of the baseline is sure that they are of one "
            "other class. The figure shows the first, tables/suspects.csv lists all.",
        )
    if inspection is None:
        return
    leaks = [*inspection.health.exact_leaks, *inspection.health.near_leaks]
    if leaks:
        yield Advice(
            "images",
            f"remove {len(leaks)} leaks",
            f"Take {len(leaks):,} test images out of the training set, or out of the test set: they are in both, and "
            "make the model look better than it is.",
        )
    if conflicts := [*inspection.health.exact_conflicts, *inspection.health.near_conflicts]:
        yield Advice(
            "images",
            f"decide {len(conflicts)} double labels",
            f"Decide on one label for {len(conflicts):,} pictures that are there under two.",
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
        "images",
        f"{train.sum():,} to train on and {sum(inspection.test_counts):,} to test on, of {len(names)} classes"
        + (uneven if train[least] < train[most] else f", {train[least]:,} of each to train on"),
    )


def _copies(inspection: Inspection) -> Iterator[Line]:
    health = inspection.health
    equal, alike = health.exact_leaks, health.near_leaks
    leaks = [(ImageRef("train", i, -1), ImageRef("test", j, -1)) for i, j in (*equal, *alike)]
    yield Line(
        "leaks",
        f"{len(leaks):,} test images are training images, too, {len(equal):,} of them equal to the pixel: accuracy is "
        f"better than it would be on new images{_examples(inspection, leaks)}"
        if leaks
        else "no test image is a training image",
    )
    conflicts = [*health.exact_conflicts, *health.near_conflicts]
    if conflicts:
        names = inspection.class_names
        pairs = Counter(" and ".join(sorted((names[a.label], names[b.label]))) for a, b in conflicts)
        often = ", ".join(f"{pair} ({count})" for pair, count in pairs.most_common(_NAMED))
        yield Line("labels", f"{len(conflicts):,} pictures carry two labels: {often}{_examples(inspection, conflicts)}")
    if copies := health.copies("train"):
        yield Line("copies", f"{copies:,} training images are equal to another training image")


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


def _examples(inspection: Inspection, pairs: list[tuple[ImageRef, ImageRef]]) -> str:
    named = [f"{inspection.short_name_of(a)} = {inspection.short_name_of(b)}" for a, b in pairs[:_NAMED]]
    return f"; such as {'; '.join(named)}" if named else ""
