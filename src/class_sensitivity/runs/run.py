"""One run: what was asked for, what it is, and where it belongs; made once, at the door."""

from dataclasses import dataclass, replace
from pathlib import Path

from class_sensitivity.data.sources import class_names, data_digest
from class_sensitivity.models import model_digest
from class_sensitivity.runs.baseline import with_baseline
from class_sensitivity.runs.identity import RunIdentity
from class_sensitivity.settings import TrainSettings
from class_sensitivity.stress import make_noise_kind


@dataclass(frozen=True)
class Run:
    """A run that can be looked at, skipped, or done.

    Attributes:
        settings: What was asked for.
        identity: What makes it this run.
        directory: Its run directory.
    """

    settings: TrainSettings
    identity: RunIdentity
    directory: Path

    @classmethod
    def of(cls, settings: TrainSettings) -> "Run":
        """The run that settings ask for.

        Raises:
            UserError: The data set is not known, or files must be read for a digest and cannot be; or a setting names a
                class that the data set does not have, where its classes are known already; or the baselines that a
                noise is made of are not there.
        """
        noise = settings.noise
        may_name_classes = bool(noise.classes) or noise.kind != make_noise_kind(noise.kind.name, {})
        if may_name_classes and (names := class_names(settings.data)) is not None:
            noise.check_classes(names)
            if set(noise.classes) == set(names):  # all of them are no choice
                settings = replace(settings, noise=replace(noise, classes=[]))
        digests = data_digest(settings.data), model_digest(settings.model)
        settings = with_baseline(settings, *digests)
        identity = RunIdentity.of(settings, *digests)
        return cls(settings, identity, Path(settings.runs).expanduser() / identity.path)
