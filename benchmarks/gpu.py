"""How many runs a second one GPU trains, by the way in which they share it; made-up images of CIFAR-10's shape.

python benchmarks/gpu.py                                    on the GPU, at most 200 s
python benchmarks/gpu.py --only check,one,streams           some of it
python benchmarks/gpu.py --device cpu --quick               does it work?

check      a step of the stacked ways against separate runs: gradients in float64 and bf16; bits of graphs and streams
one        one run after another: a step launched kernel by kernel, as the product does it, and captured in a CUDA graph
streams    runs with a network each, on several CUDA streams, all in one graph
grouped    stacked, which is one network with the weights of all: grouped convolutions in channels_last layout, captured
products   stacked: convolutions as batched matrix products over im2col columns, captured
processes  a run in each of several processes at the same time: launched as the product does it, and captured
product    `python train.py -m` itself: a run after another, and several at once
mps        `processes` with NVIDIA's MPS, where it can be started
launched   the stacked ways without a graph
profile    which kernels take the time
compiled   one run, captured, with what torch.compile fuses

Each part runs in a process of its own with a limit on its time; one that fails, hangs or comes too late costs itself
alone. A run is 3 epochs of 391 steps and 3 tests of 20 batches; the preparation of an epoch's order is not in it, and
`product` has everything.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_RESULT = "RESULT "
_STEPS, _TESTS = 3 * 391, 3 * 20


# Measuring, in the process of a part


def _engine(way: str, members: int, options: dict[str, Any], quick: bool, device: Any) -> Any:
    import side_by_side as ways

    feed = ways.feed_of(members, quick, device)
    made = ways.networks(members, [4, 4, 6, 6, 8, 8] if quick else ways.WIDTHS)
    if way == "separate":
        return ways.Separate(made, feed, **options)
    return ways.Stacked(ways.Wide(made, way), feed)  # type: ignore[arg-type]


def _synchronise(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


def _seconds_of(step: Callable[[], None], device: Any, budget: float) -> float:
    """Seconds of a call, the median of three stretches that take so many seconds together."""
    for _ in range(3):
        step()
    _synchronise(device)
    begun = time.perf_counter()
    for _ in range(3):
        step()
    _synchronise(device)
    number = max(1, int(budget / 3 / (time.perf_counter() - begun) * 3))
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        for _ in range(number):
            step()
        _synchronise(device)
        taken.append((time.perf_counter() - begun) / number)
    return statistics.median(taken)


def _measured(task: dict[str, Any], device: Any) -> Iterator[dict[str, Any]]:
    """Every (number of members, captured or not, options) of a part."""
    import side_by_side as ways
    import torch

    for members, graph, options in task["cases"]:
        case = {"way": task["way"], "members": members, "captured": graph and device.type == "cuda", **options}
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        else:
            options = {**options, "streams": 0} if "streams" in options else options
        begun = time.perf_counter()
        try:
            engine = _engine(task["way"], members, options, task["quick"], device)
            train, test = engine.train, engine.test
            if case["captured"]:
                train, test = ways.captured(train), ways.captured(test)
            else:
                for _ in range(3):
                    train()
                test()
            _synchronise(device)
            prepared = time.perf_counter() - begun
            if task.get("gate"):
                yield {**case, "rate": _rate_behind_gate(train, device, Path(task["gate"]), task["seconds"])}
                continue
            step, tested = _seconds_of(train, device, task["seconds"]), _seconds_of(test, device, task["seconds"] / 4)
            finite = bool(engine.loss.isfinite().all())
        except Exception as error:
            yield {**case, "error": f"{type(error).__name__}: {str(error)[:400]}"}
            if "out of memory" in str(error):
                continue
            raise
        yield {
            **case,
            "step_ms": 1e3 * step,
            "test_batch_ms": 1e3 * tested,
            "run_steps_per_s": members / step,
            "runs_per_s": members / (_STEPS * step + _TESTS * tested),
            "prepared_s": prepared,
            "peak_gb": torch.cuda.max_memory_reserved() / 1e9 if device.type == "cuda" else None,
            "loss_is_finite": finite,
        }
        del engine, train, test


def _rate_behind_gate(train: Callable[[], None], device: Any, gate: Path, seconds: float) -> float:
    """Steps a second while the others measure, too."""
    (gate / f"ready-{os.getpid()}").touch()
    while not (gate / "go").exists():
        time.sleep(0.002)
    steps, begun = 0, time.perf_counter()
    while (taken := time.perf_counter() - begun) < seconds:
        for _ in range(20):
            train()
        _synchronise(device)
        steps += 20
    return steps / taken


def _profiled(task: dict[str, Any], device: Any) -> Iterator[dict[str, Any]]:
    """The kernels that take the most time, launched one by one."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    on_gpu = device.type == "cuda"
    for way, members in task["cases"]:
        engine = _engine(way, members, {}, task["quick"], device)
        for _ in range(3):
            engine.train()
        _synchronise(device)
        steps = 5
        with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as found:
            for _ in range(steps):
                engine.train()
            _synchronise(device)
        kernels = sorted(
            (
                (event.self_device_time_total if on_gpu else event.self_cpu_time_total, event.count, event.key)
                for event in found.key_averages()
                if not on_gpu or event.self_device_time_total > 0
            ),
            reverse=True,
        )
        yield {
            "way": way,
            "members": members,
            "kernels_ms_a_step": sum(taken for taken, _, _ in kernels) / steps / 1e3,
            "kernels_a_step": sum(count for _, count, _ in kernels) / steps,
            "most": [[round(taken / steps, 1), count / steps, key[:110]] for taken, count, key in kernels[:14]],
        }
        del engine
        if on_gpu:
            torch.cuda.empty_cache()


def _checked(task: dict[str, Any], device: Any) -> Iterator[dict[str, Any]]:
    """One step's gradients of every way against separate runs in float64; then the bits of graphs and streams."""
    import side_by_side as ways
    import torch
    from torch.nn import functional

    members, quick = 3, task["quick"]
    widths = [4, 4, 6, 6, 8, 8] if quick else ways.WIDTHS
    images, target = ways.feed_of(members, quick, device).next()

    def gradients(way: str, dtype: torch.dtype, autocast: bool) -> list[torch.Tensor]:
        """Of every member, all its parameters in one row."""
        made = ways.networks(members, widths)
        batch = images.to(dtype)
        with ways.autocast(device, autocast):
            if way == "separate":
                placed = [network.to(device, dtype, memory_format=torch.channels_last) for network in made]
                logits = torch.stack([network(batch[m]) for m, network in enumerate(placed)])
            else:
                stack = ways.Wide(made, way).to(device, dtype)  # type: ignore[arg-type]
                logits = stack(batch)
            # The loss in full precision, as in training.
            logits = logits if dtype == torch.float64 else logits.float()
            losses = functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
        losses.view(target.shape).mean(1).sum().backward()
        found: list[torch.Tensor] = []
        for m in range(members):
            if way == "separate":
                of_member = [parameter.grad for parameter in placed[m].parameters()]
            else:
                of_member = stack.gradients(m)
            found.append(torch.cat([gradient.double().flatten() for gradient in of_member]))
        return found

    def worst(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
        """The greatest relative error of a member's gradient; NaN if it is not finite."""
        return max(((a - b).norm() / b.norm()).item() for a, b in zip(found, expected, strict=True))

    exact = gradients("separate", torch.float64, autocast=False)
    for way in ("separate", "grouped", "products"):
        case = {"way": way, "members": members}
        try:
            error64 = worst(gradients(way, torch.float64, autocast=False), exact)
            error16 = worst(gradients(way, torch.float32, autocast=True), exact)
            yield {**case, "float64_error": error64, "bf16_error": error16, "agrees": error64 < 1e-8}
        except Exception as error:
            yield {**case, "error": f"{type(error).__name__}: {str(error)[:400]}"}

    def weights(streams: int, captured: bool) -> list[torch.Tensor]:
        engine = ways.Separate(ways.networks(members, widths), ways.feed_of(members, quick, device), streams=streams)
        step: Callable[[], None] = engine.train
        done = 0
        if captured:
            step, done = ways.captured(step), 3  # capturing warms up by three steps, and does none itself
        for _ in range(20 - done):
            step()
        _synchronise(device)
        return [value.detach().clone() for network in engine.networks for value in network.state_dict().values()]

    alone = weights(0, captured=False)
    cases = [(0, False), (0, True), (3, False), (3, True)] if device.type == "cuda" else [(0, False)]
    for streams, captured in cases:
        case = {"way": "separate, 20 steps", "streams": streams, "captured": captured}
        try:
            same = all(torch.equal(a, b) for a, b in zip(weights(streams, captured), alone, strict=True))
            yield {**case, "same_bits_as_launched_alone": same}
        except Exception as error:
            yield {**case, "error": f"{type(error).__name__}: {str(error)[:400]}"}


def _as_child(task: dict[str, Any]) -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as Lightning sets it
    import side_by_side as ways
    import torch

    torch.set_num_threads(1)
    device = torch.device("cuda", 0) if task["device"] == "cuda" else torch.device("cpu")
    ways.as_the_product_trains(device)
    measure = {"check": _checked, "profile": _profiled}.get(task["part"], _measured)
    for found in measure(task, device):
        print(_RESULT + json.dumps({"part": task["part"], **found}), flush=True)


# Parts, seen from the process that asks for them


class Session:
    """What was found, and how much time is left.

    Args:
        device: cuda or cpu.
        quick: Tiny sizes.
        seconds: After which no part is begun, and any that runs is ended.
    """

    def __init__(self, device: str, quick: bool, seconds: float) -> None:
        self.device, self.quick = device, quick
        self.found: list[dict[str, Any]] = []
        self.begun, self.deadline = time.monotonic(), time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def keep(self, found: dict[str, Any]) -> None:
        """Keeps and prints a measurement."""
        self.found.append(found)
        print(f"{time.monotonic() - self.begun:6.1f} s  {_line(found)}", flush=True)

    def child(self, part: str, limit: float, **task: Any) -> None:
        """Does a part in a process of its own; what it had found when it was ended counts."""
        whole = self._task(part, **task)
        for found in self._lines(part, *self._start(whole, {}), limit):
            self.keep(found)

    def together(self, part: str, number: int, limit: float, environment: dict[str, str], **task: Any) -> None:
        """Several processes that measure the same at the same time; keeps the sum of their rates."""
        with tempfile.TemporaryDirectory() as gate:
            whole = self._task(part, gate=gate, **task)
            children = [self._start(whole, environment) for _ in range(number)]
            end = time.monotonic() + min(limit, self.left)
            while len(list(Path(gate).glob("ready-*"))) < number and time.monotonic() < end:
                if all(process.poll() is not None for process, _ in children):
                    break
                time.sleep(0.02)
            ready = len(list(Path(gate).glob("ready-*")))
            (Path(gate) / "go").touch()
            rates = []
            for process, output in children:
                found = self._lines(part, process, output, max(1.0, end - time.monotonic()) + task["seconds"])
                rates += [line["rate"] for line in found if "rate" in line]
        case = {"part": part, "processes": number, "ready": ready, "members": 1, **task["named"]}
        if len(rates) == number:
            self.keep({**case, "run_steps_per_s": sum(rates), "runs_per_s_without_tests": sum(rates) / _STEPS})
        else:
            self.keep({**case, "error": f"{len(rates)} of {number} processes measured"})

    def _task(self, part: str, **task: Any) -> dict[str, Any]:
        return {"part": part, "device": self.device, "quick": self.quick, **task}

    def _start(self, task: dict[str, Any], environment: dict[str, str]) -> tuple[subprocess.Popen[str], Any]:
        output = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115 (closed by who reads it)
        paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        process = subprocess.Popen(
            [sys.executable, __file__, "--task", json.dumps(task)],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths, "CUBLAS_WORKSPACE_CONFIG": ":4096:8", **environment},
            start_new_session=True,
        )
        return process, output

    def _lines(self, part: str, process: subprocess.Popen[str], output: Any, limit: float) -> Iterator[dict[str, Any]]:
        """What a child finds, as it finds it; says why where it does not end well."""
        end = time.monotonic() + max(1.0, min(limit, self.left))
        rest: list[str] = []
        reason = None
        with output, open(output.name) as lines:
            while True:
                ended = process.poll() is not None
                if not ended and time.monotonic() > end:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    ended, reason = True, "ended: it took too long"
                for line in lines.read().splitlines():
                    if line.startswith(_RESULT):
                        yield json.loads(line.removeprefix(_RESULT))
                    else:
                        rest.append(line)
                if ended:
                    break
                time.sleep(0.05)
        if process.returncode and not reason:
            reason = f"exit status {process.returncode}"
        if reason:
            print(f"          {part}: {reason}", *rest[-12:], sep="\n            ", flush=True)


def _line(found: dict[str, Any]) -> str:
    """A measurement as a line."""
    if "most" in found:
        head = {key: value for key, value in found.items() if key != "most"}
        kernels = [f"\n            {taken:9.1f} us  {count:6.1f} x  {key}" for taken, count, key in found["most"]]
        return _line(head) + "".join(kernels)
    return "  ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in found.items()
    )


def check(session: Session) -> None:
    """Do the stacked ways compute what separate runs compute, and do graphs and streams give the same bits?"""
    session.child("check", 40)


def one(session: Session) -> None:
    """One run, launched and captured."""
    session.child("one", 25, way="separate", seconds=1.2, cases=[[1, False, {}], [1, True, {}]])


def streams(session: Session) -> None:
    """Captured runs on several streams; without streams one after the other."""
    cases = [[20, True, {"streams": 8}], [5, True, {"streams": 5}], [20, True, {"streams": 20}]]
    cases += [[20, True, {"streams": 4}], [50, True, {"streams": 16}], [20, True, {}]]
    session.child("streams", 40, way="separate", seconds=1.0, cases=cases)


def products(session: Session) -> None:
    """Stacked as matrix products, captured."""
    session.child("products", 25, way="products", seconds=0.9, cases=[[n, True, {}] for n in (20, 5, 1, 50)])


def grouped(session: Session) -> None:
    """Stacked as grouped convolutions in channels_last layout, captured."""
    session.child("grouped", 25, way="grouped", seconds=0.9, cases=[[n, True, {}] for n in (20, 5, 50)])


def processes_at_once() -> int:
    """As many as cores, and 16 at most."""
    return min(16, os.cpu_count() or 1)


def processes(session: Session, environment: dict[str, str] | None = None, part: str = "processes") -> None:
    """One run a process, side by side; each measures while the others do."""
    number = processes_at_once()
    for graph in (False, True):
        session.together(
            part,
            number,
            30,
            environment or {},
            way="separate",
            seconds=2.0,
            cases=[[1, graph, {}]],
            named={"captured": graph and session.device == "cuda"},
        )


def mps(session: Session) -> None:
    """Not started where it is not installed; it changes no setting of the device."""
    control = shutil.which("nvidia-cuda-mps-control")
    if session.device != "cuda" or control is None:
        session.keep({"part": "mps", "error": "there is no nvidia-cuda-mps-control"})
        return
    with tempfile.TemporaryDirectory() as place:
        environment = {"CUDA_MPS_PIPE_DIRECTORY": place, "CUDA_MPS_LOG_DIRECTORY": place}
        everything = {**os.environ, **environment}
        try:
            subprocess.run([control, "-d"], env=everything, check=True, timeout=10)
            processes(session, environment, "mps")
        except (OSError, subprocess.SubprocessError) as error:
            session.keep({"part": "mps", "error": f"{type(error).__name__}: {error}"})
        finally:
            try:
                subprocess.run([control], input="quit\n", text=True, env=everything, check=False, timeout=10)
            except (OSError, subprocess.SubprocessError) as error:
                session.keep({"part": "mps", "error": f"quitting: {type(error).__name__}: {error}"})


def launched(session: Session) -> None:
    """The stacked ways without a graph."""
    for way in ("products", "grouped"):
        session.child("launched", 25, way=way, seconds=0.6, cases=[[20, False, {}]])


def product(session: Session) -> None:
    """`python train.py` itself."""
    from gpu_product import measure

    for found in measure(session.device, session.quick, processes_at_once(), lambda: session.left):
        session.keep({"part": "product", **found})


def profile(session: Session) -> None:
    """The kernels of a step of each way."""
    session.child("profile", 30, cases=[["separate", 1], ["products", 20], ["grouped", 20]])


def compiled(session: Session) -> None:
    """One run, captured, after torch.compile."""
    session.child("compiled", 60, way="separate", seconds=0.9, cases=[[1, True, {"compiled": True}]])


#: In the order of their worth: where time ends, the last ones are missing.
PARTS: dict[str, Callable[[Session], None]] = {
    part.__name__: part
    for part in (check, one, streams, grouped, products, processes, product, mps, launched, profile, compiled)
}


@contextmanager
def _written(session: Session, path: Path | None) -> Iterator[None]:
    """Writes what was found, whatever happens."""
    try:
        yield
    finally:
        text = json.dumps({"device": session.device, "found": session.found})
        print(text, flush=True)
        if path:
            path.write_text(text + "\n")


def main() -> None:
    """Measures, prints a line a measurement, and all of it as JSON in the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it work?")
    parser.add_argument("--only", default=",".join(PARTS), metavar="A,B", help="only these parts")
    parser.add_argument("--seconds", type=float, default=200, help="for all of it")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the JSON goes, too")
    parser.add_argument("--smoke", action="store_true", help="only: does the product work on this device?")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        _as_child(json.loads(arguments.task))
        return
    if arguments.smoke:
        from gpu_product import smoke

        raise SystemExit(smoke(arguments.device))
    if unknown := set(arguments.only.split(",")) - set(PARTS):
        parser.error(f"there is no part {min(unknown)}; there are {', '.join(PARTS)}")
    session = Session(arguments.device, arguments.quick, arguments.seconds)
    with _written(session, arguments.json):
        for name in arguments.only.split(","):
            if session.left < 5:
                print(f"          {name}: no time left", flush=True)
                continue
            try:
                PARTS[name](session)
            except Exception as error:
                session.keep({"part": name, "error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
