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
