"""Kinds of noise that are drawn from the clean labels alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from class_sensitivity.errors import ConfigError, require
from class_sensitivity.stress.noise.kind import Examples, Labels, NoiseKind, class_index, noise_kind


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
        return frac if frac < 1 else None  # those that keep their label do so by chance


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
