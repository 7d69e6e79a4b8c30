"""CRC-32C (Castagnoli), masked as TFRecord files want it: of one piece of bytes, and of many 8-byte numbers at once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78
_MASK = 0xA282EAD8


@lru_cache(1)
def _table() -> tuple[int, ...]:
    """What each value of a byte does to the sum."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


def masked(data: bytes) -> int:
    """The masked sum of `data`; TFRecord rotates the sum and adds a constant, so that sums of sums differ."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def masked_of_numbers(numbers: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """The masked sums of 8-byte little-endian numbers (n,), each by itself."""
    table = np.array(_table(), np.uint32)
    crc = np.full(len(numbers), 0xFFFFFFFF, np.uint32)
    for byte in np.ascontiguousarray(numbers, "<u8").view(np.uint8).reshape(-1, 8).T:
        crc = table[(crc & 0xFF) ^ byte] ^ (crc >> 8)
    crc ^= np.uint32(0xFFFFFFFF)
    return np.asarray((crc >> 15 | crc << 17) + np.uint32(_MASK), np.uint32)
