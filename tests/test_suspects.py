"""Test images that look mislabelled, against a plain loop and with labels that were swapped on purpose."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from class_sensitivity.analysis.suspects import suspect_images


def made_up(rng: np.random.Generator, labels: np.ndarray, num_classes: int, networks: int) -> list[np.ndarray]:
    """Probabilities of networks that are right, and sure, about most of these labels."""
    logits = rng.normal(size=(networks, len(labels), num_classes))
    logits[:, np.arange(len(labels)), labels] += 3 + rng.normal(size=(networks, len(labels)))
    shares = np.exp(logits)
    return list((shares / shares.sum(axis=2, keepdims=True)).astype(np.float16))


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(1, 4))
def test_the_list_is_that_of_a_plain_loop(seed, num_classes, networks):
    rng = np.random.default_rng(seed)
    truth = rng.integers(num_classes, size=40)
    labels = np.where(rng.random(40) < 0.2, rng.integers(num_classes, size=40), truth)
    given_by = made_up(rng, truth, num_classes, networks)
    expected = []
    for i, label in enumerate(labels):
        classes = {int(p[i].astype(np.float32).argmax()) for p in given_by}
        if len(classes) > 1 or label in classes:
            continue
        (other,) = classes
        alike = [j for j in range(40) if labels[j] == other]
        sure = [bool(alike) and p[i, other] >= np.mean([np.float32(p[j, other]) for j in alike]) for p in given_by]
        if all(sure):
            expected.append((i, int(label), other))
    found = suspect_images(labels, given_by)
    assert sorted((each.index, each.label, each.predicted) for each in found) == expected
    order = [each.self_confidence for each in found]
    assert order == sorted(order)
    for each in found:
        assert each.confidence == pytest.approx(np.mean([p[each.index, each.predicted] for p in given_by]), rel=1e-2)
        assert each.self_confidence == pytest.approx(np.mean([p[each.index, each.label] for p in given_by]), rel=1e-2)


def test_labels_that_were_swapped_are_found_and_few_others():
    rng = np.random.default_rng(3)
    truth = rng.integers(10, size=5000)
    labels, swapped = truth.copy(), rng.permutation(5000)[:50]
    labels[swapped] = (truth[swapped] + rng.integers(1, 10, size=50)) % 10
    found = suspect_images(labels, made_up(rng, truth, 10, networks=3))
    right = [each for each in found if each.index in swapped and each.predicted == truth[each.index]]
    # Each network is sure about half of the images of a class, and here independently of the others: 1 in 8.
    assert len(right) >= 4
    assert len(found) - len(right) <= 2
    assert found[0].index in swapped


def test_another_network_can_only_take_images_from_the_list():
    rng = np.random.default_rng(4)
    truth = rng.integers(4, size=400)
    labels = np.where(rng.random(400) < 0.1, (truth + 1) % 4, truth)
    networks = made_up(rng, truth, 4, networks=6)
    lists = [{each.index for each in suspect_images(labels, networks[:number])} for number in range(1, 7)]
    assert all(later <= earlier for earlier, later in pairwise(lists))
    assert lists[0] > lists[-1] > set()
