"""A run directory is whole or not there, and is read without trusting it."""

import errno
import hashlib
import io
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.records import EVERYTHING, at, finish, made_up_record

from class_sensitivity.errors import RunError
from class_sensitivity.runs import directory as runs
from class_sensitivity.runs.run import Run
from class_sensitivity.runs.status import State, read_status
from class_sensitivity.settings import TrainSettings

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def everything(compose_settings) -> TrainSettings:
    return compose_settings(*EVERYTHING)


@pytest.fixture
def run(everything, tmp_path) -> Run:
    return at(everything, tmp_path / "runs")


@pytest.fixture
def plain(compose_settings, tmp_path) -> Run:
    return at(compose_settings(), tmp_path)


@pytest.fixture
def stored(run) -> Path:
    """A complete run directory."""
    return finish(run)


def sign(directory: Path) -> None:
    """Writes the digests that belong to what is there, so that what is tested is all that comes after them."""
    path = directory / "result.json"
    values = json.loads(path.read_text())
    if "arrays_sha256" in values and (directory / "arrays.npz").exists():
        values["arrays_sha256"] = hashlib.sha256((directory / "arrays.npz").read_bytes()).hexdigest()
    values.pop("sha256", None)
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    path.write_text(json.dumps({**values, "sha256": hashlib.sha256(text.encode()).hexdigest()}))


# Written


def test_a_record_reads_back_as_it_was_written(run, stored):
    record, back = made_up_record(run), runs.read_record(stored)
    assert back == record
    assert back.arrays.keys() == record.arrays.keys()
    for name, array in record.arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array, strict=True)
    np.testing.assert_array_equal(back.counts, record.confusion)
    assert runs.is_complete(stored)
    assert runs.completed_record(stored) == record
    assert sorted(path.name for path in stored.iterdir()) == ["arrays.npz", "result.json"]


def test_arrays_are_read_only_when_asked_for(stored):
    assert runs.read_record(stored, arrays=()).arrays == {}
    assert runs.read_record(stored, arrays=("test_labels",)).arrays.keys() == {"test_labels"}
    assert runs.completed_record(stored).arrays == {}


def test_a_result_is_json_that_any_language_reads(stored):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    values = json.loads((stored / "result.json").read_text(), parse_constant=refuse)
    assert values["schema"] == runs.SCHEMA
    # Both digests can be checked with nothing but the two files.
    before = (stored / "result.json").read_text()
    sign(stored)
    assert json.loads((stored / "result.json").read_text()) == json.loads(before)


def test_a_result_that_was_only_laid_out_anew_is_still_whole(run, stored):
    path = stored / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4, sort_keys=True))
    assert runs.read_record(stored) == made_up_record(run)


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("survives", [0, 1])
def test_a_write_that_fails_leaves_no_result_and_no_temporary_file(run, monkeypatch, function, survives):
    record, directory = made_up_record(run), run.directory
    directory.mkdir(parents=True)
    calls, real = [], getattr(os, function)

    def full(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > survives:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space left"):
        runs.write_record(record, directory)
    monkeypatch.undo()
    # Both files are written before the first one is moved.
    left = ["arrays.npz"] if function == "replace" and survives else []
    assert [path.name for path in directory.iterdir()] == left
    assert not runs.is_complete(directory)
    runs.write_record(record, directory)
    assert runs.is_complete(directory)


def test_the_result_is_written_last_and_reaches_the_disk_before_it_counts(run, stored, monkeypatch):
    steps: list[str] = []
    fsync, move = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append(Path(b).name), move(a, b)))
    runs.write_record(made_up_record(run), stored)
    assert steps == ["fsync", "fsync", "arrays.npz", "result.json"]


# A damaged result


def edited(**values: Any) -> Damage:
    def damage(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
        sign(path.parent)

    return damage


def without(key: str) -> Damage:
    def damage(path: Path) -> None:
        values = json.loads(path.read_text())
        del values[key]
        path.write_text(json.dumps(values))
        sign(path.parent)

    return damage


#: What was done to a result.json, signed with the right digest where it is still JSON, and words of the refusal.
DAMAGED_RESULTS: dict[str, tuple[Damage, str]] = {
    "missing": (lambda path: path.unlink(), "not a complete run"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "cannot be read"),
    "binary": (lambda path: path.write_bytes(bytes(range(256))), "cannot be read"),
    "not an object": (lambda path: path.write_text("[1, 2]"), "schema None"),
    "nested too deep": (lambda path: path.write_text("[" * 100_000), "cannot be read"),
    "a directory": (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    "another schema": (edited(schema=0), "schema 0"),
    "schema as text": (edited(schema="1"), "schema '1'"),
    "no schema": (without("schema"), "schema None"),
    "no confusion": (without("confusion"), "damaged.*confusion"),
    "no identity": (without("identity"), "damaged.*identity"),
    "no digest of the arrays": (without("arrays_sha256"), "damaged.*arrays_sha256"),
    "identity of nothing": (edited(identity={}), "damaged.*identity"),
    "unknown key": (edited(surprise=1), "damaged.*surprise"),
    "smuggled arrays": (edited(arrays={"test_labels": [0]}), "damaged.*arrays"),
    "smuggled arrays of no kind": (edited(arrays=[]), "damaged.*arrays"),
    "negative counts": (edited(confusion=[[-1, 1, 0], [0, 30, 0], [0, 0, 20]]), "damaged.*confusion"),
    "counts that are not the test set": (edited(confusion=[[1, 1, 0], [0, 1, 0], [0, 0, 1]]), "damaged.*sums to 4"),
    "counts not square": (edited(confusion=[[20, 10], [10, 5], [2, 3]]), "damaged.*3 classes"),
    "counts ragged": (edited(confusion=[[20, 10, 0], [10, 5], [2, 3, 0]]), "damaged"),
    "counts as text": (edited(confusion="50"), "damaged.*confusion"),
    "counts each as text": (edited(confusion=[["50", "0", "0"], ["0"] * 3, ["0"] * 3]), "damaged.*confusion"),
    "counts of null": (edited(confusion=None), "damaged.*confusion"),
    "counts with a hole": (edited(confusion=[[50, None, 0], [0, 0, 0], [0, 0, 0]]), "damaged.*confusion"),
    "counts of NaN": (edited(confusion=[[50, float("nan"), 0], [0, 0, 0], [0, 0, 0]]), "damaged.*confusion"),
    "counts beyond int64": (edited(confusion=[[10**30, 0, 0], [0, 0, 0], [0, 0, 0]]), "damaged"),
    "counts in halves": (edited(confusion=[[50.5, 0, 0], [0, 0, 0], [0, 0, 0]]), "damaged.*confusion"),
    "another number of classes": (edited(class_names=["ant", "bee"]), "damaged.*2 classes"),
    "no class names": (edited(class_names=None), "damaged.*class_names"),
    "metrics without a size": (edited(metrics={}), "damaged.*metrics"),
    "metrics of no kind": (edited(metrics=3), "damaged.*metrics"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGED_RESULTS.values(), ids=DAMAGED_RESULTS)
def test_a_damaged_result_is_no_result_and_is_named(stored, damage, message):
    damage(stored / "result.json")
    with pytest.raises(RunError, match=f"(?s){re.escape(str(stored))}.*{message}") as refused:
        runs.read_record(stored)
    assert "digest does not match" not in str(refused.value)
    assert not runs.is_complete(stored)


def test_counts_that_are_not_those_of_the_predictions_are_refused(stored):
    edited(confusion=[[50, 0, 0], [0, 0, 0], [0, 0, 0]])(stored / "result.json")
    with pytest.raises(RunError, match="does not belong"):
        runs.read_record(stored)


def any_json() -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    return st.recursive(
        scalars, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x), max_leaves=4
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data(), signed=st.booleans())
def test_whatever_stands_in_a_result_it_is_read_or_refused(stored, data, signed):
    path = stored / "result.json"
    original = path.read_text()
    values = json.loads(original)
    section: Any = values
    for _ in range(data.draw(st.integers(0, 2))):
        inner = [key for key, value in section.items() if isinstance(value, dict) and value]
        if not inner:
            break
        section = section[data.draw(st.sampled_from(inner))]
    key = data.draw(st.sampled_from([*section, "new"]))
    before = section.get(key, "nothing")
    section[key] = data.draw(any_json())
    try:
        path.write_text(json.dumps(values))
        if signed:
            sign(stored)
        runs.read_record(stored)
        assert signed or section[key] == before, "a result whose digest does not match was read"
    except RunError:
        pass
    finally:
        path.write_text(original)


# Damaged arrays


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def with_arrays(**changes: Any) -> Damage:
    def damage(path: Path) -> None:
        with np.load(path) as old:
            np.savez(path, **(dict(old) | changes))

    return damage


def one_array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(50))
    return stream.getvalue()


DAMAGED_ARRAYS: dict[str, Damage] = {
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


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "as it is"])
@pytest.mark.parametrize("damage", DAMAGED_ARRAYS.values(), ids=DAMAGED_ARRAYS)
def test_damaged_arrays_are_refused_and_named(stored, damage, signed):
    damage(stored / "arrays.npz")
    if signed:
        sign(stored)
    with pytest.raises(RunError, match=r"arrays\.npz") as refused:
        runs.read_record(stored)
    exists = (stored / "arrays.npz").exists()
    assert ("digest does not match" in str(refused.value)) == (exists and not signed)


def test_a_run_without_its_arrays_is_not_complete(stored):
    (stored / "arrays.npz").unlink()
    assert not runs.is_complete(stored)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(1, 255), cut=st.booleans(), signed=st.booleans())
def test_whatever_stands_in_the_arrays_it_is_read_or_refused(stored, place, byte, cut, signed):
    path, result = stored / "arrays.npz", stored / "result.json"
    original, text = path.read_bytes(), result.read_text()
    spoilt = bytearray(original)
    at_byte = int(place * len(spoilt))
    spoilt[at_byte] ^= byte
    try:
        path.write_bytes(spoilt[:at_byte] if cut else spoilt)
        if signed:
            sign(stored)
        runs.read_record(stored)
        assert signed, "arrays whose digest does not match were read"
    except RunError:
        pass
    finally:
        path.write_bytes(original)
        result.write_text(text)


@pytest.mark.parametrize("archive", [True, False])
def test_nothing_in_a_run_directory_is_executed(stored, tmp_path, archive):
    sprung = tmp_path / "sprung"
    trap = Trap(sprung)
    if archive:
        with_arrays(test_labels=np.array([trap] * 50, object))(stored / "arrays.npz")
    else:
        (stored / "arrays.npz").write_bytes(pickle.dumps(trap))
    sign(stored)  # or nothing would look into it
    with pytest.raises(RunError, match="allow_pickle"):
        runs.read_record(stored)
    assert not sprung.exists()
    pickle.loads(pickle.dumps(trap))
    assert sprung.exists(), "a trap that does not work proves nothing"


# Places


def test_a_run_under_the_name_of_another_is_refused(stored):
    moved = stored.with_name("seed-2")
    shutil.copytree(stored, moved)
    with pytest.raises(RunError, match="seed-1"):
        runs.read_record(moved)
    assert not runs.is_complete(moved)


def test_a_tree_of_runs_may_be_moved_as_a_whole(stored, tmp_path):
    shutil.move(tmp_path / "runs", tmp_path / "elsewhere")
    (directory,) = runs.find_run_directories(tmp_path / "elsewhere")
    assert runs.is_complete(directory)


def test_finding_runs_is_sorted_and_finds_whatever_stands_in_the_place_of_one(tmp_path):
    for name in ("a/baseline/seed-2", "a/baseline/seed-10", "b/noise/seed-1_init-2", "a/baseline/notes", "a/seed-9"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a/baseline/seed-3").write_text("no directory")
    found = [str(path.relative_to(tmp_path)) for path in runs.find_run_directories(tmp_path)]
    # The file is found as well: who reads it says that it is no run.
    assert found == ["a/baseline/seed-10", "a/baseline/seed-2", "a/baseline/seed-3", "b/noise/seed-1_init-2"]
    assert list(runs.find_run_directories(tmp_path / "absent")) == []


def test_what_an_unfinished_run_left_is_cleared_but_its_checkpoint(plain, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    directory = plain.directory
    (directory / "old").mkdir(parents=True)
    names = ("last.ckpt", "result.json", "failed.json", ".result.json.x", "old/events", "events.out.tfevents.1")
    for name in names:
        (directory / name).write_text(name)
    (directory / "link").symlink_to(outside)
    # The curves of a run that goes on from a checkpoint go on as well.
    runs.prepare_directory(directory, plain.identity, keep={"last.ckpt"})
    assert sorted(path.name for path in directory.iterdir()) == ["events.out.tfevents.1", "last.ckpt"]
    runs.prepare_directory(directory, plain.identity, keep=())
    assert list(directory.iterdir()) == []
    assert (outside / "precious").exists()


def test_a_complete_record_stays_until_another_takes_its_place(run, stored, monkeypatch):
    for name in ("last.ckpt", "events.out.tfevents.1"):
        (stored / name).touch()
    before = {name: (stored / name).read_bytes() for name in ("arrays.npz", "result.json")}
    runs.prepare_directory(stored, run.identity, keep=())
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == before

    written: list[int] = []

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 2:  # the arrays fit, and the result does not
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        runs.write_record(made_up_record(run), stored)
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == before


def test_a_directory_that_cannot_be_made_is_named_with_what_to_do(plain, tmp_path):
    (tmp_path / "file").write_text("in the way")
    directory = tmp_path / "file" / plain.identity.path
    with pytest.raises(RunError, match=re.escape(str(directory)) + ".*runs="):
        runs.prepare_directory(directory, plain.identity, keep=())
    assert (tmp_path / "file").read_text() == "in the way"
    directory = plain.directory
    directory.parent.mkdir(parents=True)
    directory.write_text("in the way")
    with pytest.raises(RunError, match=re.escape(str(directory)) + ".*runs="):
        runs.prepare_directory(directory, plain.identity, keep=())
    assert directory.read_text() == "in the way"


def test_a_link_into_the_place_of_another_run_is_refused_and_a_link_elsewhere_is_not(plain, stored, tmp_path):
    directory = plain.directory
    directory.parent.mkdir(parents=True)
    directory.symlink_to(stored)
    for touch in (runs.refuse_foreign_link, lambda *run: runs.prepare_directory(*run, keep=())):
        with pytest.raises(RunError, match="another run belongs"):
            touch(directory, plain.identity)
    assert runs.is_complete(stored)
    # A link to a disk with more space keeps the end of the path, which is what says whose place it is.
    directory.unlink()
    there = tmp_path / "large disk" / plain.identity.path
    there.mkdir(parents=True)
    directory.symlink_to(there)
    runs.refuse_foreign_link(directory, plain.identity)
    runs.prepare_directory(directory, plain.identity, keep=())
    assert directory.is_symlink()


@pytest.mark.parametrize(("stress", "is_read"), [("noise.frac=0.1", True), ("reduction.frac=0.1", False)])
def test_of_the_schema_before_only_reduced_runs_are_done_again(make_run, stress, is_read):
    run = make_run("data=digits", stress)
    run.directory.mkdir(parents=True)
    runs.write_record(made_up_record(run, schema=3), run.directory)
    if is_read:
        assert runs.read_record(run.directory).schema == 3
        assert runs.is_complete(run.directory)
    else:
        with pytest.raises(RunError, match=r"visited a reduced set in another order; run it again"):
            runs.read_record(run.directory)
        assert read_status(run.directory).state == State.DAMAGED
