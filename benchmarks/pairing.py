"""What pairing by seed is worth: the variance of differences, against that of runs that have nothing in common.

    python train.py -m noise.frac=0,0.1,0.2,0.3 seed=1,2,3,4,5
    python train.py -m reduction.frac=0.2,0.6,0.9 seed=1,2,3,4,5
    python benchmarks/pairing.py runs

A ratio of 1 says that pairing does nothing, of 0.5 twice as many seeds. docs/statistics.md has the table.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.analysis.sensitivity import removes_what_is_touched
from class_sensitivity.analysis.study import Study
from class_sensitivity.confusion import normalise
from class_sensitivity.runs.condition import BASELINE, Condition

Floats = NDArray[np.float64]


def recalls(study: Study, condition: Condition, seeds: list[int]) -> Floats:
    """(S, K) in points."""
    return 100 * np.stack([np.diag(normalise(counts)) for counts in study.counts_of(condition, seeds)])


def ratio(one: Floats, other: Floats) -> tuple[float, float]:
    """(variance of the difference over that of independent runs, standard deviation of the difference)."""
    paired = (one - other).var(axis=0, ddof=1)
    alone = one.var(axis=0, ddof=1) + other.var(axis=0, ddof=1)
    return float(paired.sum() / alone.sum()), float(np.sqrt(paired.mean()))


def print_table(study: Study) -> None:
    """One line for each condition against the baseline, and each noise against its control."""
    heads = ("", "seeds", "variance ratio of recalls", "sd of one seed's difference, points")
    print(f"{study.recipe}\n\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    others = [condition for condition in study.conditions if condition != BASELINE]
    pairs = [(condition, BASELINE) for condition in others]
    pairs += [
        (noise, control)
        for noise in others
        for control in others
        if noise.series in study.noise_series
        and control.series in study.reduction_series
        and removes_what_is_touched(control, noise)
    ]
    for condition, other in pairs:
        seeds = study.common_seeds(condition, other)
        if len(seeds) > 1:
            value, sd = ratio(recalls(study, condition, seeds), recalls(study, other, seeds))
            print(f"| {condition.label} minus {other.label} | {len(seeds)} | {value:.2f} | {sd:.2f} |")


def main() -> None:
    """Prints the table of every study below a directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="?", default=Path("runs"))
    for study in load_runs(parser.parse_args().runs):
        print_table(study)


if __name__ == "__main__":
    main()
