"""Runs `train.py` and `analyze.py` in processes forked from one that has imported everything: it takes a second.

What runs is the real command line: the script as `__main__`, with arguments, environment, directory and output of its
own. Started as `python fork_server.py`, it reads a JSON object a line and answers with one.
"""

import atexit
import gc
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]


def watch(folder: str, die_at: int, log: str) -> None:
    """Follows what this process does to the files in a folder.

    Args:
        folder: The folder.
        die_at: Kill this process without warning just before it opens, renames, makes or removes a file for the
            n-th time; 0 never.
        log: File that gets a line with the process for every result that is put in its place, and at the end
            the number of operations.
    """
    count = 0

    def write(line: str) -> None:
        with open(log, "a") as stream:
            stream.write(line + "\n")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in ("open", "os.rename", "os.mkdir", "os.remove", "os.link", "os.rmdir"):
            return
        if any(isinstance(word, str | os.PathLike) and str(word).startswith(folder) for word in arguments[:2]):
            count += 1
            if count == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if event == "os.rename" and str(arguments[1]).endswith("result.json"):
                write(f"{os.getpid()} {Path(arguments[1]).parent}")

    sys.addaudithook(hook)
    atexit.register(lambda: write(f"operations {count}"))


def become(request: dict[str, Any]) -> NoReturn:
    """Turns this process into the command."""
    import runpy

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in enumerate(("/dev/null", request["stdout"], request["stderr"])):
        stream = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    script = str(ROOT / request["script"])
    sys.argv = [script, *request["arguments"]]
    watch(request["folder"], request["die_at"], request["log"])
    code: str | int | None = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    # Python's own end would take all that was imported apart, for seconds; this is the part of it that can be seen.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else code is not None)


def serve() -> None:
    """Answers until its input ends."""
    import matplotlib.backends.backend_agg  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401
    from hydra.core.plugins import Plugins

    import class_sensitivity.report.build
    import class_sensitivity.training.run  # noqa: F401
    from class_sensitivity.data.sources import load_arrays
    from class_sensitivity.settings import DataSettings

    Plugins()  # Hydra looks through everything that is installed, for seconds
    load_arrays(DataSettings("digits", None, download=False, flip=False, crop_padding=0))
    os.chdir(ROOT)
    # Looking through all that was imported would copy its pages, in every process that is forked.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                become(request)
        print(answer, flush=True)
    os._exit(0)  # as in `become`


if __name__ == "__main__":
    serve()
