"""Same identity, same directory; and a record that is whole or absent, read without trusting it."""

import copy
import errno
import io
import json
import os
import pickle
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from class_sensitivity import runs
from class_sensitivity.confusion import confusion_counts
from class_sensitivity.errors import RunError
from class_sensitivity.identity import identity, run_directory, stream_seeds
from class_sensitivity.runs import RunRecord
from class_sensitivity.seeding import STREAMS
from class_sensitivity.stress import NOISE_KINDS

Config = dict[str, Any]

#: Settings that say where, how and whether a run is done, and nothing about its result.
WITHOUT_EFFECT = {
    "runs",
    "rerun",
    "data.dir",
    "data.download",
    "training.threads",
    "training.accelerator",
    "training.test_every_epoch",
    "training.keep_checkpoint",
    "study",
    "status",
}

#: A run in which every other setting has an effect.
EVERYTHING = (
    "data.flip=true",
    "data.crop_padding=1",
    "noise.kind=pair",
    "noise.frac=0.2",
    "noise.classes=['1','2']",
    "+noise.partner.1='7'",
    "reduction.frac=0.3",
    "reduction.match_steps=true",
    "selection.stratified=true",
    "training.validation_frac=0.1",
)


@pytest.fixture(scope="module")
def plain(compose_config) -> Config:
    return compose_config()


@pytest.fixture(scope="module")
def everything(compose_config) -> Config:
    return compose_config(*EVERYTHING)


def path_of(config: Config) -> Path:
    return run_directory(Path("root"), identity(config))


def leaves(tree: Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def changed(config: Config, *settings: tuple[str, Any]) -> Config:
    """A copy with some settings, by dotted name, at another value."""
    other = copy.deepcopy(config)
    for name, value in settings:
        *sections, key = name.split(".")
        node = other
        for section in sections:
            node = node[section]
        node[key] = value
    return other


def another(value: Any) -> Any:
    """A value of the same type that is not this one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return value[:-1]
    return 99 if value is None else value / 2 + 0.25 if isinstance(value, float) else value + 1


# Identity and directory


def test_every_setting_with_an_effect_changes_the_directory_and_no_other_does(everything):
    named = dict(leaves(everything))
    assert set(named) >= WITHOUT_EFFECT, "a setting listed as without effect is gone"
    paths = {name: path_of(changed(everything, (name, another(value)))) for name, value in named.items()}
    assert {name for name, path in paths.items() if path == path_of(everything)} == WITHOUT_EFFECT
    moved = [path for name, path in paths.items() if name not in WITHOUT_EFFECT]
    assert len(set(moved)) == len(moved), "two different runs share a directory"


@given(data=st.data())
def test_equal_identity_and_equal_directory_are_the_same_thing(plain, data):
    domains = {
        "seed": [0, 1, 10],
        "streams.init": [None, 0, 1],
        "streams.labels": [None, 0, 10],
        "noise.kind": sorted(NOISE_KINDS),
        "noise.frac": [0.0, 0.1, 1.0],
        "noise.classes": [[], ["1"], ["1", "2"], ["2", "1"], ["1-2"], ["1,2"]],
        "noise.partner": [{}, {"1": "2"}, {"2": "1"}],
        "reduction.frac": [0.0, 0.1],
        "reduction.match_steps": [False, True],
        "selection.stratified": [False, True],
        "training.epochs": [1, 11],
        "training.threads": [1, 2],
    }
    one, other = (
        changed(plain, *[(name, data.draw(st.sampled_from(values))) for name, values in domains.items()])
        for _ in range(2)
    )
    # Often alike in all but one or two settings, so that equal pairs occur.
    for name in data.draw(st.sets(st.sampled_from(sorted(domains)), min_size=len(domains) - 2)):
        value = one
        for key in name.split("."):
            value = value[key]
        other = changed(other, (name, value))
    assert (identity(one) == identity(other)) == (path_of(one) == path_of(other))


@pytest.mark.parametrize("kind", sorted(NOISE_KINDS))
def test_any_kind_that_touches_nothing_is_the_baseline(plain, kind):
    unused = [("noise.kind", kind), ("noise.classes", ["3"]), ("noise.partner", {"1": "2"}), ("streams.labels", 7)]
    assert path_of(changed(plain, *unused)) == path_of(plain)
    assert path_of(plain).parts[-2:] == ("baseline", "seed-1")


@pytest.mark.parametrize(
    ("base", "name", "value"),
    [
        ((), "reduction.match_steps", True),
        ((), "selection.stratified", True),
        ((), "streams.selection", 7),
        ((), "streams.validation", 7),
        ((), "streams.augment", 7),  # digits are neither flipped nor cropped
        ((), "streams.init", 1),  # the seed itself
        (("noise.frac=0.1",), "noise.partner", {"1": "2"}),  # shuffle has no partners
        (("noise.frac=0.1", "noise.classes=['1','2']"), "noise.classes", ["2", "1"]),
        (("noise.frac=0.1", "noise.classes=['1','2']"), "noise.classes", ["1", "2", "2"]),
        (("reduction.frac=0.1",), "streams.labels", 7),
    ],
)
def test_a_setting_that_cannot_matter_here_does_not_move_the_run(compose_config, base, name, value):
    config = compose_config(*base)
    assert path_of(changed(config, (name, value))) == path_of(config)


@pytest.mark.parametrize(("one", "other"), [("0.1", "1e-1"), ("0.10", ".1"), ("1", "1.0"), ("0", "0.0"), ("0", "-0.0")])
def test_a_number_may_be_spelt_in_several_ways(compose_config, one, other):
    assert path_of(compose_config(f"noise.frac={one}")) == path_of(compose_config(f"noise.frac={other}"))


def test_the_place_of_the_data_and_of_the_runs_is_not_part_of_the_identity(plain):
    moved = changed(plain, ("data.dir", "/elsewhere"), ("runs", "other"), ("training.threads", 8))
    assert identity(moved) == identity(plain)


@given(
    names=st.lists(st.text(max_size=5), max_size=3),
    frac=st.floats(0, 1),
    seeds=st.lists(st.integers(0, 2**64), min_size=7, max_size=7),
)
def test_directories_are_safe_in_any_file_system(everything, names, frac, seeds):
    streams = dict(zip(STREAMS, seeds, strict=False))
    config = changed(
        everything,
        ("noise.classes", names),
        ("noise.partner", dict.fromkeys(names, "x/y")),
        ("noise.frac", frac),
        ("reduction.frac", frac / 2),
        ("seed", seeds[-1]),
        ("streams", streams),
    )
    for part in path_of(config).relative_to("root").parts:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", part), part
        assert len(part) <= 255


def test_each_stream_uses_the_seed_of_the_run_unless_it_has_its_own(compose_config):
    own = identity(compose_config(*EVERYTHING, "seed=4", "streams.init=0", "streams.order=7"))
    assert stream_seeds(own) == dict.fromkeys(STREAMS, 4) | {"init": 0, "order": 7}


def test_identity_is_plain_json(everything):
    own = identity(everything)
    assert json.loads(json.dumps(own)) == own


# A record, written and read


@pytest.fixture
def record(everything) -> RunRecord:
    rng = np.random.default_rng(0)
    labels, preds = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    return RunRecord(
        identity=identity(everything),
        config=everything,
        class_names=["ant", "bee", "cow"],
        train_size=20,
        steps=12,
        noise={"nominal": 0.2, "effective": 0.1},
        confusion=confusion_counts(labels, preds, 3).tolist(),
        metrics={"test_size": 50, "accuracy": 0.5},
        seconds={"total": 1.5},
        environment={"device": "cpu"},
        arrays={
            "test_probabilities": rng.random((50, 3)).astype(np.float16),
            "test_preds": preds.astype(np.int32),
            "test_labels": labels.astype(np.int32),
            "train_indices": np.arange(20, dtype=np.int32),
            "train_labels": rng.integers(0, 3, 20).astype(np.int32),
            "train_touched": rng.random(20) < 0.2,
        },
    )


@pytest.fixture
def stored(record, tmp_path) -> Path:
    """A complete run directory."""
    directory = run_directory(tmp_path / "runs", record.identity)
    directory.mkdir(parents=True)
    runs.write(record, directory)
    return directory


def test_a_record_reads_back_as_it_was_written(record, stored):
    back = runs.read(stored)
    assert back == record
    assert back.arrays.keys() == record.arrays.keys()
    for name, array in record.arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array)
        assert back.arrays[name].dtype == array.dtype
    np.testing.assert_array_equal(back.counts, record.confusion)
    assert runs.is_complete(stored)
    assert sorted(path.name for path in stored.iterdir()) == ["arrays.npz", "result.json"]


def test_arrays_are_read_only_when_asked_for(stored):
    assert runs.read(stored, arrays=()).arrays == {}
    assert runs.read(stored, arrays=("test_labels",)).arrays.keys() == {"test_labels"}


def test_numpy_values_and_what_is_not_a_number_become_plain_json(record, stored):
    values = {
        "accuracy": np.float32("nan"),
        "recall": np.array([0.5, np.nan, np.inf]),
        "test_size": np.int64(50),
        "nested": [(float("-inf"), {"x": np.bool_(True)})],
    }
    runs.write(replace(record, metrics=values), stored)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    read = json.loads((stored / "result.json").read_text(), parse_constant=refuse)["metrics"]
    assert read == {"accuracy": None, "recall": [0.5, None, None], "test_size": 50, "nested": [[None, {"x": True}]]}


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("survives", [0, 1])
def test_a_write_that_fails_leaves_no_result_and_no_temporary_file(record, tmp_path, monkeypatch, function, survives):
    directory = run_directory(tmp_path / "runs", record.identity)
    directory.mkdir(parents=True)
    calls, real = [], getattr(os, function)

    def full(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > survives:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space left"):
        runs.write(record, directory)
    monkeypatch.undo()
    assert [path.name for path in directory.iterdir()] == ["arrays.npz"] * survives
    assert not runs.is_complete(directory)
    runs.write(record, directory)
    assert runs.is_complete(directory)


def test_the_result_is_written_last_and_reaches_the_disk_before_it_counts(record, stored, monkeypatch):
    steps: list[str] = []
    fsync, move = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append(Path(b).name), move(a, b)))
    runs.write(record, stored)
    assert [step for step in steps if step.endswith((".json", ".npz"))] == ["arrays.npz", "result.json"]
    assert steps.index("fsync") < steps.index("arrays.npz")
    assert "fsync" in steps[steps.index("arrays.npz") : steps.index("result.json")]


# Damage


def edited(**values: Any):
    def damage(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return damage


def without(key: str):
    def damage(path: Path) -> None:
        values = json.loads(path.read_text())
        del values[key]
        path.write_text(json.dumps(values))

    return damage


DAMAGED_RESULTS = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "binary": lambda path: path.write_bytes(bytes(range(256))),
    "not an object": lambda path: path.write_text("[1, 2]"),
    "nested too deep": lambda path: path.write_text("[" * 100_000),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
    "another schema": edited(schema=0),
    "schema as text": edited(schema="1"),
    "no schema": without("schema"),
    "no confusion": without("confusion"),
    "no identity": without("identity"),
    "identity of nothing": edited(identity={}),
    "unknown key": edited(surprise=1),
    "smuggled arrays": edited(arrays={"test_labels": [0]}),
    "smuggled arrays of no kind": edited(arrays=[]),
    "negative counts": edited(confusion=[[-1, 1, 0], [0, 30, 0], [0, 0, 20]]),
    "counts that are not the test set": edited(confusion=[[1, 1, 0], [0, 1, 0], [0, 0, 1]]),
    "counts not square": edited(confusion=[[20, 10], [10, 5], [2, 3]]),
    "counts ragged": edited(confusion=[[20, 10, 0], [10, 5], [2, 3, 0]]),
    "counts as text": edited(confusion="50"),
    "counts each as text": edited(confusion=[["50", "0", "0"], ["0", "0", "0"], ["0", "0", "0"]]),
    "counts of null": edited(confusion=None),
    "counts with a hole": edited(confusion=[[50, None, 0], [0, 0, 0], [0, 0, 0]]),
    "counts of NaN": edited(confusion=[[50, float("nan"), 0], [0, 0, 0], [0, 0, 0]]),
    "counts beyond int64": edited(confusion=[[10**30, 0, 0], [0, 0, 0], [0, 0, 0]]),
    "counts in halves": edited(confusion=[[50.5, 0, 0], [0, 0, 0], [0, 0, 0]]),
    "another number of classes": edited(class_names=["ant", "bee"]),
    "no class names": edited(class_names=None),
    "metrics without a size": edited(metrics={}),
    "metrics of no kind": edited(metrics=3),
}


@pytest.mark.parametrize("damage", DAMAGED_RESULTS.values(), ids=DAMAGED_RESULTS)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_a_damaged_result_is_no_result_and_is_named(stored, damage):
    damage(stored / "result.json")
    with pytest.raises(RunError, match=re.escape(str(stored))):
        runs.read(stored)
    assert not runs.is_complete(stored)


def any_json():
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    return st.recursive(
        scalars, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x), max_leaves=4
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@given(data=st.data())
def test_whatever_stands_in_a_result_it_is_read_or_refused(stored, data):
    path = stored / "result.json"
    original = path.read_text()
    values = json.loads(original)
    holder: Any = values
    for _ in range(data.draw(st.integers(0, 2))):
        inner = [key for key, value in holder.items() if isinstance(value, dict) and value]
        if not inner:
            break
        holder = holder[data.draw(st.sampled_from(inner))]
    key = data.draw(st.sampled_from([*holder, "new"]))
    holder[key] = data.draw(any_json())
    try:
        path.write_text(json.dumps(values))
        runs.read(stored)
    except RunError:
        pass
    finally:
        path.write_text(original)


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def with_arrays(**changes: Any):
    def damage(path: Path) -> None:
        with np.load(path) as old:
            np.savez(path, **(dict(old) | changes))

    return damage


def one_array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(50))
    return stream.getvalue()


DAMAGED_ARRAYS = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "text": lambda path: path.write_text("arrays"),
    "one array, not an archive": lambda path: path.write_bytes(one_array()),
    "an array missing": lambda path: np.savez(path, test_labels=np.zeros(50, np.int32)),
    "a class too high": with_arrays(test_preds=np.full(50, 3, np.int32)),
    "predictions of another run": with_arrays(test_preds=np.zeros(50, np.int32)),
    "labels of another test set": with_arrays(test_labels=np.zeros(49, np.int32)),
    "probabilities of another test set": with_arrays(test_probabilities=np.zeros((49, 3), np.float16)),
    "probabilities of other classes": with_arrays(test_probabilities=np.zeros((50, 4), np.float16)),
    "probabilities in one dimension": with_arrays(test_probabilities=np.zeros(50, np.float16)),
    "labels as floats": with_arrays(test_labels=np.zeros(50)),
    "another training set": with_arrays(train_labels=np.zeros(7, np.int32)),
    "touched as numbers": with_arrays(train_touched=np.zeros(20)),
}


@pytest.mark.parametrize("damage", DAMAGED_ARRAYS.values(), ids=DAMAGED_ARRAYS)
def test_damaged_arrays_are_refused_and_named(stored, damage):
    damage(stored / "arrays.npz")
    with pytest.raises(RunError, match=r"arrays\.npz"):
        runs.read(stored)


def test_a_run_without_its_arrays_is_not_complete(stored):
    (stored / "arrays.npz").unlink()
    assert not runs.is_complete(stored)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(1, 255), cut=st.booleans())
def test_whatever_stands_in_the_arrays_it_is_read_or_refused(stored, place, byte, cut):
    path = stored / "arrays.npz"
    original = path.read_bytes()
    spoilt = bytearray(original)
    at = int(place * len(spoilt))
    spoilt[at] ^= byte
    try:
        path.write_bytes(spoilt[:at] if cut else spoilt)
        runs.read(stored)
    except RunError:
        pass
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize("archive", [True, False])
def test_nothing_in_a_run_directory_is_executed(stored, tmp_path, archive):
    sprung = tmp_path / "sprung"
    trap = Trap(sprung)
    if archive:
        with_arrays(test_labels=np.array([trap] * 50, object))(stored / "arrays.npz")
    else:
        (stored / "arrays.npz").write_bytes(pickle.dumps(trap))
    with pytest.raises(RunError):
        runs.read(stored)
    assert not sprung.exists()
    pickle.loads(pickle.dumps(trap))
    assert sprung.exists(), "a trap that does not work proves nothing"


def test_a_run_under_the_name_of_another_is_refused(stored):
    moved = stored.with_name("seed-2")
    shutil.copytree(stored, moved)
    with pytest.raises(RunError, match="seed-1"):
        runs.read(moved)
    assert not runs.is_complete(moved)


def test_a_tree_of_runs_may_be_moved_as_a_whole(stored, tmp_path):
    shutil.move(tmp_path / "runs", tmp_path / "elsewhere")
    (directory,) = runs.find(tmp_path / "elsewhere")
    assert runs.is_complete(directory)


# Directories


def test_finding_runs_is_sorted_and_finds_whatever_stands_in_the_place_of_one(tmp_path):
    for name in ("a/baseline/seed-2", "a/baseline/seed-10", "b/noise/seed-1_init-2", "a/baseline/notes", "a/seed-9"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a/baseline/seed-3").write_text("no directory")
    found = [str(path.relative_to(tmp_path)) for path in runs.find(tmp_path)]
    # The file is found as well: who reads it says that it is no run.
    assert found == ["a/baseline/seed-10", "a/baseline/seed-2", "a/baseline/seed-3", "b/noise/seed-1_init-2"]
    assert list(runs.find(tmp_path / "absent")) == []


def test_what_an_unfinished_run_left_is_cleared_but_its_checkpoint(plain, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    directory = run_directory(tmp_path, identity(plain))
    (directory / "old").mkdir(parents=True)
    for name in ("last.ckpt", "result.json", "failed.json", ".result.json.x", "old/events"):
        (directory / name).write_text(name)
    (directory / "link").symlink_to(outside)
    runs.prepare(directory, identity(plain), keep={"last.ckpt"})
    assert [path.name for path in directory.iterdir()] == ["last.ckpt"]
    assert (outside / "precious").exists()


def test_a_directory_that_cannot_be_made_is_named_with_what_to_do(plain, tmp_path):
    own = identity(plain)
    (tmp_path / "file").write_text("in the way")
    directory = run_directory(tmp_path / "file", own)
    with pytest.raises(RunError, match=re.escape(str(directory)) + ".*runs="):
        runs.prepare(directory, own, keep=())
    assert (tmp_path / "file").read_text() == "in the way"
    directory = run_directory(tmp_path, own)
    directory.parent.mkdir(parents=True)
    directory.write_text("in the way")
    with pytest.raises(RunError, match=re.escape(str(directory)) + ".*runs="):
        runs.prepare(directory, own, keep=())
    assert directory.read_text() == "in the way"


def test_a_link_into_the_place_of_another_run_is_refused_and_a_link_elsewhere_is_not(plain, record, stored, tmp_path):
    own = identity(plain)
    directory = run_directory(tmp_path, own)
    directory.parent.mkdir(parents=True)
    directory.symlink_to(stored)
    with pytest.raises(RunError, match="another run belongs"):
        runs.prepare(directory, own, keep=())
    assert runs.is_complete(stored)
    # A link to a disk with more space keeps the end of the path, which is what says whose place it is.
    directory.unlink()
    there = run_directory(tmp_path / "large disk", own)
    there.mkdir(parents=True)
    directory.symlink_to(there)
    runs.prepare(directory, own, keep=())
