"""How many worker processes a sweep on this machine has; what they do is tried in test_launchers.py."""

from concurrent.futures import Future
from typing import Any, Self

import pytest
import torch
from conftest import MakeRun

from class_sensitivity.training import device, workers


@pytest.mark.parametrize(("gigabytes", "expected"), [(1, 1), (8, 4), (24, 12), (141, 16)])
def test_as_many_runs_share_a_gpu_as_its_free_memory_takes(monkeypatch, gigabytes, expected):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (gigabytes << 30, 141 << 30))
    assert device.most_at_once(torch.device("cuda", 0)) == expected


@pytest.mark.parametrize(
    ("at_once", "cores", "gpu", "expected"),
    [
        (None, 16, 3, 3),  # the GPU takes fewer than the cores
        (None, 4, 16, 4),
        (None, 16, 16, 6),  # no more than there are runs
        (5, 1, 3, 5),  # what was asked for
        (1, 16, 16, 0),  # in the process of the sweep
        (None, 1, 16, 0),
    ],
)
def test_as_many_workers_as_asked_for_or_as_cores_and_device_take(
    monkeypatch, make_run: MakeRun, at_once, cores, gpu, expected
):
    made: list[Any] = []

    class Here:
        """A worker that does everything at once, in this process."""

        def __init__(self, *_: Any) -> None:
            made.append(self)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, function: Any, *arguments: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_result(function(*arguments))
            return future

    done: list[Any] = []
    monkeypatch.setattr(workers, "_Worker", Here)
    monkeypatch.setattr(workers, "_do_in_worker", done.append)
    monkeypatch.setattr(workers, "_do", done.append)
    monkeypatch.setattr(workers, "parallel_runs", lambda threads: cores // threads)
    monkeypatch.setattr(device, "most_at_once", lambda _: gpu)
    runs = [make_run(f"seed={seed}", "training.threads=1") for seed in range(6)]
    assert workers.train_side_by_side(runs, at_once, start_method="spawn") == [None] * 6
    assert len(made) == expected
    assert sorted(map(id, done)) == sorted(map(id, runs))
