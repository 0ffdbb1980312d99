"""Whole networks under loss, duplication, reordering and cuts, by seed: one, and several operators with cuts between.
REDOUBT_SEEDS says how many."""

import os

import pytest

from redoubt.lab.seeds import run_operators, run_seed

SEEDS = int(os.environ.get("REDOUBT_SEEDS", "50"))
OF_OPERATORS = int(os.environ.get("REDOUBT_SEEDS", "20"))
CHUNK = 10  # small enough that two workers finish together


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_everything_ends_agrees_and_leaves_nothing(first: int) -> None:
    for seed in range(first, min(first + CHUNK, SEEDS)):
        run_seed(seed)


@pytest.mark.parametrize("first", range(0, OF_OPERATORS, CHUNK))
def test_operators_who_are_cut_off_from_each_other_recover_and_no_call_hangs(first: int) -> None:
    for seed in range(first, min(first + CHUNK, OF_OPERATORS)):
        run_operators(seed)


@pytest.mark.parametrize("seed", [0, 1, 2, 4])
def test_a_seed_replays(seed: int) -> None:
    assert run_seed(seed, loss=0.02) == run_seed(seed, loss=0.02)


@pytest.mark.parametrize("seed", [2, 3])
def test_so_does_one_of_operators(seed: int) -> None:
    assert run_operators(seed, loss=0.02) == run_operators(seed, loss=0.02)
