"""The tables of a report: documented, alike in both formats, and with the numbers of the analysis."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.typing import NDArray
from support.plans import load_one
from support.reports import PLAN, RESAMPLES, WORLD, csv_of, documented_columns, leave_unpictured, parquet_of, settings
from support.synthetic import THREE, made_up_run, make_record, settings_of, write_record, write_run, write_study

from class_sensitivity.analysis.claims.evidence import noise
from class_sensitivity.analysis.claims.judging import UNDECIDED, Comparison, Verdict, judge_part
from class_sensitivity.analysis.estimate import Estimate
from class_sensitivity.analysis.results import Results
from class_sensitivity.analysis.seeds import SeedsNeeded, seeds_to_tell
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.data.health import HealthReport
from class_sensitivity.data.inspection import Inspection, write_inspection
from class_sensitivity.report.build import write_report
from class_sensitivity.report.tables import claims_table, parts_table
from class_sensitivity.runs.condition import BASELINE

#: Test image -> the probability that every network of the baseline gives to its label; of the next class it is sure.
MISLABELLED = {100: 0.01, 7: 0.04}

#: Distances of the three classes by images alone, as an inspection would find them.
DISTANCES = [[0.0, 1.0, 2.0], [1.0, 0.0, 4.0], [2.0, 4.0, 0.0]]


def write_sure_baseline(root: Path, seed: int) -> None:
    """A run of the baseline that is sure of another class for the images of `MISLABELLED`."""
    run = made_up_run(settings_of(BASELINE, seed, runs=str(root), data__name="cifar10"))
    preds = WORLD.predict(PLAN[BASELINE], BASELINE.name, seed)
    preds[list(MISLABELLED)] = (WORLD.labels[list(MISLABELLED)] + 1) % 3
    record = make_record(WORLD, None, run, preds=preds)
    for image, share in MISLABELLED.items():
        row = np.full(3, 0.0)
        row[preds[image]], row[WORLD.labels[image]] = 1 - share, share
        record.arrays["test_probabilities"][image] = row
    write_record(record, run.directory)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Inspected runs on a data set that claims are about; one condition lacks a seed."""
    stressed = {condition: matrix for condition, matrix in PLAN.items() if condition != BASELINE}
    found = write_study(tmp_path_factory.mktemp("runs"), WORLD, stressed, (1, 2, 3), data="cifar10")
    for seed in (1, 2, 3, 4):
        write_sure_baseline(found, seed)
    # One stream of chance is varied alone.
    write_run(found, WORLD, PLAN[noise(0.2)], noise(0.2), data__name="cifar10", streams__labels=7)
    inspection = Inspection(
        data="cifar10",
        digest="0123456789abcdef",
        class_names=THREE,
        train_counts=(20, 15, 15),
        test_counts=WORLD.per_class,
        imported=(),
        health=HealthReport(50, len(WORLD.labels), ()),
        separation=DISTANCES,
        train_files=tuple(f"pictures/train/{i}.png" for i in range(50)),
        test_files=tuple(f"pictures/test/{i}.png" for i in range(len(WORLD.labels))),
    )
    write_inspection(inspection, found)
    return found


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> NDArray[np.int64]:
    """(n, 3) how many of twenty people chose each class: most the label, some the class before it."""
    rng, labels = np.random.default_rng(0), WORLD.labels
    counts = np.zeros((len(labels), 3), np.int64)
    wrong = rng.integers(0, 4, len(labels)) * (1 + labels)
    counts[np.arange(len(labels)), labels] = 20 - wrong
    counts[np.arange(len(labels)), (labels - 1) % 3] = wrong
    return counts


@pytest.fixture(scope="module")
def report(root, people, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("reports")
    np.save(place / "people.npy", people)
    with pytest.MonkeyPatch.context() as monkeypatch:
        leave_unpictured(monkeypatch)
        asked = settings(root, place / "report", "data_dir=nowhere", f"people={place / 'people.npy'}")
        return write_report(asked)


@pytest.fixture(scope="module")
def results(root) -> Results:
    return analyse(load_one(root), resamples=RESAMPLES)


STRESS = ["recipe", "condition", "noise_kind", "noise_frac", "reduction_frac"]
COLUMNS = {
    "counts": [*STRESS, "seed", "true", "predicted", "count"],
    "conditions": [
        *STRESS, "seeds", "train_size", "steps", "effective_noise", "learnt",
        "accuracy", "accuracy_low", "accuracy_high",
        "accuracy_sd", "fall", "fall_low", "fall_high", "asymmetry", "asymmetry_by_chance", "symmetry_p_new_images",
        "symmetry_p_these_images",
    ],
    "classes": [
        *STRESS, "class", "seeds", "recall", "recall_low", "recall_high", "fall", "fall_low", "fall_high", "fall_p",
    ],
    "relative": [
        *STRESS, "true", "predicted", "seeds", "mean", "sd", "difference", "difference_sd", "low", "high", "p",
        "sign_flip_p", "judged", "marked", "seeds_needed",
    ],
    "sensitivity": [
        "recipe", "stress", "class", "seeds", "levels", "slope", "slope_low", "slope_high", "expected_rank",
        "most_sensitive_probability", "seeds_to_tell_from_next", "knee", "knee_low", "knee_high", "knee_p",
        "slope_before", "slope_after",
    ],
    "ranks": ["recipe", "stress", "class", "rank", "probability"],
    "directions": [*STRESS, "class_a", "class_b", "seeds", "difference", "low", "high", "p", "marked"],
    "costs": [
        "recipe", "noise", "control", "class", "seeds", "less_data", "less_data_low", "less_data_high", "misled",
        "misled_low", "misled_high",
    ],
    "exchange": [
        *STRESS, "curve", "class", "seeds", "train_size", "least", "wrong", "n_eff", "n_eff_low", "n_eff_high",
        "lost_per_wrong_label", "lost_per_wrong_label_low", "lost_per_wrong_label_high", "gamma", "gamma_low",
        "gamma_high", "check_worth", "check_worth_low", "check_worth_high", "mended_worth", "mended_worth_low",
        "mended_worth_high",
    ],
    "calibration": [
        "recipe", "condition", "class", "seeds", "overconfidence", "overconfidence_low", "overconfidence_high",
        "change", "change_low", "change_high", "wrong_confidence", "wrong_confidence_low", "wrong_confidence_high",
        "error", "error_low", "error_high",
    ],
    "variance": [
        "recipe", "condition", "seed", "stream", "class", "values", "variance", "share", "share_low", "share_high",
    ],
    "claims": [
        "recipe", "id", "claim", "verdict", "effect", "low", "high", "unit", "seeds", "sentence", "command",
        "seeds_needed",
    ],
    "claim_parts": [
        "recipe", "id", "part", "verdict", "note", "decisive", "effect", "standard_error", "margin", "unit",
    ],
    "pairs": [
        "recipe", "class_a", "class_b", "seeds", "look_alikeness", "low", "high", "a_for_b", "b_for_a", "confusable",
        "growth_shuffle", "growth_shuffle_low", "growth_shuffle_high", "growth_reduction", "growth_reduction_low",
        "growth_reduction_high", "images", "people",
    ],
    "suspects": ["recipe", "image", "file", "label", "predicted", "confidence", "self_confidence"],
}  # fmt: skip


def test_the_tables_are_those_that_are_documented(report):
    documented = documented_columns()
    assert set(documented) == {*COLUMNS, "training_length", "variety"}, "the last two need other runs, and images"
    for name, columns in COLUMNS.items():
        assert documented[name]
        assert documented[name] <= set(columns), name
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
    (recipe,) = root.glob("cifar10-*")
    with xr.open_dataset(report / "tables" / f"{recipe.name}.nc") as arrays:
        arrays.load()
    runs = sorted(recipe.glob("*/seed-?/result.json"))
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
    for result in results.conditions:
        name, recall, versus = result.condition.name, result.recall, result.versus_baseline
        assert conditions.accuracy[name] == float(result.accuracy.value)
        direction = result.direction
        assert conditions.asymmetry[name] == direction.asymmetry
        assert conditions.asymmetry_by_chance[name] == direction.asymmetry_by_chance
        assert conditions.symmetry_p_new_images[name] == direction.symmetry_new_images.p
        assert conditions.symmetry_p_these_images[name] == direction.symmetry_these_images.p
        for i, true in enumerate(THREE):
            row = classes.loc[name, true]
            assert (row.recall, row.recall_low, row.recall_high) == (recall.value[i], recall.low[i], recall.high[i])
            if versus is None:
                assert name == "baseline"
                assert np.isnan(row.fall)
                continue
            assert row.fall == versus.fall.value[i]
            for j, predicted in enumerate(THREE):
                cell, matrix = relative.loc[name, true, predicted], versus.relative
                assert cell.difference == matrix.cells.value[i, j]
                assert (cell.marked, cell.judged) == (matrix.marked[i, j], matrix.judged[i, j])
                needed = seeds_to_tell(matrix.cells[i, j], np.abs(matrix.cells.value[i, j]), alpha=0.025)
                assert cell.seeds_needed == needed
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
            behind = [
                j for j in np.argsort(-curve.loss.value, kind="stable") if curve.loss.value[j] < curve.loss.value[i]
            ]
            if behind:
                gap = curve.slope_gaps[i, behind[0]]
                assert row.seeds_to_tell_from_next == seeds_to_tell(gap, np.abs(gap.value))
            else:
                assert np.isnan(row.seeds_to_tell_from_next), "nothing is behind the last"
    costs = parquet_of(report, "costs").set_index(["noise", "class"])
    assert costs.less_data["noise-shuffle-0.2", "*"] == float(results.costs[0].overall_less_data.value)
    assert costs.misled["noise-shuffle-0.2", "cow"] == results.costs[0].misled.value[2]
    directions = parquet_of(report, "directions").set_index(["condition", "class_a", "class_b"])
    assert directions.difference["baseline", "bee", "cow"] == results.of(BASELINE).direction.difference.value[2]


def test_claims_and_their_parts_are_rows():
    def comparison(value: float, words: str) -> Comparison:
        e = Estimate(np.float64(value), np.float64(0.36), np.float64(0.64), 4.0, np.full(5, value))
        return Comparison(words, e, "points", (BASELINE,))

    parts = (
        judge_part("it falls", [comparison(9.0, "fall"), comparison(3.0, "small fall")], 0.05, "As it was."),
        judge_part("it rises", [comparison(0.5, "rise")], 0.05),
    )
    near, never = SeedsNeeded(12, 8, 20), SeedsNeeded(None, None, None)
    verdicts = [
        Verdict("near", "Both.", UNDECIDED, parts=parts, needed=near),
        Verdict("never", "One.", UNDECIDED, needed=never),
        Verdict("done", "None.", "reproduced"),
    ]
    np.testing.assert_array_equal(claims_table(verdicts).seeds_needed, [12, np.inf, np.nan])
    table = parts_table(verdicts)
    assert table.id.tolist() == ["near", "near"]
    assert table.part.tolist() == ["it falls", "it rises"]
    assert table.verdict.tolist() == ["reproduced", "undecided"]
    assert table.note.tolist() == ["As it was.", ""]
    assert table.decisive.tolist() == ["small fall", "rise"]
    np.testing.assert_allclose(table[["effect", "standard_error", "margin"]], [[3, 1, 3], [0.5, 1, 0.5]])


def recalls_of(root: Path, condition: str, seeds: tuple[int, ...]) -> NDArray[np.float64]:
    """(S, 3, 3) shares [true, predicted], straight from the files."""
    (recipe,) = root.glob("cifar10-*")
    counts = [json.loads((recipe / condition / f"seed-{s}" / "result.json").read_text())["confusion"] for s in seeds]
    return np.array(counts) / np.array(WORLD.per_class)[:, np.newaxis]


def test_pairs_are_the_shares_that_are_taken_for_one_another_the_most_alike_first(report, root, people):
    table = parquet_of(report, "pairs")
    assert table.look_alikeness.is_monotonic_decreasing
    assert sorted(zip(table.class_a, table.class_b, strict=True)) == [("ant", "bee"), ("ant", "cow"), ("bee", "cow")]
    baseline = recalls_of(root, "baseline", (1, 2, 3, 4)).mean(axis=0)
    levels = {"baseline": 0.0} | {f"noise-shuffle-0.{i}": i / 10 for i in (1, 2, 3, 4)}
    alike = [recalls_of(root, name, (1, 2, 3)).mean(axis=0) for name in levels]
    chosen = np.stack([people[WORLD.labels == c].mean(axis=0) / 20 for c in range(3)])
    for row in table.itertuples():
        i, j = THREE.index(row.class_a), THREE.index(row.class_b)
        assert row.seeds == 4
        assert (row.a_for_b, row.b_for_a) == (pytest.approx(baseline[i, j]), pytest.approx(baseline[j, i]))
        assert row.look_alikeness == pytest.approx((baseline[i, j] + baseline[j, i]) / 2)
        assert row.low < row.look_alikeness < row.high
        slope, _ = np.polyfit(list(levels.values()), [(each[i, j] + each[j, i]) / 2 for each in alike], 1)
        assert row.growth_shuffle == pytest.approx(slope / 10)
        assert row.growth_shuffle_low < row.growth_shuffle < row.growth_shuffle_high
        assert row.images == DISTANCES[i][j]
        assert row.people == pytest.approx((chosen[i, j] + chosen[j, i]) / 2)
    assert len(set(table.people)) == 3, "a column of one value proves nothing"


def test_suspects_are_the_images_of_which_every_network_is_sure_that_they_are_another_class(report, root):
    table = parquet_of(report, "suspects")
    planted = table[:2]
    assert planted.image.tolist() == list(MISLABELLED), "least like its label first"
    assert planted.predicted.tolist() == [THREE[(WORLD.labels[image] + 1) % 3] for image in MISLABELLED]
    np.testing.assert_allclose(planted.confidence, [1 - share for share in MISLABELLED.values()], atol=1e-3)  # float16

    # All of them, by a plain loop over the files.
    (recipe,) = root.glob("cifar10-*")
    networks = [np.load(path)["test_probabilities"].astype(float) for path in recipe.glob("baseline/*/arrays.npz")]
    assert len(networks) == 4
    expected = {}
    for image, label in enumerate(WORLD.labels):
        taken_for = {int(network[image].argmax()) for network in networks}
        (first, *others) = taken_for
        usual = [network[WORLD.labels == first, first].mean() for network in networks]
        sure = all(network[image, first] >= least for network, least in zip(networks, usual, strict=True))
        if not others and first != label and sure:
            expected[image] = (first, np.mean([network[image, label] for network in networks]))
    assert sorted(table.image) == sorted(expected)
    assert table.self_confidence.is_monotonic_increasing
    for row in table.itertuples():
        predicted, share = expected[row.image]
        assert (row.label, row.predicted) == (THREE[WORLD.labels[row.image]], THREE[predicted])
        assert row.file == f"pictures/test/{row.image}.png"
        assert row.self_confidence == pytest.approx(share, abs=1e-6)
