"""Label noise: each kind is one small dataclass, with its own settings as fields.

A kind that is written here under `@noise_kind` is known everywhere: `noise.kind=NAME` chooses it, its
fields are settings `noise.FIELD`, and they are part of what makes two runs the same run.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.errors import ConfigError, require

Labels = NDArray[np.int64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Training examples that a noise kind mislabels.

    Attributes:
        labels: (m,) their clean labels, in [0, K).
        indices: (m,) their positions in the data set.
        class_names: The K class names.
    """

    labels: Labels
    indices: Indices
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)


@dataclass(frozen=True)
class NoiseKind(ABC):
    """How the label of a touched example is chosen.

    A subclass adds its settings as fields with defaults and fixes `name`.
    """

    name: str

    @abstractmethod
    def apply(self, examples: Examples, rng: np.random.Generator) -> Labels:
        """Chooses the labels to give.

        Args:
            examples: The m touched examples.
            rng: The labels stream.

        Returns:
            (m,) given labels in [0, K).
        """

    def check(self, class_names: Sequence[str]) -> None:  # noqa: B027 - most kinds have nothing to check
        """Raises a ConfigError if the settings do not fit a data set with these classes."""

    def uninformative_share(self, frac: float, num_classes: int) -> float | None:
        """Share of the labels that say nothing of their image if a share `frac` is touched, or None.

        None where no label is without information: most wrong labels say something of the right one.
        """
        return None

    def identity(self) -> dict[str, Any]:
        """Its settings as JSON-able values, in the form in which they make two runs the same run.

        A setting at its default is left out; who changes a default raises `runs.record.SCHEMA`.
        """
        default = asdict(make_noise_kind(self.name, {}))
        return {key: value for key, value in asdict(self).items() if key != "name" and value != default[key]}


#: Every known kind of noise by its configuration name.
NOISE_KINDS: dict[str, type[NoiseKind]] = {}


def noise_kind(kind: type[NoiseKind]) -> type[NoiseKind]:
    """Enters a kind into `NOISE_KINDS` under its name.

    Raises:
        ValueError: The name is taken.
    """
    name = str(kind.__dataclass_fields__["name"].default)
    if name in NOISE_KINDS:
        raise ValueError(f"noise kind {name!r} is defined twice")
    NOISE_KINDS[name] = kind
    return kind


@noise_kind
@dataclass(frozen=True)
class Shuffle(NoiseKind):
    """Permutes the labels of the touched examples among themselves.

    About one in K keeps its label on balanced data, so the effective rate is below the nominal one,
    and class totals do not change. Source: J. Prendki and A. Devkar, "Can you lie to your model?",
    experiment 1.
    """

    name: str = "shuffle"

    def apply(self, examples: Examples, rng: np.random.Generator) -> Labels:
        return rng.permutation(examples.labels)

    def uninformative_share(self, frac: float, num_classes: int) -> float | None:
        return frac  # those that keep their label do so by chance


@noise_kind
@dataclass(frozen=True)
class Symmetric(NoiseKind):
    """Gives each touched example one of the other K - 1 classes, uniformly.

    The literature's "symmetric noise without self-flips": effective rate = nominal rate.
    """

    name: str = "symmetric"

    def apply(self, examples: Examples, rng: np.random.Generator) -> Labels:
        steps = rng.integers(1, examples.num_classes, size=len(examples.labels))
        return (examples.labels + steps) % examples.num_classes

    def uninformative_share(self, frac: float, num_classes: int) -> float | None:
        # A label drawn from all K classes is wrong (K - 1) times in K. Beyond that, what a label is not is information.
        share = frac * num_classes / (num_classes - 1)
        return share if share < 1 else None


@noise_kind
@dataclass(frozen=True)
class Pair(NoiseKind):
    """Turns each class into its partner.

    With no partner named, class c becomes c + 1 mod K: the pair flip of B. Han et al., "Co-teaching",
    NeurIPS 2018, section 4.

    Attributes:
        partner: Class name -> the class name that it becomes; a class that is not named becomes the next one.
    """

    name: str = "pair"
    partner: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(isinstance(self.partner, Mapping), "noise.partner", self.partner, "a mapping, {CLASS: CLASS}")
        # A class may be called 3, which YAML reads as a number.
        object.__setattr__(self, "partner", {str(name): str(other) for name, other in self.partner.items()})

    def check(self, class_names: Sequence[str]) -> None:
        for source, target in self.partner.items():
            class_index("noise.partner", source, class_names)
            class_index("noise.partner", target, class_names)
            if source == target:
                raise ConfigError(f"noise.partner turns {source} into itself: name another class.")

    def apply(self, examples: Examples, rng: np.random.Generator) -> Labels:
        names = examples.class_names
        becomes = (np.arange(len(names)) + 1) % len(names)
        for source, target in self.partner.items():
            becomes[names.index(source)] = names.index(target)
        given: Labels = becomes[examples.labels]
        return given


@dataclass(frozen=True)
class Noise:
    """Label noise: a share of the training labels is replaced.

    Attributes:
        kind: How wrong labels are chosen.
        frac: Share of the kept (and eligible) examples that is touched, in [0, 1].
        classes: Names of the classes that may be touched; empty means all.
    """

    kind: NoiseKind = field(default_factory=Shuffle)
    frac: float = 0.0
    classes: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raises a ConfigError if the share is out of bounds, or the classes are no list of names."""
        require(0 <= self.frac <= 1, "noise.frac", self.frac, "a share from 0 to 1")
        named = all(isinstance(name, str) for name in self.classes)
        require(named, "noise.classes", self.classes, "a list of class names")

    def check_classes(self, class_names: Sequence[str]) -> None:
        """Raises a ConfigError if a named class does not exist."""
        for name in self.classes:
            class_index("noise.classes", name, class_names)
        self.kind.check(class_names)


def noise_settings(kind: type[NoiseKind]) -> list[Field[Any]]:
    """The settings that a kind has beside those of all kinds."""
    return [own for own in fields(kind) if own.name != "name"]


def make_noise_kind(name: str, settings: Mapping[str, Any]) -> NoiseKind:
    """The kind of this name, with those of the settings that are its own.

    Raises:
        ConfigError: The name is not known.

    Examples:
        >>> make_noise_kind("pair", {"partner": {"cat": "dog"}})
        Pair(name='pair', partner={'cat': 'dog'})
    """
    require(name in NOISE_KINDS, "noise.kind", name, f"one of {', '.join(NOISE_KINDS)}")
    kind = NOISE_KINDS[name]
    own = {field.name for field in noise_settings(kind)}
    return kind(**{key: value for key, value in settings.items() if key in own})


def class_index(setting: str, name: str, class_names: Sequence[str]) -> int:
    """The number of a class that a setting names.

    Raises:
        ConfigError: There is no such class.

    Examples:
        >>> class_index("noise.classes", "dog", ("cat", "dog"))
        1
    """
    if name not in class_names:
        raise ConfigError(
            f"{setting}={name} is not a class of this data set: it must be one of {', '.join(class_names)}."
        )
    return list(class_names).index(name)


def touched_positions(labels: Labels, kept: Indices, frac: float, classes: Sequence[int] = ()) -> Indices:
    """Which examples are touched: the first `round(frac * m)` of the m eligible ones.

    Args:
        labels: (n,) clean labels of all positions.
        kept: (k,) positions left after reduction, in selection order.
        frac: Share of the eligible examples, in [0, 1].
        classes: Clean classes that may be touched; empty means all.

    Returns:
        Positions in selection order.

    Raises:
        ValueError: `frac` is outside [0, 1].

    Examples:
        >>> touched_positions(np.array([0, 1, 0, 1]), np.array([3, 2, 0]), frac=0.7)
        array([3, 2])
        >>> touched_positions(np.array([0, 1, 0, 1]), np.array([3, 2, 0]), frac=1.0, classes=[0])
        array([2, 0])
    """
    if not 0 <= frac <= 1:
        raise ValueError(f"frac must be in [0, 1], got {frac}")
    eligible = kept[np.isin(labels[kept], classes)] if len(classes) else kept
    return eligible[: round(frac * len(eligible))]
