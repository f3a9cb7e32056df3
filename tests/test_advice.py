"""Advice on made-up studies whose truth is known: classes that stand out are named, and none that is not sure to."""

import re

import numpy as np
import pytest

from class_sensitivity.analysis.advice import Advice, advise, merges
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition

NAMES = ("ant", "bee", "cow", "dog", "elk", "fly")


def noise(frac: float) -> Condition:
    return Condition(noise_kind="shuffle", noise_frac=frac)


def reduction(frac: float) -> Condition:
    return Condition(reduction_frac=frac)


def made_up(seed: int, falls: dict[Condition, list[float]], *, seeds: int = 5, per_class: int = 400) -> Results:
    """A study in which recalls are 0.8 minus these falls; mistakes on ant are bee and the other way round, mostly."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(6), per_class)
    hard = rng.random(len(labels))
    mistaken = rng.integers(1, 6, size=len(labels))
    mistaken[labels == 0], mistaken[labels == 1] = 1, 5
    preds = {}
    for condition, fall in ({BASELINE: [0.0] * 6} | falls).items():
        for s in range(seeds):
            right = hard + 0.15 * rng.normal(size=len(labels)) < 0.8 - np.array(fall)[labels]
            preds[condition, s] = np.where(right, labels, (labels + mistaken) % 6)
    return analyse(Study.of_preds(labels, preds, NAMES), resamples=100)


def about(results: Results, kind: str) -> list[tuple[str, ...]]:
    return [advice.classes for advice in advise(results) if advice.about == kind]


EVEN = [0.05] * 6


def test_classes_that_stand_out_are_named_for_labels_and_for_data():
    deep, shallow = [0.15, 0.03, 0.03, 0.03, 0.03, 0.001], [0.02, 0.02, 0.02, 0.02, 0.12, 0.02]
    results = made_up(1, {noise(0.1): deep, reduction(0.1): shallow})
    assert about(results, "labels") == [("ant",)]
    assert about(results, "collect") == [("elk",)]
    (sentence,) = (each.sentence for each in advise(results) if each.about == "labels")
    # With the interval of what is tested: one-sided, so that of 1 - 2 alpha.
    assert f"ant ({results.curves['shuffle'].loss_beyond_mean.at(2 * results.alpha)[0].text()})" in sentence


def test_a_class_that_loses_nothing_is_safe_to_label_cheaply():
    results = made_up(2, {noise(0.3): [0.2, 0.2, 0.2, 0.2, 0.2, 0.0]}, per_class=1000)
    assert about(results, "cheap") == [("fly",)]
    assert results.curves["shuffle"].loss.high[5] < 1


@pytest.mark.parametrize(
    ("less", "noisy", "decided"),
    [(0.02, 0.2, "better labels before more data"), (0.2, 0.22, "more data before better labels")],
)
def test_labels_or_data_follows_from_what_costs_more(less, noisy, decided):
    results = made_up(3, {reduction(0.2): [less] * 6, noise(0.2): [noisy] * 6})
    first = advise(results)[0]
    assert (first.about, first.short) == ("buy", decided)
    balance = abs(float(results.costs[0].overall_balance.scaled(100).value))
    assert f"{balance:.1f} [" in first.sentence


def test_what_is_not_decided_is_said_with_the_seeds_that_it_would_take():
    results = made_up(4, {reduction(0.2): [0.05] * 6, noise(0.2): [0.1] * 6}, seeds=2, per_class=40)
    pieces = [each for each in advise(results) if each.about == "undecided"]
    assert [each.short.split(":")[0] for each in pieces] == [
        "better labels or more data",
        "whose labels to check first",
        "of which class to collect more",
    ]
    assert all(re.search(r"it would take (about \d+ seeds|more test images)", each.sentence) for each in pieces)

    for each in pieces:
        # The command runs what is missing of so many seeds; where no number of them is enough there is none.
        needed = re.search(r"about (\d+) seeds", each.sentence)
        ran = re.search(r"seed=(?:range\(2,(\d+)\)|([\d,]+))", each.command)
        assert bool(ran) == bool(needed)
        if needed and ran:
            last = int(ran[1]) - 1 if ran[1] else int(ran[2].split(",")[-1])
            assert last == max(2, int(needed[1]) - 1), "seeds are counted from 0"
            assert each.command.startswith("python train.py -m ")


def test_one_seed_is_answered_with_the_command_that_runs_more():
    results = made_up(4, {noise(0.2): [0.1] * 6}, seeds=1, per_class=40)
    (piece,) = advise(results)
    assert piece.short == "run more seeds"
    assert piece.command == "python train.py -m noise.frac=0,0.2 seed=1,2,3,4 data= model="


def test_more_seeds_of_noise_on_less_data_are_of_that_noise_on_as_little_data():
    on_less = Condition(noise_kind="shuffle", noise_frac=0.2, reduction_frac=0.5)
    (piece,) = advise(made_up(4, {on_less: [0.1] * 6}, seeds=1, per_class=40))
    assert piece.command == (
        "python train.py -m seed=1,2,3,4 data= model= && "
        "python train.py -m reduction.frac=0.5 noise.frac=0.2 seed=1,2,3,4 data= model="
    )
    (piece,) = advise(made_up(4, {on_less: [0.1] * 6, reduction(0.5): [0.1] * 6}, seeds=1, per_class=40))
    assert piece.command == (
        "python train.py -m reduction.frac=0,0.5 seed=1,2,3,4 data= model= && "
        "python train.py -m reduction.frac=0.5 noise.frac=0.2 seed=1,2,3,4 data= model="
    )


def test_no_class_is_named_where_all_fall_alike():
    named = [made_up(seed, {noise(0.2): EVEN, reduction(0.2): EVEN}) for seed in range(20)]
    wrong = sum(bool(about(results, kind)) for results in named for kind in ("labels", "collect"))
    assert wrong <= 5, "at a false discovery rate of 5 %, 2 of 40 in the mean"


def test_a_merge_gains_what_the_two_classes_take_from_each_other():
    results = made_up(5, {noise(0.2): EVEN})
    (merge, *others) = merges(results)
    assert merge.classes == (0, 1)
    assert others == []
    study, baseline = results.study, results.baseline
    assert baseline is not None
    merged = np.where(study.labels == 1, 0, study.labels)
    preds = np.where(study.preds_of(BASELINE, study.seeds) == 1, 0, study.preds_of(BASELINE, study.seeds))
    assert merge.accuracy == pytest.approx((preds == merged).mean())
    assert merge.gain.value == pytest.approx(merge.accuracy - baseline.accuracy.value)
    assert merge.gain.low < merge.gain.value < merge.gain.high
    assert about(results, "merge") == [("ant", "bee")]


def test_a_class_of_few_examples_and_low_recall_wants_more_of_them():
    results = made_up(8, {noise(0.2): EVEN})
    worse = made_up_with_a_poor_class()
    counts = np.array([1000, 990, 1010, 60, 1000, 1000])
    assert [each.classes for each in advise(worse, counts) if "few examples" in each.short] == [("dog",)]
    (sentence,) = (each.sentence for each in advise(worse, counts) if "few examples" in each.short)
    assert "dog (60 examples, recall " in sentence
    assert "median class has 1,000 examples" in sentence
    # Few examples alone, or low recall alone, is no reason.
    assert not any("few examples" in each.short for each in advise(results, counts))
    assert not any("few examples" in each.short for each in advise(worse, np.full(6, 1000)))


def test_before_a_merge_is_weighed_a_class_of_few_examples_wants_more_of_them():
    results = made_up(5, {noise(0.2): EVEN})

    def merge(counts: list[int]) -> Advice:
        (advice,) = (each for each in advise(results, np.array(counts)) if each.about == "merge")
        return advice

    enough = merge([1000, 990, 1010, 60, 1000, 1000])  # dog is not one of the pair
    assert enough.short == "merge ant and bee?"
    assert enough.sentence.startswith("Ask whether ant and bee must be told apart")
    thin = merge([1000, 60, 1010, 1000, 1000, 1000])
    assert thin.short == "more of bee before you merge ant and bee"
    assert thin.sentence.startswith(
        "Collect more of bee (60 examples) first: the median class has 1,000. If that changes nothing, ask whether ant "
        "and bee must be told apart"
    )


def made_up_with_a_poor_class() -> Results:
    rng = np.random.default_rng(9)
    labels = np.repeat(np.arange(6), 200)
    shares = np.where(labels == 3, 0.4, 0.8)
    preds = {(BASELINE, s): np.where(rng.random(len(labels)) < shares, labels, (labels + 1) % 6) for s in range(3)}
    return analyse(Study.of_preds(labels, preds, NAMES), resamples=100)


def test_one_seed_advises_nothing_but_more_seeds():
    results = made_up(6, {noise(0.2): EVEN, reduction(0.2): EVEN}, seeds=1)
    assert [each.about for each in advise(results)] == ["undecided"]


def test_a_study_without_stress_or_without_a_baseline_is_no_error():
    assert about(made_up(7, {}), "labels") == []
    lonely = Study.of_preds([0, 1, 2], {(noise(0.1), s): [0, 1, 1] for s in (1, 2)}, NAMES[:3])
    assert advise(analyse(lonely, resamples=100)) == []


def test_a_model_that_has_learnt_nothing_advises_to_train_longer():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    preds = {(condition, seed): np.zeros(100, int) for condition in (BASELINE, noise(0.2)) for seed in (1, 2, 3)}
    results = analyse(Study.of_preds(labels, preds, ("ant", "bee", "cow")), resamples=100)
    (only,) = advise(results)
    assert "training.epochs" in only.sentence
    better = preds | {(BASELINE, seed): labels for seed in (1, 2, 3)}
    results = analyse(Study.of_preds(labels, better, ("ant", "bee", "cow")), resamples=100)
    assert all("training.epochs" not in each.sentence for each in advise(results))
