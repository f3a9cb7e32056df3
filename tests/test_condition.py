"""A condition is found by its values; its name tells it from every other, in a path and to people."""

import random
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.labels import every_kind, ready_kind

from class_sensitivity.runs.condition import BASELINE, Condition, path_part
from class_sensitivity.stress import NOISE_KINDS, Noise, Reduction, Stress
from class_sensitivity.stress.noise import Pair, Shuffle

FRACS = st.sampled_from([0.0, -0.0, 0.1, 0.25, 1.0, 1e-05])

#: With the files that they need; what `confusable` is made of is not on the command line.
KINDS = [ready_kind(kind, (np.arange(4), 4)) for kind in NOISE_KINDS if kind != "confusable"]

STRESSES = st.builds(
    Stress,
    st.builds(
        Noise,
        st.sampled_from([*KINDS, Pair(partner={"1": "2"}), Pair(partner={"2": "1"})]),
        FRACS,
        st.sampled_from([[], ["1"], ["1", "2"], ["2", "1"], ["1-2"], ["1,2"]]),
    ),
    st.builds(Reduction, st.sampled_from([0.0, 0.1, 0.9]), st.sampled_from([False, True, "masked"])),
    st.booleans(),
)

#: Those that are a level of a series.
LEVELS = STRESSES.filter(lambda stress: Condition.of(stress).series is not None)


@given(STRESSES, STRESSES)
def test_equal_conditions_and_equal_names_are_the_same_thing(one, other):
    one, other = Condition.of(one), Condition.of(other)
    assert (one == other) == (one.name == other.name)
    if one == other:
        assert hash(one) == hash(other)


@given(STRESSES)
def test_a_condition_without_stress_is_the_baseline(stress):
    condition = Condition.of(stress)
    assert condition.is_baseline == (stress.noise.frac == 0 == stress.reduction.frac)
    assert condition.is_baseline == (condition == BASELINE)
    assert condition.is_baseline == (condition.name == "baseline")


@every_kind
def test_a_kind_at_its_defaults_is_the_condition_of_its_name_and_share(kind):
    condition = Condition.of(Stress(Noise(NOISE_KINDS[kind](), 0.2)))
    assert condition == Condition(noise_kind=kind, noise_frac=0.2)
    assert condition.name == f"noise-{kind}-0.2"
    assert (condition.series, condition.level) == (kind, 0.2)
    assert condition.label == f"20 % noise ({kind})"


@pytest.mark.parametrize(
    ("condition", "name", "label", "series"),
    [
        (BASELINE, "baseline", "baseline", None),
        (Condition(reduction_frac=0.9), "reduction-0.9", "90 % of the data removed", "reduction"),
        (
            Condition(reduction_frac=0.125, match_steps=True),
            "reduction-0.125-matched-steps",
            "12.5 % of the data removed (more passes)",
            "reduction-matched-steps",
        ),
        (
            Condition(reduction_frac=0.125, match_steps="masked"),
            "reduction-0.125-masked-steps",
            "12.5 % of the data removed (smaller batches)",
            "reduction-masked-steps",
        ),
        (
            Condition(noise_kind="pair", noise_frac=0.1, reduction_frac=0.6),
            "noise-pair-0.1_reduction-0.6",
            "10 % noise (pair), 60 % of the data removed",
            None,
        ),
        (
            Condition(noise_kind="shuffle", noise_frac=0.1, stratified=True),
            "noise-shuffle-0.1_stratified",
            "10 % noise (shuffle, stratified)",
            "shuffle_stratified",
        ),
    ],
)
def test_names_labels_and_series_by_hand(condition, name, label, series):
    assert (condition.name, condition.label, condition.series) == (name, label, series)


@pytest.mark.parametrize(
    "noise", [Noise(Shuffle(), 0.1, ["cat"]), Noise(Pair(partner={"cat": "dog"}), 0.1)], ids=["classes", "settings"]
)
def test_what_a_name_cannot_hold_enters_it_as_a_digest(noise):
    condition = Condition.of(Stress(noise))
    assert re.fullmatch(rf"noise-{noise.kind.name}-0\.1-[0-9a-f]{{8}}", condition.name)
    assert re.fullmatch(rf"{noise.kind.name}-[0-9a-f]{{8}}", condition.series)


@given(LEVELS, LEVELS)
def test_two_levels_are_of_one_series_exactly_if_they_differ_in_nothing_else(one, other):
    one, other = Condition.of(one), Condition.of(other)
    share = "noise_frac" if one.is_noisy else "reduction_frac"
    alike = one.is_noisy == other.is_noisy and one == replace(other, **{share: one.level})
    assert (one.series == other.series) == alike
    assert not alike or (one.series_label, one.sweep) == (other.series_label, other.sweep)


@given(STRESSES.filter(lambda stress: not Condition.of(stress).is_baseline))
@settings(max_examples=20)  # Hydra takes a tenth of a second for each
def test_what_makes_a_condition_on_the_command_line_makes_it_again(compose_settings, stress):
    condition = Condition.of(stress)
    composed = compose_settings(*shlex.split(f"{condition.sweep}={condition.level}"))
    assert Condition.of(composed.stress) == condition


def test_a_series_is_told_from_another_in_words():
    noisy = Condition(noise_kind="pair", noise_frac=0.1, noise_classes=("cat", "dog"), stratified=True)
    assert noisy.series_label == "label noise (pair, of cat and dog, stratified)"
    assert noisy.label == "10 % noise (pair, of cat and dog, stratified)"
    reduced = Condition(reduction_frac=0.1, match_steps=True, stratified=True)
    assert reduced.series_label == "data reduction (more passes, stratified)"


def test_names_of_conditions_never_change():
    # They are parts of paths: another name would train every such run again.
    partner, classes = Pair(partner={"cat": "dog"}), ["cat", "dog"]
    assert Condition.of(Stress(Noise(Shuffle(), 0.1, classes))).name == "noise-shuffle-0.1-c450f774"
    assert Condition.of(Stress(Noise(partner, 0.1))).name == "noise-pair-0.1-19943d30"
    assert Condition.of(Stress(Noise(partner, 0.1, classes[::-1]))).name == "noise-pair-0.1-44909b30"


def test_conditions_sort_as_reports_list_them():
    in_order = [
        BASELINE,
        Condition(noise_kind="shuffle", noise_frac=0.05),
        Condition(noise_kind="shuffle", noise_frac=0.1),
        Condition(noise_kind="symmetric", noise_frac=0.05),
        Condition(reduction_frac=0.1),
        Condition(reduction_frac=0.9),
    ]
    assert sorted(random.Random(0).sample(in_order, len(in_order))) == in_order


@given(st.text(max_size=20))
def test_a_part_of_a_path_is_one_part_in_any_file_system(name):
    assert re.fullmatch(r"[A-Za-z0-9._-]*", path_part(name))
