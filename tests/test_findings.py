"""What a report says in sentences: exact words, and nothing about what did not happen."""

import re

import numpy as np
import pytest
from support.reports import settings
from support.synthetic import THREE

from class_sensitivity.analysis.claims.claim_set import Focus
from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.sensitivity import Results, analyse
from class_sensitivity.analysis.study import Study
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.report.figure_list import FigureSpec, figure_specs
from class_sensitivity.report.findings import caveats, findings, frequent_confusions
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
        r"\(-0\.0\)\.",
        rf"To data reduction the most sensitive class is cow: it loses 5\.0{interval} points of recall per 10 points "
        r"of stress, and is the most sensitive with probability \d+%\. The least sensitive is bee \(-0\.0\)\.",
        rf"20 % noise \(shuffle\) costs 10\.7 points of accuracy: 3\.7{interval} because the good examples are "
        rf"missing, and 7\.0{interval} more because the model is misled\. .+",
        rf"By class, being misled costs most to cow \(20\.0{interval} points of recall\) and missing examples to cow "
        rf"\(10\.0{interval}\), as far as these intervals tell classes apart\.",
        r"The most frequent confusions of the baseline are cow taken for bee \(11\), ant taken for bee \(2\), in test "
        r"images; \d of 3 pairs have a direction\.",
    ]
    said = findings(results)
    assert len(said) == len(expected)
    for sentence, words in zip(said, expected, strict=True):
        assert re.fullmatch(words, sentence), sentence


def test_one_frequent_confusion_is_one():
    (_, sentence) = findings(results_of(baseline=[preds(cow_bee=4)]))
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
    assert not [sentence for sentence in findings(results) if "taken for" in sentence]
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
    return list(figure_specs(results, arrays, chosen, limit=1.0, focus=focus or Focus()))


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
        "cells", "fig2_confusion", "fig2_confusion_sd", "fig4_shuffle", "fig5_reduction",
        "fig9_noise_against_reduction", "fig10_order",
    ]  # fmt: skip


def test_a_focus_decides_what_is_shown_where_its_classes_and_conditions_are(results):
    focus = Focus(
        cells=(("ant", "cow"),),
        side_by_side={"pair": (noise(0.2), reduction(0.2)), "not-run": (noise(0.2), Condition(reduction_frac=0.7))},
        figure_numbers={"pair": "figure 17"},
    )
    specs = {spec.name: spec for spec in specs_of(results, focus=focus)}
    assert specs["pair"].title == "20 % noise (shuffle) against 20 % of the data removed (figure 17)"
    assert "not-run" not in specs
    assert specs["cells"].draw()[0].get_title() == "{ant, cow}"
    foreign = {spec.name: spec for spec in specs_of(results, focus=Focus(cells=(("ant", "dog"),)))}
    assert foreign["cells"].draw()[0].get_title() == "{cow, bee}", "the most frequent confusion instead"
    asked = {spec.name: spec for spec in specs_of(results, "cells=[[bee,ant]]", focus=focus)}
    assert asked["cells"].draw()[0].get_title() == "{bee, ant}"


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


# Caveats


def test_a_study_without_a_baseline_says_what_to_run():
    said = " ".join(caveats(results_of(noisy=[preds(), preds()])))
    assert "There is no baseline" in said
    assert "seed=0,1" in said
