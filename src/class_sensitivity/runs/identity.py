"""What makes two runs the same run, and the directory that follows from it.

The identity holds every setting that says what is computed, and nothing else: not where the data lies,
not where results go, not the machine. Device, threads and the precision that `auto` came to change the
result as another machine would; they are recorded, and bits are equal only where these are. The identity
is brought to one normal form, so that settings without effect (the kind of a noise that touches nothing)
do not make two runs out of one.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from class_sensitivity.runs.condition import Condition, digest, path_part
from class_sensitivity.seeding import STREAMS
from class_sensitivity.settings import ModelSettings, Recipe, TrainSettings

#: A part of every recipe's name. Raised only where no run that is there may count any more: then all runs are others.
#: Where the same identity gives another result in some runs, or a record has another layout, `runs.record.SCHEMA` is
#: raised instead, and who reads says which older records still count.
SCHEMA_VERSION = 3

#: Settings that came later, with the value that stands for what was done before: at this value the name of a recipe
#: leaves them out, so that the runs made before stay the runs that they are.
_AS_BEFORE = {"model": {"source": "", "digest": ""}, "training": {"optimizer": "sgd"}}


@dataclass(frozen=True)
class DataIdentity:
    """What a data set is, wherever it lies.

    Attributes:
        name: What it is called (`DataSettings.name`), which may differ from the name of its source.
        digest: Of its images, labels and class names (`data.sources.data_digest`).
        flip: Mirror half of the training images.
        crop_padding: Pixels of reflection padding to crop from.
    """

    name: str
    digest: str
    flip: bool
    crop_padding: int


@dataclass(frozen=True)
class ModelIdentity:
    """What a network is.

    Attributes:
        name: What it is called.
        options: The settings that it alone has.
        source: The file in `models/` that makes it, where that is not of its name.
        digest: Of the user's files that it is made of, a file of weights and code; empty where there are none
            (`models.model_digest`).
    """

    name: str
    options: Mapping[str, Any]
    source: str = ""
    digest: str = ""

    @classmethod
    def of(cls, settings: ModelSettings, digest: str = "") -> "ModelIdentity":
        """The network that settings ask for; where a file of weights lies does not count."""
        source = settings.source if settings.source != settings.name else None
        return cls(settings.name, settings.options, source or "", digest)


@dataclass(frozen=True)
class RunIdentity:
    """Equal for two runs if and only if they are the same run.

    Attributes:
        data: The data set.
        model: The network.
        training: The recipe.
        condition: The stress.
        seed: What every random stream is derived from.
        fixed_streams: The seeds of the streams that have one of their own and are drawn from.
    """

    data: DataIdentity
    model: ModelIdentity
    training: Recipe
    condition: Condition
    seed: int
    fixed_streams: Mapping[str, int]

    @classmethod
    def of(cls, settings: TrainSettings, data_digest: str, model_digest: str = "") -> "RunIdentity":
        """The identity of the run that settings ask for, on data and with a network that have these digests."""
        data, condition = settings.data, Condition.of(settings.stress)
        # Which networks draw from dropout is not known before they are built.
        idle = {name for name in STREAMS if not condition.draws_from(name)}
        idle |= set() if settings.training.validation_frac > 0 else {"validation"}
        idle |= set() if data.flip or data.crop_padding > 0 else {"augment"}
        chosen = asdict(settings.streams)
        return cls(
            data=DataIdentity(data.name, data_digest, data.flip, data.crop_padding),
            model=ModelIdentity.of(settings.model, model_digest),
            training=settings.training.recipe,
            condition=condition,
            seed=settings.seed,
            # A fixed stream that is not drawn from changes nothing.
            fixed_streams={
                name: chosen[name]
                for name in STREAMS
                if name not in idle and chosen[name] is not None and chosen[name] != settings.seed
            },
        )

    @property
    def streams(self) -> dict[str, int]:
        """The seed of every stream."""
        return {name: self.fixed_streams.get(name, self.seed) for name in STREAMS}

    @property
    def family(self) -> str:
        """`recipe_name` without the number of epochs: equal for runs that differ in how long they trained, at most."""
        return replace(self, training=replace(self.training, epochs=0)).recipe_name

    @property
    def recipe_name(self) -> str:
        """`data-model-digest` of all that does not change within a study; runs of two recipes never mix."""
        recipe: dict[str, Any] = {"schema": SCHEMA_VERSION}
        for part in ("data", "model", "training"):
            before = _AS_BEFORE.get(part, {})
            recipe[part] = {
                name: value
                for name, value in asdict(getattr(self, part)).items()
                if name not in before or value != before[name]
            }
        return path_part(f"{self.data.name}-{self.model.name}-{digest(recipe)}")

    @property
    def seed_name(self) -> str:
        """The chance of a run, such as `seed-3` or `seed-3_init-0`."""
        return path_part("_".join([f"seed-{self.seed}", *(f"{name}-{s}" for name, s in self.fixed_streams.items())]))

    @property
    def path(self) -> Path:
        """Where the run lives below the directory of all runs: recipe / condition / seed."""
        return Path(self.recipe_name, self.condition.name, self.seed_name)

    @property
    def title(self) -> str:
        """What the run is, in a few words, for a line on the terminal."""
        streams = "".join(f", {name} {seed}" for name, seed in self.fixed_streams.items())
        return f"{self.condition.title} seed {self.seed}{streams}"

    def _settings(self) -> dict[str, Any]:
        """What two recipes of the same names can differ in; of files and code a short digest."""
        data, model = self.data, self.model
        own = {"content": data.digest[:8], "flip": data.flip, "crop_padding": data.crop_padding, **model.options}
        return {**own, "source": model.source, "code": model.digest[:8], **asdict(self.training)}


def distinctions(identities: Sequence[RunIdentity]) -> list[str]:
    """What sets the recipe of each run apart from others with the same data set and model, such as `lr 0.02`.

    Empty where nothing does.
    """
    alike: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for identity in identities:
        alike[identity.data.name, identity.model.name].append(identity._settings())
    differing = {names: _differing(settings) for names, settings in alike.items()}
    words = []
    for identity in identities:
        chosen = differing[identity.data.name, identity.model.name]
        mine = {name: value for name, value in identity._settings().items() if name in chosen}
        words.append(", ".join(f"{name.replace('_', ' ')} {_in_words(value)}" for name, value in mine.items()))
    return words


def _differing(runs: Sequence[Mapping[str, Any]]) -> set[str]:
    """The settings in which not all runs are the same, so that each has one from which it differs."""
    first = runs[0]
    return {name for each in runs for name in {*first, *each} if each.get(name) != first.get(name)}


def _in_words(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
