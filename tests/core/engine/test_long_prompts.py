"""Prompts of 150 and 225 tokens: read piece by piece as sd-scripts reads them, from training to grids."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.engine.checkpoint import save
from core.engine.model_files import open_model
from core.engine.models import Models, open_models
from core.engine.render import Swapper
from core.engine.text_states import TextStates, encode
from core.settings import Settings
from tests.core.engine.drawing import draw, whole_models
from tests.core.engine.helpers import assert_equal, last_checkpoint, losses, train
from tests.fixtures.tiny_model import make_tiny_2_model, make_tiny_xl_model

Make = Callable[..., Settings]

BEGIN, END, EXCLAMATION = 49406, 49407, 0
LENGTHS = [0, 1, 74, 75, 76, 100, 149, 150, 151, 224, 225, 240]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, Path]:
    """A tiny model of each family."""
    folder = tmp_path_factory.mktemp("families")
    return {"sd15": tiny_model, "sd2": make_tiny_2_model(folder / "2"), "sdxl": make_tiny_xl_model(folder / "xl")}


def prompt(length: int) -> str:
    """A text of so many tokens, all different from their neighbours."""
    return " ".join(("cat", "dog", "red", "sea", "sky")[number % 5] for number in range(length))


def pieces_by_hand(models: Models, text: str, count: int, pad: int) -> list[list[int]]:
    """A plain reading of sd-scripts' rules, on lists: the whole is cut and padded first, then divided."""
    own = models.tokenizer(text, add_special_tokens=False).input_ids[: count * 75]
    whole = [BEGIN, *own, END] + [pad] * (count * 75 - len(own))
    found = []
    for start in range(1, count * 75 + 1, 75):
        piece = [whole[0], *whole[start : start + 75], whole[-1]]
        if pad != END and count > 1:
            if piece[-2] not in (END, pad):
                piece[-1] = END
            if piece[1] == pad:
                piece[1] = END
        found.append(piece)
    return found


def states_by_hand(encoder: Any, pieces: list[list[int]], layer: int, norm: bool) -> torch.Tensor:
    """States of the pieces, each encoded alone: the first one's beginning, each one's 75, the last one's end."""
    parts = []
    for number, piece in enumerate(pieces):
        hidden = encoder(torch.tensor([piece]), output_hidden_states=True).hidden_states[layer][0]
        hidden = getattr(encoder, "text_model", encoder).final_layer_norm(hidden) if norm else hidden
        parts.append(hidden[0 if number == 0 else 1 : 77 if number == len(pieces) - 1 else 76])
    return torch.cat(parts)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_pieces_and_states_are_sd_scripts(family: str, count: int, folders: dict[str, Path]) -> None:
    models = whole_models(folders[family])
    models.prompt_tokens = 75 * count
    texts = [prompt(length) for length in LENGTHS]
    with torch.no_grad():
        found = encode(models, texts, "fp32")
    assert found["encoder_hidden_states"].shape[1] == 75 * count + 2
    tokens = models.family.tokenize(models, texts)
    for row, text in enumerate(texts):
        first = pieces_by_hand(models, text, count, EXCLAMATION if family == "sd2" else END)
        ours = tokens[row] if family != "sdxl" else tokens[row, 0]
        assert ours.tolist() == first
        if family != "sdxl":
            wanted = states_by_hand(models.text_encoder, first, -1, True)
        else:
            second = pieces_by_hand(models, text, count, EXCLAMATION)
            assert tokens[row, 1].tolist() == second
            both = [
                states_by_hand(models.text_encoder, first, -2, False),
                states_by_hand(models.text_encoder_2, second, -2, False),
            ]
            wanted = torch.cat(both, dim=-1)
            ends = models.text_encoder_2(torch.tensor(second[:1]))
            at_end = ends.last_hidden_state[0, second[0].index(END)]
            torch.testing.assert_close(found["pooled"][row], models.text_encoder_2.text_projection(at_end))
        torch.testing.assert_close(found["encoder_hidden_states"][row], wanted, rtol=1e-4, atol=1e-5)


def test_short_prompts_and_long_ones_have_the_same_shape_and_what_is_read_matters(folders: dict[str, Path]) -> None:
    models = whole_models(folders["sdxl"])
    models.prompt_tokens = 150
    texts = TextStates(models, "fp32")
    states = texts.get(["", prompt(100), prompt(100) + " end", prompt(151), prompt(151) + " end"])[
        "encoder_hidden_states"
    ]
    assert states.shape == (5, 152, 48)
    assert not torch.equal(states[1], states[2]) and torch.equal(states[3], states[4])
    picture = draw(models)
    models.prompt_tokens = 75
    assert np.abs(picture - draw(models)).max() > 0


def test_a_run_with_a_trained_text_encoder_reads_long_captions_and_resumes_to_the_bit(
    make_settings: Make, folders: dict[str, Path], tmp_path: Path, pictures: Path
) -> None:
    import shutil

    longer = shutil.copytree(pictures, tmp_path / "pictures")
    for path in longer.glob("*.txt"):
        path.write_text(f"{path.stem}, {prompt(110)}", encoding="utf-8")
    values: dict[str, Any] = {
        "model__base": str(folders["sdxl"]),
        "data__folders": [str(longer)],
        "data__max_tokens": "150",
        "data__shuffle_tags": True,
        "training__text_encoder_learning_rate": 1e-3,
        "training__max_steps": 4,
        "output__save_every_steps": 2,
        "sample__prompts": [prompt(120)],
        "sample__steps": 2,
        "sample__width": 64,
        "sample__height": 64,
    }
    from core import events as ev

    run, told = train(make_settings(**values), tmp_path / "whole")
    again, _ = train(
        make_settings(**values), tmp_path / "cut", lambda event: isinstance(event, ev.Step) and event.step == 3
    )
    train(make_settings(**values), again.path)
    assert_equal(last_checkpoint(run), last_checkpoint(again))
    short, others = train(make_settings(**{**values, "data__max_tokens": "75"}), tmp_path / "short")
    assert losses(told)[1] != losses(others)[1]
    assert all(np.isfinite(loss) for loss in losses(told).values())
    written = run.checkpoints()[-1].path
    models = whole_models(folders["sdxl"])
    swapper = Swapper(models)
    assert swapper.show(str(written)) and models.prompt_tokens == 150
    assert swapper.show(str(short.checkpoints()[-1].path)) and models.prompt_tokens == 75


def test_the_settings_say_the_length_and_files_pass_it_on(
    make_settings: Make, tiny_model: Path, tmp_path: Path
) -> None:
    settings = make_settings(data__max_tokens="225")
    models = open_models(settings, torch.device("cpu"))
    assert models.prompt_tokens == 225
    models = whole_models(tiny_model)
    path = tmp_path / "a.safetensors"
    save(path, models, settings, ["unet"], {"step": 1, "epoch": 0, "images": 1, "name": "a"})
    from core.engine.safe_files import read_header

    assert read_header(path)[1]["ss_max_token_length"] == "225"
    assert Models(open_model(path), torch.device("cpu")).prompt_tokens == 75


def test_a_tokenizer_that_names_no_length(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(tiny_model, tmp_path / "model")
    config = folder / "tokenizer" / "tokenizer_config.json"
    kept = {key: value for key, value in json.loads(config.read_text()).items() if key != "model_max_length"}
    config.write_text(json.dumps(kept), encoding="utf-8")
    models = Models(open_model(folder), torch.device("cpu"), prompt_tokens=150)
    models.load("tokenizer")
    assert models.family.tokenize(models, ["a"]).shape == (1, 2, 77)
