"""The answer first: which classes are fragile, to what, how sure, and what would help."""

from collections.abc import Iterator

import numpy as np

from class_sensitivity.confusion import most_confused
from class_sensitivity.figures.curves import describe, stress_name
from class_sensitivity.analysis.sensitivity import Cost, Curve, Results
from class_sensitivity.analysis.statistics import KNEE_LEVELS, Estimate, smallest_sign_flip_p
from class_sensitivity.analysis.study import BASELINE


def answers(results: Results) -> list[str]:
    """The findings of a study in a few sentences, the most important first."""
    return [
        *_least_accurate(results),
        *(sentence for curve in results.curves.values() for sentence in _most_sensitive(results, curve)),
        *_cost(results),
        *_confusions(results),
    ]


def cautions(results: Results) -> list[str]:
    """What keeps a reader from trusting the report further than it goes."""
    study = results.study
    sentences = []
    largest = max((len(study.common_seeds(c.name)) for c in study.conditions), default=0)
    if not study.has(BASELINE):
        sentences.append(
            "There is no baseline, so nothing can be compared with it: run python train.py -m "
            f"seed={','.join(map(str, study.seeds))} with the other settings of these runs."
        )
    elif len(study.conditions) == 1:
        sentences.append(
            "Only the baseline was run: add a stress with python train.py -m noise.frac=0.1,0.2,0.3 "
            f"seed={','.join(map(str, study.seeds))} and the other settings of these runs."
        )
    if largest == 1:
        sentences.append(
            "There is one seed, so nothing says how much chance there is: no intervals, no marks, no ranks."
        )
    elif largest <= 8:
        sentences.append(
            f"With {largest} seeds a test that assumes no distribution (sign flips) cannot give less than "
            f"p = {smallest_sign_flip_p(largest):.3g}; marks and intervals rest on a t distribution. Look at "
            "the effects, their intervals and the points of the single seeds first."
        )
    uneven = [c.name for c in study.conditions if 0 < len(study.common_seeds(c.name)) < len(study.seeds)]
    if uneven:
        sentences.append(
            f"Not every condition has all {len(study.seeds)} seeds ({', '.join(uneven)}); each comparison uses the "
            "seeds that both sides have."
        )
    unpaired = [c.name for c in study.conditions if c.name != BASELINE and c.name not in results.relative]
    if unpaired and study.has(BASELINE):
        sentences.append(
            f"Without a seed in common with the baseline, and so left out of comparisons: {', '.join(unpaired)}."
        )
    apart = [c.name for c in study.conditions if not c.plain or (c.noise and c.reduction)]
    if apart:
        sentences.append(
            f"On no curve, because more than one thing sets them apart from the baseline: {', '.join(apart)}; their "
            "relative matrices and falls are in the tables."
        )
    for kind, curve in results.curves.items():
        absent = [c.name for c in study.series(kind) if c not in curve.conditions]
        if absent:
            sentences.append(
                f"Left out of the curve of {stress_name(kind)} for want of seeds in common: {', '.join(absent)}."
            )
    for cost in results.costs[:1]:
        steps = study.arrays.steps
        full, fewer = (
            float(steps.sel(condition=n, seed=list(cost.seeds)).mean()) for n in (BASELINE, cost.control.name)
        )
        if fewer < full:
            sentences.append(
                f"Epochs are fixed, so the control takes fewer optimiser steps ({fewer:,.0f} of {full:,.0f}): the cost "
                "of less data holds the cost of fewer steps."
            )
    short = [kind for kind, curve in results.curves.items() if len(curve.levels) < KNEE_LEVELS]
    if short:
        kinds = " and ".join(stress_name(kind) for kind in short)
        sentences.append(
            f"A knee is looked for from {KNEE_LEVELS} levels on, the baseline counted; there are fewer for {kinds}."
        )
    return [*sentences, *study.notes]


def _least_accurate(results: Results) -> Iterator[str]:
    if BASELINE not in results.recall:
        return
    recall, accuracy = results.recall[BASELINE], results.accuracy[BASELINE]
    worst = int(np.nanargmin(recall.value))
    yield (
        f"Without stress the model is right on {float(accuracy.value):.1%} of the test images{_interval(accuracy)}; "
        f"the least accurate class is {results.study.class_names[worst]}, at {recall.value[worst]:.1%}"
        f"{_interval(recall[worst])}."
    )


def _interval(estimate: Estimate, unit: str = " %") -> str:
    low, high = 100 * float(estimate.low), 100 * float(estimate.high)
    return "" if np.isnan(low) else f" [{low:.1f}, {high:.1f}{unit}]"


def _most_sensitive(results: Results, curve: Curve) -> Iterator[str]:
    names = results.study.class_names
    loss = -curve.slope.value * 10
    first, last = int(np.nanargmax(loss)), int(np.nanargmin(loss))
    flipped = -10 * curve.slope.high[first], -10 * curve.slope.low[first]
    interval = "" if np.isnan(flipped[0]) else f" [{flipped[0]:.1f}, {flipped[1]:.1f}]"
    sure = "" if curve.ranks is None else f", and is the most sensitive with probability {curve.ranks[first, 0]:.0%}"
    yield (
        f"To {stress_name(curve.kind)} the most sensitive class is {names[first]}: it loses {loss[first]:.1f}"
        f"{interval} points of recall per 10 points of stress{sure}. "
        f"The least sensitive is {names[last]} ({loss[last]:.1f})."
    )
    bends = [(names[i], knee) for i, knee in enumerate(curve.knees) if not np.isnan(knee.level)]
    if bends:
        listed = "; ".join(
            f"{name} at {knee.level:.2f} [{knee.low:.2f}, {knee.high:.2f}], from {-10 * knee.slope_before:.1f} to "
            f"{-10 * knee.slope_after:.1f}"
            for name, knee in bends
        )
        yield f"Under {stress_name(curve.kind)} these curves bend, in points lost per 10 points of stress: {listed}."


def _cost(results: Results) -> Iterator[str]:
    if not results.costs:
        return
    cost = max(results.costs, key=lambda cost: (cost.noise.kind == "shuffle", cost.noise.noise))
    less, misled = cost.overall_less_data, cost.overall_misled
    yield (
        f"{describe(cost.noise)} costs {100 * float(less.value + misled.value):.1f} points of accuracy: "
        f"{100 * float(less.value):.1f}{_interval(less, unit='')} because the good records are missing, and "
        f"{100 * float(misled.value):.1f}{_interval(misled, unit='')} more because the model is misled. {_advice(cost)}"
    )
    names = results.study.class_names
    fooled, starved = int(np.nanargmax(cost.misled.value)), int(np.nanargmax(cost.less_data.value))
    yield (
        f"By class, being misled costs most to {names[fooled]} ({100 * cost.misled.value[fooled]:.1f}"
        f"{_interval(cost.misled[fooled], unit='')} points of recall) and missing records to {names[starved]} "
        f"({100 * cost.less_data.value[starved]:.1f}{_interval(cost.less_data[starved], unit='')}), as far as these "
        "intervals tell classes apart."
    )


def _advice(cost: Cost) -> str:
    """Better labels or more data? Decided by intervals; without them, left open."""
    if cost.overall_balance.low > 0:
        weight = "Most of the cost is being misled: mending these labels is worth more than the records themselves."
    elif cost.overall_balance.high < 0:
        weight = "Most of the cost is the missing records: having the records matters more than mending their labels."
    else:
        weight = "Which of the two weighs more is not decided by these runs."
    harm = " Dropping the records would be better than keeping them as they are." if cost.overall_misled.low > 0 else ""
    return weight + harm


def _confusions(results: Results) -> Iterator[str]:
    if BASELINE not in results.recall:
        return
    study = results.study
    counts = study.counts_of(BASELINE)
    top = most_confused(counts.mean(axis=0), 3)
    listed = ", ".join(f"{study.class_names[i]} taken for {study.class_names[j]} ({count:.0f})" for i, j, count in top)
    direction = results.direction[BASELINE]
    directed = f"; {int(direction.marked.sum())} of {len(direction.pairs)} pairs have a direction"
    tested = directed if len(direction.difference.per_seed) > 1 else ""
    yield f"The most frequent confusions of the baseline are {listed}, in test images{tested}."
