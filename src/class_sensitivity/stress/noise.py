"""Label noise: each kind is one function under its name in `NOISE_KINDS`."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]

#: (clean labels of the touched records (m,), partner of each class (K,), generator) -> given labels (m,).
NoiseKind = Callable[[Labels, Labels, np.random.Generator], Labels]

#: Every known kind of noise by its configuration name.
NOISE_KINDS: dict[str, NoiseKind] = {}


def noise_kind(name: str) -> Callable[[NoiseKind], NoiseKind]:
    """Enters a function into `NOISE_KINDS`.

    Raises:
        ValueError: The name is taken.
    """

    def enter(function: NoiseKind) -> NoiseKind:
        if name in NOISE_KINDS:
            raise ValueError(f"noise kind {name!r} is defined twice")
        NOISE_KINDS[name] = function
        return function

    return enter


@noise_kind("shuffle")
def shuffle(clean: Labels, partner: Labels, rng: np.random.Generator) -> Labels:
    """Permutes the labels of the touched records among themselves.

    About one in K keeps its label on balanced data, so the effective rate is below the nominal one,
    and class totals do not change. Source: J. Prendki and A. Devkar, "Can you lie to your model?",
    experiment 1.
    """
    return rng.permutation(clean)


@noise_kind("symmetric")
def symmetric(clean: Labels, partner: Labels, rng: np.random.Generator) -> Labels:
    """Gives each touched record one of the other K - 1 classes, uniformly.

    The literature's "symmetric noise without self-flips": effective rate = nominal rate.
    """
    num_classes = len(partner)
    return (clean + rng.integers(1, num_classes, size=len(clean))) % num_classes


@noise_kind("pair")
def pair(clean: Labels, partner: Labels, rng: np.random.Generator) -> Labels:
    """Turns class c into its partner.

    With the default partner c + 1 mod K this is the pair flip of B. Han et al., "Co-teaching",
    NeurIPS 2018, section 4.
    """
    return partner[clean]


def touched_positions(
    labels: Labels, kept: NDArray[np.int64], frac: float, classes: Sequence[int] = ()
) -> NDArray[np.int64]:
    """Which records are lied about: the first `round(frac * m)` of the m eligible ones.

    Args:
        labels: (n,) clean labels of the whole training set.
        kept: (k,) positions left after reduction, in selection order.
        frac: Share of the eligible records, in [0, 1].
        classes: Clean classes that may be touched; empty means all.

    Returns:
        Positions in selection order.

    Raises:
        ValueError: `frac` is outside [0, 1].
    """
    if not 0 <= frac <= 1:
        raise ValueError(f"frac must be in [0, 1], got {frac}")
    eligible = kept[np.isin(labels[kept], classes)] if len(classes) else kept
    return eligible[: round(frac * len(eligible))]


def apply_noise(
    labels: Labels,
    touched: NDArray[np.int64],
    kind: str,
    num_classes: int,
    rng: np.random.Generator,
    partner: Sequence[int] | None = None,
) -> Labels:
    """The labels after the touched records were lied about, each at most once.

    Args:
        labels: (n,) clean labels; not changed.
        touched: (m,) distinct positions.
        kind: A key of `NOISE_KINDS`.
        num_classes: K.
        rng: The labels stream.
        partner: (K,) the class that `pair` turns each class into; default c + 1 mod K.

    Returns:
        (n,) given labels.

    Raises:
        KeyError: The kind is not known.
    """
    if partner is None:
        partner = [(c + 1) % num_classes for c in range(num_classes)]
    given = labels.copy()
    given[touched] = NOISE_KINDS[kind](labels[touched], np.asarray(partner, np.int64), rng)
    return given
