"""The whole network under loss, duplication, reordering and cuts, by seed. REDOUBT_SEEDS says how many."""

import os

import pytest

from redoubt.lab.seeds import run_seed

SEEDS = int(os.environ.get("REDOUBT_SEEDS", "50"))
CHUNK = 10  # small enough that two workers finish together


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_everything_ends_agrees_and_leaves_nothing(first: int) -> None:
    for seed in range(first, min(first + CHUNK, SEEDS)):
        run_seed(seed)


@pytest.mark.parametrize("seed", [0, 1, 2, 4])
def test_a_seed_replays(seed: int) -> None:
    assert run_seed(seed, loss=0.02) == run_seed(seed, loss=0.02)
