"""`python analyze.py` from run directories to the report: page, figures and terminal, and the same bytes twice."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import ROOT, ForkedCommand, analyze
from support.reports import PLAN, RESAMPLES, WORLD, assert_self_contained, files, parse, words_of
from support.synthetic import THREE, write_run, write_study

from class_sensitivity.runs.condition import BASELINE


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Runs, among them one that is not complete and one condition with a seed missing."""
    found = write_study(tmp_path_factory.mktemp("runs"), WORLD, PLAN, (1, 2, 3))
    write_run(found, WORLD, PLAN[BASELINE], seed=4)
    (recipe,) = found.iterdir()
    (recipe / "baseline" / "seed-9").mkdir()
    return found


@pytest.fixture(scope="module")
def reports(root, fork_server, tmp_path_factory) -> list[tuple[Path, subprocess.CompletedProcess[str]]]:
    """Two reports on the same runs; the second is of a process of its own, and says what it imports."""
    place = tmp_path_factory.mktemp("reports")
    words = (f"runs={root}", f"resamples={RESAMPLES}")
    first = ForkedCommand(fork_server, root, tmp_path_factory.mktemp("scratch")).analyze(
        *words, f"out={place / 'first'}"
    )
    # Nothing may depend on the order of a set, which is another one in each process.
    second = analyze(*words, f"out={place / 'second'}", python=("-X", "importtime"))
    one = subprocess.CompletedProcess((), first.rc, first.stdout, first.stderr)
    return [(place / "first", one), (place / "second", second)]


@pytest.fixture(scope="module")
def report(reports) -> Path:
    folder, done = reports[0]
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_the_page_needs_nothing_but_itself(report):
    assert_self_contained(report)


def test_the_page_says_what_is_in_it(report, root):
    text = words_of(report)
    assert "22 complete runs" in text
    assert "made-up, cnn6" in text
    assert "1 run directory was not counted" in text
    assert "1 run directory was left out" in (report / "summary.md").read_text(encoding="utf-8")
    assert "seed-9" in text
    assert "missing" in text, "the condition without seed 4"
    assert "the most sensitive class is cow" in text
    assert "95 %" in text
    for name in THREE:
        assert name in text
    assert "(figure" not in text, "figures of an article that is about other data"
    summary = (report / "summary.md").read_text(encoding="utf-8")
    assert "the most sensitive class is cow" in summary
    assert "22 complete runs" in summary


def test_the_screen_says_the_answer_in_a_few_lines_and_where_the_report_is(reports):
    folder, done = reports[0]
    assert str(folder / "index.html") in done.stdout.replace("\n", "")
    words = " ".join(done.stdout.split())
    assert "made-up, cnn6, 22 runs" in words
    assert "cow falls most, and certainly no other class; cow loses 8.0 [" in words
    assert "missing 6 runs of this grid" in words, "seed 4 of six conditions"
    assert "Run directories left out: 1" in words
    # The eighty columns of a file fold them.
    assert len(done.stdout.splitlines()) <= 25
    assert "\x1b" not in done.stdout, "colours in a file"


def test_what_is_on_the_screen_leads_the_page_and_the_summary(reports):
    folder, done = reports[0]
    page = words_of(folder)
    assert page.index("cow falls most") < page.index("Without stress the model is right on")
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    assert summary.index("- **accuracy**: ") < summary.index("- Without stress")
    assert "least accurate: cow" in " ".join(done.stdout.split())


def test_the_page_says_which_cells_were_not_judged(report):
    assert "Cells with fewer than 5 images in the mean were not judged: their numbers are grey." in words_of(report)


def test_every_figure_is_there_as_png_and_svg(report, root):
    (recipe,) = (path.name for path in root.iterdir())
    folder = report / "figures" / recipe
    names = {path.stem for path in folder.iterdir()}
    assert names >= {
        "sensitivity", "accuracy", "fig8_diagonal", "cost_noise-shuffle-0.2", "ranks_shuffle", "ranks_reduction",
        "fig2_confusion", "fig2_confusion_sd", "fig4_shuffle", "fig4_shuffle_means", "fig5_reduction",
        "fig5_reduction_means", "fig6_noise_against_reduction", "fig9_noise_against_reduction", "fig10_order",
    }  # fmt: skip
    for name in names:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"</svg>" in (folder / f"{name}.svg").read_bytes()[-20:]
    assert len(parse(report).fetched) == len(names)


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
    done = analyze(*arguments, python=("-X", "importtime"))
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "hydra" in imported
    assert not imported & {"torch", "torchvision", "matplotlib", "pandas", "xarray", "scipy", "jinja2"}
    if arguments != ("alpha=2",):
        assert done.returncode == 0
        assert "alpha" in done.stdout
    if arguments == ("--help",):
        assert "conf/analyze.yaml" in done.stdout
        # What belongs to training is refused here, so it is not offered.
        assert not re.search(r"^(data|model|experiment): \w", done.stdout, re.MULTILINE)


@pytest.fixture(autouse=True)
def nothing_is_left_in_the_repository() -> Iterator[None]:
    before = {path.name for path in ROOT.iterdir()}
    yield
    assert {path.name for path in ROOT.iterdir()} - before <= {".pytest_cache", ".hypothesis"}
