"""Which cards would do, and the cheapest changes of the settings after which a given card does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from core import presets, registry
from core.anatomy.source import Anatomy
from core.errors import UserError
from core.estimate.learned import corrected
from core.estimate.memory import Memory, phases, precision
from core.settings import Settings

#: Memory of the cards that are asked for, in GiB.
CARDS = (8, 12, 16, 24, 32, 48)
#: Share of a card's memory that can be used: the driver, a screen and gaps between the tensors take the rest.
USABLE = 0.96
#: Changes are worth telling from this saving on.
_WORTH = 0.01
_MOST = 4
_MID_UP = {"training.method": "part", "part.blocks": ["mid", "up 0"]}


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the settings that saves memory.

    Attributes:
        settings: The options to set.
        saves_bytes: By how much the run's peak falls.
        total_bytes: The peak with it.
        price: What it costs, in words.
        fits: Whether the card that was asked for would do then; None when none was asked for.
    """

    settings: dict[str, Any]
    saves_bytes: int
    total_bytes: int
    price: str
    fits: bool | None = None


def usable(card_bytes: float) -> float:
    """Bytes of a card that a run may use."""
    return card_bytes * USABLE


def fits(total_bytes: int) -> dict[str, bool]:
    """Verdict for each size of card."""
    return {str(card): total_bytes <= usable(card << 30) for card in CARDS}


def worst(settings: Settings, anatomy: Anatomy, factor: float = 1.0) -> Memory:
    """The phase of the run that needs most, with what was learned on this machine."""
    return max((corrected(memory, factor) for memory in phases(settings, anatomy)), key=lambda memory: memory.total)


def _candidates(settings: Settings) -> Iterator[tuple[dict[str, Any], str]]:
    """Single changes that are possible here, the cheapest first, with their price."""
    training, hardware = settings.training, settings.hardware
    if not training.activation_checkpointing:
        yield {"training.activation_checkpointing": True}, "about a quarter slower; the weights are the same"
    if training.optimizer in ("adamw", "lion"):
        eight = {"adamw": "adamw8bit", "lion": "lion8bit"}[training.optimizer]
        yield {"training.optimizer": eight}, "states in 8 bits: no visible difference"
    if training.ema and not training.ema_on_cpu:
        yield {"training.ema_on_cpu": True}, "the average moves between card and memory at each step: a little slower"
    if not hardware.vae_tiling:
        yield {"hardware.vae_tiling": True}, "faint seams are possible in large pictures"
    if hardware.encode_batch > 1:
        yield {"hardware.encode_batch": 1}, "encoding the pictures takes a little longer"
    if _can_fuse(settings):
        change = {"training.fused_backward_pass": True, "training.clip_norm": 0.0, "training.accumulation": 1}
        yield change, "no gradient clipping and no accumulation"
    if training.weights_precision == "fp32" and _trains_the_model(settings):
        yield {"training.weights_precision": "bf16"}, "weights are rounded by chance (bf16): slightly less exact"
    if not hardware.offload_states:
        yield {"hardware.offload_states": True}, "states travel to the card at each step: clearly slower"
    if training.batch_size > 1:
        half = training.batch_size // 2
        more = training.accumulation * -(-training.batch_size // half)
        yield {"training.batch_size": half, "training.accumulation": more}, "slower steps with the same effect"
        if half > 1:
            more = training.accumulation * training.batch_size
            yield {"training.batch_size": 1, "training.accumulation": more}, "clearly slower steps, the same effect"
    yield from _smaller_jobs(settings)


def _trains_the_model(settings: Settings) -> bool:
    """Whether the model's own weights are trained, not an addition to them."""
    return bool(registry.component("methods", settings.training.method).WHOLE)


def _smaller_jobs(settings: Settings) -> Iterator[tuple[dict[str, Any], str]]:
    """Changes of what is trained: dearer than those of how."""
    training = settings.training
    texts = ("training.text_encoder_learning_rate", "training.text_encoder_2_learning_rate")
    rates = (training.text_encoder_learning_rate, training.text_encoder_2_learning_rate)
    rated = {key: 0.0 for key, rate in zip(texts, rates, strict=True) if rate}
    if rated and training.learning_rate:
        yield rated, "the text encoders stay as they are"
    if training.method == "full":
        yield _MID_UP, "the other blocks of the UNet stay as they are"
    if _trains_the_model(settings):
        yield {"training.method": "lora"}, "learns an addition instead of the model itself; wants a higher rate"
    elif training.method != "lora":
        yield {"training.method": "lora"}, "a LoRA's additions are never made as large as the layers themselves"
    for smaller in (768, 512):
        if settings.data.resolution > smaller:
            yield {"data.resolution": smaller}, "less detail is learned"
            return


def _can_fuse(settings: Settings) -> bool:
    """Whether the fused backward pass is off and could be on."""
    training = settings.training
    moves_alone = getattr(registry.component("optimizers", training.optimizer), "FUSED", True)
    alone = settings.hardware.processes == 1 and precision(settings) != "fp16"
    return bool(moves_alone and alone and not training.fused_backward_pass)


def _possible(settings: Settings) -> bool:
    """Whether options do not exclude each other."""
    training = settings.training
    return not training.fused_backward_pass or (training.accumulation == 1 and not training.clip_norm)


def _changed(settings: Settings, change: Mapping[str, Any]) -> Settings | None:
    """Settings with a change, None where it is impossible."""
    try:
        found = presets.build({**presets.flat(settings), **change}, "a change", type(settings))
    except UserError:
        return None
    return found if _possible(found) else None


def changes(settings: Settings, anatomy: Anatomy, factor: float = 1.0, card_bytes: float | None = None) -> list[Change]:
    """What would save memory.

    With a card that does not do: the cheapest single changes and pairs after which it does (a pair costs the sum of its
    changes' places in the order of cost); as many as it takes where those would train something else, or do not help;
    [] when nothing helps. Otherwise every single change that is worth it, the cheapest first.
    """
    before = worst(settings, anatomy, factor).total
    wanted = None if card_bytes is None else usable(card_bytes)
    singles = list(_candidates(settings))
    if wanted is None or before <= wanted:
        tried = (_try(settings, anatomy, factor, [single], before, None) for single in singles)
        return [change for change in tried if change and change.saves_bytes >= _WORTH * before]
    found: list[Change] = []
    groups = [group for count in (1, 2) for group in combinations(range(1, len(singles) + 1), count)]
    for group in sorted(groups, key=sum):
        change = _try(settings, anatomy, factor, [singles[place - 1] for place in group], before, wanted)
        if change and change.fits and not any(set(old.settings) <= set(change.settings) for old in found):
            found.append(change)
        if len(found) == _MOST:
            break
    if any("training.method" not in change.settings for change in found):
        return found
    kept = [single for single in singles if "training.method" not in single[0]]
    return [*_many(settings, anatomy, factor, kept, before, wanted), *found] or _many(
        settings, anatomy, factor, singles, before, wanted
    )


def _try(
    settings: Settings,
    anatomy: Anatomy,
    factor: float,
    group: list[tuple[dict[str, Any], str]],
    before: int,
    wanted: float | None,
) -> Change | None:
    together: dict[str, Any] = {}
    for change, _ in group:
        if any(together.get(key, value) != value for key, value in change.items()):
            return None
        together.update(change)
    changed = _changed(settings, together)
    if changed is None:
        return None
    try:
        total = worst(changed, anatomy, factor).total
    except UserError:
        return None
    price = "; ".join(price for _, price in group)
    return Change(together, before - total, total, price, None if wanted is None else total <= wanted)


def _many(
    settings: Settings,
    anatomy: Anatomy,
    factor: float,
    singles: list[tuple[dict[str, Any], str]],
    before: int,
    wanted: float,
) -> list[Change]:
    """One change after the other, the cheapest first, until it fits; those that help too little are left out."""
    group: list[tuple[dict[str, Any], str]] = []
    least = before
    for single in singles:
        change = _try(settings, anatomy, factor, [*group, single], before, wanted)
        if change is None or least - change.total_bytes < _WORTH * before:
            continue
        group.append(single)
        least = change.total_bytes
        if change.fits:
            return [change]
    return []
