"""Tests of core/estimate/memory.py and verdict.py: what each setting changes, and what would make a card do."""

from __future__ import annotations

from typing import Any

import pytest

from core import presets
from core.anatomy.source import open_anatomy
from core.estimate.memory import CUDA_CONTEXT_BYTES, Memory, peak, phases
from core.estimate.verdict import CARDS, changes, fits, usable, worst
from core.settings import Settings

GIB = 1 << 30
SDXL = 2_567_463_684


def made(**values: Any) -> Settings:
    plain = {"model.family": "sdxl", "training.method": "full", "data.resolution": 1024}
    return presets.build({**plain, **{key.replace("__", "."): value for key, value in values.items()}}, "test")


def training(**values: Any) -> Memory:
    settings = made(**values)
    found = phases(settings, open_anatomy("", settings.model.family))[0]
    assert found.phase == "training"
    return found


def test_weights_gradients_and_states_are_exact() -> None:
    parts = training(training__activation_checkpointing=True, data__resolution=64).components
    assert parts["model"] == 4 * SDXL and parts["optimizer states"] == 8 * SDXL
    assert parts["gradients"] == pytest.approx(4 * SDXL, rel=0.01)
    assert parts["overhead"] == CUDA_CONTEXT_BYTES


def test_bf16_weights_halve_weights_and_gradients() -> None:
    parts = training(training__weights_precision="bf16", training__activation_checkpointing=True).components
    assert parts["model"] == 2 * SDXL and parts["gradients"] <= 2 * SDXL
    assert parts["optimizer states"] == 8 * SDXL, "the optimizer works in 32 bits"


def test_the_issue_s_number_for_sdxl_on_one_card() -> None:
    """bf16 with stochastic rounding, 8-bit AdamW stepped in backward, checkpointing: 4.2 bytes a weight stay."""
    found = training(
        training__weights_precision="bf16",
        training__optimizer="adamw8bit",
        training__fused_backward_pass=True,
        training__clip_norm=0.0,
        training__activation_checkpointing=True,
        data__resolution=512,
    )
    kept = found.components["model"] + found.components["optimizer states"]
    assert kept / SDXL < 4.2
    assert found.total < 13 * GIB


@pytest.mark.parametrize(
    ("change", "component"),
    [
        ({"training__activation_checkpointing": True}, "activations"),
        ({"training__optimizer": "adamw8bit"}, "optimizer states"),
        ({"training__optimizer": "adafactor"}, "optimizer states"),
        ({"hardware__offload_states": True}, "optimizer states"),
        ({"training__fused_backward_pass": True}, "gradients"),
        ({"training__weights_precision": "bf16"}, "model"),
        ({"training__method": "part", "part__blocks": ["mid", "up 0"]}, "optimizer states"),
        ({"training__method": "lora"}, "gradients"),
        ({"data__resolution": 512}, "activations"),
    ],
)
def test_what_saves_memory(change: dict[str, Any], component: str) -> None:
    plain: dict[str, Any] = {"training__batch_size": 2}
    if component != "activations":
        plain["training__activation_checkpointing"] = True
    before, after = training(**plain), training(**plain, **change)
    assert after.total < before.total
    assert after.components.get(component, 0) < before.components.get(component, 1)


def test_longer_captions_need_more_memory() -> None:
    """Frozen, their states are longer; trained, each piece goes through the text encoder."""
    changes: dict[str, Any]
    for changes in ({}, {"training__text_encoder_learning_rate": 1e-6}):
        sizes = [
            training(**changes, data__max_tokens=length).components["activations"] for length in ("75", "150", "225")
        ]
        assert sizes[0] < sizes[1] < sizes[2]
        assert sizes[2] - sizes[1] == pytest.approx(sizes[1] - sizes[0], rel=0.35)


def test_accumulated_gradients_are_there_all_the_time() -> None:
    plain = training(training__batch_size=1)
    more = training(training__batch_size=1, training__accumulation=2)
    assert more.components["gradients"] >= 4 * SDXL
    assert more.total > plain.total


def test_a_trained_text_encoder_counts_with_all_it_needs() -> None:
    plain = training().components
    both = training(training__text_encoder_learning_rate=1e-6, training__text_encoder_2_learning_rate=1e-6).components
    assert "text encoders" not in plain
    assert both["text encoders"] == pytest.approx(4 * 817_720_320, rel=0.02)
    assert both["optimizer states"] > plain["optimizer states"] + 6 * 800_000_000


def test_an_average_of_the_weights_counts_where_it_lies() -> None:
    assert training(training__ema=True).components["EMA"] == 4 * SDXL
    assert "EMA" not in training(training__ema=True, training__ema_on_cpu=True).components


def test_several_gpus_keep_buckets_of_gradients() -> None:
    assert "gradient buckets" not in training().components
    assert training(hardware__processes=2).components["gradient buckets"] == 4 * SDXL


def test_optimizers_that_look_at_all_weights_need_copies_of_bf16_ones() -> None:
    values = {"training__weights_precision": "bf16", "training__optimizer": "prodigy"}
    parts = training(**values, training__activation_checkpointing=True).components
    assert parts["gradients"] + parts["weight copies"] == 8 * SDXL


def test_phases_of_a_run() -> None:
    anatomy = open_anatomy("", "sdxl")
    lora = made(training__method="lora", training__activation_checkpointing=True, sample__prompts=["a"])
    by_name = {phase.phase: phase for phase in phases(lora, anatomy)}
    assert set(by_name) == {"training", "caching", "sampling", "measuring"}
    assert by_name["caching"].components.keys() == {"VAE", "activations", "overhead"}
    assert "gradients" not in by_name["sampling"].components
    assert peak(lora, anatomy).phase == "caching", "eight large pictures at once need more than a LoRA"
    one = made(training__method="lora", training__activation_checkpointing=True, hardware__encode_batch=1)
    assert peak(one, anatomy).phase == "measuring", "several pictures at once, though nothing is learned from them"
    unmeasured = made(
        training__method="lora",
        training__activation_checkpointing=True,
        hardware__encode_batch=1,
        validation__every_steps=0,
    )
    assert peak(unmeasured, anatomy).phase == "training"
    tiles = made(data__resolution=2048, hardware__vae_tiling=True)
    assert phases(tiles, anatomy)[1].total < phases(made(data__resolution=2048), anatomy)[1].total / 3


def test_a_processor_encodes_one_picture_at_a_time() -> None:
    def caching(**values: Any) -> int:
        found = phases(made(**values), open_anatomy("", "sd15"))
        return next(memory for memory in found if memory.phase == "caching").components["activations"]

    on_cpu = [caching(hardware__device="cpu", hardware__encode_batch=count) for count in (1, 8)]
    on_gpu = [caching(hardware__encode_batch=count) for count in (1, 8)]
    assert on_cpu[0] == on_cpu[1] and on_gpu[1] > 5 * on_gpu[0]


def test_samples_count_with_their_size_and_number() -> None:
    """Without a size of their own they have the training's resolution; large ones are decoded one by one."""

    def drawing(**values: Any) -> int:
        found = phases(made(training__method="lora", **values), open_anatomy("", "sd15"))
        return next(memory for memory in found if memory.phase == "sampling").components["activations"]

    one = drawing(sample__prompts=["a"], data__resolution=512)
    assert one == drawing(sample__prompts=["a"], data__resolution=256, sample__width=512, sample__height=512)
    assert one > 100 << 20
    assert drawing(sample__prompts=["a", "b"], data__resolution=512) == one, "one after the other"
    many = drawing(sample__prompts=["a"] * 8, data__resolution=512)
    assert one < many == drawing(sample__prompts=["a"] * 20, data__resolution=512), "eight are denoised at once"
    large = [drawing(sample__prompts=["a"] * count, data__resolution=1024) for count in (1, 8)]
    assert large[0] > 3.5 * one and large[1] < 2 * large[0]


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_deepspeed_splits(stage: int, precision: str) -> None:
    """A share of the states, to which 32-bit weights belong; in stage 2 of the gradients; bf16 halves the rest."""
    settings = {"training__precision": precision, "training__activation_checkpointing": True, "data__resolution": 64}
    split = {"hardware__processes": 4, "hardware__parallel": "deepspeed", "hardware__zero_stage": stage}
    parts = training(**settings, **split, training__accumulation=2).components
    size = 2 if precision == "bf16" else 4
    assert parts["model"] == size * SDXL
    assert parts["optimizer states"] == pytest.approx((8 + 4) * SDXL / 4, abs=4)
    assert parts["gradients"] == pytest.approx(size * SDXL / (4 if stage == 2 else 1), rel=0.05)
    offloaded = training(**settings, **split, hardware__offload_states=True).components
    assert "optimizer states" not in offloaded


def test_the_processor_has_no_driver() -> None:
    assert "overhead" not in training(hardware__device="cpu").components


def test_fits_grows_with_the_card() -> None:
    for total in (5 * GIB, 15 * GIB, 23 * GIB, 60 * GIB):
        verdict = fits(total)
        assert [verdict[str(card)] for card in CARDS] == sorted(verdict.values())
        assert all(does == (total <= usable(card << 30)) for card, does in zip(CARDS, verdict.values(), strict=True))
    assert not fits(round(23.9 * GIB))["24"], "a card is never empty"


def test_changes_that_make_a_card_do_really_do() -> None:
    settings, anatomy = made(training__activation_checkpointing=True), open_anatomy("", "sdxl")
    found = changes(settings, anatomy, card_bytes=24 * GIB)
    assert found
    for change in found:
        again = presets.build({**presets.flat(settings), **change.settings}, "test")
        total = worst(again, anatomy).total
        assert change.fits and total == change.total_bytes <= usable(24 * GIB)
        assert change.saves_bytes == worst(settings, anatomy).total - total and change.price
    assert found[0].settings["training.optimizer"] == "adamw8bit", "what costs nothing comes first"
    for late, change in enumerate(found):
        assert not any(set(old.settings) <= set(change.settings) for old in found[:late])


def test_more_than_two_changes_where_two_do_not_help() -> None:
    settings, anatomy = made(training__batch_size=8, part__blocks=[]), open_anatomy("", "sdxl")
    settings.training.method = "part"
    found = changes(settings, anatomy, card_bytes=16 * GIB)
    assert found and all(change.fits for change in found)


def test_no_changes_are_told_that_save_nothing() -> None:
    settings, anatomy = made(training__activation_checkpointing=True), open_anatomy("", "sdxl")
    found = changes(settings, anatomy)
    assert found and all(change.saves_bytes > 0 and change.fits is None for change in found)
    assert not any("training.activation_checkpointing" in change.settings for change in found)


def test_changes_do_not_exclude_each_other() -> None:
    """The fused backward pass excludes accumulation, which a smaller batch would need."""
    settings, anatomy = made(training__batch_size=4), open_anatomy("", "sdxl")
    for card in (16, 24):
        for change in changes(settings, anatomy, card_bytes=card * GIB):
            if change.settings.get("training.fused_backward_pass"):
                assert change.settings["training.accumulation"] == 1
