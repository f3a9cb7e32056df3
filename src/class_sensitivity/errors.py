"""What a user can get wrong, as exceptions whose message is the sentence the user reads.

    UserError
    |-- ConfigError     a setting is unknown, out of range, or does not fit the data set
    |-- DataError       the data set is missing, damaged or cannot be downloaded
    |-- RunError        a run directory cannot be written, read or trusted
    |   `-- BusyError   another process is doing this run
    |-- ReportError     there is nothing to report on, or nowhere to put it
    |-- TrainingError   training started and cannot give a result (the loss is not finite)
    `-- SweepError      some runs of a sweep failed; each was reported when it did

Every message names the value, what is allowed, and what to do. Anything else that is raised is a
defect of this package and keeps its traceback.
"""


class UserError(Exception):
    """Base of everything a user can cause and mend."""


class ConfigError(UserError):
    """A setting is unknown, out of range, or does not fit the data set."""


class DataError(UserError):
    """The data set is missing, damaged or cannot be downloaded."""


class RunError(UserError):
    """A run directory cannot be written, read or trusted."""


class BusyError(RunError):
    """Another process is doing this run."""


class ReportError(UserError):
    """There is nothing to report on, or nowhere to put it."""


class TrainingError(UserError):
    """Training started and cannot give a result."""


class SweepError(UserError):
    """Some runs of a sweep failed."""


def require(allowed: bool, setting: str, value: object, expected: str) -> None:
    """Refuses a setting that is out of bounds.

    Args:
        allowed: Whether the value is allowed.
        setting: Its name as on the command line.
        value: What was given.
        expected: What is allowed, to follow "it must be".

    Raises:
        ConfigError: It is not allowed.
    """
    if not allowed:
        raise ConfigError(f"{setting}={value} is not allowed: it must be {expected}.")
