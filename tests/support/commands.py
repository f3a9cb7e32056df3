"""`train.py` and `analyze.py` as a user would type them, in a bare environment."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

#: A run that takes a moment.
SMALL = ("data=digits", "training.epochs=1", "training.batch_size=128", "training.threads=1")


#: In what `python -X importtime` prints.
IMPORTS_TORCH = re.compile(r"^import time:.*\| +torch$", re.MULTILINE)


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    rc: int
    stdout: str
    stderr: str
    runs: Path

    def results(self) -> list[Path]:
        """Every result.json under the directory of runs."""
        return sorted(self.runs.rglob("result.json"))


def bare_environment() -> dict[str, str]:
    """Nothing of the caller's that could decide what happens, such as a data directory or Hydra's switches.

    The package is the one beside these tests, wherever another one is installed from.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT / "src")}


def start_script(
    script: str,
    *arguments: str,
    python: tuple[str, ...] = (),
    cwd: Path = ROOT,
    start_new_session: bool = False,
    **environment: str,
) -> subprocess.Popen[str]:
    """Starts a script of the repository and does not wait.

    Args:
        script: `train.py` or `analyze.py`.
        arguments: The words after it.
        python: Options of the interpreter.
        cwd: Where it is started.
        start_new_session: As if it had a terminal of its own: a signal can be sent to all that it starts.
        environment: Variables beside PATH and HOME.
    """
    return subprocess.Popen(
        [sys.executable, *python, str(ROOT / script), *arguments],
        cwd=cwd,
        env=bare_environment() | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=start_new_session,
        # A shell that starts tests in the background lets its children ignore Ctrl+C.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL) if os.name == "posix" else None,
    )


def analyze(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """`python analyze.py ...`, until it has ended; options as of `start_script`."""
    process = start_script("analyze.py", *arguments, **options)
    stdout, stderr = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _runs_word(runs: Path, arguments: tuple[str, ...]) -> list[str]:
    """Where the runs go, unless a test says it."""
    return [] if any(word.startswith("runs=") for word in arguments) else [f"runs={runs}"]


def _start_word(arguments: tuple[str, ...]) -> list[str]:
    """Has the workers of a sweep forked from its process, which has imported everything."""
    sweeps = "-m" in arguments and not any(word.startswith("hydra/launcher=") for word in arguments)
    return ["hydra.launcher.start_method=fork"] if sweeps else []


class Command:
    """`python train.py ...`.

    Args:
        runs: Where the runs go, unless a test says `runs=` itself.
    """

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Starts it and does not wait; options as of `start_script`."""
        self.started.append(start_script("train.py", *arguments, *_runs_word(self.runs, arguments), **options))
        return self.started[-1]

    def finish(self, process: subprocess.Popen[str]) -> Finished:
        """Waits for it."""
        stdout, stderr = process.communicate(timeout=600)
        return Finished(process.returncode, stdout, stderr, self.runs)

    def __call__(self, *arguments: str, **options: Any) -> Finished:
        return self.finish(self.start(*arguments, **options))


class ForkServer:
    """Starts commands through `fork_server.py`, which has imported what takes a new process most of its seconds."""

    def __init__(self) -> None:
        self.environment = bare_environment()
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "support" / "fork_server.py")],
            # As the commands set it, which is too late in a process that has loaded PyTorch.
            env=self.environment | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.unfinished: set[int] = set()

    def ask(self, **request: Any) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        for pid in self.unfinished:
            os.kill(pid, signal.SIGKILL)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


class ForkedCommand:
    """`python train.py ...` in a process that the server forks, which can be killed at any file operation.

    `analyze` is `python analyze.py ...`, likewise.

    Args:
        server: The server.
        runs: Where the runs go.
        scratch: Where its output goes.
    """

    def __init__(self, server: ForkServer, runs: Path, scratch: Path) -> None:
        self.server, self.runs, self.scratch = server, runs, scratch
        self.log = scratch / "log"
        self.log.touch()
        self.outputs: dict[int, Path] = {}

    def start(
        self, *arguments: str, script: str = "train.py", cwd: Path = ROOT, die_at: int = 0, **environment: str
    ) -> int:
        """Starts it and does not wait; returns its process."""
        output = self.scratch / f"output-{len(self.outputs)}"
        pid = self.server.ask(
            script=script,
            cwd=str(cwd),
            arguments=[*arguments, *_runs_word(self.runs, arguments), *_start_word(arguments)],
            stdout=f"{output}.out",
            stderr=f"{output}.err",
            environment=self.server.environment | environment,
            folder=str(self.runs),
            die_at=die_at,
            log=str(self.log),
        )
        self.server.unfinished.add(pid)
        self.outputs[pid] = output
        return pid

    def finish(self, pid: int) -> Finished:
        """Waits for it."""
        rc = self.server.ask(wait=pid)
        self.server.unfinished.discard(pid)
        stdout, stderr = (Path(f"{self.outputs[pid]}.{end}").read_text("utf-8") for end in ("out", "err"))
        return Finished(rc, stdout, stderr, self.runs)

    def __call__(self, *arguments: str, **options: Any) -> Finished:
        return self.finish(self.start(*arguments, **options))

    def analyze(self, *arguments: str, **options: Any) -> Finished:
        """`python analyze.py ...`."""
        return self.finish(self.start(*arguments, script="analyze.py", **options))

    def done(self) -> Counter[str]:
        """How often each run was completed, by its directory below that of the runs."""
        words = [line.split(maxsplit=1) for line in self.log.read_text().splitlines()]
        return Counter(str(Path(path).relative_to(self.runs)) for pid, path in words if pid != "operations")


def assert_one_sentence(done: Finished, *words: str) -> None:
    """One line on standard error that holds the words, no traceback, and nothing that counts as a result."""
    assert done.rc not in (0, None)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert not lines[0].endswith("..")
    assert "Traceback" not in done.stdout + done.stderr
    for word in words:
        assert word in lines[0], lines[0]
    assert done.results() == []
