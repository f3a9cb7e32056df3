"""Packed copies of runs: small, whole, and with the same statistics."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from support.records import finish

from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.errors import RunError
from class_sensitivity.report.tables import classes_table, relative_table
from class_sensitivity.runs.directory import find_run_directories, read_record, write_record
from class_sensitivity.runs.packing import pack_runs
from class_sensitivity.stress.noise import NOISE_KINDS, noise_settings


@pytest.fixture(scope="module")
def packed(plan_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed")
    assert pack_runs(plan_root, out) == len([*find_run_directories(plan_root)])
    return out


def test_every_number_of_a_report_is_the_same(plan_root, packed):
    (study,), (copy,) = load_runs(plan_root), load_runs(packed)
    np.testing.assert_array_equal(study.preds, copy.preds)
    assert study.arrays.identical(copy.arrays)
    for table in (classes_table, relative_table):
        pd.testing.assert_frame_equal(*(table(analyse(each, resamples=50)) for each in (study, copy)))


def test_packed_and_whole_runs_are_one_study(plan_root, packed, tmp_path):
    """Whoever goes on from published records has both."""
    both = shutil.copytree(plan_root, tmp_path / "both")
    one = next(find_run_directories(packed)).relative_to(packed)
    shutil.rmtree(both / one)
    shutil.copytree(packed / one, both / one)
    (study,), mixed = load_runs(plan_root), load_runs(both)
    assert not mixed.left_out
    assert mixed[0].arrays.identical(study.arrays)


def test_a_copy_has_its_own_digest_and_no_large_array(packed, plan_root):
    for directory in find_run_directories(packed):
        assert {path.name for path in directory.iterdir()} == {"result.json", "arrays.npz"}
        record = read_record(directory, arrays=("test_labels", "test_preds"))
        assert {array.dtype for array in record.arrays.values()} == {np.dtype(np.int8)}
        whole = read_record(plan_root / directory.relative_to(packed), arrays=())
        assert replace(record, config={}) == replace(whole, config={})
        assert record.config == whole.config | {"runs": "runs", "data": whole.config["data"] | {"dir": "data"}}


def test_a_run_that_is_damaged_is_not_copied(plan_root, tmp_path):
    for source in [*find_run_directories(plan_root)][:2]:
        place = tmp_path / "runs" / source.relative_to(plan_root)
        place.mkdir(parents=True)
        for path in source.iterdir():
            (place / path.name).write_bytes(path.read_bytes())
    (place / "arrays.npz").write_bytes(b"")
    assert pack_runs(tmp_path / "runs", tmp_path / "copies") == 1


def test_a_place_that_cannot_be_written_is_named(plan_root, tmp_path):
    (tmp_path / "copies").write_text("a file")
    with pytest.raises(RunError, match=r"copies.* cannot be written"):
        pack_runs(plan_root, tmp_path / "copies")


@pytest.mark.parametrize(
    ("kind", "given", "bare"),
    [
        ("human", {"file": "/home/someone/labels.npy"}, {"file": "labels.npy"}),
        ("confusable", {"study": "/home/someone/runs", "study_seeds": [1]}, {"study": "runs", "study_seeds": [1]}),
    ],
)
def test_a_copy_has_the_bare_names_of_files(plan_root, tmp_path, kind, given, bare):
    record = read_record(next(find_run_directories(plan_root)), arrays=("test_labels", "test_preds"))
    config = record.config | {"noise": record.config["noise"] | {"kind": {"name": kind, **given}}}
    condition = replace(record.identity.condition, noise_given=given)
    record = replace(record, identity=replace(record.identity, condition=condition), config=config)
    place = tmp_path / "runs" / record.identity.path
    place.mkdir(parents=True)
    write_record(record, place)
    assert pack_runs(tmp_path / "runs", tmp_path / "copies") == 1
    (copy,) = find_run_directories(tmp_path / "copies")
    packed = read_record(copy, arrays=())
    assert packed.identity == record.identity
    assert packed.identity.condition.noise_given == bare
    assert packed.config["noise"]["kind"] == {"name": kind, **bare}
    assert "someone" not in (copy / "result.json").read_text()


@pytest.mark.parametrize("kind", sorted(NOISE_KINDS))
def test_a_run_of_every_kind_with_all_its_settings_is_known_again_as_a_copy(make_run, tmp_path, kind):
    finish(make_run("seed=1"))
    np.save(tmp_path / "matrix.npy", np.full((10, 10), 0.1))
    (tmp_path / "people.pt").write_bytes(b"labels of people, read when a run is trained")
    people = (f"noise.file={tmp_path / 'people.pt'}", "noise.column=worse")
    words = {
        "pair": ("+noise.partner.1='7'",),
        "matrix": (f"noise.matrix={tmp_path / 'matrix.npy'}",),
        "human": people,
        "human_matched": people,
        "confusable": (f"noise.study={tmp_path / 'runs'}", "noise.study_seeds=[1]"),
    }.get(kind, ())
    run = make_run(f"noise.kind={kind}", "noise.frac=0.2", "noise.classes=['1','2']", *words)
    default = NOISE_KINDS[kind]()
    for own in noise_settings(type(default)):
        assert getattr(run.settings.noise.kind, own.name) != getattr(default, own.name), "every setting must be given"
    assert read_record(finish(run), arrays=()).identity == run.identity
    assert pack_runs(tmp_path / "runs", tmp_path / "copies") == 2
    place = tmp_path / "copies" / run.identity.path
    assert read_record(place, arrays=()).identity == run.identity
    assert str(tmp_path) not in (place / "result.json").read_text()
