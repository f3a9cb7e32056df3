"""Test images that look mislabelled: every network is sure of the same other class."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Suspect:
    """A test image whose label every network contradicts.

    Attributes:
        index: Position in the test set.
        label: Its class, as labelled.
        predicted: The class that every network takes it for.
        confidence: Mean probability that they give to that class, in [0, 1].
        self_confidence: Mean probability that they give to the class of its label.
    """

    index: int
    label: int
    predicted: int
    confidence: float
    self_confidence: float


def suspect_images(labels: NDArray[np.integer], probabilities: Iterable[NDArray[np.floating]]) -> list[Suspect]:
    """The test images that all networks are sure to be of one other class, those least like their label first.

    A network is sure of a class if it gives it at least the probability that it gives in the mean to the images that
    are labelled so: the threshold of C. G. Northcutt, L. Jiang and I. L. Chuang, "Confident learning: estimating
    uncertainty in dataset labels", JAIR 70 (2021), section 3. An image is listed only if this holds for every network,
    so that neither one seed nor one architecture decides; more networks make the list shorter and surer. Its order is
    that of the same paper's "self-confidence": docs/own-data.md has how many planted errors stand where.

    Args:
        labels: (n,) labels in [0, K).
        probabilities: (n, K) of each network, read one at a time; at least one.

    Examples:
        >>> labels = np.array([0, 0, 0, 1, 1, 1])
        >>> sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6]])
        >>> [(each.index, each.predicted) for each in suspect_images(labels, [sure, sure])]
        [(2, 1)]
    """
    images = np.arange(len(labels))
    agreed: NDArray[np.int64] | None = None
    suspected = np.ones(len(labels), bool)
    confidence, self_confidence, networks = np.zeros(len(labels)), np.zeros(len(labels)), 0
    for each in probabilities:
        values = np.asarray(each, np.float32)
        predicted = values.argmax(axis=1)
        agreed = predicted if agreed is None else agreed
        # A class without images has no threshold and is never suspected.
        threshold = np.full(values.shape[1], np.inf)
        for label in np.unique(labels):
            threshold[label] = values[labels == label, label].mean()
        given = values[images, predicted]
        suspected &= (predicted == agreed) & (predicted != labels) & (given >= threshold[predicted])
        confidence += given
        self_confidence += values[images, labels]
        networks += 1
    assert agreed is not None
    found = np.flatnonzero(suspected)
    found = found[np.argsort(self_confidence[found], kind="stable")]
    return [
        Suspect(
            index=int(i),
            label=int(labels[i]),
            predicted=int(agreed[i]),
            confidence=float(confidence[i] / networks),
            self_confidence=float(self_confidence[i] / networks),
        )
        for i in found
    ]
