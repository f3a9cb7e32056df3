"""What a kind of noise is, and the list of all of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import Field, asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.errors import ConfigError, require

#: Metadata of a field that is filled in later, and not from the command line.
NOT_A_SETTING = {"not_a_setting": True}

Labels = NDArray[np.int64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Training examples that a noise kind mislabels, and the data set that they are of.

    Attributes:
        indices: (m,) their positions in the data set.
        train_labels: (N,) the clean labels of all its training examples, in [0, K).
        class_names: The K class names.
        images: (N, H, W, C) uint8, all its training images; None where no kind looks at them.
    """

    indices: Indices
    train_labels: Labels
    class_names: tuple[str, ...]
    images: NDArray[np.uint8] | None = None

    @property
    def labels(self) -> Labels:
        """(m,) the clean labels of the examples."""
        return self.train_labels[self.indices]

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

        Raises:
            ConfigError: A file that a setting names does not fit the data set.
        """

    def check_settings(self) -> None:  # noqa: B027 - most kinds have nothing to check
        """Raises a ConfigError if a setting that it cannot do without is missing, or not allowed; reads no file."""

    def check(self, class_names: Sequence[str]) -> None:  # noqa: B027 - most kinds have nothing to check
        """Raises a ConfigError if the settings do not fit a data set with these classes."""

    def uninformative_share(self, frac: float, num_classes: int) -> float | None:
        """Share of the labels that say nothing of their image if a share `frac` is touched, or None.

        Below 1; None where no label is without information (most wrong labels say something of the right one), or none
        with it.
        """
        return None

    def identity(self) -> dict[str, Any]:
        """Its settings as JSON-able values, in the form in which they make two runs the same run.

        A setting at its default is left out; who changes a default raises `runs.record.SCHEMA`. What a file holds
        counts as a digest, and not where it lies.

        Raises:
            ConfigError: A file cannot be read.
        """
        default = asdict(make_noise_kind(self.name, {}))
        return {key: value for key, value in asdict(self).items() if key != "name" and value != default[key]}

    def given(self) -> dict[str, Any]:
        """The settings that name files, as they were given: what `identity` holds a digest of."""
        return {}


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


def noise_settings(kind: type[NoiseKind]) -> list[Field[Any]]:
    """The settings that a kind has beside those of all kinds: its fields but those with `NOT_A_SETTING`."""
    return [own for own in fields(kind) if own.name != "name" and not own.metadata.get("not_a_setting")]


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
