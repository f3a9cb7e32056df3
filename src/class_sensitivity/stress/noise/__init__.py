"""Label noise: which examples are touched, and by which kind of noise.

A kind is one small dataclass in a file of this folder, with its own settings as fields. What is written there under
`@noise_kind` is known everywhere: `noise.kind=NAME` chooses it, its fields are settings `noise.FIELD`, and they are
part of what makes two runs the same run.
"""

import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module

import numpy as np

from class_sensitivity.errors import require
from class_sensitivity.stress.noise.kind import (
    NOISE_KINDS,
    Examples,
    Indices,
    Labels,
    NoiseKind,
    class_index,
    make_noise_kind,
    noise_kind,
    noise_settings,
)
from class_sensitivity.stress.noise.synthetic import Pair, Shuffle, Symmetric

__all__ = [
    "NOISE_KINDS",
    "Examples",
    "Noise",
    "NoiseKind",
    "Pair",
    "Shuffle",
    "Symmetric",
    "make_noise_kind",
    "noise_kind",
    "noise_settings",
    "touched_positions",
]

for _file in pkgutil.iter_modules(__path__, f"{__name__}."):
    import_module(_file.name)  # its kinds enter themselves


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
        """Raises a ConfigError if the share is out of bounds, the classes are no list of names, or the kind lacks a
        setting; what a kind of a noise of 0 lacks does not matter.
        """
        require(0 <= self.frac <= 1, "noise.frac", self.frac, "a share from 0 to 1")
        named = all(isinstance(name, str) for name in self.classes)
        require(named, "noise.classes", self.classes, "a list of class names")
        if self.frac > 0:
            self.kind.check_settings()

    def check_classes(self, class_names: Sequence[str]) -> None:
        """Raises a ConfigError if a named class does not exist, or the kind does not fit these classes."""
        for name in self.classes:
            class_index("noise.classes", name, class_names)
        if self.frac > 0 or not self.kind.given():  # no file is read for a noise of 0
            self.kind.check(class_names)


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
