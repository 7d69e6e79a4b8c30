"""Which weights a method trains: chosen tensors of the model, and additions (LoRA ...) beside its layers. No torch."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from core import registry
from core.anatomy.additions import PLAIN, Form, Shape
from core.anatomy.layers import Layer, Tensor, tensors_of
from core.errors import UserError

if TYPE_CHECKING:
    from core.anatomy.source import Anatomy
    from core.settings import Settings


@dataclass(frozen=True)
class Trained:
    """What is trained in one part of a model.

    Attributes:
        names: Its own tensors that are trained.
        ranks: Rank of the addition beside each layer that has one.
        form: What these additions are.
    """

    names: frozenset[str] = frozenset()
    ranks: Mapping[str, int] = field(default_factory=dict)
    form: Form = PLAIN

    def beside(self, layer: Layer) -> list[Shape]:
        """Shapes of the tensors that are added beside a layer; none where it has no addition."""
        rank = self.ranks.get(layer.name)
        return self.form.shapes(layer, rank) if rank else []

    def added(self, layers: Iterable[Layer]) -> int:
        """Number of weights beside layers."""
        return sum(math.prod(shape) for layer in layers for shape in self.beside(layer))


def chosen(
    tensors: Iterable[Tensor], blocks: Collection[str], kinds: Collection[str], pattern: str = "", without: str = ""
) -> list[Tensor]:
    """The tensors that lie in one of `blocks`, are of one of `kinds` and match `pattern` but not `without`.

    Empty means all (for `without`: none). Patterns are searched for anywhere in the name. UserError for a pattern
    that is no regular expression.
    """
    wanted, unwanted = _compiled(pattern), _compiled(without)
    return [
        tensor
        for tensor in tensors
        if (not blocks or tensor.block in blocks)
        and (not kinds or tensor.kind in kinds)
        and (not pattern or wanted.search(tensor.name))
        and not (without and unwanted.search(tensor.name))
    ]


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"'{pattern}' is no regular expression ({error}). Write for instance up_blocks or attn2.*to_[kv]."
        ) from None


def everything(layers: Iterable[Layer]) -> Trained:
    """All tensors."""
    return Trained(frozenset(tensor.name for tensor in tensors_of(layers)))


def additions(layers: Iterable[Layer], endings: Iterable[str], rank: int, form: Form = PLAIN) -> Trained:
    """An addition of a rank beside every linear layer and convolution whose name ends with one of `endings`."""
    ends = tuple(f".{ending}" for ending in endings)
    ranks = {layer.name: rank for layer in layers if layer.op in ("linear", "conv") and f".{layer.name}".endswith(ends)}
    return Trained(ranks=ranks, form=form)


def trained_parts(settings: Settings, anatomy: Anatomy) -> dict[str, Trained]:
    """What the method of the settings trains in each part that has a rate above 0.

    A method says it by `trains(part, layers, settings)`. UserError for what the method cannot do.
    """
    from core.methods import _parts

    method = registry.component("methods", settings.training.method)
    found: dict[str, Trained] = {}
    for part, rate in _parts.rates(settings).items():
        if rate > 0 and part in anatomy.parts:
            what: Trained = method.trains(part, anatomy.parts[part], settings)
            found[part] = what if part == "unet" else _read_only(part, what, settings, anatomy)
    return found


def _read_only(part: str, what: Trained, settings: Settings, anatomy: Anatomy) -> Trained:
    """Without the layers of a text encoder that the UNet never reads: the trainer leaves them as they are."""
    beginnings = tuple(anatomy.family.unread(part, anatomy.configs[part], settings.model.clip_skip))

    def is_read(name: str) -> bool:
        return not beginnings or not name.removeprefix("text_model.").startswith(beginnings)

    ranks = {name: rank for name, rank in what.ranks.items() if is_read(name)}
    return replace(what, names=frozenset(filter(is_read, what.names)), ranks=ranks)


def counts(anatomy: Anatomy, trained: Mapping[str, Trained]) -> tuple[int, int]:
    """(trained weights, all weights of the trained parts, additions included), as the trainer counts them."""
    own = added = whole = 0
    for part, what in trained.items():
        layers = anatomy.parts[part]
        own += sum(tensor.count for tensor in tensors_of(layers) if tensor.name in what.names)
        added += what.added(layers)
        whole += sum(layer.count for layer in layers)
    return own + added, whole + added
