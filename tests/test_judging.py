"""How claims are judged, on estimates with known variances; candidates, ties, and which runs are advised."""

import re
import shlex

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from support.commands import ROOT
from support.synthetic import THREE

from class_sensitivity.analysis.candidates import candidates
from class_sensitivity.analysis.claims.evidence import Evidence, noise, reduction
from class_sensitivity.analysis.claims.judging import (
    CONTRADICTED,
    POINTS,
    REPRODUCED,
    UNDECIDED,
    AnyDifference,
    Comparison,
    OppositeSigns,
    Verdict,
    decide,
    judge_part,
)
from class_sensitivity.analysis.claims.next_runs import NextRuns, next_runs
from class_sensitivity.analysis.commands import sweep_command
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.omnibus import OmnibusTest, omnibus_test
from class_sensitivity.analysis.seeds import SeedsNeeded, seeds_needed, seeds_needed_by
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition

ALPHA = 0.05


def estimate(value: float, error: float = 1.0, seeds: int = 5) -> Estimate:
    """From images alone, so that tests are normal: found at 5 % beyond 1.645 standard errors."""
    return Estimate(np.float64(value), np.float64(0), np.float64(error**2), seeds - 1.0, np.full(seeds, value), ALPHA)


def comparison(value: float, error: float = 1.0, words: str = "gap", seeds: int = 5, **bounds: float) -> Comparison:
    return Comparison(words, estimate(value, error, seeds), POINTS, (BASELINE, noise(0.1)), **bounds)


def verdict_of(*parts: list[Comparison]) -> Verdict:
    return decide([judge_part(f"part {number}", each, ALPHA) for number, each in enumerate(parts)], ALPHA)


# One comparison


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1.7, REPRODUCED), (1.6, UNDECIDED), (0.0, UNDECIDED), (-1.6, UNDECIDED), (-1.7, CONTRADICTED)],
)
def test_a_direction_is_decided_one_sided_at_alpha(value, verdict):
    found = verdict_of([comparison(value)])
    assert found.verdict == verdict
    # The interval that is shown ends at 0 where the verdict changes.
    assert (found.low > 0, found.high < 0) == (verdict == REPRODUCED, verdict == CONTRADICTED)
    assert (found.low, found.high) == pytest.approx((value - 1.645, value + 1.645), abs=0.001)


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [
        (0.0, 1.0, REPRODUCED),
        (1.3, 1.0, REPRODUCED),
        (1.4, 1.0, UNDECIDED),
        (-1.4, 1.0, UNDECIDED),
        (4.9, 1.0, UNDECIDED),  # out of bounds at 5 %, but there are two ways to be out
        (5.0, 1.0, CONTRADICTED),
        (-5.0, 1.0, CONTRADICTED),
        (0.0, 2.0, UNDECIDED),
    ],
)
def test_alike_is_decided_by_two_one_sided_tests(value, error, verdict):
    assert verdict_of([comparison(value, error, above=-3, below=3)]).verdict == verdict


@pytest.mark.parametrize(("error", "narrow"), [(1.8, False), (1.9, True)])
def test_a_margin_that_no_value_could_pass_is_called_too_narrow(error, narrow):
    # 2 * 1.645 standard errors must be less than the six points between the bounds.
    part = judge_part("alike", [comparison(2.9, error, above=-3, below=3)], ALPHA)
    assert part.verdict == UNDECIDED
    assert ("too narrow" in part.note) == narrow
    assert judge_part("more", [comparison(0.5, error)], ALPHA).note == "", "one bound is never too narrow"
    if narrow:
        assert judge_part("alike", [comparison(0.0, error, above=-3, below=3)], ALPHA).verdict == UNDECIDED


@given(value=st.floats(-9, 9), error=st.floats(0.01, 9), alpha=st.floats(0.001, 0.2), two_sided=st.booleans())
def test_no_comparison_both_holds_and_fails(value, error, alpha, two_sided):
    one = comparison(value, error, above=-1, **({"below": 1.0} if two_sided else {}))
    assert not (one.holds(alpha) and one.fails(alpha))
    if one.holds(alpha):
        assert one.margin > 0
        assert not one.too_narrow(alpha)
    if one.fails(alpha):
        assert one.margin < 0


def test_one_seed_decides_nothing():
    unknown = Estimate(np.float64(9), np.float64("nan"), np.float64("nan"), np.nan, np.full(1, 9.0), ALPHA)
    found = verdict_of([Comparison("gap", unknown, POINTS, (BASELINE,))])
    assert (found.verdict, found.seeds, found.needed) == (UNDECIDED, 1, None)
    assert found.sentence == "Gap: +9.00 points of recall."


# Several comparisons


def test_every_part_has_its_own_verdict():
    parts = [comparison(3.0)], [comparison(1.0)], [comparison(-3.0)]
    found = verdict_of(*parts)
    assert [part.verdict for part in found.parts] == [REPRODUCED, UNDECIDED, CONTRADICTED]
    assert found.verdict == CONTRADICTED
    assert verdict_of(*parts[:2]).verdict == UNDECIDED
    assert verdict_of(*parts[:1]).verdict == REPRODUCED


def test_all_must_hold_without_a_correction_and_one_fails_with_it():
    held = [comparison(1.7)] * 10
    assert verdict_of(held).verdict == verdict_of(*[[each] for each in held]).verdict == REPRODUCED
    # -1.7 is enough against one comparison, and not against ten: 2.58 is.
    for value, verdict in ((-1.7, UNDECIDED), (-2.5, UNDECIDED), (-2.6, CONTRADICTED)):
        found = verdict_of([*held[:9], comparison(value)])
        assert found.verdict == found.parts[0].verdict == verdict


def test_a_part_may_be_contradicted_where_the_claim_needs_more():
    found = verdict_of([comparison(-1.9)], *[[comparison(3.0)]] * 9)
    assert found.parts[0].verdict == CONTRADICTED
    assert found.verdict == UNDECIDED


def test_the_decisive_comparison_has_the_smallest_margin_in_standard_errors():
    # Five points are more than two, but not in standard errors.
    wide, sure = comparison(5.0, 4.0, "wide"), comparison(2.0, 0.5, "sure")
    assert (wide.margin, sure.margin) == (1.25, 4.0)
    found = verdict_of([sure, wide])
    assert found.parts[0].decisive is wide
    assert found.effect == 5.0
    assert found.sentence.startswith("Of 2 comparisons 1 hold; the decisive one is wide: +5.00 [")
    between = comparison(2.5, 1.0, "near its upper end", above=0, below=3)
    assert between.margin == 0.5
    assert verdict_of([sure, wide, between]).effect == 2.5


def test_of_a_contradicted_claim_the_decisive_comparison_is_one_that_fails():
    found = verdict_of([comparison(-3.0, 1.0, "fails"), comparison(-30.0, 20.0, "open")])
    assert found.verdict == CONTRADICTED
    assert "fails" in found.sentence


def test_a_claim_about_one_condition_is_answered_for_these_images_too():
    both = Estimate(np.float64(3), np.float64(0.25), np.float64(1.0), 4.0, np.full(5, 3.0), ALPHA)
    about_one = decide([judge_part("p", [Comparison("gap", both, POINTS, (BASELINE,))], ALPHA)], ALPHA)
    here = both.at(0.1).on_these_images()
    assert about_one.sentence.endswith(
        f"That is about new images, too; on these images alone it is +3.00 [{here.low:+.2f}, {here.high:+.2f}]."
    )
    difference = Comparison("gap", both, POINTS, (BASELINE, noise(0.1)))
    assert "these images" not in decide([judge_part("p", [difference], ALPHA)], ALPHA).sentence


# Seeds that a claim needs


def seeded(value: float, seeds_variance: float = 1.0) -> Comparison:
    e = Estimate(np.float64(value), np.float64(seeds_variance), np.float64(0.01), 4.0, np.full(5, value), ALPHA)
    return Comparison("gap", e, POINTS, (BASELINE,))


def test_an_undecided_claim_needs_as_many_seeds_as_its_last_comparison():
    slow, fast = seeded(0.8), seeded(1.2)
    assert seeds_needed(slow.estimate).number > seeds_needed(fast.estimate).number
    assert verdict_of([slow, fast, seeded(9.0)]).needed == seeds_needed(slow.estimate)
    assert verdict_of([fast], [seeded(9.0)]).needed == seeds_needed(fast.estimate)


def test_a_claim_that_looks_wrong_needs_as_many_as_its_first_failure():
    first, later = seeded(-1.5), seeded(-0.8)
    found = verdict_of([first, later, seeded(9.0)])
    assert found.verdict == UNDECIDED
    assert found.needed == seeds_needed(first.estimate, alpha=ALPHA / 3)


def test_what_the_images_leave_open_needs_seeds_without_end():
    assert verdict_of([comparison(1.0)]).needed == SeedsNeeded(None, None, None)
    for decided in (9.0, -9.0):
        assert verdict_of([comparison(decided)]).needed is None


# One test of many differences


def omnibus_of(shift: float, root: int = 0, *, new_images: bool = True) -> OmnibusTest:
    """Of ten measurements over four seeds and 60 images, of which half are shifted."""
    rng = np.random.default_rng(root)
    values = rng.normal(size=(4, 60, 10)) + rng.normal(size=(1, 60, 10)) + shift * (np.arange(10) < 5)
    test = omnibus_test(values, np.zeros(60, int), most_seed_freedom=9, new_images=new_images)
    assert test is not None
    return test


def any_difference(shift: float, value: float = 3.0, here: OmnibusTest | None = None) -> AnyDifference:
    return AnyDifference(
        "whether any differs", omnibus_of(shift), estimate(value), "the first", POINTS, (BASELINE,), here
    )


def test_a_difference_that_an_omnibus_test_finds_is_reproduced_and_one_that_it_does_not_find_is_undecided():
    for shift, verdict in ((2.0, REPRODUCED), (0.0, UNDECIDED)):
        test = omnibus_of(shift)
        assert (test.p <= ALPHA) == (verdict == REPRODUCED)
        found = decide([judge_part("some differ", [any_difference(shift)], ALPHA)], ALPHA)
        assert found.verdict == found.parts[0].verdict == verdict
        assert (found.effect, found.unit, found.conditions) == (3.0, POINTS, (BASELINE,))
        assert found.sentence == (
            f"Whether any differs: F = {test.statistic:.2f}, p = {test.p:.2g}; the largest is the first: +3.00 [+1.36, "
            "+4.64] points of recall. That is about new images, too; on these images alone it is not tested."
        )
        assert found.needed == (None if verdict == REPRODUCED else seeds_needed_by(test))


def test_the_omnibus_test_on_these_images_stands_beside_the_other():
    here = omnibus_of(0.4, new_images=False)
    found = decide([judge_part("some differ", [any_difference(0.4, here=here)], ALPHA)], ALPHA)
    assert found.sentence.endswith(f"on these images alone it is F = {here.statistic:.2f}, p = {here.p:.2g}.")


@given(shift=st.sampled_from([0.0, 0.1, 0.3, 1.0]), root=st.integers(0, 50), alpha=st.floats(0.001, 0.2))
def test_many_differences_never_fail_and_their_margin_is_that_of_their_p_value(shift, root, alpha):
    one = AnyDifference("w", omnibus_of(shift, root), estimate(-9.0), "l", POINTS, (BASELINE,))
    assert not one.fails(alpha)
    assert not one.too_narrow(alpha)
    assert one.margin == pytest.approx(max(0, stats.norm.isf(one.test.p)))
    assert one.holds(alpha) == (one.test.p <= alpha)


@pytest.mark.parametrize(
    ("first", "last", "verdict"),
    [
        *((1.7, -1.7, REPRODUCED), (-1.7, 1.7, REPRODUCED), (1.7, 1.7, CONTRADICTED), (-1.7, -1.7, CONTRADICTED)),
        *((1.7, -1.6, UNDECIDED), (1.6, -9.0, UNDECIDED), (9.0, 1.6, UNDECIDED), (1.6, 1.6, UNDECIDED)),
    ],
)
def test_opposite_signs_are_decided_where_both_are_certain_and_their_decision_takes_the_common_path(
    first, last, verdict
):
    one, other = comparison(first, words="at first"), comparison(last, words="at last")
    signs = OppositeSigns(one, other, comparison(first - last, words="fall"))
    part = judge_part("they change places", [signs], ALPHA)
    found = decide([part], ALPHA)
    assert found.verdict == part.verdict == verdict
    assert signs.margin == pytest.approx(min(abs(first), abs(last)) * (1 if first * last < 0 else -1))
    assert (found.effect, found.conditions) == (pytest.approx(first - last), (BASELINE, noise(0.1)))
    assert found.sentence == (
        f"At first: {one.estimate.at(2 * ALPHA).text(2, signed=True, unit=POINTS)}; {other.text(ALPHA)}; "
        f"{signs.change.text(ALPHA)}."
    )
    uncertain = [each.needed(ALPHA) for each in (one, other) if abs(each.margin) < 1.645]
    assert found.needed == (max(uncertain, key=lambda needed: needed.number) if uncertain else None)


def test_a_part_may_rest_on_many_differences_and_another_on_one():
    many, one = any_difference(0.0), comparison(3.0)
    parts = [judge_part("many", [many], ALPHA), judge_part("one", [one], ALPHA)]
    found = decide(parts, ALPHA)
    assert [part.verdict for part in found.parts] == [UNDECIDED, REPRODUCED]
    assert (found.verdict, found.needed) == (UNDECIDED, seeds_needed_by(many.test))
    assert found.sentence.startswith("Of 2 comparisons 1 hold; the decisive one is whether any differs: F = ")
    wrong = decide([parts[0], judge_part("one", [comparison(-9.0)], ALPHA)], ALPHA)
    assert wrong.verdict == CONTRADICTED, "the other part is certainly wrong"


def test_with_one_seed_many_differences_cannot_be_tested():
    unknown = Estimate(np.float64(9), np.float64("nan"), np.float64("nan"), np.nan, np.full(1, 9.0), ALPHA)
    found = decide([judge_part("p", [AnyDifference("any", None, unknown, "x", POINTS, (BASELINE,))], ALPHA)], ALPHA)
    assert (found.verdict, found.seeds, found.needed) == (UNDECIDED, 1, None)
    assert found.sentence == "Any: cannot be tested; the largest is x: +9.00 points of recall."


# Candidates


def gaps_between(values: np.ndarray, error: float) -> Estimate:
    """(K, K) of [i, j]: by how much i is larger than j."""
    k = len(values)
    gaps = values[:, np.newaxis] - values
    np.fill_diagonal(gaps, np.nan)
    images = np.full((k, k), 2 * error**2)
    return Estimate(gaps, np.zeros((k, k)), images, 4.0, np.broadcast_to(gaps, (5, k, k)), ALPHA)


def test_candidates_are_those_that_no_class_certainly_exceeds():
    assert candidates(gaps_between(np.array([9.0, 8.9, 1.0, 2.0]), 0.5), ALPHA) == [0, 1]
    assert candidates(gaps_between(np.array([9.0, 5.0, 1.0, 2.0]), 0.5), ALPHA) == [0]
    assert candidates(gaps_between(np.array([1.0, 1.1, 1.0, 1.2]), 0.5), ALPHA) == [0, 1, 2, 3]


def test_a_class_of_which_nothing_is_known_is_no_candidate():
    gaps = gaps_between(np.array([9.0, np.nan, 8.9, 2.0]), 0.5)
    assert candidates(gaps, ALPHA) == [0, 2]


@pytest.mark.parametrize("lead", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("classes", [3, 10])
def test_the_true_largest_is_left_out_at_most_one_time_in_twenty(lead, classes):
    rng = np.random.default_rng(classes)
    true = np.zeros(classes)
    true[0] = lead
    left_out = [
        0 not in candidates(gaps_between(true + 0.5 * rng.normal(size=classes), 0.5), ALPHA) for _ in range(600)
    ]
    assert np.mean(left_out) <= ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / 600)


def study(
    falls: dict[str, float],
    seeds: int = 3,
    images: int = 400,
    data: str = "made-up",
    durations: tuple[float, ...] = (60.0, 60.0, 60.0),
) -> Study:
    """Classes that lose these shares of their recall at 20 % noise, each by the same images for every seed but few."""
    names = tuple(falls)
    labels = np.repeat(np.arange(len(names)), images)
    preds = {}
    for seed in range(1, seeds + 1):
        rng = np.random.default_rng(seed)
        preds[BASELINE, seed] = labels
        stressed = labels.copy()
        for c, name in enumerate(names):
            lost = int(falls[name] * images) + rng.integers(-1, 2)
            stressed[np.flatnonzero(labels == c)[: max(0, lost)]] = (c + 1) % len(names)
        preds[noise(0.2), seed] = stressed
    return Study.of_preds(
        labels, preds, names, data=data, model="cnn6",
        scalars={
            (condition, seed): {
                "effective_noise": 0.0, "train_size": 1, "steps": 1,
                "duration_s": durations[(seed - 1) % len(durations)],
            }
            for condition, seed in preds
        },
    )  # fmt: skip


def note(falls: dict[str, float], name: str, images: int = 400) -> str:
    results = analyse(study(falls, images=images), resamples=10)
    return Evidence(results).falls_most(name, results.curves["shuffle"]).note


@pytest.mark.parametrize(
    ("falls", "said"),
    [
        (
            {"ant": 0.05, "bee": 0.4, "cow": 0.05},
            "Bee falls most under label noise (shuffle), and certainly no other class.",
        ),
        (
            {"ant": 0.400, "bee": 0.405, "cow": 0.05, "dog": 0.1},
            "The class that falls most under label noise (shuffle) is bee or ant",
        ),
        (
            {"ant": 0.2, "bee": 0.2, "cow": 0.2, "dog": 0.01},
            "Any class but dog may be the one that falls most under label noise (shuffle).",
        ),
        (
            {"ant": 0.2, "bee": 0.2, "cow": 0.2},
            "Any class may be the one that falls most under label noise (shuffle).",
        ),
    ],
)
def test_which_classes_can_fall_most_in_words(falls, said):
    assert note(falls, "ant").startswith(said)


def test_a_tie_is_one_that_the_intervals_show_and_not_just_what_was_not_told_apart():
    tie = "; they are a practical tie: within 1 point."
    falls = {"ant": 0.05, "bee": 0.05, "cow": 0.001, "dog": 0.001}
    for images, told in ((4000, True), (400, False)):
        words = note(falls, "ant", images)
        assert re.match("The class that falls most under label noise .shuffle. is (ant or bee|bee or ant)", words)
        assert (tie in words) == told, "not told apart is not the same as alike"


# Which runs would decide most


def undecided(name: str, about: int | None, *conditions: Condition) -> Verdict:
    return Verdict(name, "", UNDECIDED, needed=SeedsNeeded(about, about, about), conditions=conditions)


def test_the_advised_runs_decide_most_for_their_time():
    runs = study(dict.fromkeys(THREE, 0.1))
    verdicts = [
        undecided("cheap", 5, BASELINE, noise(0.2)),
        undecided("dear", 300, BASELINE),
        undecided("never", None, BASELINE),
        Verdict("done", "", REPRODUCED),
    ]
    advised = next_runs(runs, verdicts)
    assert advised.decides == ("cheap",)
    # Two more seeds of two conditions, after the three there are.
    assert advised.command == "python train.py -m noise.frac=0,0.2 seed=4,5 data=made-up model=cnn6"
    assert (advised.runs, advised.duration_s) == (4, 240)
    assert advised.text() == f"{advised.command}   # 4 runs, about 4 min: would decide cheap"


def test_a_run_on_a_machine_that_had_more_to_do_does_not_lengthen_the_advised_ones():
    runs = study(dict.fromkeys(THREE, 0.1), durations=(70.0, 4590.0, 50.0))
    advised = next_runs(runs, [undecided("cheap", 5, BASELINE, noise(0.2))])
    assert (advised.runs, advised.duration_s) == (4, 280)


def test_more_seeds_that_decide_more_are_advised_where_they_pay():
    verdicts = [undecided(f"claim-{seeds}", seeds, BASELINE) for seeds in (10, 11, 12)]
    assert next_runs(study(dict.fromkeys(THREE, 0.1)), verdicts).decides == ("claim-10", "claim-11", "claim-12")


def test_the_baseline_is_counted_where_the_sweep_makes_it():
    advised = next_runs(study(dict.fromkeys(THREE, 0.1)), [undecided("one", 4, noise(0.2))])
    assert "noise.frac=0,0.2" in advised.command
    assert (advised.runs, advised.duration_s) == (2, 120)


def test_where_nothing_would_decide_nothing_is_advised():
    runs = study(dict.fromkeys(THREE, 0.1))
    assert next_runs(runs, []) is None
    assert next_runs(runs, [undecided("never", None, BASELINE), Verdict("done", "", CONTRADICTED)]) is None


def test_runs_that_do_not_tell_their_time_are_advised_by_their_number():
    labels = np.repeat([0, 1], 9)
    silent = Study.of_preds(labels, {(BASELINE, s): labels for s in (1, 2)}, ("a", "b"), data="d", model="m")
    advised = next_runs(silent, [undecided("far", 90, BASELINE), undecided("near", 4, BASELINE)])
    assert advised.decides == ("near",)
    assert advised.text() == "python train.py -m seed=3,4 data=d model=m   # 2 runs: would decide near"


@pytest.mark.parametrize(
    ("seconds", "text"), [(20, "1 min"), (89.4 * 60, "89 min"), (90 * 60, "1.5 h"), (36_000, "10.0 h")]
)
def test_durations_in_words(seconds, text):
    assert f", about {text}:" in NextRuns("python train.py", ("a",), 1, seconds).text()


@pytest.mark.parametrize(
    ("conditions", "seeds"),
    [
        ([BASELINE], range(6, 18)),
        ([noise(0.1), noise(0.2)], (6, 7)),
        ([reduction(0.6), BASELINE], (6, 7)),
        ([noise(0.2, "symmetric"), reduction(0.2), noise(0.3)], (6, 7)),
    ],
    ids=["baseline", "noise", "reduction", "both"],
)
def test_a_command_makes_the_runs_that_it_is_about(conditions, seeds):
    study, made = Study.of_preds([0], {(BASELINE, 1): [0]}, ("cat",), data="cifar10", model="cnn6"), set()
    for command in sweep_command(study, conditions, seeds).split(" && "):
        program, script, flag, *words = shlex.split(command)
        assert (program, script, flag) == ("python", "train.py", "-m")
        overrides = OverridesParser.create().parse_overrides(words)
        (batch,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
        for job in batch:
            with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
                config = compose("train", overrides=list(job))
            assert (config.data.name, config.model.name) == ("cifar10", "cnn6")
            condition = Condition(
                noise_kind=config.noise.kind if config.noise.frac else "",
                noise_frac=config.noise.frac,
                reduction_frac=config.reduction.frac,
            )
            made.add((condition, config.seed))
    assert made == {(condition, seed) for condition in {BASELINE, *conditions} for seed in seeds}
