"""What a user's surroundings, habits and own data do to the two commands, through the real command line.

Each test stands for a kind of mishap that was seen outside of the tests.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import ROOT, SMALL, Finished, ForkedCommand, analyze, assert_one_sentence, bare_environment
from support.pictures import write_pictures
from support.reports import leave_unpictured, settings
from support.sources import stored_arrays, write_npz

from class_sensitivity.report.build import write_report
from class_sensitivity.runs.directory import read_record
from class_sensitivity.training.run import train_job

#: A run on arrays of a file that takes a moment.
TINY = ("data=npz", "training.epochs=1", "training.batch_size=8", "training.threads=1")


def completed(done: Finished, number: int) -> Finished:
    """A command that ended well, with as many results in its directory of runs."""
    assert (done.rc, done.stderr) == (0, "")
    assert len(done.results()) == number
    return done


@pytest.fixture
def report_of(forked: ForkedCommand, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes the report on what was run, without its figures, and returns the summary."""
    leave_unpictured(monkeypatch)

    def report_of(out: Path, *words: str, runs: Path | None = None) -> str:
        write_report(settings(runs or forked.runs, out, *words))
        return (out / "summary.md").read_text("utf-8")

    return report_of


# The surroundings: nothing of them reaches the product unasked

#: A task of srun and of torchrun, a notebook's kernel, a terminal of ASCII, a hook of another repository, and what a
#: Trainer of Lightning's would take for its arguments.
SURROUNDINGS = {
    "RANK": "2",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "4",
    "SLURM_PROCID": "1",
    "SLURM_JOB_ID": "7",
    "MPLBACKEND": "module://a_backend_of_a_notebook",
    "PYTHONIOENCODING": "ascii",
    "GIT_DIR": "/nowhere",
    "PL_TRAINER_MAX_STEPS": "1",
    "COLUMNS": "0",
}


@pytest.mark.slow
def test_neither_command_asks_its_surroundings(command, forked, tmp_path):
    (tmp_path / "home").mkdir()
    # Read from the current directory, before that of the user.
    (tmp_path / "home" / "matplotlibrc").write_text("text.usetex: True\nsavefig.format: pdf\nbackend: tkagg\n")
    path = write_npz(tmp_path / "a.npz", class_names=np.array(["café", "[/bold]"]))
    words = (*TINY, f"data.file={path}")
    options = {"cwd": tmp_path / "home", **SURROUNDINGS}
    done = completed(command(*words, **options), 1)
    (result,) = done.results()
    assert len(list(result.parent.glob("events.out.*"))) == 1
    assert "test accuracy" in done.stdout
    report = analyze(f"runs={command.runs}", f"out={tmp_path / 'report'}", "resamples=100", **options)
    assert (report.returncode, report.stderr) == (0, "")
    assert "caf\\xe9" in report.stdout
    assert "[/bold]" in report.stdout

    # It is the run, and the report, of a bare environment.
    bare = forked(*words, f"runs={tmp_path / 'bare'}")
    assert (bare.rc, bare.stderr) == (0, "")
    assert "[/bold]" in bare.stdout
    twin = read_record(tmp_path / "bare" / result.parent.relative_to(command.runs))
    record = read_record(result.parent)
    assert record.steps == twin.steps == 5
    assert record.environment.git_commit == twin.environment.git_commit
    np.testing.assert_array_equal(record.arrays["test_preds"], twin.arrays["test_preds"])
    report = forked.analyze(f"runs={tmp_path / 'bare'}", f"out={tmp_path / 'bare-report'}", "resamples=100")
    assert (report.rc, report.stderr) == (0, "")
    drawn, bare_drawn = (
        {each.name: each.read_bytes() for each in (tmp_path / folder).rglob("*.svg")}
        for folder in ("report", "bare-report")
    )
    assert drawn == bare_drawn != {}


def test_paths_are_found_from_where_the_command_was_given(forked, tmp_path):
    elsewhere = ("hydra.job.chdir=true", "hydra.sweep.dir=by_hydra", "hydra.run.dir=by_hydra/alone")
    write_npz(tmp_path / "a.npz")
    words = (*TINY, "data.file=a.npz", *elsewhere, "runs=mine")
    sweep = forked("-m", *words, "seed=1,2", "hydra.sweep.subdir=${hydra.job.num}", cwd=tmp_path)
    assert (sweep.rc, sweep.stderr) == (0, "")
    alone = forked(*words, "seed=3", cwd=tmp_path)
    assert (alone.rc, alone.stderr) == (0, "")
    assert sorted(path.parent.name for path in (tmp_path / "mine").rglob("result.json")) == [
        "seed-1",
        "seed-2",
        "seed-3",
    ]
    assert not list((tmp_path / "by_hydra").rglob("result.json"))
    done = forked.analyze("runs=mine", "out=report", "hydra.job.chdir=true", "hydra.run.dir=by_hydra/r", cwd=tmp_path)
    assert (done.rc, done.stderr) == (0, "")
    assert (tmp_path / "report" / "index.html").is_file()


def test_a_tilde_is_the_home_directory_in_every_path(forked, tmp_path):
    home, here = tmp_path / "home", tmp_path / "here"
    (home / "data" / "cifar-10-batches-py").mkdir(parents=True)
    (home / "data" / "cifar-10-batches-py" / "batches.meta").touch()
    here.mkdir()
    asked = {"cwd": here, "HOME": str(home)}
    done = forked("training.epochs=1", CLASS_SENSITIVITY_DATA="~/data", **asked)
    assert_one_sentence(done, f"{home}/data/cifar-10-batches-py/data_batch_1 is missing")
    assert "remove" not in done.stderr
    write_npz(home / "a.npz")
    done = forked(*TINY, "data.file='~/a.npz'", "data.dir='~'", "runs='~/runs'", **asked)
    assert (done.rc, done.stderr) == (0, "")
    assert len(list((home / "runs").rglob("result.json"))) == 1
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o002, 0o664)], ids=oct)
def test_who_may_read_a_run_is_said_by_the_umask(make_run, umask, mode):
    usual = os.umask(umask)
    try:
        directory = train_job(make_run("training.epochs=1"))
    finally:
        os.umask(usual)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in directory.iterdir()}
    assert {"result.json", "arrays.npz"} < modes.keys()
    assert set(modes.values()) == {oct(mode)}


def test_a_directory_that_is_gone_is_one_sentence(tmp_path):
    (tmp_path / "gone").mkdir()
    command = f'cd "{tmp_path}/gone" && rmdir "{tmp_path}/gone" && "{sys.executable}" "{ROOT}/train.py" data=digits'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=bare_environment())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: The current directory does not exist any more; go to another one and give the command there.\n"
    )


# What is typed

#: Words -> what the one sentence says.
TYPED = {
    "runs=~/x": "\"runs='~/x'\"",
    "runs=výzkum": "\"runs='výzkum'\"",
    "runs=a=b": "\"runs='a=b'\"",
    "runs=it's": "runs=it's cannot be read",
    "seed=1,": "seed=1, has a comma too many: values stand between commas, without spaces, as in seed=1,2.",
    "2": "2 is no setting with its value: write NAME=VALUE, as in seed=1.",
    "noise.classes=[é]": "put quotes around each word of a list",
    "noise.partner={'3':8}": "none around the names in front of a colon",
    "--seed": "There is no option --seed: a setting is written without dashes, as in seed=VALUE.",
    "--noise.frac=0.1": "as in noise.frac=VALUE.",
}


@pytest.mark.parametrize("word", TYPED)
def test_a_word_that_cannot_be_read_ends_in_what_to_type(forked, word):
    assert_one_sentence(forked(*SMALL, word), TYPED[word])


def test_what_is_said_to_type_works(forked, tmp_path):
    for word in ("výzkum", "a=b", "a[x]b", "it's"):
        said = forked(*SMALL, f"runs={tmp_path}/{word}", "status=true")
        if word != "a[x]b":  # Hydra reads it
            typed = said.stderr.rpartition("for the shell: ")[2].strip()[:-1]
            (argument,) = shlex.split(typed)
            said = forked(*SMALL, argument)
            assert (said.rc, said.stderr) == (0, "")
            assert (tmp_path / word).is_dir()
            assert f"{tmp_path / word}/digits" in said.stdout


def test_options_may_stand_between_settings(forked):
    done = completed(forked("data=digits", "-m", "seed=1,2", *SMALL[1:]), 2)
    assert done.stdout.startswith("2 runs: 0 complete, running 2\n")
    shown = forked("data=digits", "--cfg", "job", "seed=7")
    assert (shown.rc, shown.stderr) == (0, "")
    assert "\nseed: 7\n" in shown.stdout


def test_several_experiments_are_swept_each_with_its_own_grid(forked):
    both = forked("-m", *SMALL, "experiment=label_noise,data_reduction", "seed=1", "status=true")
    found = forked("-m", *SMALL, "experiment=glob([label*,data*])", "seed=1", "status=true")
    assert sorted(both.stdout.splitlines()) == sorted(found.stdout.splitlines())
    assert both.stdout.endswith("16 runs: 16 missing\n")
    assert both.stdout.count(" baseline seed 1 ") == 1
    assert "noise-shuffle-0.3 " in both.stdout
    assert "reduction-0.9 " in both.stdout
    one = forked("-m", *SMALL, "experiment=matched_control", "seed=1", "status=true")
    assert one.stdout.endswith("3 runs: 3 missing\n")


def test_one_run_is_no_plural(forked):
    assert forked("-m", *SMALL, "seed=1", "status=true").stdout.endswith("1 run: 1 missing\n")
    done = completed(forked("-m", *SMALL, "seed=1"), 1)
    assert done.stdout.startswith("1 run: 0 complete, running 1\n")


def test_a_class_may_be_a_number_in_a_mapping(forked):
    noise = ("noise.kind=pair", "noise.frac=0.1")
    done = completed(forked(*SMALL, *noise, "noise.partner={3:8}"), 1)
    assert "labels wrong" in done.stdout
    # The same run, however it is written.
    for word in ("+noise.partner={3: 8}", "+noise.partner.3=8", "noise.partner={3: '8'}"):
        assert "Complete already" in forked(*SMALL, *noise, word).stdout


def test_noise_that_is_made_of_baselines_of_the_same_sweep_waits_for_them(forked):
    words = ("-m", *SMALL, "noise.kind=confusable", f"noise.study={forked.runs}", "noise.frac=0,0.2", "seed=1,2")
    asked = forked(*words, "status=true")
    assert "2 runs: 2 missing\nMore, made of baselines that are not finished: 2\n" in asked.stdout
    done = completed(forked(*words), 4)
    assert done.stdout.count("2 runs: 0 complete, running 2\n") == 2
    assert len({path.parent.parent for path in done.results()}) == 2
    assert forked(*words).stdout == "4 runs: 4 complete, running 0\n"
    # A place where no baseline of this sweep will be is a mistake at once.
    wrong = forked(*words, f"noise.study={forked.scratch / 'typo'}", f"runs={forked.scratch / 'none'}")
    assert wrong.rc == 1
    assert "holds no finished baseline" in wrong.stderr
    assert not (forked.scratch / "none").exists()


def test_images_of_any_number_of_channels_have_a_report_and_cost_nobody_theirs(forked, report_of, tmp_path):
    stored = stored_arrays()
    for number in (2, 3, 5):
        images = {name: stored[name][..., [0, 1, 2, 0, 1][:number]] for name in ("train_images", "test_images")}
        path = write_npz(tmp_path / f"{number}.npz", **images)
        done = forked("-m", *TINY, f"data.file={path}", f"data.name=of{number}", "noise.frac=0,0.2", "seed=1,2")
        assert (done.rc, done.stderr) == (0, "")
    summary = report_of(tmp_path / "report")
    assert re.findall(r"^## (\w+)", summary, re.MULTILINE) == ["of2", "of3", "of5"]
    reasons = re.findall(r"Figures of images are missing: (.*)", summary)
    assert reasons == [f"pictures have 1, 3 or 4 channels, and these {number}." for number in (2, 5)]


# Data of a user's own


def test_data_that_changed_are_other_data(forked, report_of, tmp_path):
    path = write_npz(tmp_path / "a.npz")
    words = ("-m", *TINY, f"data.file={path}", "seed=1,2")
    completed(forked(*words), 2)
    write_npz(path, train_labels=1 - stored_arrays()["train_labels"])
    again = completed(forked(*words), 4)
    assert again.stdout.startswith("2 runs: 0 complete, running 2\n")
    summary = report_of(tmp_path / "report")
    assert summary.count("2 complete runs: ") == 2


def test_own_arrays_are_converted_where_nothing_is_lost(forked, tmp_path):
    stored = stored_arrays()
    changed = {
        "train_images": stored["train_images"].astype(np.float32) / 255,
        "test_images": stored["test_images"].astype(float),
        "train_labels": stored["train_labels"].astype(np.int32),
        "test_labels": stored["test_labels"].astype(float),
    }
    plain, other = write_npz(tmp_path / "a.npz"), write_npz(tmp_path / "b.npz", **changed)
    first = completed(forked(*TINY, f"data.file={plain}"), 1)
    assert "Complete already" in completed(forked(*TINY, f"data.file={other}"), 1).stdout
    module = tmp_path / "pets.py"
    module.write_text(
        "import numpy as np\nfrom class_sensitivity.data.arrays import ImageArrays\n"
        f"stored = np.load({str(plain)!r})\n"
        "def load(directory, download):\n"
        "    return ImageArrays(stored['train_images'][..., ::-1], stored['train_labels'].astype('i2'),\n"
        "        stored['test_images'][::-1], stored['test_labels'][::-1], list(stored['class_names']))\n"
    )
    completed(forked("data=module", "data.module=pets", *TINY[1:], cwd=tmp_path), 2)
    assert first.rc == 0


#: What is wrong with own data -> what the sentence says; none may begin to train, in a sweep either.
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "names that read alike": (
        {"class_names": np.array(["caf\u00e9", "cafe\u0301 "])},
        "class_names holds 'caf\u00e9' 2 times",
    ),
    "a name that steers the terminal": ({"class_names": np.array(["\x1b[2Jant", "bee"])}, "has a control character"),
    "a name twice": ({"class_names": np.array(["ant", "ant"])}, "class_names holds 'ant' 2 times"),
    "a class without examples": (
        {"class_names": np.array(["ant", "bee", "cow"])},
        "train_labels hold no example of class cow: add some, or leave the class out",
    ),
    "pixels with fractions": ({"test_images": stored_arrays()["test_images"] / 256}, "use (test_images * 255).round()"),
    "labels with fractions": ({"train_labels": stored_arrays()["train_labels"] + 0.5}, "use train_labels.astype"),
}


#: Ways to ask for something that reads the data.
ASKED = ((), ("inspect=true",), ("-m", "seed=1,2"), ("-m", "status=true"))


@pytest.mark.parametrize(
    ("fault", "ways"),
    # One of them in every way, the others in one way each.
    [(fault, ASKED if number == 0 else ASKED[number % 4 :][:1]) for number, fault in enumerate(FAULTS)],
    ids=FAULTS,
)
def test_a_fault_of_own_data_is_one_sentence_before_any_run_begins(forked, tmp_path, fault, ways):
    changed, words = FAULTS[fault]
    path = write_npz(tmp_path / "a.npz", **changed)
    for asked in ways:
        done = forked(*asked, *TINY, f"data.file={path}")
        assert_one_sentence(done, "The data set npz cannot be used: ", words)
        assert not done.runs.exists()


def test_no_batch_holds_a_single_example(forked, tmp_path):
    labels = np.arange(41) % 2
    path = write_npz(tmp_path / "a.npz", train_images=np.zeros((41, 12, 10, 3), np.uint8), train_labels=labels)
    done = forked("-m", *TINY, f"data.file={path}", "training.batch_size=2", "reduction.frac=0,0.5")
    completed(done, 2)
    steps = {read_record(path.parent).train_size: read_record(path.parent).steps for path in done.results()}
    assert steps == {41: 20, 21: 10}


# What runs are called, and which are paired


def test_runs_that_differ_in_a_setting_are_told_apart_by_it(forked, report_of, tmp_path):
    words = ("-m", *SMALL, "training.lr=0.02,0.1", "seed=1")
    asked = forked(*words, "status=true").stdout
    done = completed(forked(*words), 2)
    for name in ("lr 0.02: baseline seed 1", "lr 0.1: baseline seed 1"):
        assert name in asked
        assert name in done.stdout
    summary = report_of(tmp_path / "report")
    headings = re.findall(r"^## (.*)", summary, re.MULTILINE)
    assert sorted(headings) == ["digits, cnn6, lr 0.02", "digits, cnn6, lr 0.1"]
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count(">digits, cnn6, lr 0.02</") == page.count(">digits, cnn6, lr 0.1</") == 2  # link and heading
    shown = forked.analyze(f"out={tmp_path / 'report'}", "resamples=100").stdout
    assert "\ndigits, cnn6, lr 0.02, 1 run\n" in shown


def test_each_choice_of_classes_is_named_and_has_its_curve_and_its_matrices(forked, report_of, tmp_path):
    done = forked("-m", *SMALL, "noise.frac=0,0.3,0.6", "noise.classes=[3,8],[7,1]", "seed=1,2")
    completed(done, 10)
    assert re.search(r"noise-shuffle-0\.3 \(of 3 and 8\) seed 1 +accuracy", done.stdout)
    assert re.search(r"noise-shuffle-0\.6 \(of 1 and 7\) seed 2 +accuracy", done.stdout)
    out = tmp_path / "report"
    summary = report_of(out)
    assert re.findall(r"label noise \(shuffle, of . and .\)\*\*: ", summary) == [
        "label noise (shuffle, of 1 and 7)**: ",
        "label noise (shuffle, of 3 and 8)**: ",
    ]
    page = (out / "index.html").read_text()
    for classes in ("3 and 8", "1 and 7"):
        assert f"60 % noise (shuffle, of {classes})" in page
        assert f"Every level of label noise (shuffle, of {classes})" in page
        assert f"How sure is the order? label noise (shuffle, of {classes})" in page


def test_every_class_by_name_is_no_choice_of_classes(forked):
    words = ("-m", *SMALL, "noise.frac=0.2", "seed=1", "status=true")
    plain = forked(*words).stdout
    assert forked(*words, "noise.classes=[9,8,7,6,5,4,3,2,1,0]").stdout == plain
    assert forked(*words, "noise.classes=[],[0,1,2,3,4,5,6,7,8,9]").stdout == plain


def test_runs_whose_fixed_streams_are_equal_are_paired(forked, report_of, tmp_path):
    # Seed 1 has the stream `init` at 1 in any case, and a baseline draws no labels.
    completed(forked("-m", *SMALL, "noise.frac=0,0.4", "streams.init=1", "streams.labels=7", "seed=1,2"), 4)
    summary = report_of(tmp_path / "report")
    assert re.findall(r"^## (.*)", summary, re.MULTILINE) == ["digits, cnn6, labels 7, init 1"]
    assert "4 complete runs: 2 conditions, 2 seeds" in summary
    assert "**label noise (shuffle)**: " in summary
    # Beside plain seeds, these are studies of their own.
    completed(forked("-m", *SMALL, "noise.frac=0,0.4", "seed=1,2"), 7)
    summary = report_of(tmp_path / "report")
    assert re.findall(r"^## (.*)", summary, re.MULTILINE) == ["digits, cnn6", "digits, cnn6, labels 7, init 1"]
    assert summary.count("4 complete runs: 2 conditions, 2 seeds") == 2


# Where runs lie


def test_runs_are_counted_once_wherever_links_lead_and_nobody_is_told_to_remove_them(forked, report_of, tmp_path):
    done = completed(forked("-m", *SMALL, "noise.frac=0,0.2", "seed=1,2"), 4)
    (recipe,) = done.runs.iterdir()
    team = tmp_path / "team"
    for folder in (team / "ann", team / "bob"):
        shutil.copytree(recipe, folder / recipe.name)
    for name in ("a-link", "z-link"):
        (done.runs / name).symlink_to(recipe)
    summary = report_of(tmp_path / "report")
    assert summary.count("4 complete runs: 2 conditions, 2 seeds") == 1
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("is a link to a run that is counted already") == 8
    assert str(recipe / "baseline") not in page.partition("counted already")[2].partition("</table>")[0]

    # What a link of the right name leads to may be called otherwise.
    archive = tmp_path / "archive"
    shutil.copytree(recipe, archive / "of last year")
    (archive / "runs").mkdir()
    (archive / "runs" / recipe.name).symlink_to(archive / "of last year")
    summary = report_of(tmp_path / "report", runs=archive / "runs")
    assert "4 complete runs: 2 conditions, 2 seeds" in summary
    assert "left out" not in summary
    again = forked("-m", *SMALL, "noise.frac=0,0.2", "seed=1,2", f"runs={archive / 'runs'}")
    assert again.stdout == "4 runs: 4 complete, running 0\n"

    shutil.copytree(recipe, tmp_path / "renamed" / "of last year")
    # Elsewhere, what is wrong with the layout is said.
    places = {
        team: f"{team / 'ann'} holds runs of its own, as a directory RECIPE/CONDITION/seed-1; report on it with "
        f"runs={team / 'ann'}",
        recipe: f"report on it with runs={done.runs}",
        recipe / "baseline": f"report on it with runs={done.runs}",
        tmp_path / "renamed": f"belongs in {recipe.name}/baseline/seed-1; give its folders their names back",
    }
    for place, words in places.items():
        asked = forked.analyze(f"runs={place}", f"out={tmp_path / 'none'}")
        assert asked.rc == 1
        assert len(asked.stderr.splitlines()) == 1
        assert words in asked.stderr
        assert "remove" not in asked.stderr
        assert not (tmp_path / "none").exists()


def test_peoples_choices_are_looked_at_before_anything_is_computed(forked, report_of, tmp_path):
    for name, size in (("ants", 20), ("bees", 10)):
        stored = stored_arrays()
        fewer = {key: stored[key][:size] for key in ("test_images", "test_labels")}
        path = write_npz(tmp_path / f"{name}.npz", **fewer)
        completed(forked(*TINY, f"data.file={path}", f"data.name={name}"), 1 if name == "ants" else 2)
    people = tmp_path / "people.npy"
    wrong = forked.analyze(f"people={people}", f"out={tmp_path / 'report'}")
    assert wrong.stderr.startswith(f"error: {people} cannot be read (No such file or directory): it must be a .npy")
    np.save(people, 10 * np.eye(2)[stored_arrays()["test_labels"]])
    wrong = forked.analyze(f"people={people}", f"out={tmp_path / 'report'}")
    assert wrong.stderr == f"error: people={people} fits some of ants, bees: add only.data=ants.\n"
    assert not (tmp_path / "report").exists()
    report_of(tmp_path / "report", f"people={people}", "only.data=ants")


def test_files_that_another_machine_would_take_for_one_are_refused(forked, tmp_path):
    folder = write_pictures(tmp_path / "pictures")
    first = next(folder.rglob("*.png"))
    words = ("data=image_folder", f"data.dir={folder}", f"data.cache_dir={tmp_path / 'cache'}", *TINY[1:])
    for other in (first.with_suffix(".PNG"), first.with_name("Ä.png"), first.with_name("A\u0308.png")):
        shutil.copy(first, other)
        if other.name != "Ä.png":
            asked = forked(*words)
            assert_one_sentence(
                asked, "differ in capital letters alone, or in how their letters are encoded (1 of the files"
            )
            other.unlink()


def test_a_stream_that_is_varied_is_not_held_by_the_seed_that_is_equal_to_it(forked, report_of, tmp_path):
    completed(forked("-m", *SMALL, "noise.frac=0,0.4", "seed=1,2"), 4)
    completed(forked("-m", *SMALL, "noise.frac=0.4", "seed=1", "streams.selection=2,3"), 6)
    summary = report_of(tmp_path / "report")
    assert re.findall(r"^## (.*)", summary, re.MULTILINE) == ["digits, cnn6"]
