"""Runs below a directory, read and arranged: one study for each recipe, and what is left out."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from class_sensitivity.analysis.streams import Member, held_streams, holds, varied_streams
from class_sensitivity.analysis.study import Study
from class_sensitivity.errors import RunError
from class_sensitivity.runs.condition import Condition
from class_sensitivity.runs.directory import find_run_directories, other_layouts, read_record
from class_sensitivity.runs.identity import RunIdentity, distinctions
from class_sensitivity.runs.record import RunRecord


@dataclass(frozen=True)
class LeftOut:
    """A run directory that is not counted, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class StreamStudy:
    """Runs that differ in one random stream alone.

    Attributes:
        stream: Which.
        seed: Of all the others.
        study: The runs; what it calls seeds are those of the stream. Runs that do not draw from it, such as a baseline
            of which labels are given, count for all of them.
    """

    stream: str
    seed: int
    study: Study


@dataclass(frozen=True, repr=False)
class LoadedRuns(Sequence[Study]):
    """The studies below a directory of runs, one for each recipe, in the order of their names.

    Attributes:
        studies: The same as a tuple.
        left_out: Every run directory that is not counted.
        stream_studies: Runs in which one random stream was varied alone.
    """

    studies: tuple[Study, ...]
    left_out: tuple[LeftOut, ...]
    stream_studies: tuple[StreamStudy, ...] = ()

    def __len__(self) -> int:
        return len(self.studies)

    @overload
    def __getitem__(self, index: int) -> Study: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Study]: ...
    def __getitem__(self, index: int | slice) -> Study | Sequence[Study]:
        try:
            return self.studies[index]
        except IndexError:
            raise IndexError(f"There is no study number {index} in {self!r}.") from None

    def __repr__(self) -> str:
        return f"<LoadedRuns: {list(self.studies)}, {len(self.left_out)} run directories left out>"


def load_runs(root: str | Path, *, data: str | None = None, model: str | None = None) -> LoadedRuns:
    """Reads all runs below a directory and arranges those that can be trusted.

    Args:
        root: The directory that `train.py` wrote runs to.
        data: Only runs on this data set.
        model: Only runs of this model.

    Returns:
        One study for each recipe, in the order of data sets, models and numbers of epochs; its `left_out` lists every
        run directory that was left out, with the reason.
    """
    left_out: list[LeftOut] = []
    recipes: dict[str, list[Member]] = defaultdict(list)
    for path, record in _records(Path(root).expanduser(), left_out):
        identity = record.identity
        if (not data or identity.data.name == data) and (not model or identity.model.name == model):
            recipes[identity.recipe_name].append((path, record))
    words = distinctions([members[0][1].identity for members in recipes.values()])
    apart = dict(zip(recipes, words, strict=True))
    studies, stream_studies = [], []
    for recipe, members in sorted(recipes.items(), key=lambda each: (_place(each[1][0][1].identity), each[0])):
        varied = varied_streams(members)
        for held in held_streams(members):
            fixed = {stream: str(seed) for stream, seed in held.items()}
            studies.append(
                _arrange(
                    recipe,
                    [(record.identity.seed, path, record) for path, record in members if holds(held, record.identity)],
                    left_out,
                    held="_".join(map("-".join, fixed.items())),
                    setting=", ".join(filter(None, [apart[recipe], *map(" ".join, fixed.items())])),
                )
            )
        plain = [(path, record) for path, record in members if not record.identity.fixed_streams]
        for (stream, seed), of_stream in sorted(varied.items()):
            stream_studies.append(_arrange_stream(stream, seed, of_stream, plain, left_out))
    arranged = {path for each in studies for path in each.directories.values()}
    arranged |= {path for each in stream_studies for path in each.study.directories.values()}
    arranged |= {each.path for each in left_out}
    for path, record in (member for members in recipes.values() for member in members):
        if path not in arranged:
            fixed = {stream: str(seed) for stream, seed in record.identity.fixed_streams.items()}
            reason = f"has random streams with a seed of their own ({', '.join(map('='.join, fixed.items()))})"
            left_out.append(
                LeftOut(path, f"{reason} that no other seed has; one is varied at a time, or held at all seeds")
            )
    return LoadedRuns(tuple(studies), tuple(left_out), tuple(stream_studies))


def _place(identity: RunIdentity) -> tuple[str, str, str, int]:
    """What puts studies in order: recipes that differ in the number of epochs alone follow one another, rising."""
    return identity.data.name, identity.model.name, identity.family, identity.training.epochs


def _arrange_stream(
    stream: str,
    seed: int,
    members: Sequence[Member],
    plain: Sequence[Member],
    left_out: list[LeftOut],
) -> StreamStudy:
    """Runs of one stream, with those in which it has the seed of all the others."""
    same = [(path, record) for path, record in plain if record.identity.seed == seed]
    values = {seed, *(record.identity.streams[stream] for _, record in members)}
    placed = [(record.identity.streams[stream], path, record) for path, record in members]
    for path, record in same:
        counts_for = {seed} if record.identity.condition.draws_from(stream) else values
        placed += [(value, path, record) for value in sorted(counts_for)]
    return StreamStudy(stream, seed, _arrange(members[0][1].identity.recipe_name, placed, left_out))


def _records(root: Path, left_out: list[LeftOut]) -> Iterator[tuple[Path, RunRecord]]:
    left_out += [LeftOut(place, reason) for place, reason in other_layouts(root)]
    seen: set[Path] = set()
    # Genuine directories first: of a run and a link to it, the link is the one too many. realpath, unlike resolve,
    # has an answer to links that go round in a circle.
    home = Path(os.path.realpath(root))
    for path in sorted(
        find_run_directories(root), key=lambda run: Path(os.path.realpath(run)) != home / run.relative_to(root)
    ):
        try:
            record = read_record(path, arrays=("test_labels", "test_preds"))
            # A link to a run, or a copy reached twice, must not count twice.
            if path.resolve() in seen:
                raise RunError(f"{path} is a link to a run that is counted already")
        except RunError as error:
            left_out.append(LeftOut(path, str(error)))
            continue
        seen.add(path.resolve())
        yield path, record


def _arrange(
    recipe: str,
    members: Sequence[tuple[int, Path, RunRecord]],
    left_out: list[LeftOut],
    *,
    held: str = "",
    setting: str = "",
) -> Study:
    """The study of some runs, each with the seed that it counts for."""
    # The test set that most runs share is the study's: a stray run must not drive out the rest.
    # In one width: packed records have narrower arrays.
    tests = [
        (tuple(record.class_names), record.arrays["test_labels"].astype(np.int64).tobytes()) for _, _, record in members
    ]
    common = Counter(tests).most_common(1)[0][0]
    usable: dict[tuple[Condition, int], tuple[Path, RunRecord]] = {}
    for (seed, path, record), test in zip(members, tests, strict=True):
        if test == common:
            usable[record.identity.condition, seed] = path, record
        else:
            left_out.append(LeftOut(path, "was tested on other classes or images than most runs of its recipe"))
    records = [record for _, record in usable.values()]
    first = records[0]
    return Study.of_preds(
        first.arrays["test_labels"],
        {key: record.arrays["test_preds"] for key, (_, record) in usable.items()},
        first.class_names,
        recipe="_".join(filter(None, (recipe, held))),
        data=first.identity.data.name,
        model=first.identity.model.name,
        scalars={
            key: {
                "effective_noise": record.noise.effective,
                "train_size": record.train_size,
                "steps": record.steps,
                "duration_s": record.durations.total_s,
                "best_accuracy": _best_accuracy(record),
                "learnt": record.learnt.share if record.learnt is not None else np.nan,
            }
            for key, (_, record) in usable.items()
        },
        directories={key: path for key, (path, _) in usable.items()},
        notes=_notes(records),
        epochs=first.identity.training.epochs,
        family=first.identity.family,
        held=held,
        setting=setting,
    )


def _best_accuracy(record: RunRecord) -> float:
    best = record.metrics.best.get("test/acc")
    return np.nan if best is None else best


def _notes(records: Sequence[RunRecord]) -> Iterator[str]:
    made = [record.environment for record in records]
    for what, values in (
        ("in different precisions", {environment.precision for environment in made}),
        ("in different kinds of device", {environment.device for environment in made}),
        ("with different versions of PyTorch", {environment.versions.get("torch", "unknown") for environment in made}),
    ):
        if len(values) > 1:
            yield f"The runs were made {what} ({', '.join(sorted(values))})."
    if any(environment.git_dirty for environment in made):
        yield "Some runs were made from a source tree with changes that were not committed."
