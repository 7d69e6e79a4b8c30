"""Shuffles that keep nothing in memory: where place N of a shuffled list comes from, computed for that place alone.

A list of twelve million pictures shuffled anew each epoch would cost every process 50 MB and a second; a permutation
that is computed needs neither, and any place of any epoch can be asked for at once. The construction is a Feistel
network over two digits of unlike sizes with additions instead of XOR, and what falls outside the list is sent through
again ("cycle walking"): Black and Rogaway 2002, "Ciphers with arbitrary finite domains". It shuffles; it keeps no
secrets.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]

#: More than enough for every pair of places to be independent as far as training can notice.
_ROUNDS = 10

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def mix(values: Numbers) -> Numbers:
    """The finalizer of splitmix64 (Steele et al. 2014): a bijection of 64-bit numbers that leaves no pattern."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)


def key_of(*parts: int) -> int:
    """A 64-bit key from integers from 0 on; other parts, or another order of them, give another key."""
    key = len(parts)
    for part in parts:
        key = (key * _GOLDEN + part + 1) & _MASK  # then mix() for a single number, without an array
        key = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        key = (key ^ (key >> 27)) * 0x94D049BB133111EB & _MASK
        key ^= key >> 31
    return key


def shuffled(places: NDArray[np.integer], size: int, key: int) -> NDArray[np.int64]:
    """Where places of the shuffled numbers 0 ... size - 1 come from; one permutation for each (size, key).

    Args:
        places: Integers of any shape, each from 0 to size - 1.

    Raises:
        ValueError: a place lies outside.
    """
    values = np.asarray(places, dtype=np.int64)
    if values.size and (int(values.min()) < 0 or int(values.max()) >= size):
        raise ValueError(f"places go from 0 to {size - 1}")
    numbers = _turned(values.reshape(-1).astype(np.uint64), size, key)
    while (outside := np.flatnonzero(numbers >= np.uint64(size))).size:
        numbers[outside] = _turned(numbers[outside], size, key)
    return numbers.astype(np.int64).reshape(values.shape)


def _turned(numbers: Numbers, size: int, key: int) -> Numbers:
    """One pass through the network; a bijection of the numbers below high * low, which may exceed `size` a little."""
    high = math.isqrt(max(0, size - 1)) + 1
    low = -(-size // high)
    left, right = numbers // np.uint64(low), numbers % np.uint64(low)
    for turn in range(_ROUNDS):
        secret = np.uint64(key_of(key, turn))
        if turn % 2:
            right = (right + mix(left ^ secret) % np.uint64(low)) % np.uint64(low)
        else:
            left = (left + mix(right ^ secret) % np.uint64(high)) % np.uint64(high)
    return np.asarray(left * np.uint64(low) + right, dtype=np.uint64)
