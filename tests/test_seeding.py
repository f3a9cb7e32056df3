"""Named random streams: independent of each other, of the step, and of the seed."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from class_sensitivity.seeding import STREAMS, generator, torch_seed

SEEDS = st.one_of(st.integers(0, 10), st.integers(0, 2**200))
STEPS = st.integers(0, 2**31)
ADDRESS = st.tuples(SEEDS, st.sampled_from(sorted(STREAMS)), STEPS)


def words(seed: int, stream: str, step: int = 0) -> list[int]:
    """128 bits of a stream: two that agree by chance are out of the question."""
    return generator(seed, stream, step).integers(2**63, size=2).tolist()


@given(ADDRESS)
def test_the_same_address_gives_the_same_numbers(address):
    assert words(*address) == words(*address)
    assert torch_seed(*address) == torch_seed(*address)


@given(ADDRESS, ADDRESS)
def test_different_addresses_give_different_numbers(one, other):
    if one != other:
        assert words(*one) != words(*other)
        assert torch_seed(*one) != torch_seed(*other)


def test_no_two_of_many_small_addresses_collide():
    # Small seeds and steps are what studies use, and where adding seed and step would collide.
    addresses = list(itertools.product(range(25), STREAMS, range(25)))
    assert len({tuple(words(*address)) for address in addresses}) == len(addresses)
    assert len({torch_seed(*address) for address in addresses}) == len(addresses)


def test_seed_0_is_a_seed_like_any_other():
    for stream in STREAMS:
        assert words(0, stream) != words(1, stream)
        assert words(0, stream) == words(0, stream)


def test_streams_are_uncorrelated_over_seeds():
    # Two streams that share a cause would rank the seeds alike.
    draws = {name: [generator(seed, name).random() for seed in range(300)] for name in STREAMS}
    for one, other in itertools.combinations(STREAMS, 2):
        assert abs(stats.spearmanr(draws[one], draws[other]).statistic) < 0.25, (one, other)


def test_first_numbers_are_uniform_over_seeds():
    for stream in STREAMS:
        first = [generator(seed, stream).random() for seed in range(500)]
        assert stats.kstest(first, "uniform").pvalue > 1e-4, stream


@given(ADDRESS)
def test_a_torch_seed_fits_a_signed_64_bit_integer(address):
    assert 0 <= torch_seed(*address) < 2**63


def test_torch_seeds_use_the_whole_range():
    drawn = np.array([torch_seed(seed, "init") for seed in range(200)], np.float64)
    assert stats.kstest(drawn / 2**63, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("draw", [generator, torch_seed])
def test_an_unknown_stream_is_refused_and_the_known_ones_are_named(draw):
    with pytest.raises(KeyError, match=r"initt.*init"):
        draw(1, "initt")
