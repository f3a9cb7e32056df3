"""Every claim of the article in made-up worlds where it is so, where the opposite is so, and where nothing is sure."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from support.commands import ROOT
from support.plans import load_one, same
from support.synthetic import CIFAR10, THREE, World, shares, write_run, write_study

from class_sensitivity.analysis import claims
from class_sensitivity.analysis.claims import claims_about
from class_sensitivity.analysis.claims.cifar10 import CLAIMS as ARTICLE
from class_sensitivity.analysis.claims.claim_set import ClaimSet
from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.claims.judging import (
    CONTRADICTED,
    NOT_APPLICABLE,
    NOT_RUN,
    REPRODUCED,
    UNDECIDED,
    Verdict,
    decide,
)
from class_sensitivity.analysis.claims.next_runs import next_runs
from class_sensitivity.analysis.contrasts import accuracy_contrast
from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.seeds import seeds_needed_by
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition

#: Every claim of the article by its id.
CLAIMS = ARTICLE.claims

#: Many images of which nearly all are hard or easy for every seed: what is so is seen to be so.
CLEAR = World(CIFAR10, 600, image=0.96, seed=0.0005, taste=0.02)
#: Few images, and seeds that differ.
NOISY = World(CIFAR10, 12, image=0.3, seed=0.2, taste=0.1, root=1)

NOISE = (0.1, 0.15, 0.2, 0.3)
REDUCTION = (0.2, 0.6, 0.9)

#: Nobody can show these to be wrong: that no pair of classes has a direction or that curves are straight would have to
#: be concluded from not finding anything.
NOT_CONTRADICTABLE = {"asymmetry", "nonlinear"}

#: Claims that name no class, and so can be asked of any data set.
OF_ANY_DATA = {"asymmetry", "drop-40k", "noise-worse", "nonlinear", "not-model-specific"}

NOISE_LEVELS = (noise(0.1), noise(0.2), noise(0.3))
REDUCTION_LEVELS = (reduction(0.2), reduction(0.6), reduction(0.9))

Plan = dict[Condition, np.ndarray]


def condition_of(noise_frac: float = 0.0, reduction_frac: float = 0.0) -> Condition:
    return noise(noise_frac) if noise_frac else reduction(reduction_frac) if reduction_frac else BASELINE


def world_plan(
    noisy: Callable[[str, float], float],
    reduced: Callable[[str, float], float],
    wrong: Callable[[float], dict[tuple[str, str], float]],
) -> dict[Condition, np.ndarray]:
    """Condition -> shares, from recalls by class and level and from weights of single confusions by noise level."""

    def matrix(recall: Callable[[str], float], weights: dict[tuple[str, str], float]) -> np.ndarray:
        attraction = np.ones((10, 10))
        for (true, predicted), weight in weights.items():
            attraction[CIFAR10.index(true), CIFAR10.index(predicted)] = weight
        return shares([recall(name) for name in CIFAR10], attraction)

    plan = {condition_of(x): matrix(lambda c, x=x: noisy(c, x), wrong(x)) for x in (0.0, *NOISE)}
    return plan | {condition_of(0, r): matrix(lambda c, r=r: reduced(c, r), wrong(0.0)) for r in REDUCTION}


def claimed_noise(name: str, x: float) -> float:
    if name == "bird":
        return float(np.interp(x, [0, 0.1, 0.15, 0.2, 0.3], [0.82, 0.78, 0.77, 0.62, 0.5]))
    if name == "airplane":
        return float(np.interp(x, [0, 0.1, 0.3], [0.95, 0.95, 0.8]))
    base = {"cat": 0.42, "dog": 0.56, "deer": 0.7, "frog": 0.93, "truck": 0.95}.get(name, 0.93)
    lost = {"frog": 0.15, "truck": 0.15}.get(name, 0.4)
    return base - lost * x


def claimed_reduction(name: str, r: float) -> float:
    if name == "bird":
        return float(np.interp(r, [0, 0.2, 0.6, 0.9], [0.82, 0.77, 0.6, 0.3]))
    base = claimed_noise(name, 0)
    # At 60 % removed cat and deer are where they are at 20 % noise.
    lost = {"cat": 0.08, "deer": 0.08, "dog": 0.03, "airplane": 0.01, "horse": 0.01}.get(name, 0.1)
    return base - lost * float(np.interp(r, [0, 0.2, 0.6, 0.9], [0, 0.1, 1, 3]))


def claimed_confusions(x: float) -> dict[tuple[str, str], float]:
    cat_dog, dog_frog = float(np.interp(x, [0, 0.1], [30, 3])), float(np.interp(x, [0, 0.1], [0.1, 20]))
    return {("cat", "dog"): cat_dog, ("cat", "deer"): 8, ("deer", "cat"): 0.5, ("dog", "frog"): dog_frog}


def opposite_noise(name: str, x: float) -> float:
    if name == "bird":
        return float(np.interp(x, [0, 0.1, 0.15, 0.3], [0.7, 0.7, 0.6, 0.6]))
    if name == "airplane":
        return 0.9 - 2 * min(x, 0.1)
    base = {"cat": 0.95, "dog": 0.5, "deer": 0.6}.get(name, 0.8)
    return base - {"cat": 0.5, "frog": 2.0, "truck": 2.0}.get(name, 0.7) * x


def opposite_reduction(name: str, r: float) -> float:
    base = opposite_noise(name, 0)
    if name == "bird":
        return base - 0.18 * min(1.0, 5 * r) + 0.05 * r
    return base - float(np.interp(r, [0, 0.2, 0.6, 0.9], [0, 0.45, 0.46, 0.47])) * (base - 0.05)


def opposite_confusions(x: float) -> dict[tuple[str, str], float]:
    cat_dog, dog_frog = float(np.interp(x, [0, 0.1], [0.1, 30])), float(np.interp(x, [0, 0.1], [30, 0.1]))
    return {("cat", "dog"): cat_dog, ("cat", "deer"): 0.1, ("deer", "cat"): 20, ("dog", "frog"): dog_frog}


CLAIMED = world_plan(claimed_noise, claimed_reduction, claimed_confusions)
OPPOSITE = world_plan(opposite_noise, opposite_reduction, opposite_confusions)
#: Nothing ever happens, and every mistake is as likely as any other.
NOTHING = dict.fromkeys(CLAIMED, shares([0.8] * 10))


def analysed(root: Path) -> list[Results]:
    runs = load_runs(root)
    assert runs.left_out == ()
    return [analyse(found, resamples=100) for found in runs]


def judged(root: Path, number: int = 0) -> dict[str, Verdict]:
    return judgement(analysed(root), number)


def judgement(every: Sequence[Results], number: int = 0) -> dict[str, Verdict]:
    others = [results for results in every if results.study.model != every[number].study.model]
    return {verdict.id: verdict for verdict in ARTICLE.judge(every[number], others)}


def results_of(world: World, plan: Plan, seeds: Sequence[int], model: str = "cnn6") -> Results:
    """As `analysed` with `write_study`, without the way over files."""
    preds = {(c, s): world.predict(matrix, c.name, s) for c, matrix in plan.items() for s in seeds}
    study = Study.of_preds(world.labels, preds, world.class_names, data="cifar10", model=model)
    return analyse(study, resamples=100)


def models(world: World, plan: Plan, seeds: Sequence[int], other_plan: Plan | None = None) -> list[Results]:
    """A study of one model, and of another as much as it takes to compare the two."""
    needed = [BASELINE, *NOISE_LEVELS, reduction(0.2)]
    compared = {condition: (other_plan or plan)[condition] for condition in needed}
    return [results_of(world, plan, seeds), results_of(replace(world, model="another"), compared, seeds, "lenet")]


#: Each world, and what happens in it to the one model, and to the other if that is something else.
WORLDS: dict[str, tuple[World, Plan, Plan | None]] = {
    "claimed": (CLEAR, CLAIMED, None),
    "opposite": (CLEAR, OPPOSITE, CLAIMED),  # the order of the one model is not that of the other
    "noisy": (NOISY, NOTHING, None),
    "symmetric": (CLEAR, NOTHING, None),
}


@pytest.fixture(scope="module")
def analyses() -> dict[str, list[Results]]:
    return {name: models(world, plan, range(5), other) for name, (world, plan, other) in WORLDS.items()}


@pytest.fixture(scope="module")
def verdicts(analyses) -> dict[str, dict[str, Verdict]]:
    return {name: judgement(every) for name, every in analyses.items()}


def test_what_is_judged_is_what_lies_in_the_files(tmp_path):
    world = replace(CLEAR, per_class=20)
    write_study(tmp_path, world, CLAIMED, range(2), data="cifar10", model="cnn6")
    assert same(judged(tmp_path), judgement([results_of(world, CLAIMED, range(2))]))


def test_every_claim_of_the_study_is_judged_in_order(verdicts):
    listed = """asymmetry cat-deer airplane-10 cat-dog-frog cat-worst-noise bird-noise bird-knee stable drop-40k
        cat-worst-reduction bird-reduction noise20-reduction60 noise-worse nonlinear baseline-order bird-dog-flip
        not-model-specific"""
    assert list(CLAIMS) == listed.split()
    for world in verdicts.values():
        assert list(world) == list(CLAIMS)
        for name, verdict in world.items():
            assert verdict.claim == CLAIMS[name].text
            assert verdict.verdict in (REPRODUCED, CONTRADICTED, UNDECIDED)
            assert verdict.seeds == 5
            assert verdict.sentence.endswith(".")
            assert not verdict.command or name == "not-model-specific"


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_that_is_so_is_reproduced(verdicts, name):
    verdict = verdicts["claimed"][name]
    assert verdict.verdict == REPRODUCED, verdict.sentence


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_of_which_the_opposite_is_so_is_contradicted(verdicts, name):
    if name in NOT_CONTRADICTABLE:
        assert verdicts["symmetric"][name].verdict == UNDECIDED
    else:
        verdict = verdicts["opposite"][name]
        assert verdict.verdict == CONTRADICTED, verdict.sentence


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_that_few_and_noisy_runs_cannot_tell_is_undecided(verdicts, name):
    verdict = verdicts["noisy"][name]
    assert verdict.verdict == UNDECIDED, verdict.sentence


@pytest.mark.parametrize(("name", "parts"), [("asymmetry", 1), ("nonlinear", 2)])
def test_a_claim_of_differences_rests_on_one_test_of_them_all(verdicts, name, parts):
    for world in verdicts:
        verdict = verdicts[world][name]
        assert len(verdict.parts) == parts
        assert verdict.verdict != CONTRADICTED
        assert "F = " in verdict.sentence
        assert "p = " in verdict.sentence
        tests = [part.decisive.test for part in verdict.parts]
        assert [part.verdict == REPRODUCED for part in verdict.parts] == [test.p <= 0.05 for test in tests]
        if verdict.verdict == UNDECIDED:
            numbers = [seeds_needed_by(test) for test in tests if test.p > 0.05]
            assert verdict.needed == max(numbers, key=lambda each: each.number)
    if parts == 2:
        assert [part.words for part in verdict.parts] == [
            "classes lose differently under label noise (shuffle)",
            "curves bend under label noise (shuffle)",
        ]


def test_a_direction_is_asked_of_new_images_and_of_these(verdicts):
    verdict = verdicts["claimed"]["asymmetry"]
    assert re.search(r"whether any pair .*: F = .*; the largest is ", verdict.sentence, re.IGNORECASE)
    assert re.search(r"on these images alone it is F = [\d.]+, p = ", verdict.sentence)
    assert re.fullmatch(
        r"By themselves \d+ of 45 pairs have one \(false discovery rate 0\.05\)\.", verdict.parts[0].note
    )


def test_the_strongest_bend_is_told_in_points(verdicts):
    # Bird's recall falls by 5 points from 0 to 15 % and by 27 from there to 30 %.
    bends = verdicts["claimed"]["nonlinear"].parts[1].decisive
    assert bends.largest.startswith("bird's recall above the line")
    levels, recalls = [0, 0.1, 0.15, 0.2, 0.3], [0.82, 0.78, 0.77, 0.62, 0.5]
    start, middle, end = np.polyval(np.polyfit(levels, recalls, 2), [0, 0.15, 0.3])
    assert float(bends.estimate.value) == pytest.approx(100 * (middle - (start + end) / 2), abs=1.0)


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.parametrize("world", ["claimed", "opposite"])
def test_the_evidence_and_its_interval_are_in_the_sentence(verdicts, world, name):
    verdict = verdicts[world][name]
    assert verdict.unit
    if name != "not-model-specific":
        assert verdict.low <= verdict.effect <= verdict.high
        assert f"{abs(verdict.effect):.2f}" in verdict.sentence
    bounds = re.findall(r"\[([-+.\d]+), ([-+.\d]+)\]", verdict.sentence)
    if verdict.verdict == CONTRADICTED:
        assert any([float(x) for x in pair] == pytest.approx([verdict.low, verdict.high], abs=0.006) for pair in bounds)


def test_effects_are_what_they_say(verdicts, analyses):
    results, _ = analyses["claimed"]
    study, world = results.study, verdicts["claimed"]
    counts = {name: study.counts_of(name).mean(axis=0) for name in CLAIMED}
    cat, deer, airplane, bird = (CIFAR10.index(name) for name in ("cat", "deer", "airplane", "bird"))

    assert world["cat-deer"].effect == pytest.approx(counts[BASELINE][cat, deer] - counts[BASELINE][deer, cat])
    assert world["cat-deer"].unit == "test images"
    lost = counts[BASELINE][airplane, airplane] - counts[condition_of(0.1)][airplane, airplane]
    assert world["airplane-10"].effect == pytest.approx(100 * lost / 600)
    right = {x: counts[condition_of(x)][bird, bird] for x in (0.1, 0.15, 0.2)}
    assert world["bird-knee"].effect == pytest.approx(100 * (2 * right[0.15] - right[0.1] - right[0.2]) / 600)
    drop = accuracy_contrast(study, {BASELINE: 1.0, condition_of(0, 0.2): -1.0}, alpha=0.1).scaled(100)
    assert world["drop-40k"].effect == pytest.approx(float(drop.value))
    # The interval of two one-sided tests at 5 %.
    assert (world["drop-40k"].low, world["drop-40k"].high) == pytest.approx((float(drop.low), float(drop.high)))
    # Bird's slope against the class that it is least sure to exceed, in points per 10 points of noise.
    slopes = {
        name: np.polyfit([0, *NOISE], [counts[condition_of(x)][i, i] / 6 for x in (0, *NOISE)], 1)[0] / 10
        for i, name in enumerate(CIFAR10)
    }
    gaps = results.curves["shuffle"].slope_gaps[bird]
    rival = CIFAR10[int(np.nanargmin(gaps.value / gaps.error))]
    assert world["bird-noise"].effect == pytest.approx(slopes[rival] - slopes["bird"])
    (part,) = world["bird-noise"].parts
    assert len(part.comparisons) == 9
    assert rival in part.decisive.words


# Missing runs


#: The conditions that each claim is about, beside the baseline.
NEEDS: dict[str, tuple[Condition, ...]] = {
    "asymmetry": (),
    "cat-deer": (),
    "airplane-10": (noise(0.1),),
    "cat-dog-frog": (noise(0.1),),
    "cat-worst-noise": NOISE_LEVELS,
    "bird-noise": NOISE_LEVELS,
    "bird-knee": (noise(0.1), noise(0.15), noise(0.2)),
    "stable": NOISE_LEVELS,
    "drop-40k": (reduction(0.2),),
    "cat-worst-reduction": REDUCTION_LEVELS,
    "bird-reduction": REDUCTION_LEVELS,
    "noise20-reduction60": (noise(0.2), reduction(0.6)),
    "noise-worse": (noise(0.2), reduction(0.2)),
    "nonlinear": NOISE_LEVELS,
    "baseline-order": (),
    "bird-dog-flip": (reduction(0.9),),
}


@pytest.fixture(scope="module")
def empty_handed(tmp_path_factory) -> dict[str, Verdict]:
    """Verdicts where nothing that any claim needs was run."""
    root = tmp_path_factory.mktemp("elsewhere")
    write_study(root, World(CIFAR10, 5), {reduction(0.05): shares([0.8] * 10)}, range(2), data="cifar10")
    return judged(root)


def sweep(command: str) -> list[dict[str, str]]:
    """The runs of `python train.py -m ...`, as Hydra would make them."""
    words = command.split()
    assert words[:3] == ["python", "train.py", "-m"]
    settings, together = dict(word.split("=") for word in words[3:]), [""]
    if "experiment" in settings:
        preset = OmegaConf.load(ROOT / "conf" / "experiment" / f"{settings.pop('experiment')}.yaml").hydra.sweeper
        settings, together = {**preset.params, **settings}, preset.get("conditions", together)
    return [
        dict(zip(settings, values, strict=True)) | dict(word.split("=") for word in condition.split())
        for condition in together
        for values in product(*[str(value).split(",") for value in settings.values()])
    ]


def made_by(command: str) -> list[tuple[Condition, dict[str, str]]]:
    """Every run that the commands make, with its settings."""
    runs = [run for part in command.split("&&") for run in sweep(part)]
    return [
        (
            Condition(
                noise_kind="shuffle" if float(run.get("noise.frac", 0)) else "",
                noise_frac=float(run.get("noise.frac", 0)),
                reduction_frac=float(run.get("reduction.frac", 0)),
            ),
            run,
        )
        for run in runs
    ]


@pytest.mark.parametrize("name", NEEDS)
def test_missing_runs_are_named_by_the_command_that_makes_them(empty_handed, name):
    verdict = empty_handed[name]
    assert verdict.verdict == NOT_RUN
    assert np.isnan([verdict.effect, verdict.low, verdict.high]).all()
    assert "not run" in verdict.sentence
    made = made_by(verdict.command)
    assert {condition for condition, _ in made} == {BASELINE, *NEEDS[name]}
    assert {run["seed"] for _, run in made} == set("12345")
    assert {(run["data"], run["model"]) for _, run in made} == {("cifar10", "cnn6")}


def test_the_command_is_for_the_data_set_and_the_model_that_were_run(tmp_path):
    write_study(tmp_path, World(CIFAR10, 5), {BASELINE: shares([0.8] * 10)}, (1,), data="cifar10", model="lenet")
    command = "python train.py -m noise.frac=0,0.1 seed=1,2,3,4,5 data=cifar10 model=lenet"
    assert judged(tmp_path)["airplane-10"].command == command


@pytest.mark.parametrize("name", CLAIMS)
def test_what_the_command_makes_is_enough_to_judge_the_claim(empty_handed, tmp_path, name):
    for condition, run in made_by(empty_handed[name].command):
        # Two seeds stand for the five.
        if run["seed"] in "12":
            options = {"data__name": "cifar10", "model__name": run["model"]}
            write_run(tmp_path, World(CIFAR10, 5), shares([0.8] * 10), condition, int(run["seed"]), **options)
    assert judged(tmp_path)[name].verdict not in (NOT_RUN, NOT_APPLICABLE)


@pytest.mark.parametrize(
    ("name", "missing"),
    [(name, missing) for name, needed in NEEDS.items() for missing in (BASELINE, *needed)],
    ids=str,
)
def test_one_missing_condition_is_enough_not_to_judge(name, missing):
    plan = {condition: shares([0.8] * 10) for condition in (BASELINE, *NEEDS[name]) if condition != missing}
    results = results_of(World(CIFAR10, 5), plan or {reduction(0.05): shares([0.8] * 10)}, range(2))
    assert judgement([results])[name].verdict == NOT_RUN


def test_conditions_that_share_no_seed_cannot_be_compared(tmp_path):
    for number, name in enumerate(CLAIMED):
        write_study(tmp_path, World(CIFAR10, 5), {name: CLAIMED[name]}, [number, number + 20], data="cifar10")
    found = judged(tmp_path)
    alone = {name for name, needed in NEEDS.items() if not needed}
    assert {name for name, verdict in found.items() if verdict.verdict != NOT_RUN} == alone


def test_a_further_level_without_a_seed_in_common_does_not_end_the_report(tmp_path):
    world = World(CIFAR10, 5)
    write_study(tmp_path, world, CLAIMED, range(2), data="cifar10")
    write_study(tmp_path, world, {noise(0.4): shares([0.5] * 10)}, [9], data="cifar10")
    found = judged(tmp_path)
    assert found["airplane-10"].verdict not in (NOT_RUN, NOT_APPLICABLE)
    for name in ("bird-noise", "stable", "nonlinear"):
        assert "0.4" in found[name].command or found[name].verdict != NOT_RUN


@pytest.mark.parametrize("plan", [CLAIMED, OPPOSITE], ids=["claimed", "opposite"])
def test_one_seed_decides_nothing(plan):
    for name, verdict in judgement(models(CLEAR, plan, [3])).items():
        assert verdict.verdict == UNDECIDED, name
        assert verdict.seeds == 1
        assert "one seed" in verdict.sentence.lower()


# Models


MODELS = "python train.py -m experiment=model_dependence"


def judged_models(root: Path) -> Verdict:
    return judged(root)["not-model-specific"]


def test_only_a_second_model_lets_models_be_compared(tmp_path):
    write_study(tmp_path, World(CIFAR10, 5), CLAIMED, range(2), data="cifar10")
    assert (judged_models(tmp_path).verdict, judged_models(tmp_path).command) == (NOT_RUN, MODELS)


def test_models_that_tell_other_classes_apart_are_not_compared(tmp_path):
    write_study(tmp_path, World(CIFAR10, 5), CLAIMED, range(2), data="cifar10")
    fewer = {name: shares([0.8] * 3) for name in CLAIMED}
    write_study(tmp_path, World(THREE, 5), fewer, range(2), data="cifar10", model="lenet")
    assert judged_models(tmp_path).verdict == NOT_RUN


@pytest.mark.parametrize("missing", [BASELINE, noise(0.2), reduction(0.2)], ids=str)
@pytest.mark.parametrize("model", ["cnn6", "lenet"])
def test_models_need_a_baseline_a_noise_and_its_control(model, missing):
    plan = {condition: shares([0.8] * 10) for condition in (BASELINE, noise(0.2), reduction(0.2))}
    every = []
    for name in ("cnn6", "lenet"):
        there = {condition: plan[condition] for condition in plan if name != model or condition != missing}
        every.append(results_of(World(CIFAR10, 5, model=name), there, range(2), name))
    assert judgement(every)["not-model-specific"].verdict == NOT_RUN


def test_models_are_compared_over_the_levels_and_seeds_that_they_share(tmp_path):
    world = World(CIFAR10, 20)
    write_study(tmp_path, world, CLAIMED, range(4), data="cifar10")
    shared = {condition: CLAIMED[condition] for condition in (BASELINE, noise(0.2), reduction(0.2))}
    write_study(tmp_path, replace(world, model="lenet"), shared, range(2, 7), data="cifar10", model="lenet")
    verdict = judged_models(tmp_path)
    alike, *dearer = verdict.parts
    assert alike.words == "classes fall alike under cnn6 and lenet"
    assert len(alike.comparisons) == 10
    assert {comparison.conditions for comparison in alike.comparisons} == {(BASELINE, noise(0.2))}
    assert {len(comparison.estimate.per_seed) for comparison in alike.comparisons} == {2}
    assert {(comparison.above, comparison.below) for comparison in alike.comparisons} == {(-1, 1)}
    assert [part.words for part in dearer] == [
        "noise costs more than its matched control under cnn6",
        "noise costs more than its matched control under lenet",
    ]
    # Two seeds of 20 images cannot show that anything is alike.
    assert alike.verdict == UNDECIDED
    assert "The margin is too narrow" in alike.note


def test_every_pair_of_models_is_a_part():
    plan = {condition: CLAIMED[condition] for condition in (BASELINE, noise(0.2), reduction(0.2))}
    every = [results_of(World(CIFAR10, 5, model=name), plan, range(2), name) for name in ("cnn6", "lenet", "resnet18")]
    for number in range(3):
        words = [part.words for part in judgement(every, number)["not-model-specific"].parts]
        assert len(words) == 6
        assert sum("alike" in each for each in words) == 3


def test_more_seeds_are_asked_of_every_model(tmp_path):
    plan = {condition: CLAIMED[condition] for condition in (BASELINE, noise(0.2), reduction(0.2))}
    world = replace(CLEAR, seed=0.01, image=0.95)
    for name in ("cnn6", "lenet"):
        write_study(tmp_path, replace(world, model=name), plan, (1, 2, 3), data="cifar10", model=name)
    verdict = judged_models(tmp_path)
    assert verdict.verdict == UNDECIDED
    assert verdict.needed.about > 13
    assert verdict.command == " && ".join(
        f"python train.py -m {stress}.frac=0,0.2 'seed=range(4,{verdict.needed.about + 1})' "
        "data=cifar10 model=cnn6,lenet"
        for stress in ("noise", "reduction")
    )
    # The advice of what to run next is about one model.
    (cnn6, _) = analysed(tmp_path)
    assert next_runs(cnn6.study, [verdict]) is None


def test_a_class_that_one_model_loses_contradicts_that_classes_fall_alike(verdicts):
    alike, *_ = verdicts["opposite"]["not-model-specific"].parts
    assert alike.verdict == CONTRADICTED
    apart = {each.words.split()[1] for each in alike.comparisons if each.fails(0.05 / 10)}
    assert "bird" in apart
    (alike, *_) = verdicts["claimed"]["not-model-specific"].parts
    assert alike.verdict == REPRODUCED


# Other data


@pytest.mark.parametrize("conditions", [[BASELINE], list(CLAIMED)], ids=["baseline", "all"])
def test_claims_about_classes_that_a_data_set_does_not_have_do_not_apply(tmp_path, conditions):
    write_study(tmp_path, World(THREE, 10), {name: shares([0.8] * 3) for name in conditions}, range(2))
    found = judged(tmp_path)
    assert {name for name, verdict in found.items() if verdict.verdict == NOT_APPLICABLE} == set(CLAIMS) - OF_ANY_DATA
    for name in set(CLAIMS) - OF_ANY_DATA:
        assert re.search("no class (bird|cat|dog|airplane|frog)", found[name].sentence)
        assert not found[name].command


def test_a_class_without_test_images_has_no_verdict(tmp_path):
    sizes = tuple(0 if name == "bird" else 5 for name in CIFAR10)
    write_study(tmp_path, World(CIFAR10, sizes), CLAIMED, range(2), data="cifar10")
    found = judged(tmp_path)
    for name in ("bird-noise", "bird-knee", "bird-reduction", "noise-worse", "bird-dog-flip"):
        assert found[name].verdict in (NOT_APPLICABLE, UNDECIDED)


def test_claims_find_their_classes_by_name():
    order = np.random.default_rng(0).permutation(10)
    world = replace(CLEAR, class_names=tuple(CIFAR10[i] for i in order))
    plan = {name: matrix[np.ix_(order, order)] for name, matrix in CLAIMED.items()}
    found = judgement([results_of(world, plan, range(5))])
    del found["not-model-specific"]
    assert {verdict.verdict for verdict in found.values()} == {REPRODUCED}


# The rules


def test_a_claim_cannot_be_entered_twice():
    enter = ARTICLE.add("asymmetry", "again")
    with pytest.raises(ValueError, match="'asymmetry' is defined twice"):
        enter(lambda evidence: Verdict("", "", UNDECIDED))
    assert CLAIMS["asymmetry"].text != "again"


@pytest.mark.parametrize("seed", range(3))
def test_with_many_parts_a_claim_that_just_holds_is_seldom_contradicted(seed):
    # All classes alike: cat is as low as the others, and no single interval may be believed.
    world = replace(NOISY, per_class=40, root=seed + 50)
    plan = {name: NOTHING[name] for name in NOTHING if name != noise(0.15)}
    found = judgement([results_of(world, plan, range(5))])
    for name in ("cat-worst-noise", "cat-worst-reduction", "bird-noise", "stable", "baseline-order", "noise-worse"):
        assert found[name].verdict == UNDECIDED, found[name].sentence


# Claims of other papers


SCRATCH = """
from class_sensitivity.analysis.claims.claim_set import ClaimSet, Focus
from class_sensitivity.analysis.claims.evidence import noise
from class_sensitivity.analysis.claims.judging import decide

CLAIMS = ClaimSet("Claims of a scratch", data="insects", focus=Focus(mistaken=("ant", "bee")))


@CLAIMS.add("cow-worst", "Cow has the lowest recall under symmetric noise.", "cow")
def cow_worst(evidence):
    at = noise(0.2, "symmetric")
    evidence.need(at)
    return decide([evidence.lowest("cow", at)], evidence.alpha)
"""


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Iterator[ClaimSet]:
    """A file beside that of the article, with claims about a data set of three classes."""
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "insects.py").write_text(SCRATCH)
    monkeypatch.setattr(claims, "__path__", [*claims.__path__, str(tmp_path / "claims")])
    yield claims_about("insects")
    sys.modules.pop(f"{claims.__name__}.insects", None)


def test_claims_are_found_by_the_data_set_that_they_are_about(scratch):
    assert claims_about("cifar10") is ARTICLE
    assert scratch.title == "Claims of a scratch"
    assert scratch.focus.mistaken == ("ant", "bee")
    assert claims_about("made-up") is None


def test_claims_of_another_file_are_judged_by_the_same_rules(scratch, tmp_path):
    plan = {BASELINE: shares([0.9, 0.9, 0.6]), noise(0.2, "symmetric"): shares([0.9, 0.9, 0.3])}
    write_study(tmp_path / "runs", World(THREE, 200), plan, data="insects")
    (verdict,) = scratch.judge(analyse(load_one(tmp_path / "runs")))
    assert (verdict.id, verdict.verdict) == ("cow-worst", REPRODUCED)
    assert verdict.sentence.startswith("Of 2 comparisons 2 hold; the decisive one is ")
    assert " minus cow at 20 % noise (symmetric): +" in verdict.sentence


def test_claims_of_another_file_say_what_to_run(scratch, tmp_path):
    write_study(tmp_path / "runs", World(THREE, 20), {BASELINE: shares([0.9, 0.9, 0.6])}, (1,), data="insects")
    (verdict,) = scratch.judge(analyse(load_one(tmp_path / "runs")))
    command = "python train.py -m noise.kind=symmetric noise.frac=0,0.2 seed=1,2,3,4,5 data=insects model=cnn6"
    assert (verdict.verdict, verdict.command) == (NOT_RUN, command)


def test_a_set_of_claims_needs_no_file(tmp_path):
    write_study(tmp_path, World(THREE, 200), {BASELINE: shares([0.9, 0.9, 0.6])}, data="insects")
    mine = ClaimSet("Mine", data="insects")
    mine.add("ant-worst", "Ant has the lowest recall.", "ant")(lambda e: decide([e.lowest("ant", BASELINE)], e.alpha))
    mine.add("bug-worst", "Bug has the lowest recall.", "bug")(lambda e: decide([e.lowest("bug", BASELINE)], e.alpha))
    first, second = mine.judge(analyse(load_one(tmp_path)))
    assert (first.verdict, second.verdict) == (CONTRADICTED, NOT_APPLICABLE)
    assert first.effect < 0
    assert first.unit == "points of recall"
    assert np.isnan(second.effect)
