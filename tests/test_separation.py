"""Which classes look alike and to whom, and the model or the data: on the page, on the screen and in the summary."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from support.reports import (
    PLAN,
    WORLD,
    leave_undrawn,
    leave_unpictured,
    parquet_of,
    parse,
    report_on,
    settings,
    words_of,
    write_digits,
)
from support.synthetic import THREE, World, shares, write_study

from class_sensitivity.analysis.claims.evidence import noise
from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.data.health import HealthReport
from class_sensitivity.data.inspection import Inspection
from class_sensitivity.data.lookalikes import image_separation
from class_sensitivity.data.sources import load_arrays
from class_sensitivity.errors import DataError
from class_sensitivity.report.build import write_report
from class_sensitivity.report.separation import Separation, compared_models, separation_of
from class_sensitivity.runs.condition import BASELINE, Condition
from class_sensitivity.settings import AnalyzeSettings, DataSettings

ANIMALS = ("ant", "bee", "cow", "dog", "emu")

#: Bees and cows are alike to both networks; ants and dogs to the one, dogs and emus to the other.
ALIKE = {"cnn6": [(1, 2), (0, 3)], "lenet": [(1, 2), (3, 4)]}

#: Which class loses by far the most under noise.
LOSES = {"cnn6": 2, "lenet": 0}

HEADING = "The model or the data?"


def plan_of(model: str) -> dict[Condition, NDArray[np.float64]]:
    """What a network does at the baseline and under noise."""
    wrong = np.ones((5, 5))
    for i, j in ALIKE[model]:
        wrong[i, j] = wrong[j, i] = 40
    stressed = np.full(5, 0.7)
    stressed[LOSES[model]] = 0.3
    return {BASELINE: shares([0.75] * 5, wrong), noise(0.3): shares(stressed, wrong)}


def write_models(
    root: Path, models: tuple[str, ...] = ("cnn6", "lenet"), per_class: int = 150, **options: object
) -> Path:
    """Runs of several networks on one data set."""
    for model in models:
        world = World(ANIMALS, per_class, model=model)
        write_study(root, world, plan_of(model), (1, 2, 3), model=model, **options)
    return root


def results_below(root: Path) -> list[Results]:
    return [analyse(study, resamples=100) for study in load_runs(root)]


def asked(tmp_path: Path, *overrides: str) -> AnalyzeSettings:
    return settings(tmp_path / "runs", tmp_path / "report", *overrides)


def squeezed(text: str) -> str:
    return " ".join(text.split())


# The model or the data


@pytest.fixture(scope="module")
def two_models(tmp_path_factory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


def test_several_models_on_one_data_set_are_compared_everywhere(two_models, tmp_path, monkeypatch, capsys):
    leave_undrawn(monkeypatch)
    text = report_on(two_models, tmp_path / "report")
    heading = f"{HEADING} made-up, cnn6, lenet"
    assert text.count(HEADING) == 1
    (found,) = compared_models(results_below(two_models), {}, asked(tmp_path))
    (compared,) = found.found
    about = f"{compared.compared.label} the orders of sensitivity of cnn6 and lenet agree least, rank correlation "
    screen = squeezed(capsys.readouterr().out)
    summary = squeezed((tmp_path / "report" / "summary.md").read_text(encoding="utf-8").replace("**: ", " "))
    for where in (text, screen, summary):
        after = where[where.index(heading) :]
        assert about in after
        assert "confused by every model bee and cow" in after
        (ours,) = re.findall(r"by some models, certainly not by others (\w+ and \w+), (\w+ and \w+)", after)
        assert set(ours) == {"ant and dog", "dog and emu"}
        (disagreed,) = re.findall(r"they disagree on (\w+) \(.*?\), (\w+) \(", after)
        assert set(disagreed) == {"ant", "cow"}
    # Of a study each, the model's own sections follow.
    assert screen.index("made-up, lenet, 6 runs") < screen.index(HEADING)
    assert text.index(HEADING) < text.rindex("made-up, lenet")
    (name,) = {path.stem for path in (tmp_path / "report" / "figures").glob("models_*.png")}
    links = [target for target in parse(tmp_path / "report").followed if "/models_" in target]
    assert sorted(links) == [f"figures/{name}.png", f"figures/{name}.svg"]


def test_the_class_that_one_model_loses_counts_for_it(two_models, tmp_path):
    (found,) = compared_models(results_below(two_models), {}, asked(tmp_path))
    (text,) = (line.text for line in found.lines() if line.about == "they disagree on")
    # cnn6 counts: cow loses more under it, ant less.
    signs = dict(re.findall(r"(\w+) \(cnn6 ([+-])\d", text))
    assert signs == {"ant": "-", "cow": "+"}
    assert all(part.endswith("against lenet") for part in text.removesuffix(")").split("), "))


def test_without_separations_nothing_is_said_of_pairs(two_models, tmp_path):
    (found,) = compared_models(results_below(two_models), {}, asked(tmp_path))
    assert found.pairs == []
    assert not [line for line in found.lines() if line.about.startswith(("confused", "by some"))]


def test_one_model_or_models_on_different_data_are_not_compared(tmp_path, monkeypatch):
    leave_unpictured(monkeypatch)
    write_models(tmp_path / "one", ("cnn6",))
    assert HEADING not in report_on(tmp_path / "one", tmp_path / "report")
    write_models(tmp_path / "one", ("lenet",), data="other")
    assert HEADING not in report_on(tmp_path / "one", tmp_path / "report")
    # The same name, and other test images.
    write_models(tmp_path / "one", ("lenet",), per_class=140)
    assert HEADING not in report_on(tmp_path / "one", tmp_path / "report")


def test_models_that_share_nothing_have_no_section_of_their_own(tmp_path, monkeypatch):
    leave_unpictured(monkeypatch)
    for model in ("cnn6", "lenet"):
        write_study(tmp_path / "runs", WORLD, {BASELINE: shares([0.8] * 3)}, (1,), model=model)
    text = report_on(tmp_path / "runs", tmp_path / "report")
    assert "made-up, lenet" in text
    assert HEADING not in text


def test_data_sets_of_one_name_have_a_figure_each(tmp_path, monkeypatch):
    leave_unpictured(monkeypatch)
    for digest, per_class in (("a" * 16, 100), ("b" * 16, 110)):
        write_models(tmp_path / "runs", per_class=per_class, data="image_folder", data_digest=digest)
    text = report_on(tmp_path / "runs", tmp_path / "report")
    assert text.count(f"{HEADING} image_folder, cnn6, lenet") == 2
    assert len(list((tmp_path / "report" / "figures").glob("models_*.png"))) == 2


def test_recipes_of_one_model_are_told_apart(tmp_path):
    root = write_models(tmp_path / "runs")
    world = World(ANIMALS, 150, model="longer")
    write_study(root, world, plan_of("cnn6"), (1, 2, 3), model="cnn6", training__epochs=9)
    results = results_below(root)
    separations = separations_of(results, asked(tmp_path))
    (found,) = compared_models(results, separations, asked(tmp_path))
    assert sorted(found.models) == ["cnn6, epochs 3", "cnn6, epochs 9", "lenet"]
    # A pair has a say of all three.
    assert {len(pair.alike) for pair in found.pairs} == {3}


# Look-alikes


def separations_of(results: list[Results], asked: AnalyzeSettings) -> dict[str, Separation]:
    made: Mapping[str, Separation | None] = {
        each.study.recipe: separation_of(each, None, None, asked) for each in results
    }
    return {recipe: each for recipe, each in made.items() if each is not None}


@pytest.fixture
def people(tmp_path) -> Path:
    """What ten people chose for each test image of `WORLD`; the first class is taken for the second."""
    counts = np.zeros((len(WORLD.labels), 3))
    counts[np.arange(len(counts)), WORLD.labels] = 8
    counts[WORLD.labels == 0, 1] += 2
    counts[WORLD.labels == 1, 2] += 1
    np.save(tmp_path / "people.npy", counts)
    return tmp_path / "people.npy"


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    leave_unpictured(monkeypatch)
    return write_study(tmp_path / "runs", WORLD, PLAN, (1, 2))


def inspection_of(distances: NDArray[np.float64]) -> Inspection:
    size = len(distances)
    sizes, names = (1,) * size, tuple(map(str, range(size)))
    return Inspection("made-up", "digest", names, sizes, sizes, (), HealthReport(size, size, ()), distances.tolist())


def test_the_agreement_with_people_is_the_rank_correlation_of_the_table(runs, people, tmp_path):
    out = tmp_path / "report"
    text = report_on(runs, out, f"people={people}")
    table = parquet_of(out, "pairs")
    rho = stats.spearmanr(table.look_alikeness, table.people).statistic
    (said,) = re.findall(r"rank correlation of all pairs with people (-?\d\.\d\d)", (out / "summary.md").read_text())
    assert float(said) == pytest.approx(rho, abs=0.005)
    assert f"rank correlation of all pairs with people {said}" in text
    assert "Look-alikes: the model against people" in text
    expected = {("ant", "bee"): 0.1, ("bee", "cow"): 1 / 18, ("ant", "cow"): 0.0}
    found = {(row.class_a, row.class_b): row.people for row in table.itertuples()}
    assert found == pytest.approx(expected)

    without = report_on(runs, out)
    assert "with people" not in without
    assert "people" not in parquet_of(out, "pairs").columns
    assert "images" not in parquet_of(out, "pairs").columns, "nobody has them"


#: What is wrong with a file of people's choices -> words of the sentence.
PEOPLE = {
    "none": ("cannot be read", "a .npy file of (150, 3)"),
    "another shape": ("shape (149, 3)", "it must be a .npy file of (150, 3)"),
    "another order": ("agrees with the labels", "in the order of the test images"),
    "negative": ("negative", "counts and shares"),
}


@pytest.mark.parametrize("fault", PEOPLE)
def test_people_that_do_not_fit_are_one_sentence_and_no_report(runs, people, tmp_path, fault):
    counts = np.load(people)
    if fault == "none":
        people.unlink()
    else:
        faults = {"another shape": counts[1:], "another order": np.roll(counts, 1, axis=1), "negative": -counts}
        np.save(people, faults[fault])
    with pytest.raises(DataError) as refused:
        write_report(asked(tmp_path, f"people={people}"))
    for word in (str(people), *PEOPLE[fault]):
        assert word in str(refused.value)
    assert not (tmp_path / "report").exists()


def test_people_that_do_not_fit_are_one_sentence_on_the_command_line(forked, runs, tmp_path):
    done = forked.analyze(
        f"runs={runs}", f"out={tmp_path / 'report'}", f"people={tmp_path / 'none.npy'}", "resamples=100"
    )
    assert done.rc == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path / 'none.npy'} cannot be read")
    assert not (tmp_path / "report").exists()


def test_images_come_from_the_inspection_and_else_from_the_data_set(tmp_path):
    root = write_digits(tmp_path / "runs")
    (results,) = results_below(root)
    arrays = load_arrays(DataSettings("digits", None, download=False, flip=False, crop_padding=0))
    from_arrays = separation_of(results, arrays, None, asked(tmp_path))
    (images,) = from_arrays.maps
    distances = image_separation(arrays.train_images, arrays.train_labels, 10)
    np.testing.assert_array_equal(images.values, distances)
    assert (images.name, images.distances) == ("images", True)
    first, second = np.triu_indices(10, 1)
    alike = from_arrays.found.symmetric.value[first, second]
    rho = stats.spearmanr(alike, -distances[first, second]).statistic
    assert images.agreement.rho == pytest.approx(rho)

    seen = inspection_of(np.abs(np.subtract.outer(np.arange(10.0), np.arange(10.0) ** 2)))
    for given in (arrays, None):
        (images,) = separation_of(results, given, seen, asked(tmp_path)).maps
        np.testing.assert_array_equal(images.values, seen.distances)
    assert separation_of(results, None, None, asked(tmp_path)).maps == ()


def test_the_line_names_the_three_most_alike_pairs(two_models, tmp_path):
    results = results_below(two_models)
    for model, each in zip(("cnn6", "lenet"), results, strict=True):
        assert each.study.model == model
        line = separation_of(each, None, None, asked(tmp_path)).line()
        assert line.about == "look-alikes"
        named = re.findall(r"(\w+) and (\w+) \((\d+\.\d) \[", line.text)
        assert len(named) == 3
        assert {(ANIMALS[i], ANIMALS[j]) for i, j in ALIKE[model]} == {pair[:2] for pair in named[:2]}
        assert [float(share) for *_, share in named] == sorted([float(share) for *_, share in named], reverse=True)
        assert "rank correlation" not in line.text, "there is nothing to compare with"


def test_an_agreement_of_which_nothing_is_known_is_left_out_of_the_line(two_models, tmp_path):
    (results, _) = results_below(two_models)
    seen = separation_of(results, None, inspection_of(np.random.default_rng(0).random((5, 5))), asked(tmp_path))
    (images,) = seen.maps

    def line(low: float, high: float) -> str:
        agreement = replace(images.agreement, rho=0.3, low=low, high=high)
        return replace(seen, maps=(replace(images, agreement=agreement),)).line().text

    assert "rank correlation" not in line(-1, 1)
    assert "rank correlation" not in line(-0.999, 0.996), "what is shown are two digits"
    assert "; rank correlation of all pairs with the images alone 0.30 [-1.00, 0.98]" in line(-1, 0.98)


def test_two_classes_have_no_order_of_pairs_and_nothing_is_said_of_one(tmp_path, monkeypatch):
    leave_undrawn(monkeypatch)
    world = World(("ant", "bee"), 30)
    write_study(tmp_path / "runs", world, {BASELINE: shares([0.9, 0.7])}, (1, 2))
    np.save(tmp_path / "people.npy", 9 * np.eye(2)[world.labels] + [0, 1])
    text = report_on(tmp_path / "runs", tmp_path / "report", f"people={tmp_path / 'people.npy'}")
    assert "look-alikes ant and bee (" in text
    assert "rank correlation" not in text
    assert "nan" not in text.lower().split()
    assert len(parquet_of(tmp_path / "report", "pairs")) == 1
    assert (parquet_of(tmp_path / "report", "pairs").people > 0).all()


def test_without_a_baseline_there_is_nothing_to_say(tmp_path, monkeypatch):
    leave_unpictured(monkeypatch)
    write_study(tmp_path / "runs", WORLD, {noise(0.1): PLAN[noise(0.1)]}, (1, 2))
    (results,) = results_below(tmp_path / "runs")
    assert separation_of(results, None, None, asked(tmp_path)) is None
    report_on(tmp_path / "runs", tmp_path / "report", pictures=False)
    assert "look-alikes" not in words_of(tmp_path / "report")
    assert not (tmp_path / "report" / "tables" / "pairs.csv").exists()


def test_a_class_without_test_images_is_in_no_pair(tmp_path, monkeypatch):
    leave_undrawn(monkeypatch)
    write_study(tmp_path / "runs", replace(WORLD, per_class=(40, 0, 50)), {BASELINE: PLAN[BASELINE]}, (1, 2))
    text = report_on(tmp_path / "runs", tmp_path / "report")
    table = parquet_of(tmp_path / "report", "pairs")
    assert list(zip(table.class_a, table.class_b, strict=True)) == [("ant", "cow")]
    assert "look-alikes ant and cow (" in text


def test_names_of_classes_may_be_anything(tmp_path, monkeypatch):
    leave_undrawn(monkeypatch)
    names = ("<b>ant", "[red]bee", "{{ cow }}")
    assert len(names) == len(THREE)
    write_study(tmp_path / "runs", replace(WORLD, class_names=names), {BASELINE: PLAN[BASELINE]}, (1, 2))
    text = report_on(tmp_path / "runs", tmp_path / "report")
    assert "look-alikes [red]bee and {{ cow }} (" in text
