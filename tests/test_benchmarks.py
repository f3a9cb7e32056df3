"""The benchmarks work and compare like with like; what they measure is for a quiet machine to say."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.explorer import chromium
from support.reports import PLAN, WORLD
from support.synthetic import CIFAR10, World, made_up_run, make_record, settings_of, write_record, write_study
from test_health import scene

from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.inspection import inspect_data, write_inspection
from class_sensitivity.data.sources import data_digest, import_report, load_arrays
from class_sensitivity.runs.condition import BASELINE
from class_sensitivity.settings import DataSettings


@pytest.fixture(scope="module", autouse=True)
def benchmarks(root: Path) -> Any:
    """Makes `benchmarks/` importable, as it is for its scripts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root / "benchmarks"))
        yield


@pytest.fixture(scope="module")
def contenders(benchmarks: None) -> ModuleType:
    import contenders

    return contenders


def _bench(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/training.py", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_a_quick_run_prints_a_table_and_writes_all_values(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    sections = "speed,steps,startup"
    done = _bench(root, "--quick", "--repeats", "1", "--images", "200", "--sections", sections, "--json", str(path))
    assert done.returncode == 0, done.stderr
    result = json.loads(path.read_text())
    assert set(result) == {"machine", "plan", "sections"}
    assert result["machine"] in done.stdout
    assert result["plan"]["data"] == "digits"
    assert list(result["sections"]) == sections.split(",")
    for section in result["sections"].values():
        assert section["seconds"] > 0
        for row in section["rows"]:
            assert set(row) == {"name", "unit", "values", "median", "min", "max"}
            assert row["name"] in done.stdout
            assert 0 < row["min"] <= row["median"] <= row["max"]
    rows = {row["name"]: row for section in result["sections"].values() for row in section["rows"]}
    for ratio in ("product / usual way", "product / bare loop", "bare loop / ceiling", "product / ceiling"):
        assert {f"{ratio}, end to end", f"{ratio}, fit alone"} <= set(rows)
    losses = [rows[f"training loss of the last epoch, {name}"]["values"] for name in ("product", "bare loop")]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_ways_to_share_a_gpu_compute_what_separate_runs_compute(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    arguments = ("--device", "cpu", "--quick", "--only", "check,one", "--json", str(path))
    command = [sys.executable, "benchmarks/gpu.py", *arguments]
    subprocess.run(command, cwd=root, check=True, timeout=200, stdout=subprocess.DEVNULL)
    found = json.loads(path.read_text())["found"]
    checked = [line for line in found if "float64_error" in line]
    assert [line["way"] for line in checked] == ["separate", "grouped", "products"]
    assert all(line["float64_error"] < 1e-12 for line in checked)
    assert all(line["runs_per_s"] > 0 and line["loss_is_finite"] for line in found if line["part"] == "one")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_bare_loop_does_the_same_work(contenders: ModuleType, tmp_path: Path, precision: str) -> None:
    run = contenders.composed(
        "data=digits",
        "data.crop_padding=1",
        "data.flip=true",
        "reduction.frac=0.8",
        "training.epochs=3",
        "training.threads=1",
        "training.label_smoothing=0.1",
        f"training.precision={precision}",
    )
    product, bare = contenders.product(run, tmp_path), contenders.bare(run)
    assert product.images == bare.images == 3 * 240
    assert product.losses == bare.losses  # to the last bit
    assert len(product.losses) == 3


def test_multiply_adds_are_those_of_the_layers() -> None:
    from ceiling import Layer, layers_of
    from torch import nn

    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(20, 7)
    )
    layers = layers_of(network, (3, 8, 8))
    assert layers == [Layer(64, 27, 4, False), Layer(4, 36, 5, True), Layer(1, 20, 7, True)]
    assert [layer.forward for layer in layers] == [6912, 720, 140]
    # The first layer's input learns nothing.
    assert [layer.training for layer in layers] == [2 * 6912, 3 * 720, 3 * 140]
    assert network.training


def test_a_made_up_study_of_each_kind_is_measured() -> None:
    import calibration

    for measure in calibration.MADE_UP:
        outcome = measure(None, np.random.default_rng(1), 2)
        values = np.array(list(outcome.values()))
        assert (values[~np.isnan(values)] >= 0).all()
        shares = [
            value for name, value in outcome.items() if not re.search("width|candidates|seeds for|seeds adv", name)
        ]
        assert np.nanmax(shares) <= 1


def test_images_of_made_up_classes_are_lost_to_the_class_that_is_named() -> None:
    import calibration

    recalls, falls = np.full(10, 0.8), np.array([0.3] + [0.0] * 9)
    (before, after), labels = calibration.made_up(
        np.random.default_rng(0), 8, [recalls, recalls - falls], 400, lost_to=np.array([3] + [-1] * 9)
    )
    counts = [[(each[:, labels == 0] == c).mean() for c in range(10)] for each in (before, after)]
    change = np.subtract(*counts[::-1])
    np.testing.assert_allclose(change[[0, 3]], [-0.3, 0.3], atol=0.05)
    np.testing.assert_allclose(np.delete(change, [0, 3]), 0, atol=0.02)
    np.testing.assert_allclose((before == labels).mean(), 0.8, atol=0.03)


def test_a_row_gives_median_and_range() -> None:
    from table import ratio, row

    speed = row("speed", "images/s", [4, 1, 2])
    assert speed.as_json() == {
        "name": "speed",
        "unit": "images/s",
        "median": 2,
        "min": 1,
        "max": 4,
        "values": [4, 1, 2],
    }
    assert ratio("share", speed, row("limit", "images/s", [8, 4, 2])).values == (0.5, 0.25, 1.0)
    assert speed.line().split() == ["speed", "2.000", "1.000", "4.000", "3", "images/s"]
    assert row("once", "s", [12345.6]).line().split() == ["once", "12,346", "1", "s"]


def test_what_cannot_be_measured_is_said_in_one_sentence(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLASS_SENSITIVITY_DATA", str(tmp_path))
    absent = _bench(root)
    assert absent.returncode == 1
    assert absent.stderr.startswith(f"CIFAR-10 is not in {tmp_path}: set CLASS_SENSITIVITY_DATA")
    assert len(absent.stderr.splitlines()) == 1
    unknown = _bench(root, "--sections", "speed,weather")
    assert unknown.returncode == 2
    assert "there is no section weather" in unknown.stderr


def test_the_worth_of_pairing_is_a_ratio_of_variances() -> None:
    from pairing import ratio

    rng = np.random.default_rng(0)
    one, other = rng.normal(50, 2, (4000, 3)), rng.normal(40, 2, (4000, 3))
    value, sd = ratio(one, other)
    assert (value, sd) == (pytest.approx(1, abs=0.05), pytest.approx(np.sqrt(8), rel=0.05))
    assert ratio(one, one - 7) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-6))
    value, sd = ratio(one, one + rng.normal(0, 1, one.shape))
    assert (value, sd) == (pytest.approx(1 / 9, rel=0.1), pytest.approx(1, rel=0.05))


def test_the_table_of_pairing_has_a_line_a_condition_and_one_a_control(root: Path, tmp_path: Path) -> None:
    runs = write_study(tmp_path / "runs", WORLD, PLAN, (1, 2, 3))
    command = [sys.executable, "benchmarks/pairing.py", str(runs)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (recipe,) = runs.iterdir()
    assert done.stdout.splitlines()[0] == recipe.name
    rows = dict(re.findall(r"^\| (.+? minus .+?) \| (3 \| [\d.]+ \| [\d.]+) \|$", done.stdout, re.MULTILINE))

    def points(name: str) -> Any:
        """(S, K) recalls, straight from the files."""
        counts = [json.loads(path.read_text())["confusion"] for path in sorted((recipe / name).glob("*/result.json"))]
        return 100 * np.array([np.diag(each) / np.sum(each, axis=1) for each in counts])

    labels = {condition.label: condition.name for condition in PLAN}
    pairs = [(label, "baseline") for label in labels if label != "baseline"]
    pairs.append((noise(0.2).label, reduction(0.2).label))
    assert set(rows) == {f"{one} minus {other}" for one, other in pairs}
    assert len(pairs) == len(PLAN)
    for one, other in pairs:
        mine, theirs = points(labels[one]), points(labels[other])
        paired, alone = (
            np.var(mine - theirs, axis=0, ddof=1),
            np.var(mine, axis=0, ddof=1) + np.var(theirs, axis=0, ddof=1),
        )
        expected = f"3 | {paired.sum() / alone.sum():.2f} | {np.sqrt(paired.mean()):.2f}"
        assert rows[f"{one} minus {other}"] == expected


@pytest.fixture
def planted(benchmarks: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark of planted faults, on ten classes of a few made-up pictures."""
    import planted

    sizes = {"TRAIN_SIZE": 6, "TEST_SIZE": 5, "THIN_SIZE": 2, "EXACT_LEAKS": 3, "NEAR_LEAKS": 2, "SWAPPED": 4}
    for name, size in sizes.items():
        monkeypatch.setattr(planted, name, size)
    images = np.stack([scene(seed) for seed in range(150)])
    labels = np.arange(150) % 10
    arrays = ImageArrays(images[:80], labels[:80], images[80:], labels[80:], CIFAR10)
    monkeypatch.setattr(planted, "load", lambda directory: arrays)
    monkeypatch.setattr(planted, "arrays", arrays, raising=False)
    return planted


def test_planted_faults_are_all_there_and_found_and_counted(
    planted: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, runs = tmp_path / "pictures", tmp_path / "runs"
    planted.make(folder)
    truth = json.loads(folder.with_suffix(".json").read_text())
    assert {what: len(files) for what, files in truth.items()} == {
        "exact leaks": 3, "near leaks": 2, "label conflicts": 10, "swapped": 4, "broken": 4,
    }  # fmt: skip
    assert all(Path(file).is_file() for files in truth.values() for file in files)
    options = {
        "train_dir": str(folder / "train"),
        "test_dir": str(folder / "test"),
        "cache_dir": str(tmp_path / "cache"),
        "skip_broken": True,
    }
    asked = DataSettings(
        "image_folder", None, download=False, flip=True, crop_padding=2, source="image_folder", options=options
    )
    digest, loaded = data_digest(asked), load_arrays(asked)
    report = import_report(asked)
    assert report is not None
    assert sorted(file.path for file in report.skipped) == sorted(truth["broken"])
    counts = dict(zip(loaded.class_names, np.bincount(loaded.train_labels).tolist(), strict=True))
    assert min(counts, key=counts.__getitem__) == planted.THIN
    write_inspection(inspect_data(asked, digest), runs)

    # Three networks that see every test image as what it is.
    names = [planted.RENAMED.get(name, name) for name in CIFAR10]
    numbers = [int(Path(file).stem) for file in report.test_files]
    preds = np.array([loaded.class_names.index(names[planted.arrays.test_labels[number]]) for number in numbers])
    assert (preds != loaded.test_labels).sum() == len(truth["swapped"])

    class Tested(World):
        labels = loaded.test_labels.astype(np.int32)

    for seed in (1, 2, 3):
        run = made_up_run(settings_of(seed=seed, runs=str(runs), data__name="image_folder"), digest)
        record = make_record(Tested(loaded.class_names), None, run, preds=preds)
        record.arrays["test_probabilities"][:] = 0.1 * np.eye(10)[(preds + 1) % 10] + 0.9 * np.eye(10)[preds]
        write_record(record, run.directory)
    capsys.readouterr()
    planted.check(folder, runs)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    swapped = "swapped test images among the first {} of 4 suspects"
    assert rows == [
        ["exact leaks", "3", "3", "0"],
        ["near leaks", "2", "2", "0"],
        ["label conflicts", "10", "10", "0"],
        *([swapped.format(number), "4", "4", "0"] for number in (10, 20, 4)),
    ]

    # What is not found, and what is found beside it, is counted as such.
    truth["exact leaks"][0], truth["swapped"] = str(folder / "test" / "nowhere.png"), truth["swapped"][:3]
    folder.with_suffix(".json").write_text(json.dumps(truth))
    planted.check(folder, runs)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| exact leaks | 3 | 2 | 1 |"
    assert lines[5:] == [f"| {swapped.format(number)} | 3 | 3 | 1 |" for number in (10, 20, 4)]


@pytest.mark.slow
def test_the_explorer_is_measured(root: Path) -> None:
    chromium()
    command = [sys.executable, "benchmarks/explorer.py", "--kinds", "digits", "--repeats", "1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=True)
    rows = dict(re.findall(r"^digits: (.*?) {2,}([\d,.]+)", done.stdout, re.MULTILINE))
    assert 0.1 < float(rows["size of the page"]) < 2
    assert float(rows["thumbnails that the click shows"]) > 0
    assert float(rows["a click on its largest cell"]) > 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark keeps a process to some cores")
def test_a_report_is_measured_on_one_core_and_on_all(root: Path, tmp_path: Path) -> None:
    plan = {condition: PLAN[condition] for condition in (BASELINE, noise(0.2))}
    runs = write_study(tmp_path / "made-up", WORLD, plan, (1, 2))
    command = [sys.executable, "benchmarks/reporting.py", "--classes", "--runs", str(runs)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=True)
    rows = dict(re.findall(r"^made-up: (.*?) {2,}([\d,.]+)", done.stdout, re.MULTILINE))
    assert 0.1 < float(rows["size of the report"]) < 5
    several = next(name for name in rows if re.fullmatch(r"report, \d+ cores", name))
    seconds = float(rows["report, one core"]), float(rows[several])
    assert float(rows[several.replace("report,", "one core /")]) == pytest.approx(seconds[0] / seconds[1], rel=0.01)
