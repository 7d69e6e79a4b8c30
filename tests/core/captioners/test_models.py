"""Tests of the captioners on transformers with tiny random models of BLIP, Florence-2 and Qwen2-VL."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from core import caption_job, registry
from core.captioners import _transformers, florence2, image_to_text, vision_language
from core.captioners._words import Shot
from core.errors import UserError
from tests.fixtures import tiny_captioners as tiny

_KINDS = {"blip": "image_to_text", "florence2": "florence2", "qwen2_vl": "vision_language"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: getattr(tiny, name)(root / name) for name in _KINDS}


def noise(seed: int, size: tuple[int, int] = (70, 50)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def opened(folder: Path, kind: str, **options: Any) -> Any:
    module = registry.component("captioners", kind)
    return module.load(folder, module.Options(**{"max_tokens": 12, **options}), "cpu")


def say(captioner: Any, *images: Image.Image, **facts: str) -> list[str]:
    return captioner.caption([Shot(captioner.prepare(image), **facts) for image in images])  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", _KINDS)
def test_folders_are_recognised(folders: dict[str, Path], name: str) -> None:
    assert caption_job.recognise(folders[name]) == _KINDS[name]
    assert caption_job.recognise(folders[name] / "config.json") == _KINDS[name]


@pytest.mark.parametrize("name", _KINDS)
def test_a_batch_says_what_each_picture_alone_says(folders: dict[str, Path], name: str) -> None:
    """Sizes differ, so that Qwen2-VL's pictures have different numbers of tokens and its texts are padded."""
    captioner = opened(folders[name], _KINDS[name])
    images = [noise(1), noise(2, (120, 40)), Image.new("RGB", (30, 90), "red")]
    alone = [say(captioner, image)[0] for image in images]
    assert say(captioner, *images) == alone
    assert all(len(text.split()) >= 3 for text in alone) and len(set(alone)) > 1


def test_florence_is_asked_by_task(folders: dict[str, Path]) -> None:
    """Held against the model's own steps, written out."""
    from transformers import AutoProcessor, Florence2ForConditionalGeneration

    folder = folders["florence2"]
    model, processor = Florence2ForConditionalGeneration.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    for task in ("caption", "detailed caption"):
        prompt = f"<{task.upper().replace(' ', '_')}>"
        inputs = processor(images=[noise(3)], text=[prompt], return_tensors="pt")
        made = model.generate(**inputs, max_new_tokens=12, do_sample=False, num_beams=1)
        (expected,) = processor.batch_decode(made, skip_special_tokens=True)
        assert say(opened(folder, "florence2", task=task, whole_sentences=False), noise(3)) == [expected]


def test_qwen_hears_its_instruction_and_only_the_answer_is_kept(folders: dict[str, Path]) -> None:
    from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessorPil

    folder, question = folders["qwen2_vl"], "what does the image describe ?"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pictures = Qwen2VLImageProcessorPil.from_pretrained(folder)(images=[noise(4)], return_tensors="pt")
    places = int(pictures["image_grid_thw"].prod()) // 4
    image = "<|vision_start|>" + "<|image_pad|>" * places + "<|vision_end|>"
    text = f"<|im_start|> {image} {question}<|im_end|><|im_start|>"
    tokens = tokenizer(text, return_tensors="pt")
    kinds = (tokens["input_ids"] == 6).long()
    model = Qwen2VLForConditionalGeneration.from_pretrained(folder)
    made = model.generate(**tokens, **pictures, mm_token_type_ids=kinds, max_new_tokens=12, do_sample=False)
    expected = tokenizer.decode(made[0, tokens["input_ids"].shape[1] :], skip_special_tokens=True)
    captioner = opened(folder, "vision_language", prompt=question, whole_sentences=False)
    assert say(captioner, noise(4)) == [expected.strip()]
    other = opened(folder, "vision_language", prompt="red dog with a cat", whole_sentences=False)
    assert say(other, noise(4)) != [expected.strip()]


def test_an_instruction_knows_the_picture() -> None:
    shot = Shot(None, "/data/cats/tom.png", "cat, {file}", "")
    prompt = "Use {tags} of {file} in {folder}; {caption} {other} {}"
    assert vision_language.asked(prompt, shot) == "Use cat, {file} of tom in cats; none {other} {}"


def test_a_role_is_said_before_the_instruction(folders: dict[str, Path]) -> None:
    plain = opened(folders["qwen2_vl"], "vision_language")._messages(Shot(None))
    with_role = opened(folders["qwen2_vl"], "vision_language", system="red")._messages(Shot(None))
    assert [one["role"] for one in plain] == ["user"] and [one["role"] for one in with_role] == ["system", "user"]


def test_a_describer_goes_on_from_its_beginning(folders: dict[str, Path]) -> None:
    free = say(opened(folders["blip"], "image_to_text"), noise(5))
    begun = say(opened(folders["blip"], "image_to_text", beginning="a picture of"), noise(5))
    assert begun[0].startswith("a picture of ") and begun[0].count("a picture of") == 1
    assert not free[0].startswith("a picture of")
    describer = image_to_text.Describer.__new__(image_to_text.Describer)
    describer._beginning = "a picture of"
    assert describer._begun("a dog") == "a picture of a dog"


def test_no_text_is_longer_than_asked(folders: dict[str, Path]) -> None:
    for name, kind in _KINDS.items():
        (text,) = say(opened(folders[name], kind, max_tokens=4, whole_sentences=False), noise(6))
        assert 3 <= len(text.split()) <= 4


def test_a_half_sentence_is_dropped_only_where_the_length_has_cut_it() -> None:
    class Tokens:
        all_special_ids = (9,)

    options = _transformers.GenerationOptions(max_tokens=4)
    writer = _transformers.Writer(None, None, Tokens(), options)
    assert writer._finished("A dog. A c", [1, 2, 3, 4]) == "A dog."
    assert writer._finished("A dog. A c", [1, 2, 3, 9]) == "A dog. A c"
    options.whole_sentences = False
    assert writer._finished("A dog. A c", [1, 2, 3, 4]) == "A dog. A c"


def test_weights_that_are_missing_are_told(folders: dict[str, Path], tmp_path: Path) -> None:
    """The first Florence-2 folders have other names for their weights; a random model would say nonsense."""
    folder = _copy(folders["florence2"], tmp_path / "other names")
    state = load_file(folder / "model.safetensors")
    save_file({f"old.{name}": weight for name, weight in state.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"weights are not in its files .* converted for transformers"):
        opened(folder, "florence2")


def test_code_of_a_folder_is_not_run_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "copies"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = tmp_path / "own code"
    folder.mkdir()
    marks = tmp_path / "it ran"
    (folder / "modeling.py").write_text(f"import pathlib\npathlib.Path({str(marks)!r}).write_text('ran')\n")
    auto = {"AutoConfig": "modeling.C", "AutoModelForImageTextToText": "modeling.M"}
    (folder / "config.json").write_text(json.dumps({"model_type": "homemade", "auto_map": auto}))
    with pytest.raises(UserError, match=r"brings Python code of its own.* switch on 'Run code from the folder'"):
        opened(folder, "image_to_text")
    assert not marks.exists()
    with pytest.raises(UserError, match="cannot be opened as a captioning model"):
        opened(folder, "image_to_text", trust_code=True)
    assert marks.exists()  # the switch is what decides


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no config.json"),
        ({"config.json": '{"model_type": "nothing_of_that_name"}'}, "cannot be opened as a captioning model"),
        ({"config.json": '{"model_type": "bert"}'}, "cannot be opened as a captioning model"),
        ({"config.json": '{"model_type": "blip"}'}, "cannot be opened as a captioning model"),
    ],
)
def test_other_folders_are_one_sentence(tmp_path: Path, files: dict[str, str], says: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says) as caught:
        opened(tmp_path, "image_to_text")
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_that_wants_torchvision_says_so(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoImageProcessor, AutoProcessor

    def refuse(*_: object, **__: object) -> None:
        raise ImportError("SomeImageProcessor requires the Torchvision library but it was not found")

    monkeypatch.setattr(AutoProcessor, "from_pretrained", refuse)
    monkeypatch.setattr(AutoImageProcessor, "from_pretrained", refuse)
    with pytest.raises(UserError, match="torchvision, which is not installed"):
        opened(folders["blip"], "image_to_text")


def test_a_model_without_a_chat_cannot_be_instructed(folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="no chat template"):
        opened(folders["blip"], "vision_language")


def test_transformers_is_left_as_it_was(folders: dict[str, Path]) -> None:
    from transformers import processing_utils
    from transformers.models.auto import video_processing_auto

    before = video_processing_auto.AutoVideoProcessor, processing_utils.ProcessorMixin.check_argument_for_proper_class
    opened(folders["qwen2_vl"], "vision_language")
    after = video_processing_auto.AutoVideoProcessor, processing_utils.ProcessorMixin.check_argument_for_proper_class
    assert before == after


def test_precision_and_large_pictures(folders: dict[str, Path]) -> None:
    captioner = opened(folders["florence2"], "florence2", precision="bf16")
    assert captioner._writer.model.dtype == torch.bfloat16 and say(captioner, noise(7))
    assert max(captioner.prepare(Image.new("RGB", (9000, 300))).size) == 2048
    assert florence2.Options().max_tokens == 128


def _copy(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to
