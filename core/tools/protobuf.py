"""Protocol-buffer messages, many at once in numpy: the fields of a million small messages in a few hundred calls.

Only the wire format is known here (https://protobuf.dev/programming-guides/encoding): a message is a row of fields,
each a key (number and wire type) and a value; what a field means is the caller's business. All messages are walked in
step: one turn reads the next field of each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

#: Wire types: a number in 7-bit groups, 8 bytes, a length and so many bytes, 4 bytes.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
#: A message with more fields than this is none that we want; it ends the walk of a damaged file.
_MOST_FIELDS = 4096


@dataclass(frozen=True, slots=True)
class Fields:
    """Fields of many messages, one row each, in no order over the messages but in the order within each.

    Attributes:
        owner: Which of the messages the field belongs to.
        number, wire: The field's number and wire type.
        start, stop: Place of the value's bytes (without its length).
        value: The number of a VARINT field, 0 for others.
    """

    owner: Places
    number: Places
    wire: Places
    start: Places
    stop: Places
    value: Places

    def only(self, number: int, wire: int) -> Fields:
        """The fields of a number and a wire type."""
        at = np.flatnonzero((self.number == number) & (self.wire == wire))
        return Fields(*(getattr(self, name)[at] for name in self.__slots__))


def varints(data: Bytes, at: Places) -> tuple[Places, Places]:
    """(values, places after them) of the numbers that begin at `at`; 64 bits, negative ones as two's complement."""
    byte = data.take(at, mode="clip").astype(np.int64)
    values, after = byte & 0x7F, at + 1
    open_ = np.flatnonzero(byte > 0x7F)
    for shift in range(7, 70, 7):
        if not len(open_):
            break
        byte = data.take(after[open_], mode="clip").astype(np.int64)
        values[open_] |= (byte & 0x7F) << shift
        after[open_] += 1
        open_ = open_[byte > 0x7F]
    return values, after


def fields(data: Bytes, start: Places, stop: Places) -> Fields:
    """All fields of the messages data[start:stop]. What is damaged in a message ends that message, not the others."""
    owner = np.flatnonzero(start < stop)
    at = start[owner]
    rows: list[tuple[Places, ...]] = []
    for _ in range(_MOST_FIELDS):
        if not len(owner):
            break
        end = stop[owner]
        key, begin = varints(data, at)
        wire = key & 7
        value, after = _value(data, wire, begin)
        length = wire == BYTES
        begin = np.where(length, after - value, begin)
        whole = (after <= end) & (begin <= after) & np.isin(wire, (VARINT, FIXED64, BYTES, FIXED32))
        row = (owner, key >> 3, wire, begin, after, np.where(wire == VARINT, value, 0))
        rows.append(row if whole.all() else tuple(part[whole] for part in row))
        more = whole & (after < end)
        owner, at = owner[more], after[more]
    if not rows:
        return Fields(*(np.empty(0, np.int64) for _ in range(6)))
    return Fields(*(np.concatenate(parts) for parts in zip(*rows, strict=True)))


def _value(data: Bytes, wire: Places, begin: Places) -> tuple[Places, Places]:
    """(number or length, place after the value) of values of any wire type that begin at `begin`."""
    value = np.zeros_like(begin)
    after = begin + np.where(wire == FIXED64, 8, 4)
    counted = np.flatnonzero((wire == VARINT) | (wire == BYTES))
    if len(counted):
        value[counted], behind = varints(data, begin[counted])
        after[counted] = behind + np.where(wire[counted] == BYTES, value[counted], 0)
    return value, after


def fixed(data: Bytes, at: Places, kind: str) -> NDArray[np.float64]:
    """Little-endian numbers ("<f4", "<f8") that begin at `at`, as float64."""
    width = np.dtype(kind).itemsize
    raw = data.take(at[:, None] + np.arange(width), mode="clip")
    return np.ascontiguousarray(raw).view(kind).ravel().astype(np.float64)
