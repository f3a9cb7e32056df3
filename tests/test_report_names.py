"""Whatever classes, data sets, models and folders are called."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.reports import (
    PLAN,
    RESAMPLES,
    WORLD,
    csv_of,
    leave_undrawn,
    leave_unpictured,
    parquet_of,
    parse,
    report_on,
    settings,
    words_of,
)
from support.synthetic import write_run, write_study

from class_sensitivity.analysis.claims.cifar10 import CLAIMS
from class_sensitivity.report.build import write_report
from class_sensitivity.runs.condition import BASELINE, Condition


@pytest.fixture
def undrawn(monkeypatch) -> None:
    leave_undrawn(monkeypatch)


@pytest.fixture
def unpictured(monkeypatch) -> None:
    leave_unpictured(monkeypatch)


@pytest.fixture
def place(tmp_path, undrawn) -> tuple[Path, Path]:
    return tmp_path / "runs", tmp_path / "report"


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
    text = report_on(*place)
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
    assert len(rows) == len(CLAIMS.claims) + 2
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}


def test_names_in_other_scripts_from_the_command_line(forked, tmp_path):
    names = ("猫", "قطة", "кошка")
    write_study(tmp_path / "runs", replace(WORLD, class_names=names), {BASELINE: PLAN[BASELINE]}, (1, 2))
    done = forked.analyze(f"out={tmp_path / 'report'}", f"resamples={RESAMPLES}")
    assert (done.rc, done.stderr) == (0, "")
    assert names[2] in done.stdout, "the least accurate class"
    text = words_of(tmp_path / "report")
    assert all(name in text for name in names)
    assert all(name in (tmp_path / "report" / "summary.md").read_text(encoding="utf-8") for name in names)
    assert set(csv_of(tmp_path / "report", "classes")["class"]) == set(names)


@pytest.mark.parametrize("out", ["report [1]", "[bold]", "ré port", "$HOME"])
def test_the_place_of_a_report_may_have_any_name(tmp_path, capsys, unpictured, out):
    root = write_study(tmp_path / "runs", WORLD, {BASELINE: PLAN[BASELINE]}, (1,))
    write_report(settings(root, tmp_path / out))
    assert (tmp_path / out / "index.html").is_file()
    assert out in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize("name", ["../../../escaped", "../../../../escaped", "{}/escaped", "..", "[/x]"])
def test_what_a_run_says_of_itself_does_not_decide_where_files_go(tmp_path, undrawn, name):
    runs, out = tmp_path / "in" / "side" / "runs", tmp_path / "in" / "side" / "report"
    kind = name = name.format(tmp_path)
    for condition in (
        BASELINE,
        Condition(noise_kind=kind, noise_frac=0.1, reduction_frac=0.2),
        Condition(noise_kind=kind, noise_frac=0.2),
    ):
        for seed in (1, 2):
            write_run(runs, WORLD, PLAN[BASELINE], condition, seed, data__name=name, model__name=name)
    write_report(settings(runs, out))
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if not path.is_relative_to(runs)}
    assert {path for path in made if len(path.parts) <= 3} <= {Path("in"), Path("in/side"), Path("in/side/report")}
    known = {"figures", "tables", "index.html", "explorer.html", "summary.md"}
    assert {path.parts[3] for path in made if len(path.parts) > 3} <= known
    drawn = list(out.glob("figures/*/*"))
    assert len(drawn) > 10
    assert all(path.is_file() for path in drawn)
