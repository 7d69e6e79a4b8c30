"""Tests of core/kohya/pictures.py: folders with repeats, sizes, buckets and captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core import presets
from core.data.captions import Captions, compose
from tests.fixtures.kohya import FINE, LORA, imported, note, verdicts


def test_repeats_in_names_of_folders_multiply_the_epochs(tmp_path: Path) -> None:
    for name in ("10_red car", "10_blue car"):
        (tmp_path / "img" / name).mkdir(parents=True)
        (tmp_path / "img" / name / "a.png").touch()
        (tmp_path / "img" / name / "a.txt").touch()
    flags = (
        "--train_data_dir img --max_train_epochs 4 --save_every_n_epochs 2 --lr_warmup_steps 0.1 --train_batch_size 2"
    )
    found = imported(tmp_path, LORA + flags)
    assert found.values["data.folders"] == [str((tmp_path / "img").resolve())]
    assert (found.values["training.max_epochs"], found.values["output.save_every_epochs"]) == (40, 20)
    assert found.values["training.warmup_steps"] == 4  # a tenth of 2 pictures x 10 repeats x 4 epochs / 2
    assert "10 repeats" in note(found, "max_train_epochs")
    assert "data.trigger" not in found.values


def test_words_of_a_folder_without_captions_become_the_trigger(tmp_path: Path) -> None:
    (tmp_path / "img" / "1_sks dog").mkdir(parents=True)
    (tmp_path / "img" / "1_sks dog" / "a.jpg").touch()
    assert imported(tmp_path, LORA + "--train_data_dir img").values["data.trigger"] == "sks dog"


def test_unequal_repeats_become_rules_of_folders(tmp_path: Path) -> None:
    for name, count in (("1_a", 1), ("9_b", 3)):
        (tmp_path / "img" / name).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "img" / name / f"{number}.png").touch()
    found = imported(tmp_path, LORA + "--train_data_dir img --max_train_epochs 1")
    assert found.values["training.max_epochs"] == 1
    assert found.values["data.folder_rules"] == [{"path": str((tmp_path / "img" / "9_b").resolve()), "repeats": 9}]
    assert any("different repeats (1_a: 1, 9_b: 9)" in one.note for one in found.defaults)


def test_buckets_stay_kohyas_and_random_crops_random(tmp_path: Path) -> None:
    found = imported(tmp_path, FINE + "--enable_bucket --random_crop")
    assert (found.values["data.buckets"], found.values["data.crop_focus"]) == ("kohya", "random")
    assert verdicts(found)["random_crop"] == ("taken", "data.crop_focus")


def test_sizes_and_buckets(tmp_path: Path) -> None:
    flags = "--resolution 768,512 --enable_bucket --min_bucket_reso 320 --max_bucket_reso=1536 --bucket_reso_steps 32 "
    found = imported(tmp_path, FINE + flags + "--bucket_no_upscale")
    names = ("resolution", "min_side", "max_side", "bucket_step", "upscale")
    assert [found.values[f"data.{name}"] for name in names] == [627, 320, 1536, 32, False]
    assert verdicts(found)["resolution"] == ("equivalent", "data.resolution")
    square = imported(tmp_path, FINE + "--resolution 768")
    assert [square.values[f"data.{name}"] for name in names[:3]] == [768, 768, 768]
    assert any("crops every picture" in one.note for one in square.defaults)
    late = imported(tmp_path, FINE + "--resolution 768 --max_bucket_reso 1536")
    assert late.values["data.max_side"] == 1536 and "--enable_bucket" in note(late, "max_bucket_reso")


def test_captions(tmp_path: Path) -> None:
    flags = (
        "--caption_extension .txt --shuffle_caption --keep_tokens 3 --caption_dropout_rate 0.1 --flip_aug --color_aug"
    )
    found = imported(tmp_path, FINE + flags)
    names = ("captions", "shuffle_tags", "keep_tags", "caption_dropout", "flip")
    assert [found.values[f"data.{name}"] for name in names] == ["tags", True, 3, 0.1, True]
    assert verdicts(found)["color_aug"] == ("equivalent", "data.colour_jitter")
    bare = imported(tmp_path, FINE + "--seed 1")
    assert (bare.values["data.captions"], bare.values["data.keep_tags"]) == ("natural", 0)


def test_what_is_done_to_captions(tmp_path: Path) -> None:
    flags = (
        "--caption_extension .txt --caption_tag_dropout_rate 0.2 --caption_dropout_every_n_epochs 4 "
        "--keep_tokens_separator '|||' --secondary_separator +++ --caption_separator ';' "
        "--max_token_length 225 --enable_wildcard --caption_prefix 'a photo of' --caption_suffix ', sharp'"
    )
    found = imported(tmp_path, FINE + flags)
    wanted = {
        "tag_dropout": 0.2,
        "dropout_every_epochs": 4,
        "keep_separator": "|||",
        "group_separator": "+++",
        "separator": ";",
        "max_tokens": "225",
        "prefix": "a photo of",
        "suffix": ", sharp",
    }
    assert {name: found.values[f"data.{name}"] for name in wanted} == wanted
    assert verdicts(found)["max_token_length"] == ("taken", "data.max_tokens")
    assert verdicts(found)["caption_prefix"] == ("equivalent", "data.prefix")
    assert verdicts(found)["enable_wildcard"] == ("equivalent", "data.captions")
    settings = presets.build(found.values, "test")
    texts = {
        compose(Captions("b; c ||| d; e+++f", ""), settings.data, np.random.default_rng(seed)) for seed in range(300)
    }
    assert texts == {f"a photo of b, c{rest}, sharp" for rest in ("", ", d", ", e, f", ", d, e, f")}


def test_lengths_that_sd_scripts_lacks_are_told(tmp_path: Path) -> None:
    found = imported(tmp_path, FINE + "--max_token_length 100")
    assert verdicts(found)["max_token_length"] == ("unknown", "") and "data.max_tokens" not in found.values
    usual = imported(tmp_path, FINE + "--max_token_length 75 --caption_separator ,")
    assert usual.values["data.max_tokens"] == "75" and verdicts(usual)["caption_separator"] == ("unneeded", "")
