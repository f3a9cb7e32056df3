"""Noise by a matrix from a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.errors import ConfigError
from class_sensitivity.stress.noise.counts import deal, exact_counts
from class_sensitivity.stress.noise.files import digest_of, read_array, require_file
from class_sensitivity.stress.noise.kind import Examples, Labels, NoiseKind, noise_kind

#: By how much a row may miss 1: more than the digits of a float, less than a mistake.
_TOLERANCE = 1e-6


@noise_kind
@dataclass(frozen=True)
class Matrix(NoiseKind):
    """Gives the touched examples labels by a noise matrix T, T[i, j] = P(given j | clean i).

    Of the m_i touched examples of class i exactly m_i T[i, j], rounded by largest remainder, get label j; which ones is
    drawn. The matrix holds the whole rate, its diagonal the share that stays right: `noise.frac=1` applies it to
    all examples, a smaller share to a part of them. The class-dependent noise of G. Patrini and others, "Making deep
    neural networks robust to label noise", CVPR 2017, section 2, with counts that are exact where theirs are expected.

    Attributes:
        matrix: A .csv file, with or without a header of class names, or a .npy file: (K, K), a row for each clean
            class, a column for each given one, in the order of the data set's classes.
    """

    name: str = "matrix"
    matrix: str | None = None

    def check_settings(self) -> None:
        require_file(self.name, "noise.matrix", self.matrix, (".csv", ".npy"))

    def check(self, class_names: Sequence[str]) -> None:
        if self.matrix is None:
            return
        header, shares = self._read()
        number = len(class_names)
        if len(shares) != number:
            raise ConfigError(
                f"noise.matrix={self.matrix} is {len(shares)} x {len(shares)}, and this data set has {number} classes: "
                f"it must be {number} x {number}, in the order {', '.join(class_names)}."
            )
        if header and header != tuple(class_names):
            raise ConfigError(
                f"noise.matrix={self.matrix} is about the classes {', '.join(header)}: rows and columns must be those "
                f"of this data set, in its order: {', '.join(class_names)}."
            )

    def apply(self, examples: Examples, rng: np.random.Generator) -> Labels:
        _, shares = self._read()
        shares /= shares.sum(axis=1, keepdims=True)
        labels = examples.labels
        return deal(labels, exact_counts(np.bincount(labels, minlength=examples.num_classes), shares), rng)

    def identity(self) -> dict[str, Any]:
        if self.matrix is None:
            return {}
        _, shares = self._read()
        return {"matrix": digest_of(shares.astype("<f8"))}

    def given(self) -> dict[str, Any]:
        return {} if self.matrix is None else {"matrix": self.matrix}

    def _read(self) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """The header, if there is one, and the (K, K) matrix."""
        assert self.matrix is not None
        header, shares = read_array("noise.matrix", self.matrix)
        refusal = f"noise.matrix={self.matrix} is not allowed"
        if shares.ndim != 2 or shares.shape[0] != shares.shape[1]:
            shape = " x ".join(map(str, shares.shape))
            raise ConfigError(f"{refusal}: it is {shape}, and must have a row and a column for each class.")
        shares = shares.astype(np.float64) + 0.0  # no -0.0, so that equal matrices have equal bytes
        wrong = ~(shares >= 0)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ConfigError(
                f"{refusal}: row {row + 1}, column {column + 1} is {shares[row, column]:g}, and shares are 0 or more."
            )
        sums = shares.sum(axis=1)
        if (off := ~(np.abs(sums - 1) <= _TOLERANCE)).any():
            row = int(np.argmax(off))
            raise ConfigError(
                f"{refusal}: row {row + 1} sums to {sums[row]:.6g}, and must sum to 1; divide it by its sum."
            )
        return header, shares
