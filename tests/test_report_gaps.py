"""Studies that lack something, and still get their report."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from support.plans import load_one
from support.reports import (
    DIGITS,
    PLAN,
    WORLD,
    leave_undrawn,
    leave_unpictured,
    parquet_of,
    parse,
    report_on,
    settings,
    write_digits,
)
from support.synthetic import World, shares, write_run, write_study

from class_sensitivity.analysis.advice import advise
from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.study import Study
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.sources import load_arrays
from class_sensitivity.errors import DataError
from class_sensitivity.report import build, plan
from class_sensitivity.report.page import ClassRow, Loss, Section
from class_sensitivity.report.plan import plan_of
from class_sensitivity.report.tables import sensitivity_table
from class_sensitivity.runs.condition import BASELINE
from class_sensitivity.settings import DataSettings


@pytest.fixture
def undrawn(monkeypatch) -> None:
    leave_undrawn(monkeypatch)


@pytest.fixture
def unpictured(monkeypatch) -> None:
    """Where nothing that a figure shows is out of the ordinary."""
    leave_unpictured(monkeypatch)


@pytest.fixture
def place(tmp_path, undrawn) -> tuple[Path, Path]:
    return tmp_path / "runs", tmp_path / "report"


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits"))


def test_only_a_baseline(place):
    write_study(place[0], WORLD, {BASELINE: PLAN[BASELINE]}, (1, 2))
    text = report_on(*place)
    assert "Only the baseline was run" in text
    assert "python train.py -m noise.frac=0,0.1,0.2,0.3 seed=1,2 data=made-up model=cnn6." in text
    assert "least accurate class is cow" in text
    assert not (place[1] / "tables" / "relative.csv").exists()
    page = parse(place[1])
    assert "fig2_confusion" in " ".join(page.anchors)


def test_no_baseline(place):
    write_study(place[0], WORLD, {condition: PLAN[condition] for condition in (noise(0.1), reduction(0.2))}, (3, 4))
    text = report_on(*place, pictures=False)
    assert "There is no baseline" in text
    assert "python train.py -m seed=3,4 data=made-up model=cnn6." in text
    assert "noise-shuffle-0.1" in text
    assert len(parquet_of(place[1], "classes")) == 6


def test_one_seed(place):
    write_study(place[0], WORLD, PLAN, (5,))
    text = report_on(*place)
    assert "There is one seed" in text
    assert "Without stress the model is right on" in text
    assert "[" not in text.split("How to read")[0], "an interval from one seed"
    table = parquet_of(place[1], "relative")
    assert table.low.isna().all()
    assert not table.marked.any()


def test_seeds_that_are_missing_here_and_there(place):
    for number, (condition, matrix) in enumerate(PLAN.items()):
        write_study(place[0], WORLD, {condition: matrix}, range(number % 3, 5))
    text = report_on(*place)
    assert "Not every condition has all 5 seeds" in text
    assert "missing" in text


def test_levels_without_a_seed_in_common(place):
    for number, (condition, matrix) in enumerate(PLAN.items()):
        write_study(place[0], WORLD, {condition: matrix}, (0, number) if number else (0, 1, 2, 3, 4, 5, 6))
    write_study(place[0], WORLD, {noise(0.5): PLAN[BASELINE]}, (9,))
    text = report_on(*place)
    assert "noise-shuffle-0.5" in text
    assert "Without a seed in common with the baseline" in text


def test_several_recipes_have_a_section_each(place, unpictured):
    write_study(place[0], WORLD, PLAN, (1, 2))
    write_study(place[0], WORLD, PLAN, (1, 2), model="other")
    write_study(place[0], World(("x", "y"), 30), {BASELINE: shares([0.9, 0.8])}, (1, 2), data="letters")
    text = report_on(*place)
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
    filtered = report_on(place[0], place[1], "only.data=letters")
    assert "never averaged" not in filtered
    assert "letters, cnn6" in filtered


def test_a_kind_of_noise_that_nobody_has_a_colour_for(place):
    matrix = PLAN[noise(0.1)]
    write_study(place[0], WORLD, {BASELINE: PLAN[BASELINE], noise(0.2, "matrix"): matrix}, (1, 2))
    assert "label noise (matrix)" in report_on(*place)


def test_stress_that_changed_no_prediction(place):
    for condition in (BASELINE, noise(0.1), noise(0.2), reduction(0.2)):
        for seed in (1, 2):
            write_run(place[0], WORLD, PLAN[BASELINE], condition, seed, preds=WORLD.predict(PLAN[BASELINE], "x", seed))
    report_on(*place)
    assert (parquet_of(place[1], "relative").difference == 0).all()


def test_a_class_without_test_images(place):
    write_study(place[0], replace(WORLD, per_class=(40, 0, 50)), PLAN, (1, 2, 3))
    text = report_on(*place)
    sentences = text.split("What was run")[0]
    assert "most sensitive class is cow" in sentences
    # Nothing is known of bee, so it is nowhere named as the first or the last of the classes.
    ends = r"(?:class is|sensitive is|costs most to) (\w+)|of recall \((\w+)\), the least .*? \((\w+)\)"
    glance = r"accurate: (\w+)|(\w+) falls most|(\w+) loses [^\n]*? per 10, (\w+)|(\w+) from (\w+): "
    lines = re.findall(r"^- \*\*.*", (place[1] / "summary.md").read_text(encoding="utf-8"), re.MULTILINE)
    for pattern, where, number in ((ends, sentences, 6), (glance, "\n".join(lines), 8)):
        named = [name for names in re.findall(pattern, where) for name in names if name]
        assert len(named) == number, "accuracy, two kinds of stress, and the cost that is certain"
        assert set(named) <= {"ant", "cow"}


def test_of_a_class_without_test_images_the_page_says_nothing():
    labels = np.repeat([0, 1], 20)
    runs = {(c, s): np.where(np.arange(40) % 5 < s, 1 - labels, labels) for c in (BASELINE, noise(0.2)) for s in (1, 2)}
    results = analyse(Study.of_preds(labels, runs, ("ant", "bee", "cow")), resamples=100)
    (*_, cow) = Section(results, [], [], [], [], [], None, [], [], "").class_rows()
    assert cow == ClassRow("cow", "", "", [Loss("", "", "", "")])
    ranks = sensitivity_table(results).set_index("class")[["expected_rank", "most_sensitive_probability"]]
    assert ranks.isna().all(axis=1).to_dict() == {"ant": False, "bee": False, "cow": True}


def test_figures_of_images_are_drawn_where_the_images_are(digits, tmp_path, monkeypatch):
    draw = Figure.savefig
    leave_undrawn(monkeypatch)
    leave = Figure.savefig

    def save(self: Figure, path: Path, **options: Any) -> None:
        (draw if Path(path).stem in ("fig3_mistaken", "fig7_variety") else leave)(self, path, **options)

    monkeypatch.setattr(Figure, "savefig", save)
    text = report_on(digits, tmp_path / "report", "mistaken.true_class=9", "variety=[3,4]")
    assert "Images of 9 taken for" in text
    assert "Training images of 3 and 4" in text
    (recipe,) = (path.name for path in digits.iterdir())
    for name in ("fig3_mistaken.png", "fig7_variety.svg"):
        assert (tmp_path / "report" / "figures" / recipe / name).stat().st_size > 1000


@pytest.mark.parametrize("per_class", [20, (60,) * 9 + (59,)], ids=["fewer images", "as many images in another order"])
def test_images_that_are_not_those_of_the_runs_are_not_shown(place, per_class):
    world = World(DIGITS.class_names, per_class)
    write_study(place[0], world, {BASELINE: shares([0.9] * 10)}, (1, 2), data="digits")
    text = report_on(*place)
    assert "Figures of images are missing" in text
    assert "Images of" not in text


@pytest.mark.parametrize(
    ("given", "found_in", "tried"),
    [
        (None, "recorded", ["recorded"]),
        (None, "usual", ["recorded", "usual"]),
        (None, "nowhere", ["recorded", "usual"]),
        ("given", "given", ["given"]),
        ("given", "recorded", ["given"]),
    ],
)
def test_images_are_looked_for_where_they_are_said_to_be_or_were_and_then_where_they_usually_are(
    place, unpictured, monkeypatch, given, found_in, tried
):
    looked_in: list[str | None] = []

    def load(asked: DataSettings, *, run_code: bool) -> ImageArrays:
        assert not run_code
        assert not asked.download
        looked_in.append(asked.dir)
        if asked.dir != found_in:
            raise DataError("not here")
        return load_arrays(asked)

    monkeypatch.setattr(plan, "load_arrays", load)
    monkeypatch.setenv("CLASS_SENSITIVITY_DATA", "usual")
    write_study(
        place[0], DIGITS, {BASELINE: shares([0.9] * 10)}, (1, 2), data="digits", data__dir="recorded", data__flip=False
    )
    text = report_on(*place, *([f"data_dir={given}"] if given else []))
    assert looked_in == tried
    assert ("Figures of images are missing" in text) == (found_in != tried[-1])


def test_a_data_set_that_a_module_reads_is_not_said_to_be_lost(place):
    recorded = {"data__source": "module", "data__options": {"module": "my_pets"}}
    write_study(place[0], WORLD, {BASELINE: PLAN[BASELINE]}, (1, 2), data="pets", **recorded)
    text = report_on(*place)
    assert "Figures of images are missing: pets is read by a module, and a report executes no code" in text
    assert "data=npz" in text
    assert "data_dir" not in text


def test_a_record_that_is_gone_when_its_probabilities_are_read_is_a_caveat(place, unpictured, monkeypatch):
    write_study(place[0], WORLD, {BASELINE: PLAN[BASELINE]}, (1, 2))
    assert "Calibration and" not in report_on(*place)

    def load_and_lose(root, **chosen):
        loaded = load_runs(root, **chosen)
        shutil.rmtree(next(Path(root).glob("*/baseline/seed-2")))
        return loaded

    monkeypatch.setattr(build, "load_runs", load_and_lose)
    assert "Calibration and images that look mislabelled are missing: the record of a run" in report_on(*place)


def test_a_model_that_has_learnt_nothing_silences_no_suspicion(tmp_path):
    # Every network is sure of another class, of some images; one that guesses is sure of none.
    write_study(tmp_path, WORLD, {BASELINE: PLAN[BASELINE]}, (1, 2))
    write_study(tmp_path, WORLD, {BASELINE: shares([1 / 3] * 3)}, (1, 2), model="lenet")
    one, other = sorted(map(analyse, load_runs(tmp_path)), key=lambda each: each.study.model)
    alone = plan._suspects(one, [])
    assert len(alone) > 2
    assert plan._suspects(one, [other]) == alone
    assert len(plan._suspects(one, [one])) == len(alone), "a model that has learnt does count"


def test_a_record_that_goes_while_the_report_is_made_costs_the_advice_on_few_examples_alone(place):
    study = load_one(write_study(place[0], WORLD, {BASELINE: PLAN[BASELINE]}, (1, 2)))
    results = analyse(study, resamples=100)
    for path in place[0].rglob("result.json"):
        path.unlink()
    assert (
        "least accurate class is cow"
        in plan_of(results, [results], [], settings(*place), limit=1.0).section.findings[0].sentence
    )


def test_the_commands_of_a_report_ask_for_the_recipe_while_a_record_says_it(place):
    study = load_one(write_study(place[0], WORLD, {BASELINE: PLAN[BASELINE]}, (1,), training__epochs=7))

    def words(recorded):
        return (f"training.epochs={recorded['training']['epochs']}",)

    (advice,) = advise(build._analysed(study, settings(*place), words))
    assert "training.epochs=7" in advice.command
    next(place[0].rglob("result.json")).unlink()
    (advice,) = advise(build._analysed(study, settings(*place), words))
    assert "training.epochs" not in advice.command


def test_runs_on_a_data_set_that_nobody_knows_any_more(place):
    write_study(place[0], WORLD, {BASELINE: PLAN[BASELINE]}, (1, 2), data="long-gone")
    assert "Figures of images are missing" in report_on(*place)
