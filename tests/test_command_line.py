"""The real command line: what a mistake looks like, and what a sweep does.

A new process takes half a second to find a mistake in a setting, and six to train, of which the imports are five.
Commands are forked from a process that has imported everything, and one of each kind is not.
"""

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from support.commands import IMPORTS_TORCH, ROOT, SMALL, Finished, ForkedCommand, assert_one_sentence
from support.disks import fill, small_disk

from class_sensitivity import config as configuration
from class_sensitivity.command_line import one_sentence_errors
from class_sensitivity.runs.run import Run
from class_sensitivity.stress import NOISE_KINDS

#: A run that can be caught while it trains.
LONG = ("data=digits", "training.epochs=12", "training.batch_size=128", "training.threads=1")

linux = pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
posix = pytest.mark.skipif(os.name != "posix", reason="sends signals")


def names_in(folder: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / folder).glob("*.yaml"))


def wait_for(pattern: str, runs: Path) -> None:
    deadline = time.monotonic() + 300
    while not any(runs.rglob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern} in five minutes"
        time.sleep(0.02)


# Mistakes in the settings

MISTAKES: dict[str, list[str]] = {
    "noise.frac=1.5": ["noise.frac=1.5", "0 to 1"],
    "seed=1.5": ["seed=1.5", "Integer"],
    "nois.frac=0.1": ["nois.frac", "noise.frac"],
    # Hydra's + would add the misspelt key and train clean.
    "+nois.frac=0.1": ["nois.frac", "noise.frac"],
    "model=cnn7": ["model=cnn7", *names_in("model")],
    "model=null": ["null"],
    "seed=1,2": ["seed=1,2", "-m"],
    "noise.frac=-0.1": ["noise.frac=-0.1", "0 to 1"],
    "noise.frac=nan": ["noise.frac=nan", "0 to 1"],
    "noise.frac=abc": ["noise.frac=abc", "Float"],
    "noise.frac=null": ["noise.frac=null"],
    "noise.kind=shufle": ["noise.kind=shufle", *NOISE_KINDS],
    "data=cifar11": ["data=cifar11", *names_in("data")],
    "data.name=mnist": ["data.name=mnist", *names_in("data")],
    "experiment=figure99": ["figure99", *names_in("experiment")],
    "experiment=label_noise": ["experiment=label_noise", "add -m"],
    "+noise.fraction=0.1": ["noise.fraction", "noise.frac"],
    "noise=0.1": ["noise=0.1"],
    "noise.classes=cat": ["noise.classes=cat", "list"],
    "noise.classes=[[cat]]": ["noise.classes=[['cat']]", "list of class names"],
    "reduction.frac=1": ["reduction.frac=1", "not including 1"],
    "reduction.frac=-0.5": ["reduction.frac=-0.5", "0"],
    "seed=-1": ["seed=-1", "0 to 9223372036854775807"],
    "streams.init=-1": ["streams.init=-1", "0 to 9223372036854775807, or null"],
    "seed=9223372036854775808": ["seed=9223372036854775808", "0 to 9223372036854775807"],
    "streams.init=9223372036854775808": ["streams.init=9223372036854775808"],
    "training.epochs=0": ["training.epochs=0", "1 or more"],
    "training.batch_size=1": ["training.batch_size=1", "2 or more"],
    "training.lr=0": ["training.lr=0", "above 0"],
    "training.precision=half": ["training.precision=half", "32-true"],
    "training.accelerator=tpu": ["training.accelerator=tpu", "cpu"],
    "training.threads=0": ["training.threads=0", "1 to 4096"],
    "training.threads=99999999999": ["training.threads=99999999999", "1 to 4096"],
    "runs=": ["runs= is not allowed", "a directory"],
    "data.crop_padding=-1": ["data.crop_padding=-1", "0 or more"],
    "data.crop_padding=1.5": ["data.crop_padding=1.5", "Integer"],
    "+data.shift=3": ["data.shift", "not a setting of digits"],
    "+data.options.shift=3": ["data.options", "not a setting of digits"],
    "~noise.frac": ["noise.frac"],
    "~model.name": ["model.name"],
    "noise.frac": ["noise.frac"],
}


#: Each found by something else: the command line, Hydra's parser, its groups and its types, the schema, the check of a
#: value, of the sections that are open, of a single run.
KINDS_OF_MISTAKE = (
    *("noise.frac=1.5", "seed=1.5", "nois.frac=0.1", "+nois.frac=0.1", "model=cnn7", "model=null", "seed=1,2"),
    *("experiment=label_noise", "noise=0.1", "noise.frac", "~noise.frac", "noise.classes=[[cat]]", "+data.shift=3"),
)


@pytest.mark.parametrize("mistake", KINDS_OF_MISTAKE)
def test_a_mistake_in_a_setting_is_one_sentence(forked, mistake):
    assert_one_sentence(forked(*SMALL, mistake), *MISTAKES[mistake])


@pytest.mark.parametrize("mistake", [mistake for mistake in MISTAKES if mistake not in KINDS_OF_MISTAKE])
def test_each_mistake_in_a_setting_has_its_words(mistake, monkeypatch, capsys):
    def command() -> None:
        with one_sentence_errors(), initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            Run.of(configuration.train_settings(compose("train", overrides=[*SMALL, mistake])))

    # Through the door of the command, but in this process.
    monkeypatch.setattr(sys, "argv", ["train.py"])
    with mock.patch.dict(os.environ), pytest.raises(SystemExit) as end:
        command()
    said = capsys.readouterr()
    assert_one_sentence(Finished(end.value.code, said.out, said.err, Path("none")), *MISTAKES[mistake])


#: What is found once the data set is there, or while it trains.
MISFITS: dict[tuple[str, ...], list[str]] = {
    ("noise.frac=0.1", "noise.classes=[cat]"): ["noise.classes=cat", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"],
    ("noise.frac=0.1", "noise.kind=pair", "+noise.partner.cat='1'"): ["noise.partner=cat", "0, 1, 2, 3"],
    ("reduction.frac=0.999",): ["reduction.frac=0.999", "class"],
    ("data.crop_padding=8",): ["data.crop_padding=8", "8 x 8"],
    ("+model.depth=3",): ["model.depth", "widths"],
    ("+model.options.depth=3",): ["model.options", "widths"],
    ("training.lr=1e30",): ["training.lr=1e+30", "diverged"],
}


@pytest.mark.parametrize("settings", MISFITS, ids=" ".join)
def test_a_setting_that_does_not_fit_is_one_sentence(forked, settings):
    assert_one_sentence(forked(*SMALL, *settings), *MISFITS[settings])


def test_mistakes_are_one_sentence_in_a_process_of_its_own(command):
    assert_one_sentence(command(*SMALL, "nois.frac=0.1"), *MISTAKES["nois.frac=0.1"])
    assert_one_sentence(command(*SMALL, "reduction.frac=0.999"), "reduction.frac=0.999", "class")


def test_full_errors_show_the_traceback(command):
    done = command(*SMALL, "noise.frac=2", HYDRA_FULL_ERROR="1")
    assert done.rc != 0
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--cfg", "job"), ("noise.frac=2",), ("nois.frac=1",), ("model=cnn7",)], ids=" ".join
)
def test_what_trains_nothing_does_not_wait_for_torch(command, arguments):
    done = command(*arguments, python=("-X", "importtime"))
    assert "import time:" in done.stderr
    assert not IMPORTS_TORCH.search(done.stderr)
    if arguments == ("--help",):
        groups = {group: set(names_in(group)) for group in ("data", "model", "experiment")}
        shown = dict(re.findall(r"^(\w+): (\w+(?:, \w+)*)$", done.stdout, re.MULTILINE))
        assert {group: set(names.split(", ")) for group, names in shown.items()} == groups
        assert "conf/train.yaml" in done.stdout
        assert "powered by Hydra" not in done.stdout


def test_the_trace_of_imports_would_show_torch():
    traced = subprocess.run([sys.executable, "-X", "importtime", "-c", "import torch"], capture_output=True, text=True)
    assert IMPORTS_TORCH.search(traced.stderr)


# Trouble with the data

CIFAR10 = ("data=cifar10", "training.epochs=1", "training.threads=1")
FILES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"]


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_absent_data_that_may_not_be_downloaded(forked, tmp_path):
    done = forked(*CIFAR10, f"data.dir={tmp_path / 'none'}", "data.download=false")
    assert_one_sentence(done, str(tmp_path / "none"), "data.download", "data.dir", "data=digits")


def test_absent_data_without_a_network(forked, tmp_path):
    nowhere = "http://127.0.0.1:9"
    done = forked(*CIFAR10, f"data.dir={tmp_path / 'none'}", http_proxy=nowhere, https_proxy=nowhere)
    assert_one_sentence(done, str(tmp_path / "none"), "data.dir", "data=digits")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_data_that_may_not_be_read(forked, tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in FILES:
        (folder / name).touch(mode=0o000)
    assert_one_sentence(forked(*CIFAR10, f"data.dir={tmp_path}"), str(tmp_path), "data.dir")


def test_a_file_where_the_data_should_be(forked, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    done = forked(*CIFAR10, f"data.dir={tmp_path / 'file'}")
    assert_one_sentence(done, str(tmp_path / "file"), "data.dir")


def test_data_of_another_content_is_refused_before_it_is_unpickled(forked, tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert_one_sentence(forked(*CIFAR10, f"data.dir={tmp_path}"), "data_batch_1", "MD5", "data.dir")
    assert not (tmp_path / "sprung").exists()
    pickle.loads((folder / FILES[0]).read_bytes())
    assert (tmp_path / "sprung").exists(), "a trap that does not work proves nothing"


@pytest.mark.cifar10
def test_a_file_of_the_real_data_cut_short(forked, tmp_path, cifar10_dir):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in FILES:
        (folder / name).symlink_to(Path(cifar10_dir).resolve() / folder.name / name)
    whole = (folder / "test_batch").read_bytes()
    (folder / "test_batch").unlink()
    (folder / "test_batch").write_bytes(whole[:-1000])
    assert_one_sentence(forked(*CIFAR10, f"data.dir={tmp_path}"), "test_batch", "MD5", "data.dir")


# Trouble with the run directory


def test_runs_that_cannot_be_written(forked, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert_one_sentence(forked(*SMALL, f"runs={tmp_path / 'file' / 'runs'}"), str(tmp_path / "file" / "runs"), "runs=")


@linux
@pytest.mark.slow
@pytest.mark.parametrize("from_the_start", [True, False], ids=["from the start", "while it trains"])
def test_a_full_disk_and_the_same_command_after_there_is_space(fork_server, tmp_path, from_the_start):
    with small_disk(tmp_path / "disk") as disk:
        command = ForkedCommand(fork_server, disk / "runs", tmp_path)
        if from_the_start:
            fill(disk)
        settings = SMALL if from_the_start else LONG
        process = command.start(*settings)
        if not from_the_start:
            wait_for("last.ckpt", command.runs)
            fill(disk)
        done = command.finish(process)
        assert_one_sentence(done, str(disk / "runs"), "No space left on device", "runs=")
        (disk / "ballast").unlink()
        again = command(*settings)
        assert (again.rc, again.stderr) == (0, "")
        assert len(again.results()) == 1


# Sweeps

LINE = re.compile(r"^\[(\d)/(\d)\] (.*)$", re.MULTILINE)


def modified(done: Finished) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in done.runs.rglob("*") if path.is_file()}


def arrays_of(result: Path) -> dict[str, np.ndarray]:
    with np.load(result.with_name("arrays.npz")) as stored:
        return dict(stored)


def test_a_sweep_from_start_to_end(command, forked, tmp_path):
    sweep = ("-m", *SMALL, "noise.frac=0,0.1", "seed=0,1")
    done = command(*sweep)
    assert (done.rc, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "4 runs: 0 complete, running 4"
    assert [(k, n) for k, n, _ in LINE.findall(done.stdout)] == [(k, "4") for k in "1234"]
    assert [" left" in rest for _, _, rest in LINE.findall(done.stdout)] == [True, True, True, False]
    assert [path.parent.name for path in done.results()] == ["seed-0", "seed-1"] * 2

    # The same again touches nothing, and does not wait for torch to find that out.
    before = modified(done)
    again = command(*sweep, python=("-X", "importtime"))
    assert again.rc == 0
    assert again.stdout.splitlines() == ["4 runs: 4 complete, running 0"]
    assert not IMPORTS_TORCH.search(again.stderr)
    assert modified(again) == before

    # Kinds of noise at frac 0 share the baseline; what is missing alone is run.
    shared = command("-m", *SMALL, "noise.kind=shuffle,symmetric", "noise.frac=0", "seed=0,1")
    assert shared.stdout.splitlines() == ["2 runs: 2 complete, running 0"]

    # A run of a sweep, second or later in its process, is the run alone in a process of its own.
    alone = forked(*SMALL, "noise.frac=0.1", "seed=1", f"runs={tmp_path / 'alone'}")
    assert alone.rc == 0
    assert "test accuracy" in alone.stdout
    (single,) = (tmp_path / "alone").rglob("result.json")
    (twin,) = (path for path in done.results() if path.parent.name == "seed-1" and "noise" in path.parent.parent.name)
    assert single.relative_to(tmp_path / "alone") == twin.relative_to(done.runs)
    for name, array in arrays_of(single).items():
        np.testing.assert_array_equal(array, arrays_of(twin)[name], strict=True)


def test_a_sweep_with_one_bad_value_runs_nothing(forked):
    done = forked("-m", *SMALL, "noise.frac=0,0.1,7", "seed=0,1")
    assert_one_sentence(done, "noise.frac=7", "0 to 1")
    assert not done.runs.exists()


def test_a_sweep_with_a_mistyped_setting_runs_nothing(forked):
    done = forked("-m", *SMALL, "nois.frac=0,0.1")
    assert_one_sentence(done, "nois.frac", "noise.frac")
    assert not done.runs.exists()


@pytest.mark.parametrize("mistake", ["noise.classes=[],[cat]", "+noise.partner={cat: '1'}"])
def test_a_sweep_with_a_class_that_does_not_exist_runs_nothing(forked, mistake):
    done = forked("-m", *SMALL, "noise.kind=pair", "noise.frac=0,0.1", mistake)
    assert_one_sentence(done, "=cat is not a class", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9")
    assert not done.runs.exists()


def test_a_run_that_fails_is_named_at_once_and_the_others_go_on(forked):
    done = forked("-m", *SMALL, "reduction.frac=0.999,0", "seed=0")
    assert done.rc not in (0, None)
    assert "Traceback" not in done.stderr
    first, summary = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert "reduction.frac=0.999 is too high" in first
    assert "reduction.frac=0.999" in first.partition("(run: ")[2], "the run is not named"
    assert "1 of 2" in summary
    assert len(done.results()) == 1


@posix
def test_ctrl_c_is_one_sentence_and_the_same_command_goes_on(forked):
    process = forked.start(*LONG)
    wait_for("last.ckpt", forked.runs)
    os.kill(process, signal.SIGINT)
    done = forked.finish(process)
    assert_one_sentence(done, "nterrupted", "same command")
    assert done.rc == 130
    assert any(forked.runs.rglob("last.ckpt"))
    again = forked(*LONG)
    assert (again.rc, again.stderr) == (0, "")
    assert len(again.results()) == 1
