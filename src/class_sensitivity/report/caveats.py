"""What keeps a reader from trusting a report further than it goes."""

from class_sensitivity.analysis.commands import sweep_command
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.statistics import KNEE_LEVELS, smallest_sign_flip_p
from class_sensitivity.analysis.wording import joined
from class_sensitivity.runs.condition import BASELINE, Condition
from class_sensitivity.stress.noise import Shuffle

#: What to begin with, where there is no stress.
_FIRST_STRESS = [Condition(Shuffle.name, frac) for frac in (0.1, 0.2, 0.3)]


def caveats(results: Results) -> list[str]:
    """What keeps a reader from trusting the report further than it goes."""
    study, compared = results.study, results.compared
    sentences = []
    largest = max((len(study.common_seeds(condition)) for condition in study.conditions), default=0)
    if not study.has(BASELINE):
        sentences.append(
            "There is no baseline, so nothing can be compared with it: run "
            f"{sweep_command(study, [BASELINE], study.seeds)}."
        )
    elif len(study.conditions) == 1:
        sentences.append(
            f"Only the baseline was run: add a stress with {sweep_command(study, _FIRST_STRESS, study.seeds)}."
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
    uneven = [c.title for c in study.conditions if 0 < len(study.common_seeds(c)) < len(study.seeds)]
    if uneven:
        sentences.append(
            f"Not every condition has all {len(study.seeds)} seeds ({', '.join(uneven)}); each comparison uses the "
            "seeds that both sides have."
        )
    unpaired = [c.title for c in study.conditions if c != BASELINE and c not in compared]
    if unpaired and study.has(BASELINE):
        sentences.append(
            f"Without a seed in common with the baseline, and so left out of comparisons: {', '.join(unpaired)}."
        )
    apart = [c.title for c in study.conditions if not c.is_baseline and c.series is None]
    if apart:
        sentences.append(
            f"On no curve, because they have both noise and reduction: {', '.join(apart)}; their relative matrices and "
            "falls are in the tables."
        )
    for kind, curve in results.curves.items():
        absent = [c.title for c in study.series(kind) if c not in curve.conditions]
        if absent:
            sentences.append(
                f"Left out of the curve of {curve.label} for want of seeds in common: {', '.join(absent)}."
            )
    for cost in results.costs[:1]:
        full, fewer = (study.mean_of("steps", condition, cost.seeds) for condition in (BASELINE, cost.control))
        if fewer < full:
            sentences.append(
                f"Epochs are fixed, so the control takes fewer optimiser steps ({fewer:,.0f} of {full:,.0f}): the cost "
                "of less data holds the cost of fewer steps."
            )
    curves = [each.overall.curve[-1] for each in results.exchange if not each.overall.as_many_visits]
    if rough := dict.fromkeys(last.series_label for last in curves):  # each once, in an order that does not change
        sentences.append(
            f"Quality against quantity is read off smaller sets that were also looked at less ({', '.join(rough)}), so "
            "wrong labels look cheaper than where training stays as long; reduction.match_steps=true makes more passes."
        )
    short = [curve.label for curve in results.curves.values() if len(curve.levels) < KNEE_LEVELS]
    if short:
        sentences.append(
            f"A knee is looked for from {KNEE_LEVELS} levels on, the baseline counted; there are fewer for "
            f"{joined(short)}."
        )
    return [*sentences, *study.notes]
