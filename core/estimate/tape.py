"""A training step in bytes alone: tensors without numbers on a tape that saves and frees what torch's autograd does.

Memory at its peak is a question of order: which results are still held while which gradients are there already. So the
step is played, not summed up. A Tensor here is a shape and a number of bytes; each operation holds for the backward
pass what torch's holds, and Python's own counting of references frees it at the moment at which torch would.
"""

from __future__ import annotations

import heapq
import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Names under which bytes are counted.
ACTIVATIONS, GRADIENTS, CASTS = "activations", "gradients", "weight copies"


class Meter:
    """Bytes that live now, by what they are, and how it was when they were most."""

    def __init__(self) -> None:
        self.live: Counter[str] = Counter()
        self.total = 0
        self.peak = 0
        self.at_peak: dict[str, int] = {}

    def add(self, kind: str, count: int) -> None:
        """Count bytes that begin to live."""
        self.live[kind] += count
        self.total += count
        if self.total > self.peak:
            self.peak = self.total
            self.at_peak = dict(self.live)

    def free(self, kind: str, count: int) -> None:
        """Count bytes that are gone."""
        self.live[kind] -= count
        self.total -= count


class Storage:
    """Memory of one or more tensors; it lives as long as something refers to it."""

    __slots__ = ("_kind", "_meter", "bytes")

    def __init__(self, meter: Meter, count: int, kind: str = ACTIVATIONS) -> None:
        self._meter, self.bytes, self._kind = meter, count, kind
        meter.add(kind, count)

    def __del__(self) -> None:
        self._meter.free(self._kind, self.bytes)


@dataclass(slots=True, eq=False)
class Weight:
    """A weight of the model.

    Attributes:
        size: Bytes of a number.
        trained: Whether it gets a gradient.
        gradient: The gradient while it is there.
    """

    count: int
    size: int
    trained: bool
    gradient: Storage | None = None


class Node:
    """An operation that has to be gone through backwards.

    Attributes:
        edges: (where a gradient goes, bytes of it); 0 bytes: the arriving gradient is passed on as it is.
        saved: Memory held until then.
        scratch: Bytes needed for a moment while the gradients are computed.
        gathers: Whether gradients that arrive are parts to be laid side by side, not to be added.
        replay: For a checkpoint: computes it all again and goes backwards through it.
    """

    __slots__ = ("edges", "gathers", "number", "replay", "saved", "scratch")

    def __init__(
        self, number: int, edges: list[tuple[Node | Weight, int]], saved: list[Storage], scratch: int = 0
    ) -> None:
        self.number, self.edges, self.saved, self.scratch = number, edges, saved, scratch
        self.gathers = False
        self.replay: Callable[[list[Storage]], list[Storage]] | None = None


class Tensor:
    """A result: shape, bytes of a number, memory, and the operation that it came from (None: needs no gradient)."""

    __slots__ = ("node", "shape", "size", "storage")

    def __init__(self, shape: tuple[int, ...], size: int, storage: Storage, node: Node | None = None) -> None:
        self.shape, self.size, self.storage, self.node = shape, size, storage, node

    @property
    def bytes(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * self.size

    def viewed(self, shape: tuple[int, ...]) -> Tensor:
        """The same memory seen in another shape."""
        return Tensor(shape, self.size, self.storage, self.node)


class Tape:
    """Records operations and goes backwards through them."""

    def __init__(self, meter: Meter, *, gradients_stay: bool = True, bundle_weights: int = 0) -> None:
        """`bundle_weights`: gradients are freed when so many have come (fused backward pass); 0 keeps them all.

        `gradients_stay` off: gradients are added to others that were there before (gradient accumulation).
        """
        self.meter = meter
        self.recording = True
        #: Called when a checkpoint has been computed again.
        self.after_replay: list[Callable[[], None]] = []
        self._holding = True
        self._stay = gradients_stay
        self._bundle = bundle_weights
        self._waiting: list[Weight] = []
        self._number = 0

    def new(self, shape: tuple[int, ...], size: int, kind: str = ACTIVATIONS) -> Tensor:
        """A tensor with memory of its own that needs no gradient."""
        return Tensor(shape, size, Storage(self.meter, math.prod(shape) * size, kind))

    def result(
        self,
        shape: tuple[int, ...],
        size: int,
        edges: Sequence[tuple[Node | Weight | None, int]],
        saved: Sequence[Storage] = (),
        scratch: int = 0,
        kind: str = ACTIVATIONS,
    ) -> Tensor:
        """A new tensor that an operation made; it is recorded when a gradient has to go through it."""
        made = self.new(shape, size, kind)
        made.node = self.node(edges, saved, scratch)
        return made

    def node(
        self, edges: Sequence[tuple[Node | Weight | None, int]], saved: Sequence[Storage] = (), scratch: int = 0
    ) -> Node | None:
        """The record of an operation, None where no gradient goes through it."""
        if not self.recording:
            return None
        needed = [(to, count) for to, count in edges if to is not None and needs_gradient(to)]
        if not needed:
            return None
        self._number += 1
        return Node(self._number, needed, list(saved) if self._holding else [], scratch)

    @contextmanager
    def _holding_nothing(self) -> Iterator[None]:
        """Operations are recorded meanwhile, but what they save is let go."""
        before, self._holding = self._holding, False
        try:
            yield
        finally:
            self._holding = before

    def checkpoint(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Activation checkpointing: keep the inputs only, and compute `function` again on the way back."""
        if not self.recording:
            return function(*inputs)
        with self._holding_nothing():
            made = function(*inputs)
        if made.node is None:
            return made
        shapes = [(given.shape, given.size, given.storage, given.node is not None) for given in inputs]
        wanted = [place for place, given in enumerate(inputs) if given.node is not None]

        def replay(box: list[Storage]) -> list[Storage]:
            leaves = {place: Node(-1 - place, [], []) for place in wanted}
            again = [Tensor(*facts[:3], node=leaves.get(place)) for place, facts in enumerate(shapes)]
            end = function(*again).node
            del again
            for call in self.after_replay:
                call()
            arrived = self._backward(end, box, {leaf: place for place, leaf in leaves.items()})
            return [arrived[place] for place in wanted]

        self._number += 1
        made.node = Node(self._number, [(inputs[place].node, 0) for place in wanted], [])  # type: ignore[misc]
        made.node.replay = replay
        return made

    def backward(self, end: Tensor) -> None:
        """Go backwards from the loss."""
        node, size = end.node, end.bytes
        del end
        self._backward(node, [Storage(self.meter, size)], {})
        self._drop_waiting()
        self.after_replay = []

    def _backward(self, end: Node | None, box: list[Storage], leaves: dict[Node, int]) -> dict[int, Storage]:
        """Later operations first; returns the gradients that arrived at `leaves` by their places.

        A gradient travels in a list of one, so that who takes it out is the only one who holds it.
        """
        arrived: dict[int, Storage] = {}
        if end is None:
            return arrived
        pending = {end: [box.pop()]}
        heap = [(-end.number, id(end), end)]
        while heap:
            node = heapq.heappop(heap)[2]
            given = pending.pop(node)
            if node in leaves:
                arrived[leaves[node]] = given.pop()
                continue
            sent = self._step(node, given)
            del given
            while sent:
                to, storage = sent.pop(0)
                if isinstance(to, Weight):
                    self._deliver(to, storage)
                elif to in pending and to.gathers:
                    pending[to].append(storage)
                elif to in pending:
                    self._sum(pending[to], storage)
                else:
                    pending[to] = [storage]
                    heapq.heappush(heap, (-to.number, id(to), to))
                del storage
        return arrived

    def _step(self, node: Node, given: list[Storage]) -> list[tuple[Node | Weight, Storage]]:
        """Gradients that one operation sends on; what it had saved is free afterwards."""
        if node.replay is not None:
            sent = node.replay(given)
            node.replay = None
            return [(edge[0], storage) for edge, storage in zip(node.edges, sent, strict=True)]
        made = [(to, given[0] if not count else Storage(self.meter, count, _kind_of(to))) for to, count in node.edges]
        if node.scratch:
            Storage(self.meter, node.scratch)
        node.saved = []
        return made

    def _sum(self, old: list[Storage], new: Storage) -> None:
        """Two gradients of one tensor added: in the memory of the first, if nobody else looks at it."""
        if sys.getrefcount(old[0]) > 2:
            old[0] = Storage(self.meter, min(old[0].bytes, new.bytes))

    def _deliver(self, weight: Weight, storage: Storage) -> None:
        """A weight's gradient has come: in the precision of the weight."""
        if not self._stay:
            return
        wanted = weight.count * weight.size
        weight.gradient = storage if storage.bytes == wanted else Storage(self.meter, wanted, GRADIENTS)
        if self._bundle:
            self._waiting.append(weight)
            if sum(waiting.count for waiting in self._waiting) >= self._bundle:
                self._drop_waiting()

    def _drop_waiting(self) -> None:
        for weight in self._waiting:
            weight.gradient = None
        self._waiting = []


def needs_gradient(to: Node | Weight) -> bool:
    """Whether a gradient is wanted there."""
    return not isinstance(to, Weight) or to.trained


def _kind_of(to: Node | Weight) -> str:
    return GRADIENTS if isinstance(to, Weight) else ACTIVATIONS
