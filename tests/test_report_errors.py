"""What can be wrong with runs, settings or place: one sentence, and everything stays as it was."""

import errno
import os
import re
import shutil
import signal
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.commands import analyze
from support.reports import PLAN, RESAMPLES, WORLD, files, leave_unpictured, settings, words_of, write_digits
from support.synthetic import write_run, write_study

from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.study import Study
from class_sensitivity.errors import ConfigError, ReportError
from class_sensitivity.report import build, plan
from class_sensitivity.report.build import write_report
from class_sensitivity.report.page import SavedFigure
from class_sensitivity.report.parts import FigureSpec
from class_sensitivity.runs.condition import BASELINE


@pytest.fixture
def unpictured(monkeypatch) -> None:
    leave_unpictured(monkeypatch)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Runs, among them one that is not complete and one condition with a seed missing."""
    found = write_study(tmp_path_factory.mktemp("runs"), WORLD, PLAN, (1, 2, 3))
    write_run(found, WORLD, PLAN[BASELINE], seed=4)
    (recipe,) = found.iterdir()
    (recipe / "baseline" / "seed-9").mkdir()
    return found


@pytest.fixture
def old(tmp_path) -> Path:
    """A report that is there already."""
    folder = tmp_path / "report"
    for part in ("tables", "figures"):
        (folder / part).mkdir(parents=True)
    for name in ("index.html", "summary.md", "tables/counts.csv", "figures/gone.png"):
        (folder / name).write_text(f"old {name}")
    return folder


# Mistakes


def damaged(place: Path) -> str:
    write_study(place / "damaged", WORLD, {BASELINE: PLAN[BASELINE]}, (1, 2))
    for path in place.glob("damaged/*/*/*/result.json"):
        path.write_bytes(path.read_bytes()[:100])
    return f"runs={place / 'damaged'}"


def nothing(place: Path) -> str:
    (place / "nothing").mkdir()
    return f"runs={place / 'nothing'}"


def foreign(place: Path) -> str:
    (place / "foreign").mkdir()
    (place / "foreign" / "thesis.tex").write_text("ten years of work")
    return f"out={place / 'foreign'}"


def below_a_file(place: Path) -> str:
    (place / "file").write_text("in the way")
    return f"out={place / 'file' / 'report'}"


def a_file(place: Path) -> str:
    (place / "file").write_text("in the way")
    return f"out={place / 'file'}"


def report_with_notes(place: Path) -> str:
    (place / "annotated" / "tables").mkdir(parents=True)
    for name in ("index.html", "summary.md", "notes.md"):
        (place / "annotated" / name).write_text("what I make of it")
    return f"out={place / 'annotated'}"


def runs_as_out(place: Path) -> str:
    write_study(place / "mine", WORLD, {BASELINE: PLAN[BASELINE]}, (1,))
    return f"out={place / 'mine'}"


#: What is wrong with a setting, and words of the sentence that says so.
MISTAKES = {
    "alpha=0.5": ["alpha=0.5", "above 0 and below 0.5"],  # a verdict's interval would cover nothing
    "alpha=nan": ["alpha=nan", "above 0 and below 0.5"],
    "alpha=five": ["alpha=five", "Float"],
    "resamples=10": ["resamples=10", "100 or more"],
    "price.example=1": ["price.example=1.0 without price.check: give both, or neither."],
    "cells=[[ant]]": ["cells=", "[true class, predicted class]"],
    "seed=-1": ["seed=-1", "0 to 9223372036854775807"],
    "aplha=0.1": ["aplha", "alpha"],
    "+aplha=0.1": ["aplha", "alpha"],
    "runs=absent": ["absent", "not a directory", "train.py", "runs="],
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_everything_as_it_was(forked, root, old, tmp_path, mistake):
    before = files(tmp_path)
    own = [] if mistake.startswith("runs=") else [f"runs={root}"]
    done = forked.analyze(*own, f"out={old}", mistake)
    assert done.rc == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in done.stdout + done.stderr
    for word in MISTAKES[mistake]:
        assert word in lines[0], lines[0]
    assert files(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


#: What is wrong with the runs or the place, and words of the sentence; the command line prints it like those above.
TROUBLE: dict[str, tuple[Callable[[Path], str], list[str]]] = {
    "no directory of runs": (lambda place: f"runs={place / 'absent'}", ["absent", "not a directory", "train.py"]),
    "no runs": (nothing, ["no complete run", "nothing", "train.py", "runs="]),
    "only damaged runs": (damaged, ["no complete run", "2 were left out", "result.json"]),
    "runs is a file": (lambda place: a_file(place).replace("out=", "runs="), ["not a directory"]),
    "unknown data": (lambda _: "only.data=foo", ["data=foo", "no complete run"]),
    "unknown model": (lambda _: "only.model=foo", ["model=foo", "no complete run"]),
    "a directory that is no report": (foreign, ["foreign", "not a report", "out="]),
    "a file for a report": (a_file, ["file", "not a report", "out="]),
    "a report below a file": (below_a_file, ["file", "cannot be written", "out="]),
    "a report with something beside it": (report_with_notes, ["annotated", "not a report", "out="]),
    "the runs themselves": (runs_as_out, ["mine", "out="]),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_with_runs_or_place_is_one_sentence_and_leaves_everything_as_it_was(root, old, tmp_path, trouble):
    make, words = TROUBLE[trouble]
    key, _, value = make(tmp_path).partition("=")
    before = files(tmp_path)
    chosen = settings(root, old, *([f"{key}={value}"] if "." in key else []))
    with pytest.raises(ReportError) as error:
        write_report(chosen if "." in key else replace(chosen, **{key: value}))
    for word in words:
        assert word in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert files(tmp_path) == before
    kept = {name.split("/")[0] for name in before}
    assert {path.name for path in tmp_path.iterdir()} - kept <= {"nothing"}, "something temporary is left"


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("mistaken.true_class=cat", "mistaken.true_class=cat"),
        ("mistaken.predicted_class=cat", "mistaken.predicted_class=cat"),
        ("variety=[cat]", "variety=cat"),
        ("cells=[['3',cat]]", "cells=cat"),
    ],
)
def test_a_class_that_the_data_do_not_have_is_named_with_those_they_have(digits, old, tmp_path, override, words):
    before = files(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(words)) as error:
        write_report(settings(digits, old, override))
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in str(error.value)
    assert files(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


# Replacing


def test_a_report_is_replaced_as_a_whole(root, old, tmp_path, unpictured):
    write_report(settings(root, old))
    now = files(old)
    assert "figures/gone.png" not in now
    assert not any(content.startswith(b"old") for content in now.values())
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_an_empty_directory_may_become_a_report(root, tmp_path, unpictured):
    (tmp_path / "report").mkdir()
    write_report(settings(root, tmp_path / "report"))
    assert (tmp_path / "report" / "index.html").is_file()


def test_directories_above_the_report_are_made(root, tmp_path, unpictured):
    out = tmp_path / "a" / "b c" / "report"
    write_report(settings(root, out))
    assert [path.name for path in out.parent.iterdir()] == ["report"]
    assert (out / "summary.md").is_file()


def test_a_report_may_be_read_by_those_who_may_read_what_one_makes(root, tmp_path, unpictured):
    plain = tmp_path / "plain"
    plain.mkdir()
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    write_report(settings(root, shared / "report"))
    assert stat.filemode((shared / "report").stat().st_mode) == stat.filemode(plain.stat().st_mode)


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("where", "error"),
    [
        *[(where, FULL) for where in ("analyse", "_save", "findings", "write_tables", "render")],
        ("findings", RuntimeError("a defect")),
        ("render", KeyboardInterrupt()),
    ],
)
def test_whatever_goes_wrong_half_way_the_old_report_stays(root, old, tmp_path, monkeypatch, unpictured, where, error):
    def fail(*_: Any, **__: Any) -> None:
        raise error

    before = files(tmp_path)
    monkeypatch.setattr(plan if where == "findings" else build, where, fail)
    with pytest.raises(ReportError if isinstance(error, OSError) else type(error)) as raised:
        write_report(settings(root, old))
    if isinstance(error, OSError):
        assert str(old) in str(raised.value)
        assert "No space left" in str(raised.value)
    assert files(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"], "something temporary is left"


@pytest.mark.parametrize(
    ("module", "name", "what"),
    [(build, "analyse", "analysed"), (plan, "advise", "reported")],
)
def test_a_study_that_has_a_defect_is_left_out_and_the_others_stand(
    tmp_path, monkeypatch, unpictured, module, name, what
):
    runs = tmp_path / "runs"
    for model in ("cnn6", "lenet"):
        write_study(runs, WORLD, {BASELINE: PLAN[BASELINE]}, (1, 2), model=model)
    as_it_is = getattr(module, name)

    def fail(about: Study | Results, *others: Any, **options: Any) -> Any:
        if getattr(about, "study", about).model == "cnn6":
            raise TypeError("a defect")
        return as_it_is(about, *others, **options)

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(ReportError, match=r"^The report is there, without 1 part .*cnn6.* TypeError: a defect\.$"):
        write_report(settings(runs, tmp_path / "report"))
    words = words_of(tmp_path / "report")
    assert f"could not be {what}: TypeError: a defect" in words
    assert "lenet" in words


def test_studies_that_cannot_be_compared_stand_by_themselves(tmp_path, monkeypatch, unpictured):
    for model in ("cnn6", "lenet"):
        write_study(tmp_path / "runs", WORLD, {BASELINE: PLAN[BASELINE]}, (1, 2), model=model)

    def fail(*_: Any) -> None:
        raise TypeError("a defect")

    monkeypatch.setattr(build, "compared_models", fail)
    missing = "The comparison of models is missing: TypeError: a defect."
    with pytest.raises(ReportError, match=rf"^The report is there, without 1 part that could not be made\. {missing}$"):
        write_report(settings(tmp_path / "runs", tmp_path / "report"))
    words = words_of(tmp_path / "report")
    assert missing in words
    assert "cnn6" in words


def test_a_figure_that_cannot_be_drawn_is_left_out_and_the_others_stand(
    root, tmp_path, monkeypatch, capsys, unpictured
):
    save = build._save

    def fail(spec: FigureSpec, folder: Path, place: Path) -> SavedFigure:
        if spec.name == "accuracy":
            raise TypeError("a defect")
        return save(spec, folder, place)

    write_report(settings(root, tmp_path / "whole"))
    capsys.readouterr()
    monkeypatch.setattr(build, "_save", fail)
    with pytest.raises(
        ReportError, match=r"^The report is there, without 1 part .* is missing: TypeError: a defect\.$"
    ):
        write_report(settings(root, tmp_path / "report"))
    assert "Traceback" in capsys.readouterr().err
    lost = files(tmp_path / "whole").keys() - files(tmp_path / "report").keys()
    assert {Path(path).stem for path in lost} == {"accuracy"}
    assert "The figure Accuracy against stress is missing: TypeError: a defect." in words_of(tmp_path / "report")


def test_an_explorer_that_cannot_be_written_is_left_out_and_the_report_stands(
    root, tmp_path, monkeypatch, capsys, unpictured
):
    def fail(*_: object) -> None:
        raise TypeError("a defect")

    monkeypatch.setattr(build, "write_explorer", fail)
    with pytest.raises(ReportError, match=r"The explorer is missing: TypeError: a defect\.$"):
        write_report(settings(root, tmp_path / "report"))
    assert "Traceback" in capsys.readouterr().err
    assert "The explorer is missing: TypeError: a defect." in words_of(tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "explorer.html" not in page


def test_the_old_report_stays_when_the_new_one_cannot_take_its_place(root, old, tmp_path, monkeypatch, unpictured):
    before = files(tmp_path)
    rename = Path.rename
    calls = []

    def fail_second(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_second)
    with pytest.raises(ReportError, match="Input/output error"):
        write_report(settings(root, old))
    monkeypatch.undo()
    assert len(calls) == 3, "the old one was moved away, the new one did not take its place, the old one was moved back"
    assert files(tmp_path) == before


def test_runs_inside_of_a_report_are_not_swept_away_with_it(root, old, tmp_path, unpictured):
    shutil.copytree(root, old / "runs")
    runs = files(old / "runs")
    with pytest.raises(ReportError, match="holds the runs"):
        write_report(settings(old / "runs", old))
    assert files(old / "runs") == runs


#: Sends itself a signal when a few figures are drawn, wherever that is.
# A shell that starts tests in the background lets its children ignore Ctrl+C.
INTERRUPTED = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from matplotlib.figure import Figure
savefig, drawn, main = Figure.savefig, [], os.getpid()
def save(self, *arguments, **options):
    savefig(self, *arguments, **options)
    drawn.append(self)
    if len(drawn) == 3:
        os.kill(main, NUMBER)
Figure.savefig = save
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_an_analysis_that_is_killed_leaves_the_old_report(root, old, tmp_path, number):
    before = files(old)
    script = INTERRUPTED.replace("NUMBER", str(int(number)))
    done = analyze(f"runs={root}", f"out={old}", f"resamples={RESAMPLES}", python=("-c", script))
    assert files(old) == before
    if number == signal.SIGKILL:
        assert done.returncode == -number
        return
    assert done.returncode == 130
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
