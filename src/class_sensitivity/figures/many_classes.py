"""Figures of many classes show the most affected ones: beyond some number, rows and cells cannot be read or drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

#: Classes that a figure shows all of, at most.
MOST_CLASSES = 30

#: How many rows or columns it has where there are more.
_OF_MANY = 18


def foremost(order: Sequence[int] | NDArray[np.integer]) -> list[int]:
    """The first classes of an order, as many as a figure has rows for.

    Examples:
        >>> foremost(range(100, 0, -1))[:3], len(foremost(range(100)))
        ([100, 99, 98], 18)
    """
    return [int(c) for c in order[: shown_number(len(order))]]


def which_of(shown: int, num_classes: int, words: str) -> str:
    """A sentence for a caption that says which classes are shown, if not all are; empty else.

    Examples:
        >>> which_of(18, 100, "that fall most")
        ' Shown are the 18 of 100 classes that fall most.'
    """
    return f" Shown are the {shown} of {num_classes} classes {words}." if shown < num_classes else ""


def shown_number(num_classes: int) -> int:
    """How many of some classes a figure has rows for."""
    return num_classes if num_classes <= MOST_CLASSES else _OF_MANY


def say_left_out(axes: Axes, shown: int, num_classes: int) -> None:
    """Says beside the rows how many classes have one, if not all do."""
    if shown < num_classes:
        axes.set_ylabel(f"{shown} of {num_classes} classes")


@dataclass(frozen=True)
class ShownClasses:
    """The classes that matrices are drawn of; all that are left out are one more, called other.

    Attributes:
        kept: Which classes, rising.
        num_classes: K.

    Examples:
        >>> matrix = np.diag(np.arange(40))
        >>> shown = ShownClasses.of([matrix])
        >>> shown.names([str(c) for c in range(40)])[-2:], shown.matrix(matrix).shape
        (['39', '23 others'], (18, 18))
        >>> int(shown.matrix(matrix).sum()) == int(matrix.sum())
        True
    """

    kept: NDArray[np.int64]
    num_classes: int

    @classmethod
    def of(cls, matrices: Sequence[NDArray[Any]]) -> "ShownClasses":
        """The classes with most in the cells of their rows and columns.

        Args:
            matrices: (..., K, K) each; a cell counts by its size, whatever its sign.
        """
        num_classes = matrices[0].shape[-1]
        if num_classes <= MOST_CLASSES:
            return cls(np.arange(num_classes), num_classes)
        sizes = sum(np.abs(matrix).reshape(-1, num_classes, num_classes).mean(axis=0) for matrix in matrices)
        weight = np.asarray(sizes).sum(axis=0) + np.asarray(sizes).sum(axis=1)
        return cls(np.sort(np.argsort(-weight, kind="stable")[: _OF_MANY - 1]), num_classes)

    @property
    def _all(self) -> bool:
        return len(self.kept) == self.num_classes

    def names(self, class_names: Sequence[str]) -> list[str]:
        """The names of rows and columns."""
        others = [] if self._all else [f"{self.num_classes - len(self.kept)} others"]
        return [*(class_names[c] for c in self.kept), *others]

    def matrix(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """(..., K, K) to its shown classes; the cells of the others are added up."""
        if self._all:
            return matrix
        group = np.full(self.num_classes, len(self.kept))
        group[self.kept] = np.arange(len(self.kept))
        member = (group[:, np.newaxis] == np.arange(len(self.kept) + 1)).astype(matrix.dtype)
        return np.asarray(member.T @ matrix @ member)

    def cells(self, flags: NDArray[np.bool_], *, others: bool) -> NDArray[np.bool_]:
        """(K, K) to its shown classes; every cell of the others has one value."""
        if self._all:
            return flags
        shown = np.full((len(self.kept) + 1,) * 2, others)
        shown[:-1, :-1] = flags[np.ix_(self.kept, self.kept)]
        return shown
