"""A class of few training images and one without test images: whatever a report draws can be drawn, and is told."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from support.reports import settings
from support.synthetic import World, shares, write_run

from class_sensitivity.analysis.loading import load_runs
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.figures.axes import figure_of, house_style
from class_sensitivity.report import plan as planning
from class_sensitivity.report.plan import Plan, plan_of
from class_sensitivity.runs.condition import Condition

#: Ants have 5 training images, cows no test images.
WORLD = World(("ant", "bee", "cow", "dog"), (60, 80, 0, 70), train_size=305)
TRAIN_SIZES = (5, 100, 100, 100)

GRID = {  # (share of noise, share removed) -> recalls
    (noise, removed): 0.95 - np.array([0.5, 0.3, 0.4, 0.2]) * (noise + 0.6 * removed**2)
    for noise in (0.0, 0.2, 0.4)
    for removed in (0.0, 0.2, 0.4, 0.6, 0.8)
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    root = tmp_path_factory.mktemp("runs")
    for (noise, removed), recalls in GRID.items():
        condition = Condition(noise_kind="shuffle" if noise else "", noise_frac=noise, reduction_frac=removed)
        for seed in (1, 2):
            write_run(root, WORLD, shares(recalls), condition, seed)
    for value in (2, 3):
        for noise in (0.0, 0.2):
            condition = Condition(noise_kind="shuffle" if noise else "", noise_frac=noise)
            write_run(root, WORLD, shares(GRID[noise, 0.0]), condition, 1, streams__init=value)
    runs = load_runs(root)
    results = analyse(runs[0], resamples=100)
    labels = np.repeat(np.arange(4), TRAIN_SIZES)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4, 3), np.uint8)
    arrays = ImageArrays(pixels, labels, pixels[: len(WORLD.labels)], WORLD.labels, WORLD.class_names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "_images", lambda *_: (arrays, []))
        return plan_of(results, [results], runs.stream_studies, settings(root, root), limit=1.0)


@pytest.mark.slow
def test_every_figure_can_be_drawn(plan):
    assert len({spec.name for spec in plan.specs}) == len(plan.specs) > 25
    for spec in plan.specs:
        with house_style():
            FigureCanvasAgg(figure_of(spec.draw())).draw()


def test_a_class_without_test_images_is_the_first_and_the_last_of_nothing(plan):
    section = plan.section
    said = [*(line.text for line in section.glance), *(each.sentence for each in (*section.findings, *section.advice))]
    assert not [sentence for sentence in said if "cow" in sentence or "nan" in sentence]
    (variety,) = (spec for spec in plan.specs if spec.name == "fig7_variety")
    assert variety.title == "Training images of ant and dog"
    assert "nan" not in " ".join(spec.caption for spec in plan.specs)


def test_what_a_noise_is_worth_is_not_made_up(plan):
    assert np.isnan(plan.results.exchange[0].overall.size.value)
    words = "20 % noise (shuffle) is worth a number of clean examples that is not known."
    assert [each.sentence for each in plan.section.findings if each.sentence.startswith("20 % noise")] == [words]
