"""The made-up runs that other tests rest on."""

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from support.plans import WRONG
from support.synthetic import SETTINGS, THREE, World, shares

from class_sensitivity import confusion


def test_made_up_settings_are_those_of_real_runs_but_for_the_data(compose_settings):
    def values(settings: Any, prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for each in fields(settings):
            value = getattr(settings, each.name)
            found |= values(value, f"{prefix}{each.name}.") if is_dataclass(value) else {prefix + each.name: value}
        return found

    made_up, real = values(SETTINGS), values(compose_settings())
    assert made_up.keys() == real.keys()
    assert {key.split(".")[0] for key in made_up if made_up[key] != real[key]} <= {"data", "model", "training"}


def test_made_up_predictions_follow_the_shares_they_were_given():
    world = World(THREE, 4000, seed=0.001)
    matrix = shares([0.9, 0.5, 0.7], WRONG)
    counts = [confusion.confusion_counts(world.labels, world.predict(matrix, "baseline", s), 3) for s in range(3)]
    np.testing.assert_allclose(confusion.normalise(sum(counts)), matrix, atol=0.02)
