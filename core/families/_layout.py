"""Where a tensor of ours lies in a single file: its name there, and what is done to it on the way."""

from __future__ import annotations

from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """One tensor's place in the original single-file layout.

    Attributes:
        name: Its name in the file.
        third: Which third (0, 1, 2) of the file's tensor it is along the first axis: fused queries, keys and values.
            None when it is all of it.
        transposed: Whether the file keeps the matrix the other way round.
        convolution: Whether the file keeps the matrix (O, I) as a 1x1 convolution (O, I, 1, 1).
    """

    name: str
    third: int | None = None
    transposed: bool = False
    convolution: bool = False

    def file_shape(self, shape: Shape) -> Shape:
        """Shape in the file of a tensor that has `shape` with us."""
        if self.transposed:
            shape = shape[::-1]
        if self.third is not None:
            shape = (3 * shape[0], *shape[1:])
        return (*shape, 1, 1) if self.convolution and len(shape) == 2 else shape
