"""What a report says in sentences: exact words, and nothing about what did not happen."""

import re

import numpy as np
import pytest
from support.reports import settings
from support.synthetic import THREE

from class_sensitivity.analysis.advice import advise
from class_sensitivity.analysis.claims.claim_set import Focus
from class_sensitivity.analysis.claims.evidence import Evidence, noise, reduction
from class_sensitivity.analysis.claims.judging import (
    CONTRADICTED,
    NOT_APPLICABLE,
    NOT_RUN,
    REPRODUCED,
    UNDECIDED,
    Verdict,
)
from class_sensitivity.analysis.claims.next_runs import NextRuns
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.seeds import SeedsNeeded
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.study import Study
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.report.caveats import caveats
from class_sensitivity.report.explorer.payload import relative_limit
from class_sensitivity.report.figure_list import figure_specs
from class_sensitivity.report.findings import findings, frequent_confusions
from class_sensitivity.report.glance import at_a_glance
from class_sensitivity.report.parts import FigureSpec, Line
from class_sensitivity.report.variety import variety_of
from class_sensitivity.runs.condition import BASELINE, Condition

LABELS = np.repeat(np.arange(3), 100)


def preds(**taken: int) -> np.ndarray:
    """All right but for some: `ant_bee=3` takes three ants for bees."""
    made = LABELS.copy()
    for pair, number in taken.items():
        true, predicted = (THREE.index(name) for name in pair.split("_"))
        free = np.flatnonzero((true == LABELS) & (made == true))
        made[free[:number]] = predicted
    return made


def results_of(**runs: list[np.ndarray]) -> Results:
    """Results of predictions at the baseline and at other conditions, one array a seed."""
    conditions = {"baseline": BASELINE, "noisy": noise(0.2), "reduced": reduction(0.2)}
    arranged = {(conditions[name], seed): each for name, seeds in runs.items() for seed, each in enumerate(seeds)}
    study = Study.of_preds(LABELS, arranged, THREE, data="made-up", model="cnn6")
    return analyse(study, resamples=100)


def sentences(results: Results) -> list[str]:
    """What was found, without what shows it."""
    return [each.sentence for each in findings(results)]


def test_the_sentences_of_a_study():
    results = results_of(
        baseline=[preds(cow_bee=10, ant_bee=2), preds(cow_bee=12, ant_bee=2)],
        noisy=[preds(cow_bee=40, ant_bee=3), preds(cow_bee=42, ant_bee=5)],
        reduced=[preds(cow_bee=20, ant_bee=3), preds(cow_bee=22, ant_bee=3)],
    )
    interval = r" \[-?\d+\.\d, -?\d+\.\d\]"
    expected = [
        rf"Without stress the model is right on 95\.7{interval} % of the test images; the least accurate class is cow, "
        rf"at 89\.0{interval} %\.",
        rf"To label noise \(shuffle\) the most sensitive class is cow: it loses 15\.0{interval} points of recall per "
        r"10 points of stress, and is the most sensitive with probability \d+%\. The least sensitive is bee "
        r"\(0\.0\)\.",
        rf"To data reduction the most sensitive class is cow: it loses 5\.0{interval} points of recall per 10 points "
        r"of stress, and is the most sensitive with probability \d+%\. The least sensitive is bee \(0\.0\)\.",
        rf"20 % noise \(shuffle\) costs 10\.7 points of accuracy: 3\.7{interval} because the good examples are "
        rf"missing, and 7\.0{interval} more because the model is misled\.",
        rf"By class, being misled costs most to cow \(20\.0{interval} points of recall\) and missing the examples "
        rf"costs most to cow \(10\.0{interval} points of recall\), as far as these intervals tell classes apart\.",
        r"The most frequent confusions of the baseline are cow taken for bee \(11\), ant taken for bee \(2\), in test "
        r"images; confusion as a whole has a direction \(p = 0\.0004\), 1 of 3 pairs have one by themselves\.",
    ]
    said = sentences(results)
    assert len(said) == len(expected)
    for sentence, words in zip(said, expected, strict=True):
        assert re.fullmatch(words, sentence), sentence


def constant(to: int) -> list[np.ndarray]:
    """One class whatever the image, for three seeds."""
    return [np.full_like(LABELS, to)] * 3


@pytest.mark.parametrize(
    ("kind", "options", "ending"),
    [
        ("shuffle", {}, "; if it believed none, mistakes as frequent as on test images would hit 20 %."),
        ("pair", {}, "."),  # where mistakes may well be what the labels say
    ],
)
def test_how_many_wrong_labels_were_learnt_is_said_where_most_are_wrong(kind, options, ending):
    some, more = (Condition(noise_kind=kind, noise_frac=frac, noise_options=options) for frac in (0.1, 0.3))
    labels = np.repeat(np.arange(3), 10)
    right, wrong = labels, np.where(np.arange(30) % 10 < 4, (labels + 1) % 3, labels)  # an accuracy of 60 %
    preds = {(BASELINE, 1): right, (some, 1): right, (more, 1): wrong, (BASELINE, 2): right, (more, 2): wrong}
    scalars = {
        key: {
            "effective_noise": key[0].noise_frac,
            "train_size": 30,
            "steps": 1,
            "duration_s": 1,
            "best_accuracy": 1.0,
            "learnt": share,
        }
        for key, share in zip(preds, (np.nan, 0.1, 0.5, np.nan, 0.6), strict=True)
    }
    study = Study.of_preds(labels, preds, ("ant", "bee", "cow"), scalars=scalars)
    (told,) = (each for each in sentences(analyse(study, resamples=100)) if "wrong labels at" in each)
    assert told == f"After training the network predicts 55 % of the wrong labels at {more.label}{ending}"


def test_classes_that_all_fall_alike_are_said_to_be_alike():
    results = results_of(baseline=constant(0), noisy=constant(0), reduced=constant(0))
    assert sentences(results) == [
        "Without stress the model is right on 33.3 [28.0, 39.0] % of the test images; the least accurate classes are "
        "bee and cow, at 0.0 [0.0, 3.6] %.",
        "Under label noise (shuffle) no class can be told from another: each loses 0.0 points of recall per 10 points "
        "of stress.",
        "Under data reduction no class can be told from another: each loses 0.0 points of recall per 10 points of "
        "stress.",
        "20 % noise (shuffle) costs 0.0 points of accuracy: 0.0 [-0.7, 0.7] because the good examples are missing, and "
        "0.0 [-0.7, 0.7] more because the model is misled.",
        "The most frequent confusions of the baseline are bee taken for ant (100), cow taken for ant (100), in test "
        "images; 2 of 3 pairs have a direction.",
    ]
    assert at_a_glance(results, [], [], None) == [
        Line("accuracy", "33.3 [28.0, 39.0] %; least accurate: bee and cow, 0.0 [0.0, 3.6] %"),
        Line("label noise (shuffle)", "no class can be told from another: each loses 0.0 points per 10"),
        Line("data reduction", "no class can be told from another: each loses 0.0 points per 10"),
        Line(
            "20 % noise (shuffle)",
            "costs 0.0 points: 0.0 [-0.7, 0.7] for the missing examples, 0.0 [-0.7, 0.7] for being misled",
        ),
    ]


def test_classes_that_no_test_tells_apart_are_said_to_be_alike():
    results = results_of(
        baseline=[preds(), preds(ant_bee=1), preds(cow_bee=1)],
        noisy=[preds(ant_bee=3), preds(bee_cow=2, ant_cow=2), preds(cow_ant=4)],
    )
    (sentence,) = (each for each in sentences(results) if "label noise" in each)
    loss = results.curves["shuffle"].loss
    assert sentence == (
        "Under label noise (shuffle) no class can be told from another: the most that a class loses per 10 points of "
        f"stress is {loss[0].text()} points of recall (ant), the least {loss[1].text()} (bee)."
    )
    (line,) = (each for each in at_a_glance(results, [], [], None) if each.about == "label noise (shuffle)")
    assert line.text.startswith("no class can be told from another; ant loses ")


def test_of_one_class_with_test_images_nothing_is_said_of_others():
    ants, fallen = np.zeros(100, int), np.repeat([0, 1], [80, 20])
    arranged = {(BASELINE, s): ants for s in range(3)} | {(noise(0.2), s): np.roll(fallen, s) for s in range(3)}
    results = analyse(Study.of_preds(ants, arranged, THREE, data="made-up", model="cnn6"), resamples=10)
    loss = results.curves["shuffle"].loss[0].text()
    assert loss.startswith("10.0 [")
    (line,) = (each for each in at_a_glance(results, [], [], None) if each.about == "label noise (shuffle)")
    assert line.text == f"ant loses {loss} points per 10; no other class has test images"
    (sentence,) = (each for each in sentences(results) if "label noise" in each)
    assert sentence == (
        f"Under label noise (shuffle) ant, the one class that has test images, loses {loss} points of recall per 10 "
        "points of stress."
    )


def test_the_glance_and_the_verdicts_say_in_the_same_words_who_can_fall_most():
    results = results_of(
        baseline=[preds()] * 3,
        noisy=[preds(cow_bee=40 + s, ant_bee=36 + 4 * s) for s in range(3)],
    )
    curve = results.curves["shuffle"]
    note = Evidence(results).falls_most("cow", curve).note
    (line,) = (each for each in at_a_glance(results, [], [], None) if each.about == curve.label)
    assert note == "Any class but bee may be the one that falls most under label noise (shuffle)."
    assert line.text.startswith(note.lower().replace(f" under {curve.label}", "").rstrip(".") + "; ")


def test_all_classes_that_share_the_lowest_recall_are_named_or_counted():
    everything_right = results_of(baseline=[preds(), preds()])
    assert sentences(everything_right)[0].endswith("classes are ant, bee and cow, at 100.0 [96.4, 100.0] %.")
    labels = np.repeat(np.arange(5), 20)
    many = Study.of_preds(labels, {(BASELINE, s): np.zeros(100, int) for s in (1, 2)}, tuple("abcde"))
    assert "classes are 4 of 5 classes, at 0.0" in sentences(analyse(many, resamples=2))[0]


# At a glance


def glance(results: Results, verdicts: list[Verdict], advised: NextRuns | None = None) -> dict[str, str]:
    advice = advise(results)
    assert len(at_a_glance(results, advice, verdicts, advised)) <= 10
    lines = {line.about: line.text for line in at_a_glance(results, advice, verdicts, advised)}
    assert lines.pop("advice") == "; ".join(each.short for each in advice)
    return lines


def test_a_study_at_a_glance_says_who_falls_most_and_what_would_tell_the_rest(results):
    shown = glance(results, [])
    assert list(shown) == ["accuracy", "label noise (shuffle)", "data reduction", "20 % noise (shuffle)"]
    loss = results.curves["shuffle"].loss
    assert shown["label noise (shuffle)"] == (
        f"cow falls most, and certainly no other class; cow loses {loss[2].text()} points per 10, bee {loss[1].text()}"
    )
    assert "least accurate: cow, 89.0 [" in shown["accuracy"]
    assert shown["20 % noise (shuffle)"].startswith("costs 10.0 points: 3.3 [")


def test_of_classes_that_can_both_fall_most_it_says_how_many_seeds_would_tell_them_apart():
    both = results_of(
        baseline=[preds()] * 3,
        noisy=[preds(cow_bee=40 + s, ant_bee=36 + 4 * s) for s in range(3)],
    )
    words = glance(both, [])["label noise (shuffle)"]
    assert words.startswith("any class but bee may be the one that falls most; ")
    assert re.search(r"; to tell (ant from cow|cow from ant): (about \d+ seeds|more test images)", words)


def test_claims_at_a_glance_decided_first_and_the_nearest_of_the_undecided_first(results):
    def undecided(name: str, about: int | None) -> Verdict:
        return Verdict(name, "", UNDECIDED, needed=SeedsNeeded(about, about, about))

    verdicts = [
        Verdict("skipped", "", NOT_RUN),
        undecided("far", 90),
        undecided("never", None),
        Verdict("wrong", "", CONTRADICTED),
        undecided("near", 8),
        Verdict("unknown", "", UNDECIDED),
        Verdict("so", "", REPRODUCED),
        Verdict("so-too", "", REPRODUCED),
        Verdict("elsewhere", "", NOT_APPLICABLE),
    ]
    advised = NextRuns("python train.py -m seed=6,7", ("near",), 2, 300.0)
    shown = glance(results, verdicts, advised)
    assert list(shown)[4:] == ["reproduced, 2", "contradicted, 1", "undecided, 4", "not run, 1", "next"]
    assert shown["reproduced, 2"] == "so, so-too"
    undecided_words = "near (8 seeds), far (90 seeds), never (more test images), unknown (no number of seeds known)"
    assert shown["undecided, 4"] == undecided_words
    assert shown["not run, 1"] == "skipped"
    assert shown["next"] == "python train.py -m seed=6,7   # 2 runs, about 5 min: would decide near"


def test_one_seed_at_a_glance_has_values_alone():
    shown = glance(results_of(baseline=[preds(cow_bee=9)], noisy=[preds(cow_bee=20, ant_bee=1)]), [])
    assert shown["accuracy"] == "97.0 %; least accurate: cow, 91.0 %"
    assert shown["label noise (shuffle)"] == "cow loses 5.5 points per 10, bee 0.0"


def test_one_frequent_confusion_is_one():
    (_, sentence) = sentences(results_of(baseline=[preds(cow_bee=4)]))
    assert sentence == "The most frequent confusion of the baseline is cow taken for bee (4), in test images."


@pytest.mark.parametrize(
    "baseline",
    [
        [preds()],
        [preds(cow_bee=1)],
        [preds(), preds()],
        [preds(cow_bee=1), preds(cow_bee=0), preds()],
        [preds(cow_bee=2), preds(), preds()],
    ],
    ids=["none", "one image of one seed", "none of two", "one image of three seeds", "less than one a seed"],
)
def test_what_did_not_happen_or_happened_about_once_is_no_finding(baseline):
    results = results_of(baseline=baseline, noisy=baseline)
    assert not [sentence for sentence in sentences(results) if "taken for" in sentence]
    specs = {spec.name: spec for spec in specs_of(results, images=True)}
    names = set(specs)
    assert names >= {"fig2_confusion", "fig7_variety"}
    assert not names & {"cells", "fig3_mistaken"}
    assert "correlation" not in specs["fig7_variety"].caption, "no class is more sensitive than another"


def test_only_frequent_confusions_are_listed():
    counts = np.array([[[90, 10, 0], [1, 98, 1], [0, 3, 97]], [[95, 5, 0], [1, 99, 0], [0, 1, 99]]])
    assert frequent_confusions(counts, 5) == [(0, 1, 7.5), (2, 1, 2.0), (1, 0, 1.0)]
    assert frequent_confusions(counts, 1) == [(0, 1, 7.5)]


# Which figures there are


def specs_of(results: Results, *overrides: str, images: bool = False, focus: Focus | None = None) -> list[FigureSpec]:
    chosen = settings("runs", "report", *overrides)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (len(LABELS), 4, 4, 3), np.uint8)
    arrays = ImageArrays(pixels, LABELS, pixels, LABELS, THREE) if images else None
    variety = variety_of(results, arrays)
    return list(
        figure_specs(results, arrays, chosen, limit=relative_limit([results]), focus=focus or Focus(), variety=variety)
    )


@pytest.fixture(scope="module")
def results() -> Results:
    return results_of(
        baseline=[preds(cow_bee=10), preds(cow_bee=12)],
        noisy=[preds(cow_bee=40), preds(cow_bee=42)],
        reduced=[preds(cow_bee=20), preds(cow_bee=22)],
    )


def test_the_figures_of_a_study_in_order(results):
    assert [spec.name for spec in specs_of(results)] == [
        "sensitivity", "accuracy", "fig8_diagonal", "cost_noise-shuffle-0.2", "ranks_shuffle", "ranks_reduction",
        "cells", "fig2_confusion", "fig2_confusion_sd", "fig4_shuffle", "fig4_shuffle_means", "fig5_reduction",
        "fig5_reduction_means", "fig9_noise_against_reduction", "fig10_order",
    ]  # fmt: skip


def test_all_relative_matrices_of_a_report_have_one_scale(results):
    relative = {"fig4_shuffle", "fig5_reduction", "fig9_noise_against_reduction"}
    norms = [axes.images[0].norm for spec in specs_of(results) if spec.name in relative for axes in spec.draw()]
    assert len(norms) == 4
    assert {(norm.vmin, norm.vmax) for norm in norms} == {(-30, 30)}, "the 20 % noise, the larger"


def test_a_focus_decides_what_is_shown_where_its_classes_and_conditions_are(results):
    focus = Focus(
        cells=(("ant", "cow"),),
        side_by_side={"pair": (noise(0.2), reduction(0.2)), "not-run": (noise(0.2), Condition(reduction_frac=0.7))},
        figure_numbers={"pair": "figure 17"},
    )
    specs = {spec.name: spec for spec in specs_of(results, focus=focus)}
    assert specs["pair"].title == "20 % noise (shuffle) against 20 % of the data removed (figure 17)"
    assert "not-run" not in specs
    assert specs["cells"].draw()[0].get_title() == "ant taken for cow"
    foreign = {spec.name: spec for spec in specs_of(results, focus=Focus(cells=(("ant", "dog"),)))}
    assert foreign["cells"].draw()[0].get_title() == "cow taken for bee", "the most frequent confusion instead"
    asked = {spec.name: spec for spec in specs_of(results, "cells=[[bee,ant]]", focus=focus)}
    assert asked["cells"].draw()[0].get_title() == "bee taken for ant"


def test_training_images_are_those_of_the_focus_or_of_the_extremes():
    # So few mistakes that none is a finding: figure 3 would read a file.
    results = results_of(baseline=[preds(ant_bee=1), preds()], noisy=[preds(cow_ant=1), preds()])

    def title(**focus: tuple[str, ...]) -> str:
        specs = {spec.name: spec for spec in specs_of(results, images=True, focus=Focus(**focus))}
        return specs["fig7_variety"].title

    assert title() == "Training images of cow and ant", "the most and the least sensitive"
    (variety,) = (spec for spec in specs_of(results, images=True) if spec.name == "fig7_variety")
    assert "Its rank correlation with sensitivity to label noise (shuffle) is " in variety.caption
    assert title(variety=("bee", "ant")) == "Training images of bee and ant"
    assert title(variety=("bee", "dog")) == "Training images of cow and ant"


def test_variety_is_of_few_training_images_too_and_goes_with_the_classes_that_are_tested():
    labels, (ant, bee, cow, dog) = np.repeat(np.arange(3), 40), range(4)
    runs = {(condition, seed): labels.copy() for condition in (BASELINE, noise(0.2)) for seed in (1, 2)}
    for seed in (1, 2):
        runs[noise(0.2), seed][:8] = bee
        runs[noise(0.2), seed][40:44] = cow
    results = analyse(Study.of_preds(labels, runs, ("ant", "bee", "cow", "dog")), resamples=100)
    train = np.concatenate([np.full(5, ant), np.repeat([bee, cow, dog], 40)])
    pixels = (
        np.random.default_rng(0).normal(128, [[[30]], [[20]], [[10]], [[40]]], (4, 40, 12)).round().astype(np.uint8)
    )
    images = np.concatenate([pixels[ant, :5], *pixels[1:]]).reshape(-1, 2, 2, 3)
    variety = variety_of(results, ImageArrays(images, train, images[:120], labels, results.study.class_names))
    spec = variety.spec([], Focus())
    assert spec.title == "Training images of ant and cow", "nothing is known of the sensitivity of dog"
    assert "is +1.00 (p = 0.00, 3 classes)" in spec.caption
    shown = [[bool(axes.images) for axes in row] for row in spec.draw()]
    assert np.sum(shown, axis=1).tolist() == [5, 30]
    table = variety.table().set_index("class")
    assert list(table) == ["stress", "variety", "loss", "rank_correlation", "p"]
    assert table.variety["dog"] == variety.found[dog] == pytest.approx(40, rel=0.2)
    assert (table.rank_correlation["*"], table.p["*"]) == (pytest.approx(1), pytest.approx(0))


# Caveats


def test_a_study_without_a_baseline_says_what_to_run():
    said = " ".join(caveats(results_of(noisy=[preds(), preds()])))
    assert "There is no baseline" in said
    assert "seed=0,1" in said
