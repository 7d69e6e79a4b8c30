"""The walk over many messages against a plain loop over one; damage ends a message and nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.tools.protobuf import BYTES, FIXED32, FIXED64, VARINT, fields, varints
from tests.fixtures.tfevents import field, varint

_PAYLOADS = {
    VARINT: st.integers(0, 2**63 - 1).map(varint),
    FIXED64: st.binary(min_size=8, max_size=8),
    BYTES: st.binary(max_size=200),
    FIXED32: st.binary(min_size=4, max_size=4),
}
_FIELD = st.sampled_from(list(_PAYLOADS)).flatmap(
    lambda wire: st.tuples(st.integers(1, 3000), st.just(wire), _PAYLOADS[wire])
)


@given(st.lists(st.lists(_FIELD, max_size=5), max_size=6))
def test_every_field_is_found_where_it_is(messages: list[list[tuple[int, int, bytes]]]) -> None:
    packed = [b"".join(field(*one) for one in message) for message in messages]
    data = np.frombuffer(b"".join(packed) or b"\0", np.uint8)
    stops = np.cumsum([len(message) for message in packed], dtype=np.int64)
    starts = stops - np.array([len(message) for message in packed], np.int64)
    found = fields(data, starts, stops)
    for owner, message in enumerate(messages):
        rows = np.flatnonzero(found.owner == owner)
        assert len(rows) == len(message)
        for row, (number, wire, payload) in zip(rows, message, strict=True):
            assert (found.number[row], found.wire[row]) == (number, wire)
            if wire == VARINT:
                assert varint(int(found.value[row])) == payload
            else:
                assert bytes(data[found.start[row] : found.stop[row]]) == payload


def test_negative_numbers_are_twos_complement() -> None:
    data = np.frombuffer(varint(-5) + varint(7), np.uint8)
    values, after = varints(data, np.array([0, 10]))
    assert values.tolist() == [-5, 7] and after.tolist() == [10, 11]


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_rubbish_ends_its_own_message_only(before: bytes, after: bytes) -> None:
    good = field(1, BYTES, b"tag") + field(2, FIXED32, b"abcd")
    data = np.frombuffer(before + good + after + b"\0", np.uint8)
    edges = np.cumsum([0, len(before), len(good), len(after)], dtype=np.int64)
    found = fields(data, edges[:-1], edges[1:])
    mine = np.flatnonzero(found.owner == 1)
    assert [bytes(data[found.start[row] : found.stop[row]]) for row in mine] == [b"tag", b"abcd"]
    assert (found.start >= edges[found.owner]).all() and (found.stop <= edges[found.owner + 1]).all()
