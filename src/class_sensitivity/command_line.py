"""What both commands share: the order of their words, what the surroundings may not decide, and how an error ends them.

A mistake ends in one sentence and a non-zero exit, not in a traceback.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from class_sensitivity.config import explain
from class_sensitivity.errors import ConfigError, UserError
from class_sensitivity.settings import TrainSettings

#: What the user asked for; read before this module sets the variable for Hydra.
FULL_ERRORS = os.environ.get("HYDRA_FULL_ERROR") == "1"

#: Narrower lines cannot be read.
_FEWEST_COLUMNS = 20


def complain(sentence: str) -> None:
    """Prints a sentence to standard error."""
    print(f"error: {sentence}", file=sys.stderr, flush=True)


@contextmanager
def one_sentence_errors(settings: type = TrainSettings) -> Iterator[None]:
    """Turns what a user can cause into one sentence on standard error and exit status 1.

    Goes around the whole command. With HYDRA_FULL_ERROR=1 in the environment the traceback is shown
    instead. Defects keep their traceback in either case.
    """
    # No window is ever opened, and a notebook's kernel exports a backend that may not be installed here. Set before
    # anything imports matplotlib, and inherited by the processes of a launcher.
    os.environ["MPLBACKEND"] = "agg"
    # Some terminals say 0 columns, and show nothing then.
    if not os.environ.get("COLUMNS", "80").isdigit() or int(os.environ.get("COLUMNS", "80")) < _FEWEST_COLUMNS:
        del os.environ["COLUMNS"]
    # Threads that wait for each other sleep. Spinning, they take the time of those that they wait for as soon as
    # something else is running: a step with two threads then takes ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for stream in (sys.stdout, sys.stderr):
        # A class may be called é where the terminal knows ASCII alone: an escape is better than a lost report.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.argv[1:] = _options_first(sys.argv[1:])
    _refuse_no_directory()
    if FULL_ERRORS:
        yield
        return
    # Makes Hydra hand errors on instead of printing them in its own way and exiting.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except UserError as error:
        complain(str(error))
        sys.exit(1)
    except (HydraException, OmegaConfBaseException) as error:
        complain(explain(error, settings))
        sys.exit(1)
    except ValueError as error:
        # The two mistakes that Hydra reports as a plain ValueError: model=null, and -m with --cfg.
        if str(error).startswith("Config group override"):
            complain(f"A config group cannot be null: {error}")
        elif str(error).startswith("Only one of --run"):
            complain("-m, --cfg and --info do not go together: leave -m out to see the settings.")
        else:
            raise
        sys.exit(1)
    except KeyboardInterrupt:
        complain("Interrupted; the same command goes on with what is not complete.")
        sys.exit(130)
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


def _refuse_no_directory() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        complain("The current directory does not exist any more; go to another one and give the command there.")
        sys.exit(1)


def _options_first(words: list[str]) -> list[str]:
    """The words of a command with the settings last: argparse lets no option stand between them.

    A word that is no option is refused in a sentence; whoever writes --seed 1 knows other programs.
    """
    known, others = get_args_parser().parse_known_args(words)
    if unknown := [word for word in others if word.startswith("-")]:
        name = unknown[0].lstrip("-").partition("=")[0]
        complain(f"There is no option {unknown[0]}: a setting is written without dashes, as in {name}=VALUE.")
        sys.exit(2)
    settings = [*known.overrides, *others]
    return [*(word for word in words if word not in settings), *settings]


def refuse_experiment_without_sweep() -> None:
    """A file of conf/experiment/ brings a grid, which a single run would leave out without a word.

    Raises:
        ConfigError: An experiment was asked for without -m.
    """
    experiment = HydraConfig.get().runtime.choices.get("experiment")
    if experiment and not in_sweep():
        command = f"python train.py -m experiment={experiment}"
        raise ConfigError(f"experiment={experiment} is a sweep: add -m, as in {command}.")


def in_sweep() -> bool:
    """Whether this is a run of a multirun."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


@contextmanager
def one_sentence_run() -> Iterator[None]:
    """Goes around the body of a command: a single run ends here, before Hydra adds its own words.

    In a sweep the error is left to the sweeper, which reports it and goes on with the other runs.
    """
    hydra = HydraConfig.get()
    if hydra.job.chdir:
        # Every path of a setting, and every module of the user's, is found from where the command was given.
        os.chdir(hydra.runtime.cwd)
    try:
        yield
    except UserError as error:
        if FULL_ERRORS or in_sweep():
            raise
        complain(str(error))
        sys.exit(1)
