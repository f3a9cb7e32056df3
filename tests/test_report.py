"""`python analyze.py` from run directories to the report, and everything that can be wrong with either."""

import contextlib
import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import ROOT
from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure
from synthetic import CIFAR10, THREE, World, shares, write_run, write_study

from class_sensitivity import config as configuration
from class_sensitivity import report as report_package
from class_sensitivity.claims import CLAIMS
from class_sensitivity.errors import ConfigError, ReportError
from class_sensitivity.report import write_report
from class_sensitivity.report.gallery import Picture
from class_sensitivity.report.page import Shown
from class_sensitivity.sensitivity import Results, analyse
from class_sensitivity.study import load

WORLD = World(THREE, (40, 60, 50))
RESAMPLES = 100
PLAN = {
    "baseline": shares([0.9, 0.8, 0.7], [[0, 3, 1], [1, 0, 1], [1, 5, 0]]),
    "noise-shuffle-0.1": shares([0.88, 0.8, 0.6]),
    "noise-shuffle-0.2": shares([0.85, 0.75, 0.5]),
    "noise-shuffle-0.3": shares([0.8, 0.75, 0.45]),
    "noise-shuffle-0.4": shares([0.8, 0.7, 0.3]),
    "reduction-0.2": shares([0.89, 0.79, 0.65]),
    "reduction-0.6": shares([0.8, 0.75, 0.6]),
}


def command(*arguments: str, python: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    """`python analyze.py ...` from the root of the repository, in a bare environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, *python, "analyze.py", *arguments],
        cwd=ROOT,
        env=kept | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )


def settings(root: Path, out: Path, *overrides: str) -> dict[str, Any]:
    """The settings that the command line would hand on."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = compose("analyze", overrides=[f"resamples={RESAMPLES}", *overrides])
    checked = configuration.checked(composed, configuration.analyze_bounds)
    return checked | {"runs": str(root), "out": str(out)}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Figures are made but not drawn: their looks are tested elsewhere, and this is ten times faster."""
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: Path(path).write_bytes(b"drawn"))


@pytest.fixture
def unpictured(monkeypatch) -> None:
    """Figures are not even made, where the test is about something else."""

    def save(picture: Picture, folder: Path, place: Path) -> Shown:
        (folder / place / f"{picture.name}.png").touch()
        (folder / place / f"{picture.name}.svg").touch()
        return Shown(picture.name, picture.title, picture.caption, (place / picture.name).as_posix(), b"drawn")

    monkeypatch.setattr(report_package, "_save", save)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Runs, among them one that is not complete and one condition with a seed missing."""
    found = write_study(tmp_path_factory.mktemp("runs"), WORLD, PLAN, (1, 2, 3))
    write_run(found, WORLD, PLAN["baseline"], seed=4)
    (recipe,) = found.iterdir()
    (recipe / "baseline" / "seed-9").mkdir()
    return found


@pytest.fixture(scope="module")
def reports(root, tmp_path_factory) -> list[tuple[Path, subprocess.CompletedProcess[str]]]:
    """Two reports on the same runs; the second says what it imports."""
    place = tmp_path_factory.mktemp("reports")
    made = []
    for name, python in (("first", ()), ("second", ("-X", "importtime"))):
        arguments = (f"runs={root}", f"out={place / name}", f"resamples={RESAMPLES}")
        # Nothing may depend on the order of a set.
        made.append((place / name, command(*arguments, python=python, PYTHONHASHSEED=str(len(made)))))
    return made


@pytest.fixture(scope="module")
def report(reports) -> Path:
    folder, done = reports[0]
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def results(root) -> Results:
    (study,), _ = load(root)
    return analyse(study, resamples=RESAMPLES)


# The page


class References(HTMLParser):
    """Everything on a page that a browser would fetch or follow."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.followed: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            assert not key.startswith("on"), "an event handler"
            if key == "href" and tag == "a":
                self.followed.append(value or "")
            elif key in ("src", "href", "srcset", "data", "action", "poster"):
                self.fetched.append(value or "")
            elif key == "id":
                self.anchors.add(value or "")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parse(folder: Path) -> References:
    references = References()
    references.feed((folder / "index.html").read_text(encoding="utf-8"))
    return references


def words_of(folder: Path) -> str:
    return " ".join(" ".join(parse(folder).text).split())


def assert_self_contained(folder: Path) -> None:
    page = parse(folder)
    assert page.fetched, "a page without pictures"
    assert all(source.startswith("data:image/png;base64,") for source in page.fetched)
    assert not set(page.tags) & {"script", "link", "iframe", "object", "embed"}
    source = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?://", source)
    for target in page.followed:
        if target.startswith("#"):
            assert target[1:] in page.anchors
        else:
            assert (folder / target).is_file(), target
            assert (folder / target).resolve().is_relative_to(folder.resolve())


def test_the_page_needs_nothing_but_itself(report):
    assert_self_contained(report)


def test_the_page_says_what_is_in_it(report, root):
    text = words_of(report)
    assert "22 complete runs" in text
    assert "made-up, cnn6" in text
    assert "1 run directories were not counted" in text
    assert "seed-9" in text
    assert "missing" in text, "the condition without seed 4"
    assert "the most sensitive class is cow" in text
    assert "95 %" in text
    for name in THREE:
        assert name in text
    summary = (report / "summary.md").read_text(encoding="utf-8")
    assert "the most sensitive class is cow" in summary
    assert "22 complete runs" in summary


def test_the_screen_says_the_answer_and_where_the_report_is(reports):
    folder, done = reports[0]
    assert str(folder / "index.html") in done.stdout.replace("\n", "")
    assert "the most sensitive class is cow" in " ".join(done.stdout.split())
    assert "\x1b" not in done.stdout, "colours in a file"


def test_every_figure_is_there_as_png_and_svg(report, root):
    (recipe,) = (path.name for path in root.iterdir())
    folder = report / "figures" / recipe
    names = {path.stem for path in folder.iterdir()}
    assert names >= {
        "sensitivity", "accuracy", "fig8_diagonal", "cost_noise-shuffle-0.2", "ranks_shuffle", "ranks_reduction",
        "fig2_confusion", "fig2_confusion_sd", "fig4_shuffle", "fig5_reduction", "fig6_noise_against_reduction",
        "fig9_noise_against_reduction", "fig10_order",
    }  # fmt: skip
    for name in names:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"</svg>" in (folder / f"{name}.svg").read_bytes()[-20:]
    assert len(parse(report).fetched) == len(names)


# Tables

STRESS = ["recipe", "condition", "noise_kind", "noise_frac", "reduction_frac"]
COLUMNS = {
    "counts": [*STRESS, "seed", "true", "predicted", "count"],
    "conditions": [
        *STRESS, "seeds", "train_size", "steps", "effective_noise", "accuracy", "accuracy_low", "accuracy_high",
        "accuracy_sd", "fall", "fall_low", "fall_high", "asymmetry",
    ],
    "classes": [
        *STRESS, "class", "seeds", "recall", "recall_low", "recall_high", "fall", "fall_low", "fall_high", "fall_p",
    ],
    "relative": [
        *STRESS, "true", "predicted", "seeds", "mean", "sd", "difference", "difference_sd", "low", "high", "p",
        "sign_flip_p", "marked",
    ],
    "sensitivity": [
        "recipe", "stress", "class", "seeds", "levels", "slope", "slope_low", "slope_high", "expected_rank",
        "most_sensitive_probability", "knee", "knee_low", "knee_high", "knee_p", "slope_before", "slope_after",
    ],
    "ranks": ["recipe", "stress", "class", "rank", "probability"],
    "directions": [*STRESS, "class_a", "class_b", "seeds", "difference", "low", "high", "p", "marked"],
    "costs": [
        "recipe", "noise", "control", "class", "seeds", "less_data", "less_data_low", "less_data_high", "misled",
        "misled_low", "misled_high",
    ],
    "claims": ["recipe", "id", "claim", "verdict", "effect", "low", "high", "unit", "seeds", "sentence", "command"],
}  # fmt: skip


def csv_of(folder: Path, name: str) -> pd.DataFrame:
    """As text: what a parser makes of the last digit is its own affair."""
    return pd.read_csv(folder / "tables" / f"{name}.csv", dtype=str, keep_default_na=False)


def parquet_of(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / "tables" / f"{name}.parquet")


def test_the_tables_are_those_that_are_documented(report):
    documented = {}
    for line in (ROOT / "docs" / "tables.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and cells[0] not in ("table", "---"):
            documented[cells[0]] = cells[1:]
    assert set(documented) == set(COLUMNS)
    for name, (_, text) in documented.items():
        # A remark in brackets may quote a value.
        named = re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", text))
        assert named
        assert set(named) <= set(COLUMNS[name]), name
    assert {path.name for path in (report / "tables").iterdir() if path.suffix != ".nc"} == {
        f"{name}.{ending}" for name in COLUMNS for ending in ("csv", "parquet")
    }


@pytest.mark.parametrize("name", COLUMNS)
def test_a_table_reads_back_alike_from_csv_and_parquet(report, name):
    csv, parquet = csv_of(report, name), parquet_of(report, name)
    assert list(csv.columns) == list(parquet.columns) == COLUMNS[name]
    assert len(csv) == len(parquet) > 0
    for column in csv.columns:
        if pd.api.types.is_bool_dtype(parquet[column]):
            assert csv[column].tolist() == parquet[column].astype(str).tolist(), column
        elif pd.api.types.is_numeric_dtype(parquet[column]):
            values = [float(text or "nan") for text in csv[column]]
            np.testing.assert_array_equal(values, parquet[column].to_numpy(float), column)
        else:
            assert csv[column].tolist() == parquet[column].tolist(), column


def test_the_counts_are_those_of_the_run_directories(report, root):
    table = parquet_of(report, "counts").set_index(["condition", "seed", "true", "predicted"])["count"]
    (recipe,) = root.iterdir()
    with xr.open_dataset(report / "tables" / f"{recipe.name}.nc") as arrays:
        arrays.load()
    runs = sorted(recipe.glob("*/*/result.json"))
    for path in runs:
        condition, seed = path.parts[-3], int(path.parts[-2].removeprefix("seed-"))
        confusion = pd.read_json(path, typ="series")["confusion"]
        here = arrays.sel(condition=condition, seed=seed)
        assert bool(here.present)
        for i, true in enumerate(THREE):
            for j, predicted in enumerate(THREE):
                assert table[condition, seed, true, predicted] == confusion[i][j]
                assert int(here.counts.sel(true=true, predicted=predicted)) == confusion[i][j]
    assert len(table) == 9 * len(runs) == 9 * int(arrays.present.sum())
    # As docs/tables.md shows it.
    shown = arrays.counts.sel(true="cow", predicted="bee").where(arrays.present)
    assert np.isnan(shown.sel(condition="noise-shuffle-0.1", seed=4))
    assert arrays.noise_frac.sel(condition="noise-shuffle-0.3") == 0.3


def test_the_numbers_are_those_of_the_analysis(report, results):
    classes = parquet_of(report, "classes").set_index(["condition", "class"])
    relative = parquet_of(report, "relative").set_index(["condition", "true", "predicted"])
    conditions = parquet_of(report, "conditions").set_index("condition")
    for name, recall in results.recall.items():
        assert conditions.accuracy[name] == float(results.accuracy[name].value)
        for i, true in enumerate(THREE):
            row = classes.loc[name, true]
            assert (row.recall, row.recall_low, row.recall_high) == (recall.value[i], recall.low[i], recall.high[i])
            if name == "baseline":
                assert np.isnan(row.fall)
                continue
            assert row.fall == results.fall[name].value[i]
            for j, predicted in enumerate(THREE):
                cell, matrix = relative.loc[name, true, predicted], results.relative[name]
                assert cell.difference == matrix.cells.value[i, j]
                assert cell.marked == matrix.marked[i, j]
                assert cell.seeds == 3
                assert cell.sign_flip_p >= 0.25
    assert "baseline" not in relative.index
    sensitivity = parquet_of(report, "sensitivity").set_index(["stress", "class"])
    for kind, curve in results.curves.items():
        for i, name in enumerate(THREE):
            row = sensitivity.loc[kind, name]
            assert (row.slope, row.knee_p) == (curve.slope.value[i], pytest.approx(curve.knees[i].p, nan_ok=True))
            assert row.expected_rank == pytest.approx(1 + curve.ranks[i] @ np.arange(3))
            assert row.most_sensitive_probability == curve.ranks[i, 0]
    costs = parquet_of(report, "costs").set_index(["noise", "class"])
    assert costs.less_data["noise-shuffle-0.2", "*"] == float(results.costs[0].overall_less_data.value)
    assert costs.misled["noise-shuffle-0.2", "cow"] == results.costs[0].misled.value[2]
    directions = parquet_of(report, "directions").set_index(["condition", "class_a", "class_b"])
    assert directions.difference["baseline", "bee", "cow"] == results.direction["baseline"].difference.value[2]


def test_the_same_runs_give_the_same_tables_and_figures_to_the_byte(reports):
    (first, _), (second, done) = reports
    assert done.returncode == 0
    one, other = files(first), files(second)
    assert one.keys() == other.keys()
    differing = {name for name in one if one[name] != other[name]}
    # The page says when it was made.
    assert differing <= {"index.html"}


def test_an_analysis_does_not_wait_for_torch(reports):
    imported = set(re.findall(r"\| +([\w.]+)$", reports[1][1].stderr, re.MULTILINE))
    assert {"matplotlib", "pandas"} <= imported, "the trace works"
    assert not {name for name in imported if name.split(".")[0] in ("torch", "torchvision", "pytorch_lightning")}


@pytest.mark.parametrize("arguments", [("--help",), ("--cfg", "job"), ("alpha=2",)], ids=" ".join)
def test_what_analyses_nothing_loads_nothing_heavy(arguments):
    done = command(*arguments, python=("-X", "importtime"))
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "hydra" in imported
    assert not imported & {"torch", "torchvision", "matplotlib", "pandas", "xarray", "scipy", "jinja2"}
    if arguments != ("alpha=2",):
        assert done.returncode == 0
        assert "alpha" in done.stdout


# Mistakes


@pytest.fixture
def old(tmp_path) -> Path:
    """A report that is there already."""
    folder = tmp_path / "report"
    for part in ("tables", "figures"):
        (folder / part).mkdir(parents=True)
    for name in ("index.html", "summary.md", "tables/counts.csv", "figures/gone.png"):
        (folder / name).write_text(f"old {name}")
    return folder


def damaged(place: Path) -> str:
    write_study(place / "damaged", WORLD, {"baseline": PLAN["baseline"]}, (1, 2))
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
    write_study(place / "mine", WORLD, {"baseline": PLAN["baseline"]}, (1,))
    return f"out={place / 'mine'}"


#: What is wrong with a setting, and words of the sentence that says so.
MISTAKES = {
    "alpha=2": ["alpha=2", "between 0 and 1"],
    "alpha=nan": ["alpha=nan", "between 0 and 1"],
    "alpha=five": ["alpha=five", "Float"],
    "resamples=10": ["resamples=10", "100 or more"],
    "cells=[[ant]]": ["cells=", "[true class, predicted class]"],
    "seed=-1": ["seed=-1", "0 or more"],
    "aplha=0.1": ["aplha", "alpha"],
    "+aplha=0.1": ["aplha", "alpha"],
    "runs=absent": ["absent", "not a directory", "train.py", "runs="],
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_everything_as_it_was(root, old, tmp_path, mistake):
    before = files(tmp_path)
    own = [] if mistake.startswith("runs=") else [f"runs={root}"]
    done = command(*own, f"out={old}", mistake)
    assert done.returncode not in (0, None)
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
        write_report(chosen if "." in key else chosen | {key: value})
    for word in words:
        assert word in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert files(tmp_path) == before
    kept = {name.split("/")[0] for name in before}
    assert {path.name for path in tmp_path.iterdir()} - kept <= {"nothing"}, "something temporary is left"


class Digits(World):
    """The images that `data=digits` really tests on."""

    @property
    def labels(self) -> Any:
        from class_sensitivity.data.sources import load_arrays

        return load_arrays("digits", None, False).test_labels.astype(np.int32)


DIGITS = Digits(tuple("0123456789"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    plan = {"baseline": shares([0.9] * 10), "noise-shuffle-0.1": shares([0.7] * 9 + [0.4])}
    return write_study(tmp_path_factory.mktemp("digits"), DIGITS, plan, (1, 2), data="digits", data__flip=False)


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
        *[(where, FULL) for where in ("analyse", "_save", "judge_all", "write_tables", "render")],
        ("_save", RuntimeError("a defect")),
        ("render", KeyboardInterrupt()),
    ],
)
def test_whatever_goes_wrong_half_way_the_old_report_stays(root, old, tmp_path, monkeypatch, unpictured, where, error):
    def fail(*_: Any, **__: Any) -> None:
        raise error

    before = files(tmp_path)
    monkeypatch.setattr(report_package, where, fail)
    with pytest.raises(ReportError if isinstance(error, OSError) else type(error)) as raised:
        write_report(settings(root, old))
    if isinstance(error, OSError):
        assert str(old) in str(raised.value)
        assert "No space left" in str(raised.value)
    assert files(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"], "something temporary is left"


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
    with contextlib.suppress(ReportError):
        write_report(settings(root, old))
    monkeypatch.undo()
    kept = files(tmp_path)
    assert kept == before or not kept["report/index.html"].startswith(b"old"), "neither the old report nor the new one"


def test_runs_inside_of_a_report_are_not_swept_away_with_it(root, old, tmp_path, unpictured):
    shutil.copytree(root, old / "runs")
    runs = files(old / "runs")
    with contextlib.suppress(ReportError):
        write_report(settings(old / "runs", old))
    assert files(old / "runs") == runs


#: Sends itself a signal when a few figures are drawn.
# A shell that starts tests in the background lets its children ignore Ctrl+C.
INTERRUPTED = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from matplotlib.figure import Figure
savefig, drawn = Figure.savefig, []
def save(self, *arguments, **options):
    savefig(self, *arguments, **options)
    drawn.append(self)
    if len(drawn) == 3:
        os.kill(os.getpid(), NUMBER)
Figure.savefig = save
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_an_analysis_that_is_killed_leaves_the_old_report(root, old, tmp_path, number):
    before = files(old)
    script = INTERRUPTED.replace("NUMBER", str(int(number)))
    done = command(f"runs={root}", f"out={old}", f"resamples={RESAMPLES}", python=("-c", script))
    assert files(old) == before
    if number == signal.SIGKILL:
        assert done.returncode == -number
        return
    assert done.returncode == 130
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


# Studies that lack something, and still get their report


def made(root: Path, out: Path, *overrides: str) -> str:
    """The words of the page of a report."""
    write_report(settings(root, out, *overrides))
    assert_self_contained(out)
    return words_of(out)


@pytest.fixture
def place(tmp_path, undrawn) -> tuple[Path, Path]:
    return tmp_path / "runs", tmp_path / "report"


def test_only_a_baseline(place):
    write_study(place[0], WORLD, {"baseline": PLAN["baseline"]}, (1, 2))
    text = made(*place)
    assert "Only the baseline was run" in text
    assert "python train.py -m noise.frac=0.1,0.2,0.3 seed=1,2" in text
    assert "least accurate class is cow" in text
    assert not (place[1] / "tables" / "relative.csv").exists()
    page = parse(place[1])
    assert "fig2_confusion" in " ".join(page.anchors)


def test_no_baseline(place):
    write_study(place[0], WORLD, {name: PLAN[name] for name in ("noise-shuffle-0.1", "reduction-0.2")}, (3, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("test_report.assert_self_contained", lambda _: None)  # there may be no figure at all
        text = made(*place)
    assert "There is no baseline" in text
    assert "python train.py -m seed=3,4" in text
    assert "noise-shuffle-0.1" in text
    assert len(parquet_of(place[1], "classes")) == 6


def test_one_seed(place):
    write_study(place[0], WORLD, PLAN, (5,))
    text = made(*place)
    assert "There is one seed" in text
    assert "[" not in re.sub(r"\[0[^]]*\]", "", text.split("What was run")[0].split("Least accurate")[0])
    table = parquet_of(place[1], "relative")
    assert table.low.isna().all()
    assert not table.marked.any()


def test_seeds_that_are_missing_here_and_there(place):
    for number, (name, matrix) in enumerate(PLAN.items()):
        write_study(place[0], WORLD, {name: matrix}, range(number % 3, 5))
    text = made(*place)
    assert "Not every condition has all 5 seeds" in text
    assert "missing" in text


def test_levels_without_a_seed_in_common(place):
    for number, (name, matrix) in enumerate(PLAN.items()):
        write_study(place[0], WORLD, {name: matrix}, (0, number) if number else (0, 1, 2, 3, 4, 5, 6))
    write_study(place[0], WORLD, {"noise-shuffle-0.5": PLAN["baseline"]}, (9,))
    text = made(*place)
    assert "noise-shuffle-0.5" in text
    assert "Without a seed in common with the baseline" in text


def test_several_recipes_have_a_section_each(place):
    write_study(place[0], WORLD, PLAN, (1, 2))
    write_study(place[0], WORLD, PLAN, (1, 2), model="other")
    write_study(place[0], World(("x", "y"), 30), {"baseline": shares([0.9, 0.8])}, (1, 2), data="letters")
    text = made(*place)
    assert "3 recipes" in text
    assert "never averaged" in text
    recipes = {path.name for path in place[0].iterdir()}
    assert recipes <= parse(place[1]).anchors
    assert set(parquet_of(place[1], "counts").recipe) == recipes
    assert {path.stem for path in (place[1] / "tables").glob("*.nc")} == recipes
    counts = parquet_of(place[1], "counts")
    for recipe in recipes:
        with xr.open_dataset(place[1] / "tables" / f"{recipe}.nc") as arrays:
            assert int(arrays.counts.sum()) == counts[counts.recipe == recipe]["count"].sum()
    filtered = made(place[0], place[1], "only.data=letters")
    assert "never averaged" not in filtered
    assert "letters, cnn6" in filtered


def test_a_kind_of_noise_that_nobody_has_a_colour_for(place):
    matrix = PLAN["noise-shuffle-0.1"]
    write_study(place[0], WORLD, {"baseline": PLAN["baseline"], "noise-matrix-0.2": matrix}, (1, 2))
    assert "label noise (matrix)" in made(*place)


def test_stress_that_changed_no_prediction(place):
    for name in ("baseline", "noise-shuffle-0.1", "noise-shuffle-0.2", "reduction-0.2"):
        for seed in (1, 2):
            write_run(place[0], WORLD, PLAN["baseline"], name, seed, preds=WORLD.predict(PLAN["baseline"], "x", seed))
    made(*place)
    assert (parquet_of(place[1], "relative").difference == 0).all()


def test_a_class_without_test_images(place):
    write_study(place[0], replace(WORLD, per_class=(40, 0, 50)), PLAN, (1, 2, 3))
    text = made(*place)
    sentences = text.split("What was run")[0]
    assert "most sensitive class is cow" in sentences
    assert "help bee" not in sentences
    assert "more data bee" not in sentences


def test_figures_of_images_are_drawn_where_the_images_are(digits, tmp_path):
    text = made(digits, tmp_path / "report", "mistaken.true_class=9", "variety=[3,4]")
    assert "Images of 9 taken for" in text
    assert "Training images of 3 and 4" in text
    (recipe,) = (path.name for path in digits.iterdir())
    for name in ("fig3_mistaken.png", "fig7_variety.svg"):
        assert (tmp_path / "report" / "figures" / recipe / name).stat().st_size > 1000


@pytest.mark.parametrize("per_class", [20, (60,) * 9 + (59,)], ids=["fewer images", "as many images in another order"])
def test_images_that_are_not_those_of_the_runs_are_not_shown(place, per_class):
    world = World(DIGITS.class_names, per_class)
    write_study(place[0], world, {"baseline": shares([0.9] * 10)}, (1, 2), data="digits")
    text = made(*place)
    assert "Figures of images are missing" in text
    assert "Images of" not in text


def test_runs_on_a_data_set_that_nobody_knows_any_more(place):
    write_study(place[0], WORLD, {"baseline": PLAN["baseline"]}, (1, 2), data="long-gone")
    assert "Figures of images are missing" in made(*place)


# Whatever the classes are called

NAMES = {
    "markup": ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"quoted\" & 'so'"),
    "slashes": ("a/b", "../../c", "d\\e"),
    "console": ("[bold]", "[/bold]", "[link=file:///]x"),
    "templates": ("{{ settings }}", "{% raw %}", "%s{0}"),
    "tables": ("a,b", 'c"d"', "e|f"),
    "like nothing": ("NA", "null", "nan"),
    "numbers": ("007", "1e3", "-1"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_class_names_are_shown_as_they_are(place, unpictured, capsys, kind):
    names = NAMES[kind]
    write_study(place[0], replace(WORLD, class_names=names), PLAN, (1, 2))
    text = made(*place)
    for name in names:
        assert " ".join(name.split()) in text
    page = parse(place[1])
    assert not set(page.tags) & {"script"}
    assert all(source.startswith("data:") for source in page.fetched)
    printed = capsys.readouterr().out
    for name in names:
        assert name in printed
    assert set(parquet_of(place[1], "classes")["class"]) == set(names)
    assert set(csv_of(place[1], "classes")["class"]) == set(names)
    assert all(len(path.parts) <= 3 for path in (file.relative_to(place[1]) for file in place[1].rglob("*")))


@pytest.mark.parametrize("kind", ["markup", "tables"])
def test_the_summary_stays_markdown_whatever_the_classes_are_called(place, unpictured, kind):
    write_study(
        place[0], replace(WORLD, class_names=NAMES[kind]), PLAN, (1, 2), data="cifar10", data__dir=str(place[0])
    )
    write_report(settings(*place))
    summary = (place[1] / "summary.md").read_text(encoding="utf-8")
    assert not re.search(r"<(script|img)", summary), "Markdown lets HTML through"
    rows = [line for line in summary.splitlines() if line.startswith("|")]
    assert len(rows) == len(CLAIMS) + 2
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}


def test_names_in_other_scripts_from_the_command_line(tmp_path):
    names = ("猫", "قطة", "кошка")
    write_study(tmp_path / "runs", replace(WORLD, class_names=names), {"baseline": PLAN["baseline"]}, (1, 2))
    done = command(f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'report'}", f"resamples={RESAMPLES}")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in names)
    text = words_of(tmp_path / "report")
    assert all(name in text for name in names)
    assert all(name in (tmp_path / "report" / "summary.md").read_text(encoding="utf-8") for name in names)
    assert set(csv_of(tmp_path / "report", "classes")["class"]) == set(names)


@pytest.mark.parametrize("out", ["report [1]", "[bold]", "ré port", "$HOME"])
def test_the_place_of_a_report_may_have_any_name(root, tmp_path, capsys, unpictured, out):
    write_report(settings(root, tmp_path / out))
    assert (tmp_path / out / "index.html").is_file()
    assert out in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize("name", ["../../../escaped", "../../../../escaped", "{}/escaped", "..", "[/x]"])
@pytest.mark.parametrize("what", ["data__name", "model__name", "noise__kind"])
def test_what_a_run_says_of_itself_does_not_decide_where_files_go(tmp_path, undrawn, what, name):
    runs, out = tmp_path / "in" / "side" / "runs", tmp_path / "in" / "side" / "report"
    name = name.format(tmp_path)
    for seed in (1, 2):
        write_run(runs, WORLD, PLAN["baseline"], seed=seed, **({} if what == "noise__kind" else {what: name}))
        write_run(runs, WORLD, PLAN["baseline"], seed=seed, **{"noise__frac": 0.1, "reduction__frac": 0.2, what: name})
        write_run(runs, WORLD, PLAN["baseline"], seed=seed, **{"noise__frac": 0.2, what: name})
    # Such runs may be refused or reported on.
    with contextlib.suppress(ReportError):
        write_report(settings(runs, out))
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if not path.is_relative_to(runs)}
    assert {path for path in made if len(path.parts) <= 3} <= {Path("in"), Path("in/side"), Path("in/side/report")}
    assert {path.parts[3] for path in made if len(path.parts) > 3} <= {"figures", "tables", "index.html", "summary.md"}
    assert all(path.is_file() for path in out.glob("figures/*/*"))


# The article's claims


def test_claims_are_judged_for_the_data_they_are_about(place):
    plan = {name: shares([0.9] * 10) for name in ("baseline", "noise-shuffle-0.1", "reduction-0.2")}
    write_study(place[0], World(CIFAR10, 20), plan, (1, 2), data="cifar10", data__dir=str(place[0]))
    text = made(*place)
    assert "The article's claims" in text
    verdicts = parquet_of(place[1], "claims").set_index("id")
    assert list(verdicts.index) == list(CLAIMS)
    for name in ("bird-noise", "bird-dog-flip"):
        assert verdicts.verdict[name] == "not run"
        assert verdicts.command[name] in text
    assert "| not run |" in (place[1] / "summary.md").read_text(encoding="utf-8")


def test_claims_about_other_data_are_not_on_the_page(report):
    assert "The article's claims" not in words_of(report)


@pytest.fixture(autouse=True)
def nothing_is_left_in_the_repository() -> Iterator[None]:
    before = {path.name for path in ROOT.iterdir()}
    yield
    assert {path.name for path in ROOT.iterdir()} - before <= {".pytest_cache", ".hypothesis"}
