"""What the runs found: which classes are fragile, to what, how sure that is, and what would help."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.analysis.advice import shown_cost
from class_sensitivity.analysis.results import LOSS_PER_SLOPE, Curve, Results
from class_sensitivity.analysis.statistics import benjamini_hochberg
from class_sensitivity.analysis.wording import joined
from class_sensitivity.confusion import most_confused
from class_sensitivity.report.exchange import ExchangeOfStudy
from class_sensitivity.report.parts import Finding
from class_sensitivity.runs.condition import BASELINE


def by_loss(curve: Curve) -> list[int]:
    """The classes that have test images, those that lose most first."""
    loss = curve.loss.value
    return [int(c) for c in np.argsort(-loss, kind="stable") if not np.isnan(loss[c])]


def all_alike(values: NDArray[np.float64]) -> bool:
    """Whether all classes that have test images have the same value, but for rounding errors."""
    return bool(np.nanmax(values) - np.nanmin(values) < 1e-9)


def any_told_apart(results: Results, curve: Curve) -> bool:
    """Whether any two classes lose differently, at a false discovery rate of alpha over all pairs."""
    pairs = np.triu_indices(results.study.num_classes, 1)
    return bool(benjamini_hochberg(curve.slope_gaps.p[pairs], results.alpha).any())


def lowest(results: Results, values: NDArray[np.float64]) -> tuple[int, str]:
    """The class of the lowest value, and its name, or those of all that share the value."""
    worst = int(np.nanargmin(values))
    tied = [name for name, value in zip(results.study.class_names, values, strict=True) if value == values[worst]]
    return worst, joined(tied) if len(tied) <= 3 else f"{len(tied)} of {results.study.num_classes} classes"


def findings(results: Results) -> list[Finding]:
    """The findings of a study in a few sentences, each with what shows it, the most important first."""
    return [
        *_least_accurate(results),
        *(found for curve in results.curves.values() for found in _most_sensitive(results, curve)),
        *_cost(results),
        *ExchangeOfStudy(results).findings(),
        *_wrong_labels_learnt(results),
        *_twins(results),
        *_confusions(results),
    ]


def _least_accurate(results: Results) -> Iterator[Finding]:
    baseline = results.baseline
    if baseline is None:
        return
    recall = baseline.recall.scaled(100)
    worst, which = lowest(results, recall.value)
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
    elif all_alike(loss.value):
        yield Finding(
            f"{alike}: each loses {loss.value[first]:z.1f} points of recall per 10 points of stress.", curve=kind
        )
    elif curve.ranks is not None and not any_told_apart(results, curve):
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
    if any(all_alike(each.value) for each in by_class):
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
