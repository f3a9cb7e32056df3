"""Whether intervals cover, marks are as rarely false as they say, and how much power there is, over repeated studies.

    python train.py -m reduction.frac=0.9 'seed=range(101,221)' training.test_every_epoch=false runs=population
    python benchmarks/calibration.py --runs population

Two sources of truth. *Real* studies draw seeds, and test images with replacement, from many runs of one condition: the
population is known, and between two halves of it there is no effect. *Made-up* studies have effects that are known,
with seeds, images and their interaction as in real runs. docs/statistics.md has the tables.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from class_sensitivity.analysis import moderation
from class_sensitivity.analysis.claims.evidence import candidates
from class_sensitivity.analysis.contrasts import class_contrasts, pair_contrasts
from class_sensitivity.analysis.omnibus import omnibus_test
from class_sensitivity.analysis.results import RelativeMatrix
from class_sensitivity.analysis.sensitivity import relative_matrix
from class_sensitivity.analysis.statistics import benjamini_hochberg
from class_sensitivity.analysis.study import Study, load_runs
from class_sensitivity.runs.condition import BASELINE, Condition

SEEDS = (2, 3, 5, 8, 10)
NOISY = Condition(noise_kind="shuffle", noise_frac=0.2)
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


def study_of(first: Preds, second: Preds, labels: Labels, names: tuple[str, ...]) -> Study:
    """A study of two conditions, whatever they are."""
    preds = {(BASELINE, seed): row for seed, row in enumerate(first)}
    return Study.of_preds(labels, preds | {(NOISY, seed): row for seed, row in enumerate(second)}, names)


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
            assert test is not None
            outcome[f"symmetry {name}, {where}"] = float(test.p <= 0.05)
    return outcome


def _pair_values(preds: Preds, labels: Labels, upper: tuple[NDArray[np.int64], ...]) -> NDArray[np.float32]:
    """(S, n, pairs) 1 for i -> j, -1 for j -> i."""
    forth = [(labels == i) & (preds == j) for i, j in zip(*upper, strict=True)]
    back = [(labels == j) & (preds == i) for i, j in zip(*upper, strict=True)]
    return np.stack(forth, axis=-1).astype(np.float32) - np.stack(back, axis=-1)


# Made-up studies

#: Falls of ten classes, in shares of recall: two that fall most and are a tie, one behind them, and the rest.
FALLS = np.array([0.07, 0.07, 0.05, 0.03, 0.03, 0.02, 0.02, 0.01, 0.01, 0.0])
RECALLS = np.array([0.83, 0.71, 0.61, 0.80, 0.74, 0.87, 0.83, 0.90, 0.88, 0.91])


def made_up(
    rng: np.random.Generator, seeds: int, recalls: NDArray[np.float64], falls: NDArray[np.float64], per_class: int
) -> tuple[Preds, Preds, Labels]:
    """Predictions at a baseline and under stress: right or another class, by a probit model with crossed effects.

    Shares of the latent variance: image 0.45, seed and class 0.01, image and class with this seed 0.2, the rest new.
    """
    classes = len(recalls)
    labels = np.repeat(np.arange(classes), per_class).astype(np.int16)
    image = rng.normal(size=len(labels)) * np.sqrt(0.45)
    mood = (rng.normal(size=(seeds, classes)) * np.sqrt(0.01))[:, labels]
    taste = rng.normal(size=(seeds, len(labels))) * np.sqrt(0.2)

    def preds(recall: NDArray[np.float64]) -> Preds:
        own_mood = (rng.normal(size=(seeds, classes)) * np.sqrt(0.01))[:, labels]
        rest = rng.normal(size=(seeds, len(labels))) * np.sqrt(0.33)
        right = image + mood + taste + own_mood + rest < ndtri(recall)[labels]
        other = (labels + rng.integers(1, classes, size=right.shape)) % classes
        return np.where(right, labels, other).astype(np.int16)

    return preds(recalls), preds(recalls - falls), labels


def known_falls(_: Population | None, rng: np.random.Generator, seeds: int) -> Outcome:
    """Falls of ten classes that are known: coverage, power, and which classes can have the largest."""
    first, second, labels = made_up(rng, seeds, RECALLS, FALLS, 500)
    study = study_of(first, second, labels, tuple("abcdefghij"))

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
    first, second, labels = made_up(rng, seeds, recalls, np.zeros(10), 60)
    study = study_of(first, second, labels, tuple("abcdefghij"))
    recall = class_contrasts(study, {BASELINE: 1.0})
    with own_seeds_alone():
        plain = class_contrasts(study, {BASELINE: 1.0, NOISY: 0.0})
    half = plain.error * 1.96
    return {
        "recall near 1 covered": float(((recall.low <= recalls) & (recalls <= recall.high)).mean()),
        "the same by value ± 1.96 errors": float((np.abs(plain.value - recalls) <= half).mean()),
        "width, points": float(100 * (recall.high - recall.low).mean()),
    }


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
    parser.add_argument("--only", choices=[measure.__name__ for measure in MEASURES], help="this measurement alone")
    arguments = parser.parse_args()
    people = population(arguments.runs) if arguments.runs else None
    if people is not None:
        print(f"Population: {len(people.preds)} runs, {len(people.labels):,} test images")
    for measure in MEASURES if people is not None else MEASURES[2:]:
        if arguments.only in (None, measure.__name__):
            _print(measure, people, arguments.studies)


#: Those of real studies first.
MEASURES = (no_effect, one_condition, known_falls, near_certain)


def _print(measure: Callable[..., Outcome], people: Population | None, studies: int) -> None:
    print(f"\n{(measure.__doc__ or '').splitlines()[0]} ({studies} studies)\n")
    found = table(measure, people, studies)
    print(f"| | {' | '.join(found.columns)} |\n|---{'|---' * len(found.columns)}|")
    for name, row in found.iterrows():
        print(f"| {name} | {' | '.join(f'{value:.3g}' if value >= 1.5 else f'{value:.2f}' for value in row)} |")


if __name__ == "__main__":
    main()
