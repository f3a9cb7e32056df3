"""What the baseline confuses, for the noise that is made of it."""

from dataclasses import replace
from pathlib import Path

from class_sensitivity.errors import ConfigError
from class_sensitivity.runs.condition import BASELINE
from class_sensitivity.runs.directory import completed_record
from class_sensitivity.runs.identity import RunIdentity
from class_sensitivity.runs.record import RunRecord
from class_sensitivity.settings import TrainSettings
from class_sensitivity.stress import Noise
from class_sensitivity.stress.noise.confusable import Confusable


def with_baseline(settings: TrainSettings, data_digest: str, model_digest: str = "") -> TrainSettings:
    """The settings, in which noise of the kind `confusable` has the confusion counts that it is made of.

    Args:
        settings: What is asked for.
        data_digest: Of its data set.
        model_digest: Of its network.

    Raises:
        ConfigError: There is no finished baseline where `noise.study` says, or not of every seed that is named.
        RunError: The record of one is damaged.
    """
    kind, study = settings.noise.kind, study_of(settings)
    if study is None:
        return settings
    assert isinstance(kind, Confusable)
    clean = RunIdentity.of(replace(settings, noise=Noise()), data_digest, model_digest)
    records = _baselines(study, clean)
    if kind.study_seeds:
        # One run a seed: those that also hold a stream may come at any time, as further seeds may.
        named = [(record, record.identity.seed, record.identity.fixed_streams) for record in records]
        records = [record for record, seed, held in named if seed in kind.study_seeds and not held]
    absent = set(kind.study_seeds) - {record.identity.seed for record in records}
    if absent or not records:
        data, model = settings.data.source or clean.data.name, settings.model.source or clean.model.name
        seeds = ",".join(map(str, sorted(absent))) or "1,2,3,4,5"
        raise ConfigError(
            f"noise.study={kind.study} holds no finished baseline of {clean.data.name} with {clean.model.name} and "
            f"this recipe{' for every seed of noise.study_seeds' * bool(absent)}: make it with python train.py -m "
            f"data={data} model={model} seed={seeds} runs={kind.study}, and what else this command says of data, "
            "model and training."
        )
    confusion = sum(record.counts for record in records)
    assert not isinstance(confusion, int)
    return replace(settings, noise=replace(settings.noise, kind=replace(kind, confusion=confusion.tolist())))


def study_of(settings: TrainSettings) -> Path | None:
    """The directory with the baselines that noise of the kind `confusable` is made of; None for all other noise."""
    kind = settings.noise.kind
    if settings.noise.frac == 0 or not isinstance(kind, Confusable) or kind.study is None:
        return None
    return Path(kind.study).expanduser().resolve()


def _baselines(study: Path, clean: RunIdentity) -> list[RunRecord]:
    """The finished baselines on the same data, in a directory of one recipe, or of this recipe in one of runs."""
    recipe = study if (study / BASELINE.name).is_dir() else study / clean.recipe_name
    records = [completed_record(directory) for directory in sorted((recipe / BASELINE.name).glob("seed-*"))]
    same = (clean.data.name, clean.data.digest)
    return [each for each in records if each and (each.identity.data.name, each.identity.data.digest) == same]
