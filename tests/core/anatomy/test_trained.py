"""Tests of core/anatomy/trained.py and of trains() in core/methods: against what the real attach() makes trainable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from core import presets, registry
from core.anatomy.additions import Form, split
from core.anatomy.layers import tensors_of
from core.anatomy.source import open_anatomy
from core.anatomy.trained import Trained, additions, chosen, counts, trained_parts
from core.anatomy.unet import unet_layers
from core.errors import UserError
from core.methods import lora
from core.settings import Settings
from tests.fixtures.tiny_model import UNET, make_tiny_model

ALL = "transformer blocks + resnets"
TENSORS = tensors_of(unet_layers(UNET))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("trained") / "model")


def made(base: Path, **values: Any) -> Settings:
    return presets.build({"model.base": str(base), **{k.replace("__", "."): v for k, v in values.items()}}, "test")


def attached(settings: Settings) -> tuple[set[str], int, int]:
    """(names of the UNet's trained parameters, number of trained weights, weights of the trained parts), really."""
    from core.engine.models import open_models

    models = open_models(settings, torch.device("cpu"))
    models.load("unet", "text_encoder")
    method = registry.component("methods", settings.training.method)
    groups = method.attach(models, settings)
    names = {name for name, parameter in models.unet.named_parameters() if parameter.requires_grad}
    known = {id(parameter) for group in groups.values() for parameter in group}
    trained = {id(p) for part in groups for p in getattr(models, part).parameters() if p.requires_grad}
    assert known == trained
    whole = sum(p.numel() for part in groups for p in getattr(models, part).parameters())
    return names, sum(p.numel() for group in groups.values() for p in group), whole


@pytest.mark.parametrize(
    "values",
    [
        {"training__method": "full"},
        {"training__method": "full", "training__text_encoder_learning_rate": 1e-4},
        {"training__method": "part", "part__blocks": ["mid", "up 0"]},
        {"training__method": "part", "part__kinds": ["cross-attention", "norm"]},
        {"training__method": "part", "part__blocks": ["down 0"], "part__kinds": ["resnet"], "part__without": "bias"},
        {"training__method": "part", "part__pattern": r"attn2\.to_[kv]", "training__text_encoder_learning_rate": 1e-4},
        {"training__method": "full", "training__block_rates": ["down 0 = 0", "mid = 0.5"]},
        {"training__method": "part", "part__kinds": ["resnet"], "training__block_rates": ["up 0 = 0"]},
    ],
)
def test_the_trained_tensors_are_the_real_ones(values: dict[str, Any], tiny: Path) -> None:
    settings = made(tiny, **values)
    names, trained, whole = attached(settings)
    anatomy = open_anatomy(str(tiny))
    found = trained_parts(settings, anatomy)
    assert found["unet"].names == names
    assert counts(anatomy, found) == (trained, whole)


@pytest.mark.parametrize(
    ("family", "plain", "convolutions", "text"),
    [("sd15", 192, 278, {"text_encoder": 72}), ("sdxl", 722, 788, {"text_encoder": 72, "text_encoder_2": 192})],
)
def test_as_many_layers_as_sd_scripts_says_it_makes(
    family: str, plain: int, convolutions: int, text: dict[str, int]
) -> None:
    anatomy = open_anatomy("", family)

    def count(targets: str, part: str) -> int:
        settings = presets.build({"lora.targets": targets, "training.method": "lora"}, "test")
        return len(lora.trains(part, anatomy.parts[part], settings).ranks)

    assert count("transformer blocks", "unet") == plain
    assert count("transformer blocks + resnets", "unet") == convolutions
    assert {part: count("transformer blocks", part) for part in text} == text


@pytest.mark.parametrize("targets", ["attention", "transformer blocks", ALL])
@pytest.mark.parametrize("dora", [False, True])
def test_additions_are_counted_exactly(targets: str, dora: bool, tiny: Path) -> None:
    values = {"lora__targets": targets, "lora__dora": dora, "lora__rank": 3}
    values["training__block_rates"] = ["mid = 0", "up 1 = 2"] if targets == "attention" else []
    settings = made(tiny, training__method="lora", training__text_encoder_learning_rate=1e-4, **values)
    _, trained, whole = attached(settings)
    anatomy = open_anatomy(str(tiny))
    assert counts(anatomy, trained_parts(settings, anatomy)) == (trained, whole)


@pytest.mark.parametrize(
    "values",
    [
        {"training__method": "loha", "loha__rank": 3},
        {"training__method": "lokr", "lokr__rank": 2},
        {"training__method": "lokr", "lokr__rank": 1, "lokr__factor": 8, "lokr__decompose_both": True},
        {"training__method": "lokr", "lokr__rank": 10_000, "lokr__factor": 5},
    ],
)
def test_hadamard_and_kronecker_products_are_counted_exactly(values: dict[str, Any], tiny: Path) -> None:
    targets = {f"{values['training__method']}__targets": "attention + feed-forward + resnets"}
    settings = made(tiny, **values, **targets, training__text_encoder_learning_rate=1e-4)
    _, trained, whole = attached(settings)
    anatomy = open_anatomy(str(tiny))
    assert counts(anatomy, trained_parts(settings, anatomy)) == (trained, whole)


def test_sizes_are_split_as_peft_splits_them() -> None:
    from peft.tuners.lokr.layer import factorization

    for size in (*range(1, 70), 320, 640, 768, 1024, 1280, 2048, 2560, 5120, 10240):
        for factor in (-1, 1, 2, 3, 4, 8, 10, 16, 64):
            assert split(size, factor) == factorization(size, factor), (size, factor)


def test_choices_hold_together() -> None:
    both = chosen(TENSORS, ["mid"], ["norm"])
    assert both and all(tensor.block == "mid" and tensor.kind == "norm" for tensor in both)
    assert chosen(TENSORS, [], []) == TENSORS
    without = chosen(TENSORS, ["mid"], ["norm"], without=r"\.bias$")
    assert {t.name for t in without} == {t.name for t in both if not t.name.endswith(".bias")}


def test_a_pattern_that_is_none_is_said(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"'attn\[' is no regular expression"):
        chosen(TENSORS, [], [], "attn[")
    with pytest.raises(UserError, match="no regular expression"):
        trained_parts(made(tiny, training__method="part", part__without="("), open_anatomy(str(tiny)))


def test_nothing_left_to_train_is_said(tiny: Path) -> None:
    settings = made(tiny, training__method="part", part__blocks=["down 3"])
    with pytest.raises(UserError, match="choose more blocks or layers"):
        trained_parts(settings, open_anatomy(str(tiny)))


def test_parts_without_a_rate_are_not_trained(tiny: Path) -> None:
    settings = made(tiny, training__method="full", training__learning_rate=0, training__text_encoder_learning_rate=1e-5)
    assert list(trained_parts(settings, open_anatomy(str(tiny)))) == ["text_encoder"]


def test_what_sdxl_never_reads_is_not_trained() -> None:
    values = {"training.method": "full", "model.family": "sdxl", "training.text_encoder_learning_rate": 1e-5}
    anatomy = open_anatomy("", "sdxl")
    names = trained_parts(presets.build(values, "test"), anatomy)["text_encoder"].names
    assert "encoder.layers.10.mlp.fc1.weight" in names
    assert "encoder.layers.11.mlp.fc1.weight" not in names and "final_layer_norm.weight" not in names


def test_magnitudes_are_one_for_each_output() -> None:
    layer = next(layer for layer in unet_layers(UNET) if layer.name == "conv_in")
    assert additions([layer], ["conv_in"], 2).added([layer]) == 2 * (4 * 9 + 16)
    assert additions([layer], ["conv_in"], 2, Form(magnitudes=True)).added([layer]) == 2 * (4 * 9 + 16) + 16
    assert Trained().names == frozenset()


def test_the_rest_of_the_model_stays_as_it_is(tiny: Path) -> None:
    """One real step of the method: only the chosen tensors move."""
    from core.engine.models import open_models

    settings = made(tiny, training__method="part", part__blocks=["mid"], part__kinds=["self-attention"])
    models = open_models(settings, torch.device("cpu"))
    models.load("unet")
    groups = registry.component("methods", "part").attach(models, settings)
    before = {name: tensor.clone() for name, tensor in models.unet.state_dict().items()}
    optimizer = torch.optim.SGD(groups["unet"], lr=0.1)
    out = models.unet(torch.randn(1, 4, 8, 8), torch.tensor([10]), torch.randn(1, 77, 16), return_dict=False)[0]
    out.square().mean().backward()
    optimizer.step()
    moved = {name for name, tensor in models.unet.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved and all(name.startswith("mid_block.") and ".attn1." in name for name in moved)


@pytest.mark.parametrize("method", registry.names("methods"))
def test_every_method_says_what_it_trains(method: str, tiny: Path) -> None:
    anatomy = open_anatomy(str(tiny))
    found = trained_parts(made(tiny, training__method=method), anatomy)
    assert list(found) == ["unet"] and counts(anatomy, found)[0] > 0
