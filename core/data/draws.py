"""The seeds of what chance decides: each is a hash of what it is drawn for, so that nothing drawn has a state."""

from __future__ import annotations

import numpy as np
import xxhash


def hash_of(*key: object) -> int:
    """A hash (64 bits) of `key`, from which whatever is drawn for it is seeded."""
    return xxhash.xxh3_64_intdigest("/".join(str(part) for part in key).encode())


def caption_generator(*key: object) -> np.random.Generator:
    """What a caption is drawn with at one use of a picture.

    Args:
        key: (the training's seed, number of the use, content of the picture), as the loader has it.
    """
    return np.random.Generator(np.random.Philox(hash_of("caption", *key)))
