"""What to do, each piece with the number behind it and none that its interval does not support.

Classes that stand out, or are safe, are found by one-sided tests at a false discovery rate of alpha over all classes.
What is not decided is said, too, with the number of seeds that would decide it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.analysis.commands import sweep_command
from class_sensitivity.analysis.contrasts import centred_class_contrasts, pair_contrasts
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.results import Cost, Curve, Results
from class_sensitivity.analysis.seeds import SeedsNeeded, seeds_needed
from class_sensitivity.analysis.statistics import benjamini_hochberg
from class_sensitivity.analysis.study import Study
from class_sensitivity.analysis.wording import joined
from class_sensitivity.runs.condition import BASELINE, Condition

#: A class is safe to label cheaply if it certainly loses fewer points of recall per 10 points of wrong labels.
CHEAP_POINTS = 1.0

#: Pairs of classes of which a merge is weighed.
MOST_MERGES = 3

#: Fewer seeds than these say nothing of chance.
_FEWEST_SEEDS = 2

#: Seeds to begin with, in all.
_FIRST_SEEDS = 5

LABELS, COLLECT, CHEAP, MERGE = "labels", "collect", "cheap", "merge"
BUY, PRICE, IMAGES = "buy", "price", "images"
UNDECIDED = "undecided"


@dataclass(frozen=True)
class Advice:
    """One piece of advice.

    Attributes:
        about: `labels` (check the labels of these classes), `collect` (collect more of them), `cheap` (they may be
            labelled cheaply), `merge` (or tell them apart better), `buy` (labels or examples, over all classes),
            `price` (up to which price), `images` (single images to look at) or `undecided`.
        short: What to do, in a few words.
        sentence: The same with the number behind it.
        classes: The classes that it is about, the first one first; of `images` the true and the predicted one.
        command: What would decide it, of advice that more seeds would let be given.
        condition: The condition that shows it; None for the baseline, or for a whole curve.
        other: What that is compared with; None for the baseline.
        curve: Name of the series that shows it.
    """

    about: str
    short: str
    sentence: str
    classes: tuple[str, ...] = ()
    command: str = ""
    condition: Condition | None = None
    other: Condition | None = None
    curve: str = ""


def advise(results: Results, train_counts: NDArray[np.int64] | None = None) -> list[Advice]:
    """Everything that the runs of one study advise, the most general first.

    Args:
        results: Of the study.
        train_counts: (K,) training examples of each class, where they are known.
    """
    if len(results.study.seeds) < _FEWEST_SEEDS:
        sentence = "With one seed nothing says how much is chance: run more seeds before you act."
        study, first = results.study, max(results.study.seeds) + 1
        command = sweep_command(study, study.conditions, range(first, first + _FIRST_SEEDS - 1))
        return [Advice(UNDECIDED, "run more seeds", sentence, command=command)]
    if not has_learnt(results):
        sentence = (
            "The model is not certainly better than always saying the most frequent class: raise training.epochs (few "
            "examples make few steps), or change training.lr. Until then nothing here says anything of the data."
        )
        return [Advice(UNDECIDED, "train longer: the model has learnt nothing", sentence)]
    return [
        *_what_to_buy(results),
        *_thin(results, train_counts),
        *(piece for curve in _noise_curves(results) for piece in _labels(results, curve)),
        *(piece for curve in _reduction_curves(results) for piece in _collect(results, curve)),
        *_merge(results, train_counts),
    ]


def has_learnt(results: Results) -> bool:
    """Whether the baseline is certainly better than always saying the most frequent class.

    True without a baseline, and of one class alone, where saying it is all that can be learnt.
    """
    if results.baseline is None or results.study.num_classes == 1:
        return True
    accuracy, sizes = results.baseline.accuracy, results.study.class_sizes
    least = accuracy.value if np.isnan(accuracy.low) else accuracy.low
    return bool(least > sizes.max() / sizes.sum())


def _noise_curves(results: Results) -> list[Curve]:
    """The curve of the first kind of noise, which advice rests on."""
    return [results.curves[name] for name in results.study.noise_series if name in results.curves][:1]


def _reduction_curves(results: Results) -> list[Curve]:
    return [results.curves[name] for name in results.study.reduction_series if name in results.curves][:1]


def shown_cost(results: Results) -> Cost:
    """The cost that speaks for all: of the first kind of noise the one of most seeds, of the strongest noise."""
    first = results.study.noise_series[0]
    return max(results.costs, key=lambda cost: (cost.noise.series == first, len(cost.seeds), cost.noise.level))


def _what_to_buy(results: Results) -> Iterator[Advice]:
    if not results.costs:
        return
    cost = shown_cost(results)
    balance = cost.overall_balance.scaled(100)
    harm = " Dropping the examples would be better than keeping them as they are." * bool(cost.overall_misled.low > 0)
    if balance.low > 0:
        short, what = "better labels before more data", "being misled costs"
    elif balance.high < 0:
        short, what, balance = "more data before better labels", "missing the examples costs", balance.scaled(-1)
    else:
        needed = seeds_needed(cost.overall_balance, alpha=results.alpha / 2)
        yield Advice(
            UNDECIDED,
            "better labels or more data: undecided",
            f"Better labels or more data is not decided at {cost.noise.label}: being misled costs "
            f"{balance.text(signed=True)} points of accuracy more than missing the examples; it would take "
            f"{needed.text()}.{harm}",
            command=_more_seeds(results.study, (BASELINE, cost.noise, cost.control), needed),
            condition=cost.noise,
            other=cost.control,
        )
        return
    sentence = f"{short[:1].upper()}{short[1:]}: at {cost.noise.label} {what} {balance.text()} points of accuracy more."
    yield Advice(BUY, short, sentence + harm, condition=cost.noise, other=cost.control)


def _thin(results: Results, train_counts: NDArray[np.int64] | None) -> Iterator[Advice]:
    """Classes of few examples whose recall suffers: below half of the median class, and below the mean recall."""
    if train_counts is None or results.baseline is None or len(results.baseline.accuracy.per_seed) < _FEWEST_SEEDS:
        return
    names, recall, median = results.study.class_names, results.baseline.recall.scaled(100), np.median(train_counts)
    beyond = centred_class_contrasts(results.study, {BASELINE: 1.0}, alpha=results.alpha)
    few = _few_examples(train_counts)
    thin = [int(c) for c in _stand_out(results, beyond, above=False) if few[c]]
    if thin:
        which = [f"{names[c]} ({train_counts[c]:,} examples, recall {recall[c].text(unit='%')})" for c in thin]
        yield Advice(
            COLLECT,
            f"collect more of {joined([names[c] for c in thin])}: few examples",
            f"Collect more of {joined(which)}: the median class has {median:,.0f} examples, and all classes together "
            f"a mean recall of {np.nanmean(recall.value):.1f} %.",
            tuple(names[c] for c in thin),
        )


def _few_examples(train_counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(K,) which classes have less than half of the training examples of the median class."""
    return np.asarray(train_counts < np.median(train_counts) / 2)


def _stand_out(results: Results, values: Estimate, *, above: bool) -> NDArray[np.int64]:
    """The classes that are certainly above (or below) the mean of all, those that stand out most first."""
    p = values.p_above(0.0) if above else values.p_below(0.0)
    found = np.flatnonzero(benjamini_hochberg(p, results.alpha))
    order = np.argsort(values.value[found] * (-1 if above else 1), kind="stable")
    return np.asarray(found[order])


def _listed(results: Results, classes: Sequence[int] | NDArray[np.int64], values: Estimate) -> str:
    """Classes with their values."""
    names = results.study.class_names
    return joined([f"{names[c]} ({values[c].text()})" for c in classes])


def _more_seeds(study: Study, conditions: Sequence[Condition], needed: SeedsNeeded) -> str:
    """The command that runs as many seeds as are needed; empty where no number of them is enough."""
    if needed.about is None:
        return ""
    first = max(study.seeds) + 1
    more = max(1, needed.about - min(len(study.common_seeds(condition)) for condition in conditions))
    return sweep_command(study, conditions, range(first, first + more))


def _undecided(results: Results, curve: Curve, what: str) -> Advice:
    """That no class stands out, and about how many seeds would show the one that seems to."""
    names, beyond = results.study.class_names, curve.loss_beyond_mean
    first = int(np.nanargmax(beyond.value))
    if beyond.value[first] < 1e-9:  # but for a rounding error
        alike = f"under {curve.label} all classes lose the same"
        short, sentence = f"{what[:1].lower()}{what[1:]}: all alike", f"{what} makes no difference: {alike}."
        return Advice(UNDECIDED, short, sentence, curve=curve.kind)
    needed = seeds_needed(beyond[first], alpha=results.alpha / results.study.num_classes)
    return Advice(
        UNDECIDED,
        f"{what[:1].lower()}{what[1:]}: undecided",
        f"{what} cannot be told yet: under {curve.label} no class certainly loses more than the mean of all. "
        f"{names[first]} seems to, by {beyond[first].text()} points per 10; it would take {needed.text()}.",
        (names[first],),
        _more_seeds(results.study, curve.conditions, needed),
        curve=curve.kind,
    )


def _tested(results: Results, curve: Curve) -> Estimate:
    """What classes lose beyond the mean, with the intervals that go with one-sided tests."""
    return curve.loss_beyond_mean.at(2 * results.alpha)


def _labels(results: Results, curve: Curve) -> Iterator[Advice]:
    names, loss = results.study.class_names, curve.loss
    mean = float(np.nanmean(loss.value))
    first = _stand_out(results, curve.loss_beyond_mean, above=True)
    if len(first):
        yield Advice(
            LABELS,
            f"check the labels of {joined([names[c] for c in first])} first",
            f"Spend labelling effort on {_listed(results, first, _tested(results, curve))} first: so many points of "
            f"recall more than the {mean:z.1f} that all classes lose in the mean per 10 points of wrong labels.",
            tuple(names[c] for c in first),
            curve=curve.kind,
        )
    elif results.study.num_classes > 1:
        yield _undecided(results, curve, "Whose labels to check first")
    cheap = np.flatnonzero(benjamini_hochberg(loss.p_below(CHEAP_POINTS), results.alpha))
    if len(cheap):
        yield Advice(
            CHEAP,
            f"{joined([names[c] for c in cheap])} safe to label cheaply",
            f"Safe to label cheaply: {_listed(results, cheap, loss)}, which lose less than {CHEAP_POINTS:g} point of "
            "recall per 10 points of wrong labels.",
            tuple(names[c] for c in cheap),
            curve=curve.kind,
        )


def _collect(results: Results, curve: Curve) -> Iterator[Advice]:
    names, loss = results.study.class_names, curve.loss
    mean = float(np.nanmean(loss.value))
    first = _stand_out(results, curve.loss_beyond_mean, above=True)
    if len(first):
        yield Advice(
            COLLECT,
            f"collect more of {joined([names[c] for c in first])} first",
            f"Collect more of {_listed(results, first, _tested(results, curve))} first: so many points of recall more "
            f"than the {mean:z.1f} that all classes lose in the mean per 10 points of the data removed.",
            tuple(names[c] for c in first),
            curve=curve.kind,
        )
    elif results.study.num_classes > 1:
        yield _undecided(results, curve, "Of which class to collect more")


@dataclass(frozen=True)
class Merge:
    """Two classes taken as one.

    Attributes:
        classes: Their indices, first < second.
        accuracy: In the mean over seeds, if the two were one class.
        gain: What accuracy gains, in shares; an estimate.
    """

    classes: tuple[int, int]
    accuracy: float
    gain: Estimate


def merges(results: Results) -> list[Merge]:
    """The pairs of classes whose merge would certainly gain most accuracy at the baseline, largest gain first.

    The predictions stay what they are: an image of either class that is taken for the other counts as right. A network
    that is trained on the merged classes may do better.

    Args:
        results: Of one study, with a baseline of at least two seeds.

    Returns:
        At most `MOST_MERGES`: pairs whose gain certainly exceeds that of the average pair.
    """
    study, baseline = results.study, results.baseline
    if baseline is None or study.num_classes < 3 or len(baseline.accuracy.per_seed) < _FEWEST_SEEDS:
        return []
    both_ways = pair_contrasts(study, {BASELINE: (0.0, 1.0)}, {BASELINE: (0.0, 1.0)}, alpha=results.alpha)
    upper = np.triu_indices(study.num_classes, 1)
    confused = both_ways[upper]
    p = confused.p_above(float(confused.value.mean()))
    found = np.flatnonzero(benjamini_hochberg(p, results.alpha))
    found = found[np.argsort(-confused.value[found], kind="stable")][:MOST_MERGES]
    images = len(study.labels)
    return [
        Merge(
            classes=(int(upper[0][pair]), int(upper[1][pair])),
            accuracy=float(baseline.accuracy.value + confused.value[pair] / images),
            gain=confused[pair].scaled(1 / images),
        )
        for pair in found
    ]


def _merge(results: Results, train_counts: NDArray[np.int64] | None) -> Iterator[Advice]:
    names = results.study.class_names
    for merge in merges(results):
        one, other = (names[c] for c in merge.classes)
        short, ask = f"merge {one} and {other}?", "Ask"
        if train_counts is not None and (thin := [c for c in merge.classes if _few_examples(train_counts)[c]]):
            # What looks like likeness may be that the network has hardly seen one of them.
            which = joined([f"{names[c]} ({train_counts[c]:,} examples)" for c in thin])
            short = f"more of {joined([names[c] for c in thin])} before you merge {one} and {other}"
            ask = (
                f"Collect more of {which} first: the median class has {np.median(train_counts):,.0f}. If that changes "
                "nothing, ask"
            )
        assert results.baseline is not None
        now = 100 * float(results.baseline.accuracy.value)
        yield Advice(
            MERGE,
            short,
            f"{ask} whether {one} and {other} must be told apart: taken as one class they would raise accuracy from "
            f"{now:.1f} to {100 * merge.accuracy:.1f} %, by {merge.gain.scaled(100).text(2)} points. If they must, "
            "collect examples of exactly these two.",
            (one, other),
        )
