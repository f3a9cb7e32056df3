"""What the runs found: which classes are fragile, to what, how sure that is, and what would help."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.analysis.advice import Advice, has_learnt, shown_cost
from class_sensitivity.analysis.claims.evidence import candidates, who_can_fall_most
from class_sensitivity.analysis.claims.judging import CONTRADICTED, NOT_RUN, REPRODUCED, UNDECIDED, Verdict
from class_sensitivity.analysis.claims.next_runs import NextRuns
from class_sensitivity.analysis.exchange import ExchangeRates
from class_sensitivity.analysis.prices import of_all_examples, shown_exchange
from class_sensitivity.analysis.results import LOSS_PER_SLOPE, Curve, Results
from class_sensitivity.analysis.seeds import seeds_needed
from class_sensitivity.analysis.statistics import KNEE_LEVELS, benjamini_hochberg, smallest_sign_flip_p
from class_sensitivity.confusion import most_confused
from class_sensitivity.report.parts import Finding, Line
from class_sensitivity.runs.condition import BASELINE


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
        worst, which = _lowest(results, recall.value)
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
    if of_all_examples(results) and has_learnt(results):
        shown = shown_exchange(results)
        lines.append(Line("quality, quantity", f"{shown.noise.label} {_exchanged(shown)}"))
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


def _exchanged(rates: ExchangeRates) -> str:
    """What a noise is worth in examples."""
    found = rates.overall
    gamma = "" if found.gamma is None else f", gamma {found.gamma.text('.2f')}"
    return (
        f"does as well as {found.size.text(',.0f', significant=3)} of {found.examples:,.0f} clean examples: "
        f"{found.lost_per_wrong_label.text('.1f')} good examples lost per wrong label{gamma}"
    )


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
    if _all_alike(loss.value):
        return f"no class can be told from another: each loses {loss.value[first]:z.1f} points per 10"
    spread = f"{names[first]} loses {loss[first].text()} points per 10, {names[last]} {loss[last].text()}"
    if len(curve.seeds) < 2:
        return spread
    apart = _any_told_apart(results, curve)
    who = who_can_fall_most(curve, names, results.alpha) if apart else "no class can be told from another"
    if len(candidates(curve.slope_gaps, results.alpha)) == 1:
        return f"{who}; {spread}"
    needed = seeds_needed(curve.slope_gaps[first, order[1]], alpha=results.alpha)
    return f"{who}; {spread}; to tell {names[first]} from {names[order[1]]}: {needed.text()}"


def by_loss(curve: Curve) -> list[int]:
    """The classes that have test images, those that lose most first."""
    loss = curve.loss.value
    return [int(c) for c in np.argsort(-loss, kind="stable") if not np.isnan(loss[c])]


def _all_alike(values: NDArray[np.float64]) -> bool:
    """Whether all classes that have test images have the same value, but for rounding errors."""
    return bool(np.nanmax(values) - np.nanmin(values) < 1e-9)


def _any_told_apart(results: Results, curve: Curve) -> bool:
    """Whether any two classes lose differently, at a false discovery rate of alpha over all pairs."""
    pairs = np.triu_indices(results.study.num_classes, 1)
    return bool(benjamini_hochberg(curve.slope_gaps.p[pairs], results.alpha).any())


def _lowest(results: Results, values: NDArray[np.float64]) -> tuple[int, str]:
    """The class of the lowest value, and its name, or those of all that share the value."""
    worst = int(np.nanargmin(values))
    tied = [name for name, value in zip(results.study.class_names, values, strict=True) if value == values[worst]]
    few = " and ".join(filter(None, (", ".join(tied[:-1]), tied[-1])))
    return worst, few if len(tied) <= 3 else f"{len(tied)} of {results.study.num_classes} classes"


def findings(results: Results) -> list[Finding]:
    """The findings of a study in a few sentences, each with what shows it, the most important first."""
    return [
        *_least_accurate(results),
        *(found for curve in results.curves.values() for found in _most_sensitive(results, curve)),
        *_cost(results),
        *_exchange(results),
        *_wrong_labels_learnt(results),
        *_twins(results),
        *_confusions(results),
    ]


def caveats(results: Results) -> list[str]:
    """What keeps a reader from trusting the report further than it goes."""
    study, compared = results.study, results.compared
    sentences = []
    largest = max((len(study.common_seeds(condition)) for condition in study.conditions), default=0)
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
    rough = {rates.overall.curve[-1].series_label for rates in results.exchange if not rates.overall.matched_steps}
    if rough:
        sentences.append(
            f"Quality against quantity is read off smaller sets that took fewer steps ({', '.join(rough)}), so "
            "wrong labels look cheaper than they are; reduction.match_steps=true makes more passes over them, so that "
            "training is as long as on all examples."
        )
    short = [curve.label for curve in results.curves.values() if len(curve.levels) < KNEE_LEVELS]
    if short:
        sentences.append(
            f"A knee is looked for from {KNEE_LEVELS} levels on, the baseline counted; there are fewer for "
            f"{' and '.join(short)}."
        )
    return [*sentences, *study.notes]


def _least_accurate(results: Results) -> Iterator[Finding]:
    baseline = results.baseline
    if baseline is None:
        return
    recall = baseline.recall.scaled(100)
    worst, which = _lowest(results, recall.value)
    verb = "class is" if which in results.study.class_names else "classes are"
    yield Finding(
        f"Without stress the model is right on {baseline.accuracy.scaled(100).text(unit='%')} of the test images; "
        f"the least accurate {verb} {which}, at {recall[worst].text(unit='%')}.",
        classes=(worst,),
    )


def _most_sensitive(results: Results, curve: Curve) -> Iterator[Finding]:
    names, loss, order = results.study.class_names, curve.loss, by_loss(curve)
    first, last = order[0], order[-1]
    kind = curve.kind
    alike = f"Under {curve.label} no class can be told from another"
    if len(order) == 1:
        yield Finding(
            f"Under {curve.label} {names[first]}, the one class that has test images, loses {loss[first].text()} "
            "points of recall per 10 points of stress.",
            classes=(first,),
            curve=kind,
        )
    elif _all_alike(loss.value):
        yield Finding(
            f"{alike}: each loses {loss.value[first]:z.1f} points of recall per 10 points of stress.", curve=kind
        )
    elif curve.ranks is not None and not _any_told_apart(results, curve):
        yield Finding(
            f"{alike}: the most that a class loses per 10 points of stress is {loss[first].text()} points of recall "
            f"({names[first]}), the least {loss[last].text()} ({names[last]}).",
            curve=kind,
        )
    else:
        sure = (
            "" if curve.ranks is None else f", and is the most sensitive with probability {curve.ranks[first, 0]:.0%}"
        )
        yield Finding(
            f"To {curve.label} the most sensitive class is {names[first]}: it loses {loss[first].text()} points of "
            f"recall per 10 points of stress{sure}. The least sensitive is {names[last]} ({loss.value[last]:z.1f}).",
            classes=(first,),
            curve=kind,
        )
    bends = [
        f"{name} at {knee.text()}, from {LOSS_PER_SLOPE * knee.slope_before:z.1f} to "
        f"{LOSS_PER_SLOPE * knee.slope_after:z.1f}"
        for name, knee in zip(names, curve.knees, strict=True)
        if not np.isnan(knee.level)
    ]
    if bends:
        yield Finding(
            f"Under {curve.label} these curves bend, in points lost per 10 points of stress: {'; '.join(bends)}.",
            classes=(next(c for c, knee in enumerate(curve.knees) if not np.isnan(knee.level)),),
            curve=kind,
        )


def _cost(results: Results) -> Iterator[Finding]:
    if not results.costs:
        return
    cost = shown_cost(results)
    less, misled = cost.overall_less_data.scaled(100), cost.overall_misled.scaled(100)
    yield Finding(
        f"{cost.noise.label} costs {float(less.value + misled.value):z.1f} points of accuracy: {less.text()} because "
        f"the good examples are missing, and {misled.text()} more because the model is misled.",
        condition=cost.noise,
        other=cost.control,
    )
    names = results.study.class_names
    by_class = cost.misled.scaled(100), cost.less_data.scaled(100)
    if any(_all_alike(each.value) for each in by_class):
        return
    fooled, starved = (int(np.nanargmax(each.value)) for each in by_class)
    # Whoever seems to pay most is not named where that may be nothing.
    known = [
        (f"{what} costs most to {names[c]} ({costs[c].text(unit='points of recall')})", c)
        for what, costs, c in zip(("being misled", "missing the examples"), by_class, (fooled, starved), strict=True)
        if costs.low[c] > 0
    ]
    if known:
        yield Finding(
            f"By class, {' and '.join(words for words, _ in known)}, as far as these intervals tell classes apart.",
            condition=cost.noise,
            other=cost.control,
            classes=(known[0][1],),
        )


def _exchange(results: Results) -> Iterator[Finding]:
    every_level = of_all_examples(results) if has_learnt(results) else []
    if not every_level:
        return
    for rates in every_level:
        yield Finding(f"{rates.noise.label} {_exchanged(rates)}.", condition=rates.noise)
    shown = shown_exchange(results)
    size, names = shown.classes.size, results.study.class_names
    order = [
        int(c)
        for c in np.argsort(size.value, kind="stable")
        if size.high[c] < shown.overall.size.low or size.low[c] > shown.overall.size.high
    ]
    apart = [f"{names[c]} ({size[c].text(',.0f', significant=3)})" for c in order]
    if apart:
        yield Finding(
            f"By class, at {shown.noise.label} the interval is apart from that of accuracy for {', '.join(apart)}.",
            condition=shown.noise,
            classes=tuple(order[:1]),
        )
    for shift in results.sideways:
        if shift.test is not None:
            verdict = "do not all lie" if shift.test.p <= results.alpha else "may all lie"
            share = shift.share.scaled(100).text(".0f")
            yield Finding(
                f"Accuracies at {shift.noise.label} and {len(shift.at)} sizes of the training set {verdict} on the "
                f"clean learning curve at {share} % of the examples ({shift.test.text()}).",
                condition=shift.noise,
            )
    if shown.overall.gamma is not None:
        yield Finding(
            "Gamma is 1 where wrong labels are only lost examples, 2 at the information limit of weak signals, above 2 "
            "where the model is misled.",
            condition=shown.noise,
        )


def _wrong_labels_learnt(results: Results) -> Iterator[Finding]:
    """How many of its wrong labels a network believes, where that was measured and most labels are wrong."""
    study = results.study
    known = [each for each in study.conditions if each.is_noisy and not np.isnan(study.mean_of("learnt", each))]
    if not known:
        return
    most = max(known, key=lambda each: study.mean_of("effective_noise", each))
    share = 100 * study.mean_of("learnt", most)
    sentence = f"After training the network predicts {share:.0f} % of the wrong labels at {most.label}"
    if most.uninformative_share(study.num_classes) is not None:  # they are no likely mistakes
        by_chance = 100 * (1 - float(results.of(most).accuracy.value)) / (study.num_classes - 1)
        sentence += f"; if it believed none, mistakes as frequent as on test images would hit {by_chance:.0f} %"
    yield Finding(f"{sentence}.", condition=most)


def _twins(results: Results) -> Iterator[Finding]:
    for twins in results.twins:
        recall, names = twins.recall.scaled(100), results.study.class_names
        apart = benjamini_hochberg(recall.p, results.alpha)
        order = [int(c) for c in np.argsort(-np.abs(recall.value), kind="stable") if apart[c]]
        listed = ", ".join(f"{names[c]} {recall[c].text(signed=True)}" for c in order[:5])
        yield Finding(
            f"Labels of people ({twins.human.label}) leave an accuracy {twins.accuracy.scaled(100).text(signed=True)} "
            "points from that of as many wrong labels from each class to each that are blind to the image"
            + (f"; in recall {listed}." if listed else "; no class certainly differs in recall."),
            condition=twins.human,
            other=twins.matched,
        )


def frequent_confusions(counts: NDArray[np.int64], number: int) -> list[tuple[int, int, float]]:
    """The most frequent confusions that are worth a word, as (true, predicted, mean count), largest first.

    One that happens less than once a seed, or that happened once in all, is none.

    Args:
        counts: (S, K, K) counts, one matrix a seed.
        number: How many, at most.

    Examples:
        >>> frequent_confusions(np.array([[[9, 4, 1], [0, 9, 0], [1, 1, 9]]]), 3)
        [(0, 1, 4.0)]
    """
    listed = most_confused(counts.mean(axis=0), number)
    return [(i, j, mean) for i, j, mean in listed if mean >= 1 and counts[:, i, j].sum() > 1]


def _confusions(results: Results) -> Iterator[Finding]:
    baseline, study = results.baseline, results.study
    top = frequent_confusions(study.counts_of(BASELINE), 3) if baseline else []
    if baseline is None or not top:
        return
    listed = ", ".join(f"{study.class_names[i]} taken for {study.class_names[j]} ({mean:.0f})" for i, j, mean in top)
    direction = baseline.direction
    test = direction.symmetry_new_images
    marked = f"{int(direction.marked.sum())} of {len(direction.pairs)} pairs have"
    if len(direction.difference.per_seed) < 2:
        tested = ""
    elif test is None:
        tested = f"; {marked} a direction"
    else:
        has = "has" if test.p <= results.alpha else "may have"
        tested = f"; confusion as a whole {has} a direction (p = {test.p:.2g}), {marked} one by themselves"
    subject = "confusions of the baseline are" if len(top) > 1 else "confusion of the baseline is"
    yield Finding(f"The most frequent {subject} {listed}, in test images{tested}.", classes=top[0][:2])
