"""Which random streams the runs of a recipe vary, and which they hold fixed."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from class_sensitivity.runs.identity import RunIdentity
from class_sensitivity.runs.record import RunRecord

#: A run: its directory and its record.
Member = tuple[Path, RunRecord]

#: Streams that have a seed of their own, with it.
FixedStreams = tuple[tuple[str, int], ...]


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

    Streams are held if they are so at two seeds, or in all runs. A stream that takes several values at one seed is
    varied there, and that a plain seed has one of these values holds nothing. Runs that all stand in another study
    have none of their own.
    """
    chosen: dict[FixedStreams, set[Path]] = {}
    asked = {tuple(record.identity.fixed_streams.items()) for _, record in members}
    asked_at = {(tuple(record.identity.fixed_streams.items()), record.identity.seed) for _, record in members}
    for streams in sorted(asked, key=lambda each: (-len(each), each)):
        held = dict(streams)
        matching = [(path, record) for path, record in members if holds(held, record.identity)]
        drawing = [record.identity for _, record in matching if all(map(record.identity.condition.draws_from, held))]
        exactly = {path for path, record in matching if record.identity.fixed_streams == held}
        compared = not held or len(matching) == len(members) or len({each.seed for each in drawing}) > 1
        if held and len(matching) < len(members) and _is_varied(streams, asked_at):
            continue
        if compared and not any(exactly <= others for others in chosen.values()):
            chosen[streams] = {path for path, _ in matching}
    return [dict(streams) for streams in sorted(chosen)]


def _is_varied(streams: FixedStreams, asked_at: Collection[tuple[FixedStreams, int]]) -> bool:
    """Whether streams have these values at one seed alone, and other values at that seed, too."""
    seeds = [seed for each, seed in asked_at if each == streams]
    names = [name for name, _ in streams]
    others = [each for each, seed in asked_at if seed in seeds and [name for name, _ in each] == names]
    return len(seeds) == 1 and len(others) > 1
