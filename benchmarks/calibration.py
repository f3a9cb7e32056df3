"""Whether intervals cover, marks are as rarely false as they say, and how much power there is, over repeated studies.

    python train.py -m reduction.frac=0.9 'seed=range(101,221)' training.test_every_epoch=false runs=population
    python benchmarks/calibration.py --runs population

Two sources of truth. *Real* studies draw seeds, and test images with replacement, from many runs of one condition: the
population is known, and between two halves of it there is no effect. *Made-up* studies have effects that are known,
with seeds, images and their interaction as in real runs. docs/statistics.md has the tables.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from class_sensitivity.analysis import moderation, sensitivity
from class_sensitivity.analysis.candidates import candidates
from class_sensitivity.analysis.claims.evidence import noise
from class_sensitivity.analysis.claims.judging import CONTRADICTED, POINTS, REPRODUCED, Comparison, judge_part
from class_sensitivity.analysis.contrasts import class_contrasts, pair_contrasts
from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.analysis.omnibus import OmnibusTest, omnibus_test
from class_sensitivity.analysis.results import Curve, RelativeMatrix
from class_sensitivity.analysis.seeds import SeedsNeeded, seeds_needed, seeds_needed_by, seeds_to_find, seeds_to_tell
from class_sensitivity.analysis.sensitivity import analyse, dose_response, relative_matrix
from class_sensitivity.analysis.statistics import benjamini_hochberg
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition

SEEDS = (2, 3, 5, 8, 10)
NOISY = noise(0.2)
#: Ten classes, as in CIFAR-10.
NAMES = tuple("abcdefghij")
Preds = NDArray[np.int16]
Labels = NDArray[np.int16]
#: One study's outcomes: column -> number (0 or 1 for what happened or did not).
Outcome = dict[str, float]


@dataclass(frozen=True)
class Population:
    """Predictions of many runs of one condition, and what they come to in the mean."""

    preds: Preds
    labels: Labels
    class_names: tuple[str, ...]

    @property
    def counts(self) -> NDArray[np.float64]:
        """(K, K) mean confusion counts over all runs."""
        classes = np.arange(len(self.class_names))
        return np.stack([(self.preds[:, self.labels == c, None] == classes).mean(axis=0).sum(axis=0) for c in classes])

    def draw(self, rng: np.random.Generator, seeds: int, *, new_images: bool) -> tuple[Preds, Preds, Labels]:
        """Predictions of two disjoint sets of seeds, on these images or on others drawn from them."""
        chosen = rng.permutation(len(self.preds))[: 2 * seeds]
        images = np.arange(len(self.labels))
        if new_images:
            members = [np.flatnonzero(self.labels == c) for c in range(len(self.class_names))]
            images = np.concatenate([rng.choice(inside, len(inside)) for inside in members])
        preds = self.preds[chosen][:, images]
        return preds[:seeds], preds[seeds:], self.labels[images]


def population(root: Path) -> Population:
    """The runs below a directory: one condition, many seeds."""
    (study,) = load_runs(root)
    (condition,) = study.conditions
    seeds = study.common_seeds(condition)
    return Population(study.preds_of(condition, seeds), study.labels, study.class_names)


def study_of(first: Preds, second: Preds, labels: Labels, names: tuple[str, ...] = NAMES) -> Study:
    """A study of two conditions, whatever they are."""
    return _study({BASELINE: first, NOISY: second}, labels, names)


def _study(preds: Mapping[Condition, Preds], labels: Labels, names: tuple[str, ...]) -> Study:
    each = {(condition, seed): row for condition, rows in preds.items() for seed, row in enumerate(rows)}
    return Study.of_preds(labels, each, names)


@contextmanager
def own_seeds_alone() -> Iterator[None]:
    """Variances are not moderated within it."""
    with mock.patch.object(moderation, "SMALLEST_FAMILY", np.inf):
        yield


def both_ways(measure: Callable[[], Outcome]) -> Outcome:
    """A measurement with moderated variances, and under other names with those of its own seeds alone."""
    with own_seeds_alone():
        alone = {f"{name}, own seeds": value for name, value in measure().items()}
    return measure() | alone


def no_effect(people: Population, rng: np.random.Generator, seeds: int) -> Outcome:
    """Marks on a relative matrix between two halves of one condition: every mark is false."""
    study = study_of(*people.draw(rng, seeds, new_images=False), people.class_names)

    def measure() -> Outcome:
        matrix = relative_matrix(study, NOISY)
        everywhere = benjamini_hochberg(matrix.cells.p, 0.05)
        inside = (matrix.cells.low <= 0) & (matrix.cells.high >= 0)
        return {
            "cells covered": inside[matrix.judged].mean(),
            "width": _width(matrix),
            "any false mark": float(matrix.marked.any()),
            "any false mark, all cells judged": float(everywhere.any()),
        }

    return both_ways(measure)


def _width(matrix: RelativeMatrix) -> float:
    return float((matrix.cells.high - matrix.cells.low)[matrix.judged].mean())


def one_condition(people: Population, rng: np.random.Generator, seeds: int) -> Outcome:
    """Intervals of recall, and the test of symmetry, against the population."""
    outcome: Outcome = {}
    truth, sizes = np.diag(people.counts), np.bincount(people.labels)
    upper = np.triu_indices(len(sizes), k=1)
    direction = (people.counts - people.counts.T)[upper]
    for new_images, where in ((True, "new images"), (False, "these images")):
        first, _, labels = people.draw(rng, seeds, new_images=new_images)
        recall = class_contrasts(study_of(first, first, labels, people.class_names), {BASELINE: 1.0})
        recall = recall if new_images else recall.on_these_images()
        outcome[f"recall covered, {where}"] = float(
            ((recall.low <= truth / sizes) & (truth / sizes <= recall.high)).mean()
        )
        values = _pair_values(first, labels, upper)
        centred = values - (direction / len(labels)).astype(np.float32)
        for name, tested in (("false", centred), ("power", values)):
            test = omnibus_test(tested, labels, most_seed_freedom=len(sizes) - 1, new_images=new_images)
            outcome[f"symmetry {name}, {where}"] = _found(test)
    return outcome


def _pair_values(preds: Preds, labels: Labels, upper: tuple[NDArray[np.int64], ...]) -> NDArray[np.float32]:
    """(S, n, pairs) 1 for i -> j, -1 for j -> i."""
    forth = [(labels == i) & (preds == j) for i, j in zip(*upper, strict=True)]
    back = [(labels == j) & (preds == i) for i, j in zip(*upper, strict=True)]
    values: NDArray[np.float32] = np.subtract(np.stack(forth, axis=-1), np.stack(back, axis=-1), dtype=np.float32)
    return values


#: Levels of a made-up curve.
LEVELS = (0.0, 0.1, 0.2, 0.3)


def flat_curves(people: Population, rng: np.random.Generator, seeds: int) -> Outcome:
    """Tests of slopes and of bends where every level is the same condition, of 200 images a class."""
    chosen = rng.permutation(len(people.preds))[: seeds * len(LEVELS)].reshape(len(LEVELS), seeds)
    members = [np.flatnonzero(people.labels == c) for c in range(len(people.class_names))]
    images = np.concatenate([rng.choice(inside, 200) for inside in members])
    levels = [people.preds[each][:, images] for each in chosen]
    return _curve_tests("no effect", levels, people.labels[images], people.class_names)


def _curve_tests(what: str, levels: Sequence[Preds], labels: Labels, names: tuple[str, ...] = NAMES) -> Outcome:
    """Whether the tests of a curve find something."""
    conditions = [noise(level) if level else BASELINE for level in LEVELS]
    study = _study(dict(zip(conditions, levels, strict=True)), labels, names)
    curve = _curve_of(study)
    return {
        f"slopes differ, {what}": _found(curve.slopes_differ),
        f"curves bend, {what}": _found(curve.not_straight),
    }


def _curve_of(study: Study) -> Curve:
    curve = dose_response(study, "shuffle", np.random.default_rng(0), resamples=2)
    assert curve is not None
    return curve


def _found(test: OmnibusTest | None) -> float:
    assert test is not None
    return float(test.p <= 0.05)


# Made-up studies

#: Falls of ten classes, in shares of recall: two that fall most and are a tie, one behind them, and the rest.
FALLS = np.array([0.07, 0.07, 0.05, 0.03, 0.03, 0.02, 0.02, 0.01, 0.01, 0.0])
RECALLS = np.array([0.83, 0.71, 0.61, 0.80, 0.74, 0.87, 0.83, 0.90, 0.88, 0.91])


def made_up(
    rng: np.random.Generator,
    seeds: int,
    levels: Sequence[NDArray[np.float64]],
    per_class: int,
    *,
    lost_to: NDArray[np.int64] | None = None,
    mood: NDArray[np.float64] | float = 0.01,
) -> tuple[list[Preds], Labels]:
    """Predictions under each of some conditions: right or another class, by a probit model with crossed effects.

    Shares of the latent variance: image 0.45, image with this seed 0.2, seed and class 0.01, and as much for this
    condition alone; the rest is new.

    Args:
        rng: Where chance comes from.
        seeds: S.
        levels: (K,) recalls of each condition.
        per_class: Test images of each class.
        lost_to: (K,) the class that images which the first condition would get right are lost to; -1 for any.
        mood: Share of seed and class; one for all, or (K,).
    """
    classes = len(levels[0])
    labels = np.repeat(np.arange(classes), per_class).astype(np.int16)
    image = rng.normal(size=len(labels)) * np.sqrt(0.45)
    moods = np.broadcast_to(mood, classes)
    good = (rng.normal(size=(seeds, classes)) * np.sqrt(moods))[:, labels]
    taste = rng.normal(size=(seeds, len(labels))) * np.sqrt(0.2)
    target = np.full(classes, -1) if lost_to is None else lost_to

    def preds(recall: NDArray[np.float64]) -> Preds:
        good_here = (rng.normal(size=(seeds, classes)) * np.sqrt(moods))[:, labels]
        latent = (
            image + good + taste + good_here + rng.normal(size=(seeds, len(labels))) * np.sqrt(0.35 - 2 * moods)[labels]
        )
        other = (labels + rng.integers(1, classes, size=latent.shape)) % classes
        lost = (latent < ndtri(levels[0])[labels]) & (target[labels] >= 0)
        return np.where(latent < ndtri(recall)[labels], labels, np.where(lost, target[labels], other)).astype(np.int16)

    return [preds(recall) for recall in levels], labels


def known_falls(_: Population | None, rng: np.random.Generator, seeds: int) -> Outcome:
    """Falls of ten classes that are known: coverage, power, and which classes can have the largest."""
    (first, second), labels = made_up(rng, seeds, [RECALLS, RECALLS - FALLS], 500)
    study = study_of(first, second, labels)

    def measure() -> Outcome:
        fall = class_contrasts(study, {BASELINE: 1.0, NOISY: -1.0})
        gaps = pair_contrasts(
            study, {BASELINE: (1.0, 0.0), NOISY: (-1.0, 0.0)}, {BASELINE: (-1.0, 0.0), NOISY: (1.0, 0.0)}, shares=True
        )
        possible = candidates(gaps, 0.05)
        return {
            "falls covered": float(((fall.low <= FALLS) & (fall.high >= FALLS)).mean()),
            "fall of 3 points found": float((fall.p_above(0.0)[FALLS == 0.03] <= 0.05).mean()),
            "no fall found": float(fall.p_above(0.0)[-1] <= 0.05),
            "largest left out": float(0 not in possible),
            "candidates": float(len(possible)),
        }

    return both_ways(measure)


def near_certain(_: Population | None, rng: np.random.Generator, seeds: int) -> Outcome:
    """Recalls near 1 over 60 images a class: intervals must cover there, too."""
    recalls = np.array([0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 0.96, 0.94, 0.92])
    (first, second), labels = made_up(rng, seeds, [recalls, recalls], 60)
    study = study_of(first, second, labels)
    recall = class_contrasts(study, {BASELINE: 1.0})
    with own_seeds_alone():
        plain = class_contrasts(study, {BASELINE: 1.0, NOISY: 0.0})
    half = plain.error * 1.96
    return {
        "recall near 1 covered": float(((recall.low <= recalls) & (recalls <= recall.high)).mean()),
        "the same by value ± 1.96 errors": float((np.abs(plain.value - recalls) <= half).mean()),
        "width, points": float(100 * (recall.high - recall.low).mean()),
    }


def uneven(_: Population | None, rng: np.random.Generator, seeds: int) -> Outcome:
    """Recalls of classes of which half vary a hundred times as much by the seed as the others: no family, in truth."""
    moods = np.repeat([0.1, 0.001], 5)
    (preds, _other), labels = made_up(rng, seeds, [RECALLS, RECALLS], 1000, mood=moods)
    study = study_of(preds, preds, labels)

    def measure() -> Outcome:
        recall = class_contrasts(study, {BASELINE: 1.0})
        covered = (recall.low <= RECALLS) & (recall.high >= RECALLS)
        return {
            "recall covered, classes that vary much": float(covered[:5].mean()),
            "recall covered, classes that vary little": float(covered[5:].mean()),
            "width, points": float(100 * (recall.high - recall.low).mean()),
        }

    return both_ways(measure)


def known_cells(_: Population | None, rng: np.random.Generator, seeds: int) -> Outcome:
    """Marks where twelve cells of a hundred change: of six classes, that lose images to one other class each."""
    lost = np.array([10, 20, 20, 30, 40, 60, 0, 0, 0, 0])
    lost_to = np.array([1, 2, 3, 4, 5, 6, -1, -1, -1, -1])
    (first, second), labels = made_up(rng, seeds, [RECALLS, RECALLS - lost / 1000], 1000, lost_to=lost_to)
    study = study_of(first, second, labels)
    truth = np.diag(-lost) + lost[:, np.newaxis] * (lost_to[:, np.newaxis] == np.arange(10))

    def measure() -> Outcome:
        matrix = relative_matrix(study, NOISY)
        false = matrix.marked & (truth == 0)
        powers = {f"cell of {size} images marked": matrix.marked[np.abs(truth) == size].mean() for size in (10, 20, 40)}
        return {
            **powers,
            "share of marks that are false": false.sum() / max(1, matrix.marked.sum()),
            "cells covered": ((matrix.cells.low <= truth) & (truth <= matrix.cells.high))[matrix.judged].mean(),
        }

    return both_ways(measure)


def curves(_: Population | None, rng: np.random.Generator, seeds: int) -> Outcome:
    """Tests of slopes and of bends over four levels, of 300 images a class."""
    levels = np.array(LEVELS)[:, np.newaxis]
    straight, labels = made_up(rng, seeds, list(RECALLS - 0.3 * levels), 300)
    # From 1 to 3.4 points per 10, as on CIFAR-10; and half as different.
    steep = np.linspace(0.1, 0.34, 10)
    bend = 0.02 * (1 - ((levels - 0.15) / 0.15) ** 2)
    outcome = _curve_tests("alike and straight", straight, labels)
    for what, recalls in (
        ("slopes 1 to 3.4", RECALLS - steep * levels),
        ("slopes 1.6 to 2.8", RECALLS - (steep.mean() + (steep - steep.mean()) / 2) * levels),
        ("bent by 2 points", RECALLS - 0.3 * levels + bend),
    ):
        found = _curve_tests(what, made_up(rng, seeds, list(recalls), 300)[0], labels)
        asked = "curves bend" if "bent" in what else "slopes differ"
        outcome[f"{asked}, {what}"] = found[f"{asked}, {what}"]
    return outcome


def alike(_: Population | None, rng: np.random.Generator, seeds: int) -> Outcome:
    """Verdicts on "hardly changed", by less than 2 points, over 1,000 images of classes that vary little over seeds."""
    falls = np.array([0, 0, 0, 0.01, 0.01, 0.02, 0.02, 0.02, 0.04, 0.04])
    (first, second), labels = made_up(rng, seeds, [RECALLS, RECALLS - falls], 1000, mood=0.001)
    study, weights = study_of(first, second, labels), {BASELINE: 1.0, NOISY: -1.0}

    def measure() -> Outcome:
        fall = class_contrasts(study, weights).scaled(100)
        parts = [
            judge_part("", [Comparison("", fall[c], POINTS, tuple(weights), above=-2, below=2)], 0.05)
            for c in range(10)
        ]
        verdicts = np.array([part.verdict for part in parts])
        return {
            "hardly changed, fall of 0": (verdicts[falls == 0] == REPRODUCED).mean(),
            "hardly changed, fall of 1 point": (verdicts[falls == 0.01] == REPRODUCED).mean(),
            "hardly changed, fall of 2 points (the margin)": (verdicts[falls == 0.02] == REPRODUCED).mean(),
            "contradicted, fall of 2 points (the margin)": (verdicts[falls == 0.02] == CONTRADICTED).mean(),
            "contradicted, fall of 4 points": (verdicts[falls == 0.04] == CONTRADICTED).mean(),
            "margin too narrow": float(np.mean(["too narrow" in part.note for part in parts])),
        }

    return both_ways(measure)


#: As many seeds as a made-up study can be given later.
MORE_SEEDS = 40


@dataclass(frozen=True)
class Advice:
    """What some seeds say of a question, and how many it needs.

    Attributes:
        found: Whether they decide it.
        advised: Seeds needed by what they show.
        true: Seeds needed if the effect is what it truly is, by the variances that they show.
    """

    found: bool
    advised: SeedsNeeded
    true: float


def advised_seeds(_: Population | None, rng: np.random.Generator, seeds: int) -> Outcome:
    """Whether "about n seeds" decide a question, on the same 500 images a class."""
    (first, second), labels = made_up(rng, MORE_SEEDS, [RECALLS, RECALLS - FALLS], 500)
    outcome: Outcome = {}
    for what, advice in (("fall of 3 points", _advice_on_falls), ("slopes differ", _advice_on_slopes)):
        with_seeds = cache(lambda number, ask=advice: ask(study_of(first[:number], second[:number], labels)))
        now = with_seeds(seeds)
        open_ = [(which, each) for which, each in enumerate(now) if not each.found]
        reached = [(which, n) for which, each in open_ if (n := each.advised.about) is not None and n <= MORE_SEEDS]
        true = [(which, int(each.true)) for which, each in enumerate(now) if each.true <= MORE_SEEDS]
        outcome |= {
            f"{what}: seeds for the true effect": _mean([n for _, n in true]),
            f"{what}: decided by so many": _mean([with_seeds(n)[which].found for which, n in true]),
            f"{what}: undecided": len(open_) / len(now),
            f"{what}: of these, {MORE_SEEDS} seeds or fewer advised": len(reached) / len(open_) if open_ else np.nan,
            f"{what}: seeds advised": _mean([n for _, n in reached]),
            f"{what}: decided by the advised number": _mean([with_seeds(n)[which].found for which, n in reached]),
        }
    return outcome


def _mean(values: Sequence[float]) -> float:
    """NaN of none, which the mean over studies leaves out."""
    return float(np.mean(values)) if values else float("nan")


def _advice_on_falls(study: Study) -> list[Advice]:
    """Whether each class that falls by 3 points is found to fall."""
    those = np.flatnonzero(FALLS == 0.03)
    fall = class_contrasts(study, {BASELINE: 1.0, NOISY: -1.0})[those]
    found, true = fall.p_above(0.0) <= 0.05, seeds_to_tell(fall, FALLS[those])
    return [Advice(bool(found[i]), seeds_needed(fall[i]), float(true[i])) for i in range(len(those))]


def _advice_on_slopes(study: Study) -> list[Advice]:
    """Whether the classes are found to fall differently."""
    test = _curve_of(study).slopes_differ
    assert test is not None
    size = float((((FALLS - FALLS.mean()) / NOISY.level) ** 2).sum())
    return [Advice(test.p <= 0.05, seeds_needed_by(test), seeds_to_find(test, size))]


def symmetric(_: Population | None, rng: np.random.Generator, seeds: int) -> Outcome:
    """The measure of asymmetry beside its value by chance, where every mistake is as likely as any other."""
    (preds, _other), labels = made_up(rng, seeds, [np.full(10, 0.8)] * 2, 200)
    direction = analyse(_study({BASELINE: preds}, labels, NAMES), resamples=2).conditions[0].direction
    assert direction.symmetry_new_images is not None
    return {
        "asymmetry": direction.asymmetry,
        "by chance alone": direction.asymmetry_by_chance,
        "symmetry false, new images": _found(direction.symmetry_new_images),
        "symmetry false, these images": _found(direction.symmetry_these_images),
        "any pair marked": float(direction.marked.any()),
    }


def symmetric_30(_: Population | None, rng: np.random.Generator, seeds: int) -> Outcome:
    """The same of 30 classes and few images, where most pairs are hardly ever confused."""
    (preds, _other), labels = made_up(rng, seeds, [np.full(30, 0.8)] * 2, 50)
    study = _study({BASELINE: preds}, labels, tuple(f"class {number}" for number in range(30)))
    with mock.patch.object(sensitivity, "MAX_OMNIBUS_CLASSES", 0):  # the test of symmetry would be most of the time
        direction = analyse(study, resamples=2).conditions[0].direction
    return {"asymmetry": direction.asymmetry, "by chance alone": direction.asymmetry_by_chance}


def table(measure: Callable[..., Outcome], people: Population | None, studies: int) -> pd.DataFrame:
    """Mean outcome over repeated studies, one column for each number of seeds."""
    columns = {}
    for seeds in SEEDS:
        rng = np.random.default_rng([seeds, *measure.__name__.encode()])
        columns[f"{seeds} seeds"] = pd.DataFrame([measure(people, rng, seeds) for _ in range(studies)]).mean()
    return pd.DataFrame(columns)


def main() -> None:
    """Prints a table for every measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="many runs of one condition; without it the made-up studies alone")
    parser.add_argument("--studies", type=int, default=200, help="repeated studies for each number of seeds")
    parser.add_argument(
        "--only", choices=[measure.__name__ for measure in REAL + MADE_UP], help="this measurement alone"
    )
    arguments = parser.parse_args()
    people = population(arguments.runs) if arguments.runs else None
    if people is not None:
        print(f"Population: {len(people.preds)} runs, {len(people.labels):,} test images")
    for measure in REAL * (people is not None) + MADE_UP:
        if arguments.only in (None, measure.__name__):
            _print(measure, people, arguments.studies)


REAL = (no_effect, one_condition, flat_curves)
MADE_UP = (known_falls, near_certain, uneven, known_cells, curves, alike, advised_seeds, symmetric, symmetric_30)


def _print(measure: Callable[..., Outcome], people: Population | None, studies: int) -> None:
    print(f"\n{(measure.__doc__ or '').splitlines()[0]} ({studies} studies)\n")
    found = table(measure, people, studies)
    print(f"| | {' | '.join(found.columns)} |\n|---{'|---' * len(found.columns)}|")
    for name, row in found.iterrows():
        print(f"| {name} | {' | '.join(f'{value:.3g}' if value >= 1.5 else f'{value:.2f}' for value in row)} |")


if __name__ == "__main__":
    main()
