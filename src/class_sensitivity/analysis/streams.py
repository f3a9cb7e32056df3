"""Which random streams the runs of a recipe vary, and which they hold fixed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from class_sensitivity.runs.identity import RunIdentity
from class_sensitivity.runs.record import RunRecord

#: A run: its directory and its record.
Member = tuple[Path, RunRecord]


def varied_streams(members: Sequence[Member]) -> dict[tuple[str, int], list[Member]]:
    """(stream, seed of all others) -> runs in which this stream alone has a seed of its own, if there are two such."""
    alone: dict[tuple[str, int], list[Member]] = defaultdict(list)
    for path, record in members:
        if len(record.identity.fixed_streams) == 1:
            (stream,) = record.identity.fixed_streams
            alone[stream, record.identity.seed].append((path, record))
    plain = {record.identity.seed for _, record in members if not record.identity.fixed_streams}
    return {
        (stream, seed): of_stream
        for (stream, seed), of_stream in alone.items()
        if len({record.identity.streams[stream] for _, record in of_stream}) + (seed in plain) > 1
    }


def holds(held: Mapping[str, int], identity: RunIdentity) -> bool:
    """Whether every stream that a run draws from has the seed that it is held at, and all others that of the run."""
    return identity.fixed_streams.keys() <= held.keys() and all(
        identity.streams[stream] == seed for stream, seed in held.items() if identity.condition.draws_from(stream)
    )


def held_streams(members: Sequence[Member]) -> list[dict[str, int]]:
    """The streams that are held fixed, and at which seeds, in each study of a recipe; nothing is held for plain seeds.

    Streams are held if they are so at two seeds, or in all runs. Runs that all stand in another study have none of
    their own.
    """
    chosen: dict[tuple[tuple[str, int], ...], set[Path]] = {}
    asked = {tuple(record.identity.fixed_streams.items()) for _, record in members}
    for streams in sorted(asked, key=lambda each: (-len(each), each)):
        held = dict(streams)
        matching = [(path, record) for path, record in members if holds(held, record.identity)]
        drawing = [record.identity for _, record in matching if all(map(record.identity.condition.draws_from, held))]
        exactly = {path for path, record in matching if record.identity.fixed_streams == held}
        compared = not held or len(matching) == len(members) or len({each.seed for each in drawing}) > 1
        if compared and not any(exactly <= others for others in chosen.values()):
            chosen[streams] = {path for path, _ in matching}
    return [dict(streams) for streams in sorted(chosen)]
