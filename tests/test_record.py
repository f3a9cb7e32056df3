"""A record as JSON and back: plain values, and every type and bound checked."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import EVERYTHING, at, changed, leaves, made_up_record

from class_sensitivity.runs.record import NoiseRecord, RunRecord
from class_sensitivity.runs.run import Run
from class_sensitivity.stress import audit

#: What JSON has. A float is never infinite here: no field has room for one.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def run(compose_settings) -> Run:
    return at(compose_settings(*EVERYTHING, "streams.init=7"), Path("runs"))


@pytest.fixture(scope="module")
def record(run) -> RunRecord:
    return made_up_record(run)


@pytest.fixture(scope="module")
def written(record) -> dict[str, Any]:
    """As it is after a file."""
    return json.loads(json.dumps(record.to_json(), allow_nan=False))


def test_a_record_reads_back_as_it_was_written(record, written):
    back = RunRecord.from_json(written)
    assert back == record
    assert (back.identity, back.identity.path) == (record.identity, record.identity.path)
    assert back.to_json() == record.to_json()
    np.testing.assert_array_equal(back.counts, record.confusion)
    assert back.arrays == {}
    assert "arrays" not in written


def test_a_record_that_says_how_many_runs_were_trained_as_one_is_read(record, written):
    # Until that way was taken out, every record did.
    assert RunRecord.from_json(written | {"environment": written["environment"] | {"stacked": 1}}) == record


def test_a_record_knows_which_data_set_was_asked_for_and_whether_its_checkpoint_stays(run, record, written):
    back = RunRecord.from_json(written)
    assert back.data_settings == run.settings.data
    assert not back.keeps_checkpoint
    assert replace(record, config=changed(record.config, {"training.keep_checkpoint": True})).keeps_checkpoint


# Null stands for what is not a number


def test_what_is_not_a_number_becomes_null(record):
    nan, inf = float("nan"), float("inf")
    values = {
        "metrics.recall": [0.5, nan, inf],
        "metrics.last": {"test/loss": nan, "train/loss": -inf, "test/acc": 0.5},
        "metrics.epochs": [{"test/loss": nan}, {"test/loss": 1.0}],
    }
    metrics = changed(record, values).to_json()["metrics"]
    assert metrics["recall"] == [0.5, None, None]
    assert metrics["last"] == {"test/loss": None, "train/loss": None, "test/acc": 0.5}
    assert metrics["epochs"] == [{"test/loss": None}, {"test/loss": 1.0}]
    RunRecord.from_json(json.loads(json.dumps(changed(record, values).to_json(), allow_nan=False)))


def test_the_audit_of_a_class_without_examples_is_written_as_null(record):
    clean = np.array([0, 0, 1, 1])
    noise = NoiseRecord.of(audit(clean, clean, np.zeros(4, bool), 3))
    assert noise.noise_matrix == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [None] * 3]
    assert noise.counts == [[2, 0, 0], [0, 2, 0], [0, 0, 0]]
    back = RunRecord.from_json(replace(record, noise=noise).to_json())
    assert back.noise == noise
    assert all(type(count) is int for row in back.noise.counts for count in row)


# Types and bounds

#: Where null is a value like others.
NULLABLE = ("environment.git_commit", "environment.git_dirty")

#: Whatever stands in these was chosen by a network, a kind of noise, or the user.
FREE = ("config", "identity.model.options", "identity.condition.noise_options")


def wrong_for(name: str, value: Any) -> list[Any]:
    """Values of another type."""
    wrong: list[Any]
    if isinstance(value, bool):
        wrong = [1, 0.5, "true", []]
    elif isinstance(value, int):
        wrong = [1.5, "1", True, []]
    elif isinstance(value, float):
        wrong = ["0.5", True, [], {}]
    elif isinstance(value, str):
        wrong = [1, True, []]
    elif isinstance(value, list):
        wrong = ["abc", {"a": 1}, 1, [None, {}], [["x"]]]
    else:
        wrong = [1, [], "abc"] if isinstance(value, dict) else [{"a": 1}, []]
    nullable = name in NULLABLE or name.startswith(("metrics.last.", "metrics.best."))
    return wrong if value is None or nullable else [*wrong, None]


def test_every_typed_value_of_another_type_is_refused(written):
    places = [(name, value) for name, value in leaves(written) if not name.startswith(FREE)]
    assert len(places) > 50
    accepted = [
        f"{name}={wrong!r}"
        for name, value in places
        for wrong in wrong_for(name, value)
        if _is_read(changed(written, {name: wrong}))
    ]
    assert accepted == []


def test_a_value_that_is_missing_is_refused(written):
    # What a condition does not say is at its default, `schema` is looked at first, and the keys of the others vary.
    optional = ("identity.condition", "schema", "identity.fixed_streams", "metrics.last.", "metrics.best.")
    optional += ("environment.versions.", *FREE)
    # Settings that came after the schema.
    optional += ("identity.model.source", "identity.model.digest", "identity.training.optimizer", "learnt")
    names = [name for name, _ in leaves(written) if not name.startswith(optional)]
    assert len(names) > 35
    assert [name for name in names if _is_read(_without(written, name.split(".")))] == []
    for section in ("identity", "config", "metrics", "noise", "durations", "environment", "confusion"):
        assert not _is_read(_without(written, [section])), section


def _without(node: dict[str, Any], path: list[str]) -> dict[str, Any]:
    key, *rest = path
    if not rest:
        return {name: value for name, value in node.items() if name != key}
    return {**node, key: _without(node[key], rest)}


def _is_read(values: dict[str, Any]) -> bool:
    try:
        RunRecord.from_json(values)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train_size", -1),
        ("steps", -1),
        ("metrics.accuracy", 1.5),
        ("metrics.accuracy", -0.1),
        ("metrics.accuracy", math.nan),
        ("metrics.recall", [0.5, 1.5, None]),
        ("metrics.test_size", -50),
        ("noise.nominal", 2.0),
        ("noise.effective", -1.0),
        ("noise.counts", [[-1]]),
        ("noise.noise_matrix", [[1.1]]),
        ("noise.touched_per_class", [-1]),
    ],
)
def test_a_value_out_of_bounds_is_refused(written, name, value):
    with pytest.raises(ValueError, match=rf"(?i)expected.*\$\.{name}"):
        RunRecord.from_json(changed(written, {name: value}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"surprise": 1}, "unknown keys: surprise"),
        ({"arrays": {"test_labels": [0]}}, "unknown keys: arrays"),
        ({"arrays": []}, "unknown keys: arrays"),
        ({"class_names": ["ant", "bee"]}, "for 2 classes"),
        ({"class_names": ["ant", "bee", "ant"]}, "different words"),
        ({"class_names": ["ant"], "confusion": [[50]]}, "two or more"),
        ({"confusion": [[20, 10], [10, 10]]}, r"\(2, 2\) for 3 classes"),
        ({"confusion": [[1, 1, 0], [0, 1, 0], [0, 0, 1]]}, "sums to 4, the test set has 50"),
        ({"confusion": [[20, 10, 0], [10, 5], [2, 3, 0]]}, "inhomogeneous"),
        ({"confusion": [[-1, 1, 0], [0, 30, 0], [0, 0, 20]]}, r"Expected `int` >= 0"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(written, values, message):
    with pytest.raises(ValueError, match=message):
        RunRecord.from_json(written | values)


@given(data=st.data())
def test_whatever_stands_in_a_place_is_read_as_it_is_or_refused(written, data):
    places = [name for name, _ in leaves(written) if not name.startswith("config")]
    name, value = data.draw(st.sampled_from(places)), data.draw(JSON)
    other = changed(written, {name: value})
    try:
        back = RunRecord.from_json(other)
    except (ValueError, OverflowError):
        return
    # What is read is what stood there: nothing was made of it.
    assert json.loads(json.dumps(back.to_json())) == other
