"""Studies of classes that look alike to a known degree: networks and test images are drawn from a population."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from class_sensitivity.analysis.study import Study
from class_sensitivity.runs.condition import BASELINE, Condition

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """All networks and all images; a network takes an image for the class that its sum of chances is largest for.

    Attributes:
        shares: (K, K) about which shares of each class are taken for each class.
        image: Standard deviation of what an image adds to each class, for every network.
        seed: Of what a network adds to each pair (true, predicted).
        taste: Of what a network adds to each class for a single image.
        root: Of the draws that the true shares are counted from.
    """

    shares: Floats
    image: float = 1.5
    seed: float = 0.15
    taste: float = 0.5
    root: int = field(default=0, kw_only=True)

    @classmethod
    def random(cls, rng: np.random.Generator, num_classes: int, *, accuracy: float = 0.8, spread: float = 1.2):
        """Pairs that look alike to different degrees: `spread` is the standard deviation of the logarithm."""
        attraction = np.exp(spread * rng.normal(size=(num_classes, num_classes)))
        attraction *= attraction.T
        np.fill_diagonal(attraction, 0)
        wrong = (1 - accuracy) * rng.uniform(0.5, 1.5, (num_classes, 1))
        shares = attraction / attraction.sum(axis=1, keepdims=True) * wrong
        return cls(shares + np.diag(1 - shares.sum(axis=1)))

    @property
    def num_classes(self) -> int:
        return len(self.shares)

    @cached_property
    def truth(self) -> Floats:
        """(K, K) true shares [true, predicted] of all networks and images, from 20,000 images a class."""
        rng = np.random.default_rng(self.root)
        labels = np.repeat(np.arange(self.num_classes), 20_000)
        spread = np.sqrt(self.image**2 + self.seed**2 + self.taste**2)
        preds = self._predict(labels, spread * rng.normal(size=(len(labels), self.num_classes)), rng)
        counts = np.zeros((self.num_classes, self.num_classes))
        np.add.at(counts, (labels, preds), 1)
        return counts / 20_000

    @property
    def look_alikeness(self) -> Floats:
        """(K, K) the truth, both directions averaged."""
        return (self.truth + self.truth.T) / 2

    def study(self, rng: np.random.Generator, seeds: int, per_class: int, condition: Condition = BASELINE) -> Study:
        """A study of some networks on some images."""
        labels = np.repeat(np.arange(self.num_classes), per_class)
        images = self.image * rng.normal(size=(len(labels), self.num_classes))
        preds = {}
        for seed in range(1, seeds + 1):
            network = self.seed * rng.normal(size=self.shares.shape)[labels]
            tastes = self.taste * rng.normal(size=images.shape)
            preds[condition, seed] = self._predict(labels, images + network + tastes, rng)
        return Study.of_preds(labels, preds, [f"class {c}" for c in range(self.num_classes)])

    def _predict(self, labels: NDArray[np.int64], chances: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
        return (np.log(self.shares)[labels] + chances + rng.gumbel(size=chances.shape)).argmax(axis=1)
