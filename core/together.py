"""How many pictures go through a model at once: the engine does so, the estimate counts it."""

from __future__ import annotations

#: So many pictures of this size, or more of smaller ones, are drawn or measured together: enough for a GPU to be busy.
_DRAWN, _MEASURED = 8, 16
#: So many small pictures are measured together: a call of a small model costs much beside its arithmetic.
_MEASURED_SMALL = 64
_PIXELS = 512 * 512


def encoded_together(asked: int, on_cpu: bool) -> int:
    """Pictures or captions in one batch of the VAE or a text encoder.

    On a CPU one by one: the last bits of a result depend on who was beside it, and what a damaged or half-filled cache
    lacks is made with other neighbours. It is faster there, too, but for the smallest pictures.
    """
    return 1 if on_cpu else asked


def drawn_together(width: int, height: int) -> int:
    """Samples of a training that are denoised in one batch."""
    return _share(_DRAWN, width, height)


def decoded_together(width: int, height: int) -> int:
    """Pictures that the VAE decodes in one batch: its inner results are hundreds of times as large as a latent."""
    return max(1, _PIXELS // (width * height))


def measured_together(side: int) -> int:
    """Measurements of the stable loss in one batch, at a training resolution."""
    return max(1, min(_MEASURED_SMALL if side * side < _PIXELS else _MEASURED, _MEASURED * _PIXELS // (side * side)))


def _share(most: int, width: int, height: int) -> int:
    """As many as have the pixels of `most` pictures of the usual size, at least 1 and no more than `most`."""
    return max(1, min(most, most * _PIXELS // (width * height)))
