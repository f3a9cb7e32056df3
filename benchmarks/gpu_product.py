"""`python train.py` on a GPU: whether it works, and what runs take from start to end."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def _train(words: list[str], device: str, limit: float) -> tuple[float, int | None, str]:
    """Seconds, exit status (None: it was ended) and output of `train.py` with some settings."""
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    accelerator = "gpu" if device == "cuda" else "cpu"
    command = [sys.executable, "train.py", *words, f"training.accelerator={accelerator}", "training.threads=1"]
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, "HYDRA_FULL_ERROR": "1"},
            start_new_session=True,
        )
        code: int | None
        try:
            code = process.wait(timeout=max(1.0, limit))
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return time.monotonic() - begun, code, output.read()


def _records(runs: Path) -> dict[str, dict[str, Any]]:
    """The record of every complete run, by its place."""
    return {
        str(path.parent.relative_to(runs)): json.loads(path.read_text()) for path in sorted(runs.rglob("result.json"))
    }


def _failures(runs: Path) -> str:
    """Why runs failed, with the tracebacks that they kept."""
    texts = []
    for path in sorted(runs.rglob("failed.json")):
        kept = json.loads(path.read_text())
        texts.append(f"{path.parent.relative_to(runs)}: {kept['reason']}\n{kept['traceback'] or ''}")
    return "\n".join(dict.fromkeys(texts))


def smoke(device: str) -> int:
    """Trains digits in a sweep, with AdamW, with a validation split, and with another network; prints what fails.

    Returns:
        The number of things that are not as they should be.
    """
    wrong = 0
    sweep = ["-m", "data=digits", "training.epochs=1"]
    cases = {
        "sweep": ([*sweep, "noise.frac=0,0.2", "seed=1,2"], 4),
        "adamw": ([*sweep, "seed=1,2,3", "training.optimizer=adamw"], 3),
        "one": (["data=digits", "training.epochs=2", "training.validation_frac=0.2", "reduction.frac=0.5"], 1),
        "resnet18": (["data=digits", "training.epochs=1", "model=resnet18"], 1),
    }
    with tempfile.TemporaryDirectory() as place:
        for name, (words, expected) in cases.items():
            runs = Path(place) / name
            seconds, code, output = _train([*words, f"runs={runs}"], device, 60)
            found = _records(runs)
            ended = "was ended: it took too long" if code is None else f"exit status {code}"
            print(f"{name}: {ended}, {seconds:.1f} s, {len(found)} of {expected} records", flush=True)
            if code != 0 or len(found) != expected:
                wrong += 1
                print(output[-6000:], _failures(runs)[-6000:], sep="\n", flush=True)
            for place_of_run, record in found.items():
                environment, metrics = record["environment"], record["metrics"]
                print(
                    f"  {place_of_run}: accuracy {metrics['accuracy']:.4f}, {environment['device']}, "
                    f"{environment['precision']}, fit {record['durations']['fit_s']:.2f} s",
                    flush=True,
                )
                if environment["device"] != device:
                    wrong += 1
                    print(f"  it ran on {environment['device']}", flush=True)
    print("as it should be" if wrong == 0 else f"{wrong} things are wrong", flush=True)
    return wrong


def measure(device: str, quick: bool, processes: int, left: Callable[[], float]) -> Iterator[dict[str, Any]]:
    """Sweeps of the default recipe on made-up images of CIFAR-10's shape, from the start of `train.py` to its end.

    Args:
        device: cuda or cpu.
        quick: Tiny sizes.
        processes: How many runs at once are compared with one after another.
        left: Seconds that are left.
    """
    import numpy as np

    with tempfile.TemporaryDirectory() as place:
        rng = np.random.default_rng(0)
        sizes = (400, 100) if quick else (50_000, 10_000)
        labels = [rng.integers(0, 10, size) for size in sizes]
        patterns = rng.integers(0, 128, (10, 32, 32, 3), dtype=np.uint8)
        images = [patterns[of] + rng.integers(0, 128, (len(of), 32, 32, 3), dtype=np.uint8) for of in labels]
        file = Path(place) / "made-up.npz"
        np.savez(file, train_images=images[0], train_labels=labels[0], test_images=images[1], test_labels=labels[1])
        data = ["data=npz", f"data.file={file}", "data.name=made-up", "data.flip=true", "data.crop_padding=2"]
        size = ["model.widths=[4,4,6,6,8,8]"] if quick else []
        for number in (1, processes):
            if left() < 15:
                return
            runs, members = Path(place) / f"{number}-at-once", max(3, 2 * number)
            seeds = ",".join(str(seed) for seed in range(1, members + 1))
            words = ["-m", "hydra/launcher=local", f"hydra.launcher.at_once={number}", *data, *size, f"seed={seeds}"]
            seconds, code, output = _train([*words, f"runs={runs}"], device, min(90, left() - 2))
            records = list(_records(runs).values())
            case = {"at_once": number, "members": members, "complete": len(records), "all_s": seconds}
            case["runs_per_s"] = len(records) / seconds
            if code != 0:
                print(f"{output[-1500:]}\n{_failures(runs)[-3000:]}", flush=True)
                case["error"] = f"exit status {code}"
            # The first run of a process warms up for the others.
            later = sorted(records, key=lambda record: record["identity"]["seed"])[number:]
            for part in ("setup_s", "fit_s", "test_s", "tensorboard_s", "total_s"):
                if later:
                    case[f"{part[:-2]}_s_a_run"] = float(np.mean([record["durations"][part] for record in later]))
            yield case
