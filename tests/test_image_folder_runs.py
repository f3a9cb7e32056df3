"""From a folder of images to a run, and to a report on it, by the commands that a user types."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.commands import Finished, ForkedCommand
from support.pictures import picture, write_pictures, write_split

from class_sensitivity.data.sources.image_folder import import_report, load

#: Few weights and few steps.
SMALL = ("training.epochs=1", "training.batch_size=16", "training.threads=1", "model.widths=[4,4,8,8,16,16]")

#: Class names that a terminal, a page or TensorBoard could take for something else.
NAMES = ("[red]", "<b>dog</b>".replace("/", "\\"), "👩‍👩‍👧 été", "{{ x }}", "a" * 200)


@pytest.fixture
def ask(forked: ForkedCommand, tmp_path: Path):
    def ask(*words: str) -> Finished:
        sweep = ["-m"] if any(word.startswith("seed=1,") for word in words) else []
        done = forked(*sweep, "data=image_folder", f"data.cache_dir={tmp_path / 'cache'}", *SMALL, *words)
        assert (done.rc, done.stderr) == (0, "")
        return done

    return ask


@pytest.mark.slow
def test_a_folder_becomes_a_run_that_is_done_once_until_an_image_changes(ask, tmp_path):
    train, test = write_split(tmp_path / "pictures", dict.fromkeys(NAMES, 8))
    shutil.rmtree(test / "[red]")
    words = (f"data.train_dir={train}", f"data.test_dir={test}")
    first = ask(*words)
    assert "56 images of 5 classes: 40 to train on, 16 to test on" in first.stdout
    assert "their recall is unknown: [red]." in first.stdout
    (result,) = first.results()
    record = json.loads(result.read_text())
    assert record["class_names"] == sorted(NAMES)
    assert record["train_size"] == 40
    recall = dict(zip(record["class_names"], record["metrics"]["recall"], strict=True))
    assert [name for name, share in recall.items() if share is None] == ["[red]"]
    options = record["config"]["data"]["options"]
    report = import_report(record["config"]["data"]["dir"], **options)
    assert report.digest == record["identity"]["data"]["digest"]

    again = ask(*words)
    assert "Complete already" in again.stdout
    assert "Imported" not in again.stdout
    picture(99).save(train / "[red]" / "000.png")
    changed = ask(*words)
    assert "Imported" in changed.stdout
    assert len(changed.results()) == 2


def test_processes_that_import_at_the_same_time_do_not_meet(forked, tmp_path):
    folder = write_pictures(tmp_path / "pictures", {"cat": 200, "dog": 200})
    words = ("data=image_folder", f"data.cache_dir={tmp_path / 'cache'}", f"data.dir={folder}", "status=true")
    ended = [forked.finish(pid) for pid in [forked.start(*words) for _ in range(4)]]
    assert [(done.rc, done.stderr) for done in ended] == [(0, "")] * 4
    places = {place for done in ended for place in re.findall(r"kept in (\S+):", done.stdout)}
    assert len(places) == 1
    assert sorted(path.name for path in Path(places.pop()).iterdir()) == ["test.npy", "train.npy"]
    assert not list((tmp_path / "cache").glob("importing-*"))


@pytest.mark.slow
def test_a_killed_import_leaves_nothing_that_counts(forked, tmp_path):
    folder = write_pictures(tmp_path / "pictures")
    words = ("data=image_folder", f"data.cache_dir={tmp_path / 'cache'}", f"data.dir={folder}", "status=true")
    forked.runs = tmp_path / "cache"  # operations on files are counted there
    for die_at in range(1, 30):
        done = forked(*words, f"runs={tmp_path / 'runs'}", die_at=die_at)
        if done.rc == 0:
            break
        for place in (tmp_path / "cache").glob("*/"):
            whole = sorted(path.name for path in place.iterdir()) == ["test.npy", "train.npy"]
            assert whole or place.name.startswith("importing-")
    assert die_at > 5
    assert (done.rc, done.stderr) == (0, "")
    expected, found = (load(str(folder), cache_dir=str(tmp_path / name)) for name in ("fresh", "cache"))
    np.testing.assert_array_equal(found.train_images, expected.train_images)
    np.testing.assert_array_equal(found.test_images, expected.test_images)


@pytest.mark.slow
def test_a_folder_becomes_a_report(ask, forked, tmp_path):
    folder = write_pictures(tmp_path / "pictures", dict.fromkeys(NAMES, 15))
    (folder / "[red]" / "broken.png").touch()
    done = ask(f"data.dir={folder}", "data.skip_broken=true", "noise.frac=0,0.4", "seed=1,2")
    assert len(done.results()) == 4
    assert done.stdout.count("Imported") == 1
    reported = forked.analyze(f"out={tmp_path / 'report'}", "resamples=100")
    assert (reported.rc, reported.stderr) == (0, "")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;dog" in page
    assert "<b>dog" not in page
    # The images come from the cache, and none is missing.
    assert "Figures of images are missing" not in page


@pytest.mark.slow
def test_the_benchmark_measures_every_stage(root, tmp_path):
    command = [sys.executable, "benchmarks/importing.py", "--images", "60", "--json", str(tmp_path / "importing.json")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = json.loads((tmp_path / "importing.json").read_text())["rows"]
    assert row["images"] == 60
    assert all(value > 0 for value in row.values())
    assert row["cache_mb"] >= 60 * 32 * 32 * 3 / 1e6
