"""From one integer to independent, named random streams.

Each source of chance in a run draws from a stream of its own, so that any one of them can be held
fixed while the others vary, and so that adding a draw to one never shifts another.
"""

import hashlib

import numpy as np

#: Every stream there is, and what it decides, in the words of a report.
STREAMS = {
    "selection": "which examples are touched",  # removed or mislabelled
    "labels": "which labels they get",
    "validation": "which examples are held out",
    "init": "initial weights",
    "order": "order of the batches",
    "augment": "flips and crops",
    "dropout": "dropout",  # and whatever else layers draw in training
}


def _sequence(seed: int, stream: str, step: int) -> np.random.SeedSequence:
    if stream not in STREAMS:
        raise KeyError(f"unknown random stream {stream!r}; known: {', '.join(STREAMS)}")
    # A digest of the name, not its place in a list: a new stream must not change the old ones.
    name = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little")
    return np.random.SeedSequence(seed, spawn_key=(name, step))


def generator(seed: int, stream: str, step: int = 0) -> np.random.Generator:
    """The NumPy generator of one stream.

    Args:
        seed: The run's seed, any integer >= 0.
        stream: A key of `STREAMS`.
        step: Position within the stream, such as the epoch. Each step has a sequence of its own, so
            epoch 3 can be drawn without drawing epochs 0 to 2 (a resumed run relies on it).

    Raises:
        KeyError: The stream is not known.
    """
    return np.random.Generator(np.random.PCG64(_sequence(seed, stream, step)))


def torch_seed(seed: int, stream: str, step: int = 0) -> int:
    """The same stream as an integer in [0, 2**63) for `torch.Generator.manual_seed`."""
    return int(_sequence(seed, stream, step).generate_state(1, np.uint64)[0] >> np.uint64(1))
