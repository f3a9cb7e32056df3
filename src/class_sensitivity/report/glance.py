"""A study in a few lines."""

from collections.abc import Sequence

import numpy as np

from class_sensitivity.analysis.advice import Advice, shown_cost
from class_sensitivity.analysis.candidates import candidates, who_can_fall_most
from class_sensitivity.analysis.claims.judging import CONTRADICTED, NOT_RUN, REPRODUCED, UNDECIDED, Verdict
from class_sensitivity.analysis.claims.next_runs import NextRuns
from class_sensitivity.analysis.results import Curve, Results
from class_sensitivity.analysis.seeds import seeds_needed
from class_sensitivity.report.exchange import ExchangeOfStudy
from class_sensitivity.report.findings import all_alike, any_told_apart, by_loss, lowest
from class_sensitivity.report.parts import Line


def at_a_glance(
    results: Results, advice: Sequence[Advice], verdicts: Sequence[Verdict], advised: NextRuns | None
) -> list[Line]:
    """A study in at most ten lines: what is decided first, then what is tied, then what would decide the rest.

    Args:
        results: Of the study.
        advice: What to do about it.
        verdicts: On the claims about its data set, if there are any.
        advised: The runs that would decide most.
    """
    lines = []
    baseline = results.baseline
    if baseline is not None:
        recall = baseline.recall.scaled(100)
        worst, which = lowest(results, recall.value)
        lines.append(
            Line(
                "accuracy",
                f"{baseline.accuracy.scaled(100).text()} %; least accurate: {which}, {recall[worst].text()} %",
            )
        )
    # The article has two kinds of stress; a study of more is shown whole on the page.
    lines += [Line(f"{curve.label}", _who_falls_most(results, curve)) for curve in list(results.curves.values())[:2]]
    if results.costs:
        cost = shown_cost(results)
        less, misled = cost.overall_less_data.scaled(100), cost.overall_misled.scaled(100)
        why = f"{less.text()} for the missing examples, {misled.text()} for being misled"
        lines.append(Line(cost.noise.label, f"costs {float(less.value + misled.value):z.1f} points: {why}"))
    if exchange := ExchangeOfStudy(results).line():
        lines.append(exchange)
    if advice:
        lines.append(Line("advice", "; ".join(each.short for each in advice)))
    for verdict in (REPRODUCED, CONTRADICTED):
        if ids := [each.id for each in verdicts if each.verdict == verdict]:
            lines.append(Line(f"{verdict}, {len(ids)}", ", ".join(ids)))
    undecided = [each for each in verdicts if each.verdict == UNDECIDED]
    # Whoever never comes out of these test images stands last.
    undecided.sort(key=lambda each: np.inf if each.needed is None else each.needed.number)
    if undecided:
        words = ", ".join(f"{each.id} ({_seeds_in_short(each)})" for each in undecided)
        lines.append(Line(f"undecided, {len(undecided)}", words))
    if ids := [each.id for each in verdicts if each.verdict == NOT_RUN]:
        lines.append(Line(f"not run, {len(ids)}", ", ".join(ids)))
    if advised is not None:
        lines.append(Line("next", advised.text()))
    return lines


def _seeds_in_short(verdict: Verdict) -> str:
    if verdict.needed is None:
        return "no number of seeds known"
    return "more test images" if verdict.needed.about is None else f"{verdict.needed.about} seeds"


def _who_falls_most(results: Results, curve: Curve) -> str:
    """Which classes can be the most sensitive one, and about how many seeds would tell the first two apart."""
    names, loss, order = results.study.class_names, curve.loss, by_loss(curve)
    first, last = order[0], order[-1]
    if len(order) == 1:
        return f"{names[first]} loses {loss[first].text()} points per 10; no other class has test images"
    if all_alike(loss.value):
        return f"no class can be told from another: each loses {loss.value[first]:z.1f} points per 10"
    spread = f"{names[first]} loses {loss[first].text()} points per 10, {names[last]} {loss[last].text()}"
    if len(curve.seeds) < 2:
        return spread
    apart = any_told_apart(results, curve)
    who = who_can_fall_most(curve, names, results.alpha) if apart else "no class can be told from another"
    if len(candidates(curve.slope_gaps, results.alpha)) == 1:
        return f"{who}; {spread}"
    needed = seeds_needed(curve.slope_gaps[first, order[1]], alpha=results.alpha)
    return f"{who}; {spread}; to tell {names[first]} from {names[order[1]]}: {needed.text()}"
