"""The condition of a run: which kind and how much stress, and what it is called."""

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any, Literal, cast

from class_sensitivity.stress import Stress
from class_sensitivity.stress.noise import Shuffle, make_noise_kind


@dataclass(frozen=True)
class Condition:
    """One kind and amount of stress, in one normal form: what has no effect has its default.

    Conditions are found by comparing them, and sort as reports list them. With no argument: the baseline.

    Attributes:
        noise_kind: Kind of noise; empty without noise.
        noise_frac: Share of the kept examples that is touched.
        noise_classes: Names of the classes that may be touched, sorted; empty means all.
        noise_options: The settings that this kind of noise alone has, where they are not at their default; of a file a
            digest of what it holds.
        noise_given: Those that name files, as they were given: for words, and no part of what is compared.
        reduction_frac: Share of the training set removed.
        match_steps: As many optimiser steps as without reduction: True by more passes, `masked` by smaller batches.
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
    noise_given: Mapping[str, Any] = field(default_factory=dict, compare=False, kw_only=True)
    reduction_frac: float = 0.0
    match_steps: bool | Literal["masked"] = False
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
            noise_given=noise.kind.given() if is_noisy else {},
            reduction_frac=reduction.frac,
            match_steps=cast("bool | Literal['masked']", reduction.match_steps) if is_reduced else False,
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

    def draws_from(self, stream: str) -> bool:
        """Whether a random stream has a part in what the stress does; true of streams that are no part of it."""
        return {"selection": not self.is_baseline, "labels": self.is_noisy}.get(stream, True)

    @property
    def series(self) -> str | None:
        """The dose-response series that it is a level of: everything that sets it apart but the level.

        Such as `shuffle`, `reduction` or `reduction-matched-steps`. None for the baseline, and for noise and reduction
        at once, which have no one level.
        """
        if self.is_noisy == self.is_reduced:
            return None
        return path_part("_".join(self._stresses()))

    @property
    def series_label(self) -> str:
        """The same in words, such as `label noise (shuffle)` or `data reduction (more passes)`."""
        if self.is_noisy:
            return f"label noise ({self._noise_in_words})"
        details = [self._matched] * bool(self.match_steps) + ["stratified"] * self.stratified
        return "data reduction" + (f" ({', '.join(details)})" if details else "")

    @property
    def level(self) -> float:
        """The share touched or removed, of a level of a series."""
        return self.noise_frac if self.is_noisy else self.reduction_frac

    def uninformative_share(self, num_classes: int) -> float | None:
        """Share of the labels that say nothing of their image (`NoiseKind.uninformative_share`), or None.

        None where only some classes may be touched, too: a wrong label is then one of theirs.
        """
        if not self.is_noisy or self.noise_classes:
            return None
        return make_noise_kind(self.noise_kind, self.noise_options).uninformative_share(self.noise_frac, num_classes)

    @property
    def sweep(self) -> str:
        """What makes its series on the command line, up to the shares; such as `noise.kind=pair noise.frac`.

        Of noise and reduction at once, the noise varies and the reduction stays.
        """
        parts = []
        if self.is_noisy:
            parts += [f"noise.kind={self.noise_kind}"] if self.noise_kind != Shuffle.name else []
            parts += [shlex.quote(f"noise.classes={json.dumps(self.noise_classes)}")] if self.noise_classes else []
            parts += [_override(name, value) for name, value in {**self.noise_options, **self.noise_given}.items()]
        parts += [f"reduction.match_steps={self.match_steps}".lower()] * bool(self.match_steps)
        parts += ["selection.stratified=true"] * self.stratified
        parts += [f"reduction.frac={self.reduction_frac}"] * (self.is_noisy and self.is_reduced)
        return " ".join([*parts, "noise.frac" if self.is_noisy else "reduction.frac"])

    @property
    def is_default_series(self) -> bool:
        """Whether it is a level of the series that `noise.frac` or `reduction.frac` alone makes."""
        return self.series in (Shuffle.name, "reduction")

    @cached_property
    def name(self) -> str:
        """Short, safe as a part of a path, and different for different conditions; such as `noise-shuffle-0.1`."""
        return path_part("_".join(self._stresses(with_levels=True)) or "baseline")

    @property
    def title(self) -> str:
        """As `name`, but with words for what that has a digest of; such as `noise-shuffle-0.1 (of cat and dog)`."""
        return "_".join(self._stresses(with_levels=True, in_words=True)) or "baseline"

    def _stresses(self, *, with_levels: bool = False, in_words: bool = False) -> list[str]:
        """Each stress as a part of a name."""
        parts = []
        if self.is_noisy:
            # Class names may hold any character, so they enter as a digest; result.json spells them out.
            classes = {"classes": list(self.noise_classes)} if self.noise_classes else {}
            chosen = {**classes, **self.noise_options}
            kind = f"noise-{self.noise_kind}-{self.noise_frac!r}" if with_levels else self.noise_kind
            details = f" ({', '.join(self._noise_details)})" if in_words else f"-{digest(chosen)}"
            parts.append(kind + details * bool(chosen))
        if self.is_reduced:
            share = f"-{self.reduction_frac!r}" if with_levels else ""
            # Not the words of the label: paths of runs that exist hold these.
            steps = "-matched-steps" if self.match_steps is True else f"-{self.match_steps}-steps"
            parts.append(f"reduction{share}{steps if self.match_steps else ''}")
        if self.stratified:
            parts.append("stratified")
        return parts

    @property
    def label(self) -> str:
        """In words, for people; such as `10 % noise (shuffle)`."""
        parts = []
        if self.is_noisy:
            parts.append(f"{100 * self.noise_frac:.3g} % noise ({self._noise_in_words})")
        if self.is_reduced:
            steps = f" ({self._matched})" if self.match_steps else ""
            parts.append(f"{100 * self.reduction_frac:.3g} % of the data removed{steps}")
            if self.stratified and not self.is_noisy:
                parts.append("stratified")
        return ", ".join(parts) or "baseline"

    @property
    def _matched(self) -> str:
        return "more passes" if self.match_steps is True else "smaller batches"

    @property
    def _noise_in_words(self) -> str:
        return ", ".join([self.noise_kind, *self._noise_details, *["stratified"] * self.stratified])

    @property
    def _noise_details(self) -> list[str]:
        classes = [f"of {' and '.join(self.noise_classes)}"] if self.noise_classes else []
        # Of a file its name: where it lies is long, and a digest says nothing.
        files = {name: PurePath(value).name for name, value in self.noise_given.items() if name in self.noise_options}
        return [*classes, *(f"{name} {value}" for name, value in {**self.noise_options, **files}.items())]

    def __lt__(self, other: "Condition") -> bool:
        return self._rank < other._rank

    @property
    def _rank(self) -> tuple[float, str, float, str]:
        return self.reduction_frac, self.noise_kind, self.noise_frac, self.name


#: Nothing is done.
BASELINE = Condition()


def _override(option: str, value: object) -> str:
    if isinstance(value, Mapping):
        # Hydra takes no quotes around the keys of a mapping.
        pairs = ", ".join(f"{key}: {json.dumps(each)}" for key, each in value.items())
        return shlex.quote(f"noise.{option}={{{pairs}}}")
    return shlex.quote(f"noise.{option}={json.dumps(value)}")


def digest(value: object) -> str:
    """Eight hexadecimal digits that follow from a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def path_part(name: str) -> str:
    """A name as one part of a path, in every file system: what is read from a file must not lead elsewhere."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)
