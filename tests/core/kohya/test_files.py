"""Tests of core/kohya/files.py: configurations in TOML, files that name others, and files that are nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UserError
from core.kohya.convert import Import, convert
from core.kohya.files import read

CONFIG = """
pretrained_model_name_or_path = "m.safetensors"
xformers = false
[training_arguments]
train_batch_size = 6
max_train_epochs = 10
optimizer_args = ["weight_decay=0.2", "betas=0.9,0.99"]
[network_arguments]
network_module = "networks.lora"
network_dim = 16
text_encoder_lr = [1e-5, 2e-5]
v_parameterization = false
"""

DATASET = """
[general]
enable_bucket = true
shuffle_caption = true
caption_extension = ".txt"
[[datasets]]
resolution = [768, 768]
batch_size = 4
max_bucket_reso = 1536
  [[datasets.subsets]]
  image_dir = "pictures/a"
  num_repeats = 3
  keep_tokens = 2
  [[datasets.subsets]]
  image_dir = "/elsewhere/b"
  num_repeats = 3
  keep_tokens = 2
  flip_aug = true
  [[datasets.subsets]]
  is_reg = true
  image_dir = "/reg"
"""


def got(found: Import, flag: str) -> list[tuple[str, str]]:
    return [(row.answer.verdict, row.answer.field) for row in found.rows if row.flag == flag]


def test_sections_are_flattened(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG)
    found = convert(tmp_path / "c.toml")
    names = ("training.method", "training.batch_size", "training.max_epochs", "lora.rank", "adamw.weight_decay")
    assert [found.values[name] for name in names] == ["lora", 6, 10, 16, 0.2]
    assert found.values["training.text_encoder_learning_rate"] == 1e-5
    assert got(found, "xformers") == [("unneeded", "")] and "hardware.attention" not in found.values
    assert got(found, "v_parameterization") == [("unneeded", "")] and "model.prediction" not in found.values
    assert len(found.rows) == len(CONFIG.split("=")) - 1  # a row for every value, and for each optimizer_arg


def test_the_command_line_comes_before_its_config_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG)
    (tmp_path / "run.sh").write_text("accelerate launch train_network.py --config_file=c --train_batch_size 2 --seed 3")
    found = convert(tmp_path / "run.sh")
    assert [found.values[name] for name in ("training.batch_size", "training.seed", "lora.rank")] == [2, 3, 16]
    assert got(found, "train_batch_size")[0][0] == "unneeded" and got(found, "--train_batch_size")[0][0] == "taken"
    (tmp_path / "run.sh").write_text("accelerate launch train_network.py --config_file=gone.toml")
    assert any("gone.toml is not there" in note for note in convert(tmp_path / "run.sh").notes)


def test_a_datasets_configuration_comes_before_all(tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text(DATASET)
    (tmp_path / "pictures" / "a").mkdir(parents=True)
    (tmp_path / "run.sh").write_text(
        "python train_network.py --dataset_config d.toml --train_batch_size 9 --train_data_dir ignored "
        "--max_train_epochs 2"
    )
    found = convert(tmp_path / "run.sh")
    first = str((tmp_path / "pictures" / "a").resolve())
    assert found.values["data.folders"] == [first, "/elsewhere/b", "/reg"]
    assert found.values["data.folder_rules"] == [
        {"path": first, "repeats": 3},
        {"path": "/elsewhere/b", "repeats": 3},
        {"path": "/reg", "role": "regularisation"},
    ]
    names = (
        "data.resolution",
        "training.batch_size",
        "data.max_side",
        "data.keep_tags",
        "data.shuffle_tags",
        "data.captions",
    )
    assert [found.values[name] for name in names] == [768, 4, 1536, 2, True, "tags"]
    assert found.values["training.max_epochs"] == 2  # the repeats are in the rules
    regular = ("equivalent", "data.folder_rules")
    assert got(found, "[[datasets.subsets]] image_dir") == [("taken", "data.folders")] * 2 + [regular]
    assert got(found, "[[datasets.subsets]] num_repeats") == [regular] * 2
    assert got(found, "[[datasets.subsets]] is_reg") == [("taken", "data.folder_rules")]
    assert got(found, "--train_data_dir") == [("unneeded", "")] and got(found, "--dataset_config")[0][0] == "equivalent"
    notes = {row.flag: row.answer.note for row in found.rows}
    assert "not of every folder" in notes["[[datasets.subsets]] flip_aug"]
    assert "not look at it beside --dataset_config" in notes["--train_data_dir"]


def test_a_dataset_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("python train_network.py --dataset_config gone.toml --seed 1")
    found = convert(tmp_path / "run.sh")
    assert got(found, "--dataset_config") == [("unknown", "")]
    assert any("gone.toml is not there" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("d.toml", DATASET.encode(), "describes pictures only and holds no training command"),
        ("e.toml", b"", "holds no settings"),
        ("f.toml", b"a = [", "is not valid TOML"),
        ("g.json", b"{", "is not valid JSON"),
        ("h.json", b"[1]", "is not a file of the kohya_ss GUI"),
        ("i.json", b'{"a": 1}', "holds no training command"),
        ("j.sh", b"MZ\0\0", "is not a text file"),
        ("k.json", b"[" * 100_000, "is not"),
        ("l.sh", b"x" * 5_000_001, "larger than 5 MB"),
    ],
)
def test_files_that_are_nothing_of_it(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=says):
        read(tmp_path / name)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "none.sh", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            read(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_texts_of_every_editor(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "run.bat").write_bytes("python fine_tune.py --train_data_dir C:\\Bücher\r\n".encode(encoding))
    assert convert(tmp_path / "run.bat").values["data.folders"] == ["C:\\Bücher"]
