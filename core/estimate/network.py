"""The operations of the networks on the tape: what each puts out, what it saves, and in which precision it works."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.anatomy.layers import Layer
from core.anatomy.trained import Trained
from core.estimate.tape import CASTS, Node, Storage, Tape, Tensor, Weight

FULL, HALF = 4, 2


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How a device computes.

    Attributes:
        half: Whether autocast is on (bf16, fp16): matrices in 2 bytes.
        cuda: On CUDA norms work in 4 bytes under autocast, and pictures lie channels last; on a CPU norms keep the
            precision of what they get, and attention works in 4 bytes (core/engine/attention.py).
        trained_bytes, frozen_bytes: Bytes of a stored weight.
    """

    half: bool
    cuda: bool
    trained_bytes: int = FULL
    frozen_bytes: int = FULL


class Network:
    """Layers by name, to be called in the order of the real forward pass."""

    def __init__(self, tape: Tape, layers: Iterable[Layer], trained: Trained, how: Arithmetic) -> None:
        self.tape, self.how = tape, how
        self.layers = {layer.name: layer for layer in layers}
        self._trained = trained
        self._weights: dict[str, Weight] = {}
        self._copies: dict[str, Tensor] = {}
        if tape.recording:
            tape.after_replay.append(self.end_autocast)

    def end_autocast(self) -> None:
        """The forward pass is over: copies of weights live on only where the backward pass needs them."""
        self._copies = {}

    def weight(self, name: str, count: int, trained: bool) -> Weight:
        """A weight by its tensor's name; the same one at every call, so that its gradient is one."""
        if name not in self._weights:
            size = self.how.trained_bytes if trained else self.how.frozen_bytes
            self._weights[name] = Weight(count, size, trained)
        return self._weights[name]

    def cast(self, x: Tensor, size: int) -> Tensor:
        """`x` in another precision; itself if it has that already."""
        if x.size == size:
            return x
        return self.tape.result(x.shape, size, [(x.node, x.bytes)])

    def _matrix(self, weight: Weight, name: str) -> tuple[Storage | None, int]:
        """(memory of the copy in which a weight is multiplied, or None; bytes of its gradient as it is computed).

        Autocast keeps copies of trained weights until the forward pass is over, those of frozen ones it does not.
        """
        size = HALF if self.how.half else weight.size
        if size == weight.size:
            return None, weight.count * size
        if name in self._copies:
            return self._copies[name].storage, weight.count * size
        copy = self.tape.new((weight.count,), size, CASTS)
        if weight.trained:
            self._copies[name] = copy
        return copy.storage, weight.count * size

    def _multiply(
        self, x: Tensor, name: str, shape: tuple[int, ...], weight: Weight, bias: Weight | None, greedy: bool = False
    ) -> Tensor:
        """A matrix: holds its input for the weight's gradient, the weight for the input's.

        `greedy`: holds both whichever is wanted, as torch's convolutions do.
        """
        x = self.cast(x, HALF) if self.how.half else x
        copy, gradient = self._matrix(weight, name)
        saved = [x.storage] if weight.trained or greedy else []
        if copy is not None and (x.node is not None or greedy):
            saved.append(copy)
        edges: list[tuple[Node | Weight | None, int]] = [(x.node, x.bytes), (weight, gradient)]
        if bias is not None:
            edges.append((bias, bias.count * (HALF if self.how.half else bias.size)))
        return self.tape.result(shape, x.size, edges, saved)

    def _layer(self, x: Tensor, layer: Layer, shape: tuple[int, ...]) -> Tensor:
        trained = f"{layer.name}.weight" in self._trained.names
        weight = self.weight(f"{layer.name}.weight", layer.count - (layer.shape[0] if layer.bias else 0), trained)
        bias = None
        if layer.bias:
            bias = self.weight(f"{layer.name}.bias", layer.shape[0], f"{layer.name}.bias" in self._trained.names)
        made = self._multiply(x, layer.name, shape, weight, bias, layer.op == "conv")
        rank = self._trained.ranks.get(layer.name)
        if not rank:
            return made
        if self._trained.form.kind == "lora":
            return self.add(made, self._lora(x, layer, shape, rank))
        # PEFT brings these back into the precision of what came in.
        return self.cast(self.add(made, self._whole_addition(x, layer, shape, rank)), x.size)

    def _lora(self, x: Tensor, layer: Layer, shape: tuple[int, ...], rank: int) -> Tensor:
        """PEFT's way: B(A(x)) * scaling, with x in the precision of A."""
        x = self.cast(x, self.how.trained_bytes)
        inputs = layer.count - (layer.shape[0] if layer.bias else 0)
        a = self.weight(f"{layer.name}.A", inputs // layer.shape[0] * rank, True)
        b = self.weight(f"{layer.name}.B", layer.shape[0] * rank, True)
        narrow = (shape[0], rank, *shape[2:]) if layer.op == "conv" else (*shape[:-1], rank)
        added = self._multiply(x, f"{layer.name}.A", narrow, a, None)
        return self.scale(self._multiply(added, f"{layer.name}.B", shape, b, None))

    def _whole_addition(self, x: Tensor, layer: Layer, shape: tuple[int, ...], rank: int) -> Tensor:
        """PEFT's LoHa and LoKr: what is added to the weight is made whole, and held to multiply with."""
        kind, kept = self._trained.form.kind, self.how.trained_bytes
        shapes = self._trained.form.shapes(layer, rank)
        edges: list[tuple[Node | Weight | None, int]] = []
        for number, one in enumerate(shapes):
            weight = self.weight(f"{layer.name}.{kind}{number}", math.prod(one), True)
            edges.append((weight, weight.count * kept))
        size = HALF if self.how.half else kept
        count = math.prod(layer.shape)
        if kind == "loha":
            # Both products are made once more on the way back, and their gradients.
            delta = self.tape.result(layer.shape, size, edges, scratch=2 * count * kept)
        else:
            product = self.tape.result(layer.shape, kept, edges)
            scaled = self.tape.result(layer.shape, kept, [(product.node, product.bytes)])
            delta = self.cast(scaled, size)
            del product, scaled
        x = self.cast(x if kind == "loha" else self.cast(x, kept), size)
        saved = [x.storage] if x.node is None and layer.op != "conv" else [x.storage, delta.storage]
        return self.tape.result(shape, size, [(x.node, x.bytes), (delta.node, delta.bytes)], saved)

    def linear(self, x: Tensor, name: str) -> Tensor:
        """A linear layer over the last side."""
        layer = self.layers[name]
        return self._layer(x, layer, (*x.shape[:-1], layer.shape[0]))

    def embedding(self, layer: Layer, shape: tuple[int, ...]) -> Tensor:
        """Rows of a table; its gradient is as large as the table."""
        name = f"{layer.name}.weight"
        table = self.weight(name, layer.count, name in self._trained.names)
        return self.tape.result(shape, table.size, [(table, table.count * table.size)])

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        """A convolution that keeps the size, or divides it by `stride`."""
        layer = self.layers[name]
        height, width = (-(-side // stride) for side in x.shape[2:])
        return self._layer(x, layer, (x.shape[0], layer.shape[0], height, width))

    def norm(self, x: Tensor, name: str) -> Tensor:
        """A group or layer norm: holds its input."""
        layer = self.layers[name]
        if self.how.half and self.how.cuda:
            x = self.cast(x, FULL)
        weights = [
            self.weight(f"{name}.{end}", layer.shape[0], f"{name}.{end}" in self._trained.names)
            for end in ("weight", "bias")
        ]
        edges: list[tuple[Node | Weight | None, int]] = [(x.node, x.bytes)]
        edges += [(weight, weight.count * weight.size) for weight in weights]
        return self.tape.result(x.shape, x.size, edges, [x.storage])

    def act(self, x: Tensor) -> Tensor:
        """SiLU and the like: holds its input."""
        return self.tape.result(x.shape, x.size, [(x.node, x.bytes)], [x.storage])

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """A sum in the wider precision; the smaller one is repeated. Gradients pass through."""
        size = max(a.size, b.size)
        edges = [(given.node, 0 if given.size == size and given.shape == a.shape else given.bytes) for given in (a, b)]
        return self.tape.result(a.shape, size, edges)

    def scale(self, x: Tensor) -> Tensor:
        """A product with a number."""
        return self.tape.result(x.shape, x.size, [(x.node, x.bytes)])

    def copy(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The same numbers in another order of memory."""
        return self.tape.result(shape, x.size, [(x.node, 0)])

    def cat(self, a: Tensor, b: Tensor) -> Tensor:
        """Channels of both; the gradients are two views of one."""
        a, b = (self.cast(given, max(a.size, b.size)) for given in (a, b))
        shape = (a.shape[0], a.shape[1] + b.shape[1], *a.shape[2:])
        return self.tape.result(shape, a.size, [(a.node, 0), (b.node, 0)])

    def upsample(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Nearest neighbours."""
        return self.tape.result(shape, x.size, [(x.node, x.bytes)])

    def gated(self, x: Tensor) -> Tensor:
        """GEGLU's second half: one half of x times the GELU of the other."""
        shape = (*x.shape[:-1], x.shape[-1] // 2)
        count = x.bytes // 2
        halves = self.tape.node([(x.node, x.bytes)])
        if halves is not None:
            halves.gathers = True
        gate = self.tape.result(shape, x.size, [(halves, count)], [x.storage])
        return self.tape.result(shape, x.size, [(halves, count), (gate.node, count)], [x.storage, gate.storage])

    def quick_gelu(self, x: Tensor) -> Tensor:
        """CLIP's x * sigmoid(1.702 x)."""
        inner = self.tape.new(x.shape, x.size)
        outer = self.tape.result(x.shape, x.size, [(x.node, x.bytes)], [inner.storage, x.storage], scratch=x.bytes)
        return outer

    def attention(self, given: Sequence[Tensor], heads: int) -> Tensor:
        """SDPA without a table of all pairs: holds what it got, its result, and a number for each query and head."""
        query = given[0]
        sums = self.tape.new((query.shape[0], heads, query.shape[1]), FULL)
        made = self.tape.new(query.shape, query.size)
        saved = [*(one.storage for one in given), made.storage, sums.storage]
        made.node = self.tape.node([(one.node, one.bytes) for one in given], saved)
        return made
