"""The condition of a run: which kind and how much stress, and what it is called."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from class_sensitivity.stress import Stress


@dataclass(frozen=True)
class Condition:
    """One kind and amount of stress, in one normal form: what has no effect has its default.

    Conditions are found by comparing them, and sort as reports list them. With no argument: the baseline.

    Attributes:
        noise_kind: Kind of noise; empty without noise.
        noise_frac: Share of the kept examples that is touched.
        noise_classes: Names of the classes that may be touched, sorted; empty means all.
        noise_options: The settings that this kind of noise alone has, where they are not at their default.
        reduction_frac: Share of the training set removed.
        match_steps: As many optimiser steps as without reduction.
        stratified: Examples are touched and removed in proportion from every class.

    Examples:
        >>> Condition(noise_kind="shuffle", noise_frac=0.1).name
        'noise-shuffle-0.1'
        >>> Condition(noise_kind="shuffle", noise_frac=0.1).label
        '10 % noise (shuffle)'
        >>> Condition().name
        'baseline'
    """

    noise_kind: str = ""
    noise_frac: float = 0.0
    noise_classes: tuple[str, ...] = ()
    noise_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    reduction_frac: float = 0.0
    match_steps: bool = False
    stratified: bool = False

    @classmethod
    def of(cls, stress: Stress) -> "Condition":
        """The condition that a stress makes."""
        noise, reduction = stress.noise, stress.reduction
        is_noisy, is_reduced = noise.frac > 0, reduction.frac > 0
        return cls(
            noise_kind=noise.kind.name if is_noisy else "",
            noise_frac=noise.frac,
            noise_classes=tuple(sorted(set(noise.classes))) if is_noisy else (),
            noise_options=noise.kind.identity() if is_noisy else {},
            reduction_frac=reduction.frac,
            match_steps=is_reduced and reduction.match_steps,
            stratified=stress.stratified and (is_noisy or is_reduced),
        )

    @property
    def is_noisy(self) -> bool:
        """Whether any label is touched."""
        return self.noise_frac > 0

    @property
    def is_reduced(self) -> bool:
        """Whether any example is removed."""
        return self.reduction_frac > 0

    @property
    def is_baseline(self) -> bool:
        """Whether nothing is done."""
        return not (self.is_noisy or self.is_reduced)

    @property
    def is_plain(self) -> bool:
        """Whether kinds and shares alone set it apart from the baseline."""
        return not (self.noise_classes or self.noise_options or self.match_steps or self.stratified)

    @property
    def series(self) -> str | None:
        """The dose-response series that it is a level of: a kind of noise, or `reduction`.

        None for the baseline, for more than one stress at once, and for a condition that is not plain.
        """
        if not self.is_plain or self.is_noisy == self.is_reduced:
            return None
        return self.noise_kind if self.is_noisy else "reduction"

    @property
    def level(self) -> float:
        """The share touched or removed, of a level of a series."""
        return self.noise_frac if self.is_noisy else self.reduction_frac

    @cached_property
    def name(self) -> str:
        """Short, safe as a part of a path, and different for different conditions; such as `noise-shuffle-0.1`."""
        parts = []
        if self.is_noisy:
            # Class names may hold any character, so they enter as a digest; result.json spells them out.
            classes = {"classes": list(self.noise_classes)} if self.noise_classes else {}
            chosen = {**classes, **self.noise_options}
            parts.append(f"noise-{self.noise_kind}-{self.noise_frac!r}" + (f"-{digest(chosen)}" if chosen else ""))
        if self.is_reduced:
            parts.append(f"reduction-{self.reduction_frac!r}" + ("-matched-steps" if self.match_steps else ""))
        if self.stratified:
            parts.append("stratified")
        return path_part("_".join(parts) or "baseline")

    @property
    def label(self) -> str:
        """In words, for people; such as `10 % noise (shuffle)`."""
        parts = []
        if self.is_noisy:
            parts.append(f"{100 * self.noise_frac:.3g} % noise ({self.noise_kind})")
        if self.is_reduced:
            parts.append(f"{100 * self.reduction_frac:.3g} % of the data removed")
        return ", ".join(parts) or "baseline"

    def __lt__(self, other: "Condition") -> bool:
        return self._rank < other._rank

    @property
    def _rank(self) -> tuple[float, str, float, str]:
        return self.reduction_frac, self.noise_kind, self.noise_frac, self.name


#: Nothing is done.
BASELINE = Condition()


def digest(value: object) -> str:
    """Eight hexadecimal digits that follow from a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def path_part(name: str) -> str:
    """A name as one part of a path, in every file system: what is read from a file must not lead elsewhere."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)
